"""How a job stands, in Slurm's words, whatever runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass

RUNNING = "RUNNING"
PENDING = "PENDING"
SUSPENDED = "SUSPENDED"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
TIMEOUT = "TIMEOUT"
OUT_OF_MEMORY = "OUT_OF_MEMORY"
# Ours: no command of Slurm's knows the job any more; it has not moved for too long; it left as it was asked to.
LOST = "LOST"
STALLED = "STALLED"
STOPPED = "STOPPED"

ENDED = frozenset(
    {COMPLETED, FAILED, CANCELLED, TIMEOUT, OUT_OF_MEMORY, LOST, STALLED, STOPPED}
    | {"BOOT_FAIL", "DEADLINE", "NODE_FAIL", "PREEMPTED", "REVOKED"}
)
# Why Slurm keeps a job back that it will never start unless somebody changes the job or a limit.
HOPELESS = re.compile(
    r"Partition(Config|NodeLimit|TimeLimit)|BadConstraints|Invalid(Account|QOS)|(Account|QOS)NotAllowed|MaxMemPerLimit"
    r"|\w+PerJob\w*"
)
# A job that failed to start is held by Slurm itself; one that somebody holds waits for somebody.
HELD_AFTER_FAILURE = re.compile(r"launch[ _]failed[ _]requeued[ _]held", re.IGNORECASE)
HELD = re.compile(r"JobHeld(User|Admin)")


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    Args:
        state: one of Slurm's job states, or LOST, STALLED or STOPPED.
        reason: why it waits or ended, as Slurm says it.
        exit_code: as Slurm says it; empty where it does not.
    """

    state: str
    reason: str = ""
    exit_code: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether it will not run again by itself."""
        return self.state in ENDED

    @property
    def is_hopeless(self) -> bool:
        """Whether it waits for something that will not come."""
        return self.state == PENDING and bool(HOPELESS.fullmatch(self.reason))

    @property
    def is_held(self) -> bool:
        """Whether it waits until a person lets it go."""
        return self.state == PENDING and bool(HELD.fullmatch(self.reason))

    @property
    def failed_to_start(self) -> bool:
        """Whether Slurm could not start it and holds it for that."""
        return self.state == PENDING and bool(HELD_AFTER_FAILURE.fullmatch(self.reason))

    def __str__(self) -> str:
        told = [self.state]
        if self.reason and self.reason != "None":
            told.append(self.reason)
        if self.has_ended and self.exit_code not in ("", "0:0"):
            told.append(f"exit code {self.exit_code}")
        return ", ".join(told)

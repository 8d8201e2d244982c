"""How a job stands, in Slurm's words, whatever runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

RUNNING = "RUNNING"
PENDING = "PENDING"
SUSPENDED = "SUSPENDED"
STOPPED_BY_SIGNAL = "STOPPED"
COMPLETING = "COMPLETING"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
TIMEOUT = "TIMEOUT"
OUT_OF_MEMORY = "OUT_OF_MEMORY"
# Ours: no command of Slurm's knows the job any more; it has not moved for too long; it left as it was asked to.
LOST = "LOST"
STALLED = "STALLED"
LEFT = "LEFT"

ENDED = frozenset(
    {COMPLETED, FAILED, CANCELLED, TIMEOUT, OUT_OF_MEMORY, LOST, STALLED, LEFT}
    | {"BOOT_FAIL", "DEADLINE", "NODE_FAIL", "PREEMPTED", "REVOKED"}
)
# A job that Slurm has put back into its queue and holds there; with reasons of its own, or none.
PUT_BACK = frozenset({"REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
# Why Slurm keeps a job back that it will never start unless somebody changes the job or a limit.
HOPELESS = re.compile(
    r"PartitionTimeLimit|Invalid(Account|QOS)|(Account|QOS)NotAllowed|MaxMem(PerLimit|PerCPU)|DependencyNeverSatisfied"
    r"|\w+Per(Job|Node)\w*|QOSMin\w*"
)
# The same, or nodes that the job needs are down: what has run once may run again.
HOPELESS_OR_NODES_DOWN = re.compile(r"Partition(Config|NodeLimit)|BadConstraints")
# It is not its turn yet.
TURN = frozenset({"", "None", "Priority", "Resources", "BeginTime"})
# A job that failed to start is held by Slurm itself; one that somebody holds waits for somebody.
HELD_AFTER_FAILURE = re.compile(r"launch[ _]failed[ _]requeued[ _]held|JobHoldMaxRequeue", re.IGNORECASE)
HELD = re.compile(r"JobHeld(User|Admin)")


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    Args:
        state: one of Slurm's job states, or LOST, STALLED or LEFT.
        reason: why it waits or ended, as Slurm says it.
        exit_code: as Slurm says it; empty where it does not.
        as_of_unix_s: when Slurm was asked; 0.0 for what is seen at first hand.
    """

    state: str
    reason: str = ""
    exit_code: str = ""
    as_of_unix_s: float = field(default=0.0, compare=False)

    @property
    def has_ended(self) -> bool:
        """Whether it will not run again by itself."""
        return self.state in ENDED

    @property
    def is_held(self) -> bool:
        """Whether it waits until a person lets it go."""
        return self.state in PUT_BACK or (self.state == PENDING and bool(HELD.fullmatch(self.reason)))

    @property
    def failed_to_start(self) -> bool:
        """Whether Slurm could not start it and holds it for that."""
        return self.state in {PENDING, *PUT_BACK} and bool(HELD_AFTER_FAILURE.fullmatch(self.reason))

    def __str__(self) -> str:
        told = [self.state]
        if self.reason and self.reason != "None":
            told.append(self.reason)
        if self.has_ended and self.exit_code not in ("", "0:0"):
            told.append(f"exit code {self.exit_code}")
        return ", ".join(told)

"""How long a job may stand as it does: the bound of every wait of a launcher, and what follows when it is over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from slimline.launch.states import (
    COMPLETING,
    HOPELESS,
    HOPELESS_OR_NODES_DOWN,
    PENDING,
    STOPPED_BY_SIGNAL,
    SUSPENDED,
    TURN,
    JobState,
)

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0

# A person who holds a job is about to let it go, or has forgotten it; the job keeps its place in the queue.
HELD_LIMIT_S = 10 * MINUTE_S
# Suspended, or stopped by a signal: for a more urgent job, an hour of which is worth more than a new start.
SUSPENDED_LIMIT_S = HOUR_S
# After its last process a job needs the epilog alone, which may check the node. Slurm itself gives up on a process
# that it cannot kill after a minute or so, and then waits for an administrator.
COMPLETING_LIMIT_S = 30 * MINUTE_S
# The end of the attempt before: with that attempt stuck in COMPLETING it does not come by itself.
DEPENDENCY_LIMIT_S = HOUR_S
# States on the way from one to another: nodes that boot (the slowest are those of a cloud), files that are staged.
PASSING_LIMIT_S = HOUR_S
# A limit of an account that is used up, a partition that is down, nodes that are reserved or broken: longer than a
# weekend and a maintenance, and than one's own other jobs.
BLOCKED_LIMIT_S = 7 * DAY_S
# A controller that does not answer is repaired after a weekend at the latest.
SILENT_LIMIT_S = 3 * DAY_S
# Beyond some intervals between answers: what a question may last that gets none.
SILENT_AFTER_S = 60.0
# From the start of the ranks to the first step: imports and the first batches of a cold file system.
START_LIMIT_S = 120.0
# Longer than a launcher waits for Slurm's answers while it submits, when it does not show that it lives.
LOCK_SILENT_LIMIT_S = HOUR_S
LOCK_POLL_S = 1.0
# The log names what a job waits for after half of the bound, or so long.
WARNING_S = 10 * MINUTE_S


class After(Enum):
    """What follows when the bound is reached."""

    TRY_AGAIN = "the job is cancelled, and another goes on"
    KEEP = "the job stays in the queue, and the next run joins it"
    REFUSE = "the job is cancelled, with Slurm's reason as the error"


@dataclass(frozen=True)
class Patience:
    """The bound of one kind of wait.

    Args:
        kind: what the job waits for, to be read after its name.
        limit_s: how long it may; infinite for its turn.
        after: what follows.
        answers: how many answers of Slurm must have said so.
    """

    kind: str
    limit_s: float
    after: After
    answers: int = 0

    @property
    def warning_s(self) -> float:
        """When the log says it."""
        return min(self.limit_s / 2, WARNING_S) if math.isfinite(self.limit_s) else math.inf


ITS_TURN = Patience("waits for its turn", math.inf, After.KEEP)
HELD = Patience("is held until somebody lets it go", HELD_LIMIT_S, After.KEEP)
NOT_STARTED = Patience("could not be started, and Slurm holds it for that", 0.0, After.TRY_AGAIN)
# An answer may catch Slurm between two states; the second one counts.
NEVER = Patience("waits for what will not come", 0.0, After.REFUSE, answers=2)
FOR_THE_ONE_BEFORE = Patience("waits for the end of the attempt before it", DEPENDENCY_LIMIT_S, After.KEEP)
BLOCKED = Patience("is kept back by Slurm", BLOCKED_LIMIT_S, After.KEEP)
PAUSED = Patience("is suspended", SUSPENDED_LIMIT_S, After.TRY_AGAIN)
ENDING = Patience("is ending", COMPLETING_LIMIT_S, After.TRY_AGAIN)
PASSING = Patience("is between two states", PASSING_LIMIT_S, After.TRY_AGAIN)
SILENCE = Patience("may be anything, since Slurm does not answer", SILENT_LIMIT_S, After.KEEP)


def patience_with(state: JobState, *, has_run: bool) -> Patience:
    """How long a job that has not ended and does not run may stand like that.

    Args:
        state: how it stands by Slurm.
        has_run: whether what it asks for has been granted before.
    """
    if state.failed_to_start:
        return NOT_STARTED
    if state.is_held:
        return HELD
    if state.state == PENDING:
        return _pending(state.reason, has_run=has_run)
    if state.state in (SUSPENDED, STOPPED_BY_SIGNAL):
        return PAUSED
    return ENDING if state.state == COMPLETING else PASSING


def _pending(reason: str, *, has_run: bool) -> Patience:
    if reason in TURN:
        return ITS_TURN
    if HOPELESS.fullmatch(reason) or (HOPELESS_OR_NODES_DOWN.fullmatch(reason) and not has_run):
        return NEVER
    return FOR_THE_ONE_BEFORE if reason == "Dependency" else BLOCKED

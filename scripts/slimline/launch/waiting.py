"""How long a job has stood as it does, held against how long it may."""

from __future__ import annotations

import logging

from slimline.launch.patience import (
    DAY_S,
    HOUR_S,
    ITS_TURN,
    MINUTE_S,
    SILENCE,
    SILENT_AFTER_S,
    START_LIMIT_S,
    After,
    Patience,
    patience_with,
)
from slimline.launch.states import RUNNING, JobState

log = logging.getLogger("slimline")

# Whoever looks so seldom was stopped itself, and has not seen what the job did meanwhile.
ABSENCE_S = 120.0
MOST_SILENT_INTERVALS = 3
STEPS = "makes no step"


class Waiting:
    """The clock of one attempt; all times are those of one monotonic clock, in seconds.

    Args:
        name: the job, in log lines.
        stall_timeout_s: how long a job that trains may make no step.
        poll_interval_s: least time between two answers of Slurm.
        now_s: the time.
    """

    def __init__(self, name: str, stall_timeout_s: float, poll_interval_s: float, now_s: float) -> None:
        self.name, self.stall_timeout_s = name, stall_timeout_s
        self.silent_after_s = SILENT_AFTER_S + MOST_SILENT_INTERVALS * poll_interval_s
        self.moved_s = self._heard_s = self._looked_s = now_s
        self._patience, self._since_s, self._answers, self._is_told = ITS_TURN, now_s, 0, False

    def forgive_absence(self, now_s: float) -> None:
        """Times do not count in which this process was stopped, or the whole machine asleep."""
        absent_s, self._looked_s = now_s - self._looked_s, now_s
        if absent_s > ABSENCE_S:
            self.moved_s, self._heard_s = self.moved_s + absent_s, self._heard_s + absent_s
            self._since_s += absent_s

    def is_over(self, state: JobState, phase: str, now_s: float, *, is_news: bool, has_run: bool) -> Patience | None:
        """The bound that the job has reached, if it has; on the way there the log says what it waits for.

        Args:
            state: how it stands; it has not ended.
            phase: what its ranks are at, by the last heartbeat.
            now_s: the time.
            is_news: whether the state is of a new answer.
            has_run: whether what it asks for has been granted before.
        """
        if is_news:
            self._heard_s = now_s
        patience = self._patience_with(state, phase, now_s, has_run=has_run)
        if patience != self._patience:
            self._patience, self._since_s, self._answers, self._is_told = patience, now_s, 0, False
        self._answers += is_news
        waited_s = self.waited_s(now_s)
        if waited_s < patience.warning_s:
            self._is_told = False
        elif not self._is_told:
            self._is_told = True
            log.warning(
                "%s (%s) %s, for %s; after %s %s",
                self.name, state, patience.kind, span(waited_s), span(patience.limit_s), patience.after.value,
            )  # fmt: skip
        return patience if waited_s >= patience.limit_s and self._answers >= patience.answers else None

    def waited_s(self, now_s: float) -> float:
        """For how long it has waited for the same."""
        if self._patience is SILENCE:
            return now_s - self._heard_s
        return now_s - (self.moved_s if self._patience.kind == STEPS else self._since_s)

    def _patience_with(self, state: JobState, phase: str, now_s: float, *, has_run: bool) -> Patience:
        # A job that makes steps is well, whatever Slurm says.
        if now_s - max(self._heard_s, self.moved_s) > self.silent_after_s:
            return SILENCE
        if state.state != RUNNING:
            return patience_with(state, has_run=has_run)
        limit_s = max(self.stall_timeout_s, START_LIMIT_S) if phase == "start" else self.stall_timeout_s
        return Patience(STEPS, limit_s, After.TRY_AGAIN)


def span(seconds: float) -> str:
    """A length of time in the largest unit of which it has two."""
    for unit, unit_s in (("days", DAY_S), ("hours", HOUR_S), ("minutes", MINUTE_S)):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"

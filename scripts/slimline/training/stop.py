"""A request to stop, set by a signal and answered by all ranks together at a step boundary."""

from __future__ import annotations

import os
import signal
from types import FrameType

# SIGTERM and SIGUSR2 come from schedulers; SIGINT and SIGHUP reach every process of a terminal.
SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)


class StoppedError(BaseException):
    """The run was asked to stop, and stands at its newest checkpoint.

    Like KeyboardInterrupt it is no Exception: it may be raised anywhere, also in a library that goes on after any.

    Args:
        text: where it stopped.
        announced: whether the scheduler has announced the job's end with SIGUSR2, to this rank or another.
        saved: whether all ranks stopped together, after a checkpoint.
    """

    def __init__(self, text: str, *, announced: bool, saved: bool) -> None:
        super().__init__(text)
        self.announced, self.saved = announced, saved


class StopRequest:
    """Turns a signal into a flag; nothing else happens inside the handler.

    Data workers inherit handlers when they are forked: only the process that installed them reacts.
    """

    def __init__(self) -> None:
        self.number = 0
        self._pid = os.getpid()

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    @property
    def announced(self) -> bool:
        """Whether it was that by which a scheduler announces the job's end."""
        return self.number == signal.SIGUSR2

    def install(self) -> StopRequest:
        """Replaces the handlers of these signals in this process."""
        for number in SIGNALS:
            signal.signal(number, self._set)
        return self

    def _set(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self.number = number


def stop_at_once() -> None:
    """Lets the signals raise: for the time before the first step, when there is nothing to save."""
    pid = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() == pid:
            announced = number == signal.SIGUSR2
            raise StoppedError("stopped before the first step", announced=announced, saved=False)

    for number in SIGNALS:
        signal.signal(number, leave)
    # Held back since the start of the process, where a scheduler may announce its end at any moment.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR2,))

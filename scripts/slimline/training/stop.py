"""A request to stop, set by a signal and answered by all ranks together at a step boundary."""

from __future__ import annotations

import os
import signal
from types import FrameType

# SIGTERM and SIGUSR2 come from schedulers; SIGINT and SIGHUP reach every process of a terminal.
SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)


class StoppedError(Exception):
    """The run was asked to stop, and stands at its newest checkpoint.

    Args:
        text: where it stopped.
        number: the signal; 0 where another rank has got it.
        saved: whether all ranks stopped together, after a checkpoint.
    """

    def __init__(self, text: str, number: int = 0, saved: bool = True) -> None:
        super().__init__(text)
        self.number, self.saved = number, saved


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
            raise StoppedError("stopped before the first step", number, saved=False)

    for number in SIGNALS:
        signal.signal(number, leave)

"""A request to stop, set by a signal and answered by all ranks together at a step boundary."""

from __future__ import annotations

import os
import signal
from types import FrameType


class StoppedError(Exception):
    """The run was asked to stop and has saved where it is."""


class StopRequest:
    """Turns a signal into a flag; nothing else happens inside the handler.

    SIGTERM and SIGUSR2 come from schedulers; SIGINT and SIGHUP reach every process of a terminal.
    Data workers inherit handlers when they are forked: only the process that installed them reacts.
    """

    def __init__(self) -> None:
        self.requested = False
        self._pid = os.getpid()

    def install(self) -> StopRequest:
        """Replaces the handlers of these signals in this process."""
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._set)
        return self

    def _set(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self.requested = True

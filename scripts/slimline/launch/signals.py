"""Interrupts of a launcher: raised where they can be answered, held back where they cannot."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

# Ctrl-C, the end of a session, `kill`.
INTERRUPTS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """SIGTERM and SIGHUP raise, as Ctrl-C does by itself; what was ignored before, as by nohup, is ignored still."""
    heeded = (number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN)
    with _handling(_leave, *heeded):
        yield


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """For what must be done on the way out, however impatient the user is."""
    with _handling(signal.SIG_IGN, *INTERRUPTS):
        yield


@contextmanager
def interrupts_delayed() -> Iterator[None]:
    """Interrupts come at the end of the block, if any did.

    Processes that are started in it never get those of the terminal: the launcher ends them itself, in order.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _handling(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)

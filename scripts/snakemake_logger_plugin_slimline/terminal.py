"""Lines for people, and below them one live status line where they sit at a terminal."""

from __future__ import annotations

import os
import threading
from typing import TextIO

ERASE_LINE = "\r\033[K"
STYLES = {"": "", "dim": "\033[2m", "red": "\033[31m", "yellow": "\033[33m", "green": "\033[32m"}
RESET = "\033[0m"
DEFAULT_WIDTH = 80


class Terminal:
    """A text stream; on anything but a terminal no control character is ever written to it.

    Args:
        stream: standard output or standard error.
        nocolor: no colours on a terminal either; so does the environment variable NO_COLOR.
    """

    def __init__(self, stream: TextIO, *, nocolor: bool = False) -> None:
        self._stream = stream
        self.live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colors = self.live and not nocolor and not os.environ.get("NO_COLOR")
        self._status = ""
        self._after_gap = False
        self._lock = threading.Lock()

    def line(self, text: str = "", style: str = "") -> None:
        """Writes a line, or several; the status stays below."""
        with self._lock:
            self._write(f"{self._erased()}{self._painted(text, style)}\n{self._drawn()}")
            self._after_gap = not text

    def gap(self) -> None:
        """Writes an empty line where the last one was not."""
        if not self._after_gap:
            self.line()

    def status(self, text: str) -> None:
        """Shows another status; none where `text` is empty, and never on anything but a terminal."""
        if not self.live or text == self._status:
            return
        with self._lock:
            erased = self._erased()
            self._status = text
            self._write(erased + self._drawn())

    def _painted(self, text: str, style: str) -> str:
        return f"{STYLES[style]}{text}{RESET}" if style and self._colors else text

    def _erased(self) -> str:
        return ERASE_LINE if self._status else ""

    def _drawn(self) -> str:
        """The status in one row. The cursor goes back to its start, so that what a job prints does not follow it."""
        if not self._status:
            return ""
        columns = self._width() - 1
        cut = self._status if len(self._status) <= columns else self._status[: columns - 3] + "..."
        return f"{self._painted(cut, 'dim')}\r"

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or DEFAULT_WIDTH
        except OSError:
            return DEFAULT_WIDTH

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

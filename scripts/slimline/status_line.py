"""What rules do where the run that they belong to has a status line at the bottom of the terminal."""

from __future__ import annotations

import os

# Set by the run, for the rules that it starts on the same terminal.
VARIABLE = "SLIMLINE_STATUS_LINE"


def without_bar() -> bool | None:
    """The argument `disable` of tqdm: no bar over a status line, and none where standard error is no terminal."""
    return True if VARIABLE in os.environ else None


def erased() -> str:
    """What to print before a screen, so that the status line does not stay above it."""
    return "\r\033[K" if VARIABLE in os.environ else ""

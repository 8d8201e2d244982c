"""The log files of rules: what they end with, and whether the user has seen it.

Lines are as `slimline.rule` writes them: date, time, level, message.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) (?P<message>.*)$", re.MULTILINE)
# How far it is, or how its job stands in the queue.
PROGRESS = re.compile(r"\d of \d|\bjob \S+ is [A-Z]")
TRACEBACK = "Traceback (most recent call last):"
STATUS_BYTES = 4096
TAIL_BYTES = 1 << 16


def tail(file: Path, lines: int | None) -> list[str]:
    """The last lines of a file, all where `lines` is None; none where it cannot be read."""
    text = _end(file, None if lines is None else TAIL_BYTES)
    shown = text.splitlines() if lines is None else text.splitlines()[-lines:]
    return ["".join(c if c.isprintable() else " " for c in line).rstrip() for line in shown]


def last_progress(file: Path) -> str:
    """The last message that says how much is done, or what is waited for; empty where there is none."""
    messages = [match["message"] for match in RECORD.finditer(_end(file, STATUS_BYTES))]
    return next((message for message in reversed(messages) if PROGRESS.search(message)), "")


def ended_with_a_screen(file: Path) -> bool:
    """Whether the rule stopped because of a mistake, which it has printed itself, and not by an accident."""
    text = _end(file, TAIL_BYTES)
    errors = [match for match in RECORD.finditer(text) if match["level"] == "ERROR"]
    return bool(errors) and TRACEBACK not in text[errors[-1].start() :]


def _end(file: Path, size: int | None) -> str:
    try:
        with file.open("rb") as content:
            if size is not None:
                content.seek(max(content.seek(0, os.SEEK_END) - size, 0))
            return content.read().decode(errors="replace")
    except OSError:
        return ""

"""The starts of a job's main rank: one line each, in a file that only grows."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

STARTS_FILE = "starts.jsonl"


def note_start(folder: Path, start: dict[str, Any]) -> None:
    """Adds a line; where the one before was torn by a full disk or a power cut, it does not join it."""
    with (folder / STARTS_FILE).open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(start).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """When and where the main rank has started, oldest first, without lines that are torn.

    Raises:
        OSError: the file is there and cannot be read.
    """
    path, starts = folder / STARTS_FILE, list[dict[str, Any]]()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for line in lines:
        with contextlib.suppress(ValueError):
            start = json.loads(line)
            if isinstance(start, dict) and "job_id" in start:
                starts.append(start)
    return starts

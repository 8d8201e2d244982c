"""What a run says while it goes: the history file, TensorBoard's, the heartbeat, log lines."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from slimline.files import write_json, write_text
from slimline.training.spec import HEARTBEAT_FILE, HISTORY_FILE, TENSORBOARD_FOLDER
from slimline.training.tracking import Board

T = TypeVar("T")

log = logging.getLogger("slimline")

HEARTBEAT_INTERVAL_S = 1.0


class Pulse:
    """Shows in `heartbeat.json` that a job works on something that is no step of training; the main rank writes.

    Args:
        folder: the job's folder.
        writes: whether this rank is the one that writes.
    """

    def __init__(self, folder: Path, writes: bool) -> None:
        self.path, self.writes = folder / HEARTBEAT_FILE, writes
        self._last_s = 0.0

    def beat(self, phase: str) -> None:
        """Writes the heartbeat, at most once in a while."""
        if self.writes and time.monotonic() - self._last_s >= HEARTBEAT_INTERVAL_S:
            self._last_s = time.monotonic()
            write_json(self.path, {"phase": phase, "updated_unix_s": time.time()})

    def through(self, phase: str, items: Iterable[T]) -> Iterator[T]:
        """The items, with a beat at each."""
        for item in items:
            self.beat(phase)
            yield item


class History:
    """`history.jsonl`, TensorBoard's files and `heartbeat.json` of a job; only the main rank writes.

    Args:
        folder: the job's folder.
        records: what a checkpoint already knows; the file starts with it.
        writes: whether this rank is the one that writes.
    """

    def __init__(self, folder: Path, records: list[dict[str, Any]], writes: bool) -> None:
        self.path = folder / HISTORY_FILE
        self.heartbeat_path = folder / HEARTBEAT_FILE
        self.records = records
        self.writes = writes
        self._last_beat_s = 0.0
        self._board = Board(folder / TENSORBOARD_FOLDER, records) if writes else None
        if writes:
            write_text(self.path, "".join(_line(record) for record in records))

    def add(self, record: dict[str, Any]) -> None:
        """Appends one record and says it in the log; JSON has no NaN and no infinity, they become null."""
        record = {key: None if _is_not_finite(value) else value for key, value in record.items()}
        self.records.append(record)
        if self._board is not None:
            self._board.add(record)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))
            log.info(" ".join(f"{key} {_short(value)}" for key, value in record.items()))

    def close(self) -> None:
        """Called after the last record."""
        if self._board is not None:
            self._board.close()

    @property
    def beat_is_due(self) -> bool:
        """Whether this rank writes and the interval is over."""
        return self.writes and time.monotonic() - self._last_beat_s >= HEARTBEAT_INTERVAL_S

    def beat(self, **state: Any) -> None:
        """Writes the heartbeat."""
        self._last_beat_s = time.monotonic()
        write_json(self.heartbeat_path, state | {"updated_unix_s": time.time()})


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)}: {', '.join(map(str, value[:3]))}, …" if value else "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

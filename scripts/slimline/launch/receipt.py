"""What is remembered of a job between runs of Snakemake: its ids and what became of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slimline.files import read_json, write_json

RECEIPT_FILE = "receipt.json"
RUNNING = "RUNNING"


def utc_now() -> str:
    """The time as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Attempt:
    """One submission."""

    job_id: str
    state: str
    started_utc: str
    ended_utc: str | None = None
    reason: str | None = None


class Receipt:
    """The attempts of one job, on disk before anything waits for them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECEIPT_FILE
        content = read_json(self._path) if self._path.exists() else {"attempts": []}
        self.attempts = [Attempt(**attempt) for attempt in content["attempts"]]

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that has not been seen to end."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.state == RUNNING else None

    def begin(self, job_id: str) -> None:
        """Notes a submission."""
        self.attempts.append(Attempt(job_id, RUNNING, utc_now()))
        self._write()

    def end(self, state: str, reason: str | None = None) -> None:
        """Notes how the open attempt ended."""
        attempt = self.attempts[-1]
        attempt.state, attempt.ended_utc, attempt.reason = state, utc_now(), reason
        self._write()

    def to_json(self) -> list[dict[str, Any]]:
        """The attempts, oldest first."""
        return [asdict(attempt) for attempt in self.attempts]

    def _write(self) -> None:
        write_json(self._path, {"attempts": self.to_json()})

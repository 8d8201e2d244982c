"""What is remembered of a job between runs of Snakemake: its ids, what each asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slimline.files import read_json, write_json
from slimline.launch.resources import Resources
from slimline.launch.states import RUNNING, JobState
from slimline.training.spec import CHECKPOINTS_FOLDER, checkpoint_names

RECEIPT_FILE = "receipt.json"
SUBMITTING = "SUBMITTING"


def utc_now() -> str:
    """The time as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Attempt:
    """One submission.

    Args:
        job_id: its id; empty until it is known.
        state: SUBMITTING, RUNNING (which includes waiting in a queue), or how it ended.
        memory_mb: memory per node that it asked for.
        time_min: time limit that it asked for.
        submitted_utc: when it was submitted.
        started_utc: when its main rank started first.
        ended_utc: when it was seen to have ended.
        exit_code: as the scheduler says it.
        reason: why it ended.
        reached: the newest checkpoint at its end.
        earlier: names of the folders of other jobs from whose checkpoints it could go on.
        executor: where it was submitted to; empty in the receipts of versions that did not say.
    """

    job_id: str
    state: str
    memory_mb: int
    time_min: int
    submitted_utc: str
    started_utc: str | None = None
    ended_utc: str | None = None
    exit_code: str | None = None
    reason: str | None = None
    reached: str | None = None
    earlier: list[str] = field(default_factory=list)
    executor: str = ""


class Receipt:
    """The attempts of one job, on disk before anything waits for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / RECEIPT_FILE
        content = read_json(self._path) if self._path.exists() else {"attempts": []}
        self.attempts = [Attempt(**attempt) for attempt in content["attempts"]]

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that has not been seen to end."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.state in (SUBMITTING, RUNNING) else None

    @property
    def written_unix_s(self) -> float:
        """When it was last written; 0.0 if it never was."""
        return self._path.stat().st_mtime if self._path.exists() else 0.0

    def intend(self, resources: Resources, executor: str, earlier: Iterable[str] = ()) -> None:
        """Notes that a submission is about to happen, of a job that may go on from those of `earlier` folders."""
        asked = (resources.memory_mb, resources.time_min)
        self.attempts.append(Attempt("", SUBMITTING, *asked, utc_now(), earlier=list(earlier), executor=executor))
        self._write()

    def begin(self, job_id: str) -> None:
        """Notes the id that the submission got."""
        self.attempts[-1].job_id, self.attempts[-1].state = job_id, RUNNING
        self._write()

    def forget_intention(self) -> None:
        """Takes the note of a submission back that did not happen."""
        self.attempts.pop()
        self._write()

    def end(self, state: JobState, started_utc: str | None) -> Attempt:
        """Notes how the open attempt ended; returns it."""
        attempt = self.attempts[-1]
        attempt.state, attempt.reason, attempt.exit_code = state.state, state.reason or None, state.exit_code or None
        attempt.started_utc, attempt.ended_utc = started_utc, utc_now()
        attempt.reached = next(reversed(checkpoint_names(self._folder / CHECKPOINTS_FOLDER)), None)
        self._write()
        return attempt

    def to_json(self) -> list[dict[str, Any]]:
        """The attempts, oldest first."""
        return [asdict(attempt) for attempt in self.attempts]

    def _write(self) -> None:
        write_json(self._path, {"attempts": self.to_json()})

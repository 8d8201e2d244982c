"""Unfinished jobs of the same lineage: what they have trained with other ranks, a new job goes on from."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.launch.receipt import Receipt
from slimline.training.spec import (
    CHECKPOINTS_FOLDER,
    RESULT_FOLDER,
    SPEC_FILE,
    Allocation,
    TrainingSpec,
    checkpoint_names,
    lineage,
)


@dataclass(frozen=True)
class EarlierJob:
    """A job that has no result.

    Args:
        folder: its folder, which is only read.
        newest: name of its newest checkpoint; empty where it has none.
        allocation: how its work was shared out.
    """

    folder: Path
    newest: str
    allocation: Allocation


def earlier_jobs(folder: Path, spec: TrainingSpec) -> list[EarlierJob]:
    """Unfinished jobs of the lineage of `spec` beside `folder`, the one that has got furthest last.

    Not those that a finished one could have gone on from: what they have trained is in its result, and who trains
    again with other ranks after the end wants just that.
    """
    beside = (other for other in folder.parent.glob(f"{spec.name}-*") if other != folder)
    kin = [other for other in beside if _lineage(other) == spec.lineage]
    finished = [other for other in kin if (other / RESULT_FOLDER).exists()]
    used = {name for other in finished for attempt in Receipt(other).attempts for name in attempt.earlier}
    jobs = [_described(other) for other in kin if other not in finished and other.name not in used]
    return sorted(jobs, key=lambda job: (job.newest, job.folder))


def _described(folder: Path) -> EarlierJob:
    newest = max(checkpoint_names(folder / CHECKPOINTS_FOLDER), default="")
    return EarlierJob(folder, newest, Allocation(**read_json(folder / SPEC_FILE)["allocation"]))


def _lineage(folder: Path) -> str | None:
    """The lineage of a folder's job; None where none was submitted, or by a version that wrote another format."""
    with contextlib.suppress(SlimlineError, KeyError):
        return lineage(read_json(folder / SPEC_FILE))
    return None

"""The screen for a training job that has failed: who, where, the end of the right log, and how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimline.errors import NotSupportedError, SlimlineError
from slimline.launch.earlier import EarlierJob
from slimline.launch.states import JobState
from slimline.launch.watch import Ending
from slimline.training.spec import TrainingSpec, checkpoint_place

LOG_LINES = 40


def failure_screen(
    spec: TrainingSpec, folder: Path, job_id: str, ending: Ending, why: str | None, command: str
) -> SlimlineError:
    """The error for an attempt that is not tried again.

    Args:
        spec: the job.
        folder: its folder.
        job_id: its id.
        ending: how it ended.
        why: why nothing more is tried; None where the error of a rank speaks for itself.
        command: what the user typed, to be typed again.
    """
    failure = ending.failure
    if failure is not None and failure["kind"] == "not-supported":
        return NotSupportedError(**failure["error"])
    if failure is not None and failure["kind"] == "mistake":
        return SlimlineError(failure["text"])
    rank = (
        failure["rank"] if failure is not None and failure["kind"] == "error" else _silent_rank(spec, folder, failure)
    )
    what = f"Rank {rank} of the training job failed." if failure else "The training job ended without a result."
    return SlimlineError(
        what if why is None else f"{what.removesuffix('.')}: {why}.",
        where=f"experiment {spec.experiment}, variant {spec.variant}, seed {spec.seed}, job {job_id}, {ending.state}",
        got=f"the last lines of rank {rank}\n    " + "\n    ".join(_last_lines(folder, job_id, rank)),
        next_step=f"all logs are in {folder / 'submitit'}; to go on from the last checkpoint: {command}",
    )


def held_screen(spec: TrainingSpec, job_id: str, state: JobState, command: str) -> SlimlineError:
    """The error for a job that somebody holds: it stays in the queue."""
    return SlimlineError(
        "The training job is held in the queue, and waits until somebody lets it go.",
        where=f"experiment {spec.experiment}, variant {spec.variant}, seed {spec.seed}, job {job_id}",
        got=str(state),
        next_step=f"scontrol release {job_id}, then join it: {command}",
    )


def still_runs_screen(spec: TrainingSpec, other: EarlierJob, job_id: str, end: str, command: str) -> SlimlineError:
    """The error for a job of the same lineage that lives: two would train the same, and nobody waits for that one.

    Args:
        spec: the job that was to be submitted.
        other: the one that lives.
        job_id: its id.
        end: the command that ends it.
        command: what the user typed, to be typed again.
    """
    place = checkpoint_place(other.newest) if other.newest else "no checkpoint yet"
    return SlimlineError(
        "The same training still runs, as it was shared out before.",
        where=f"experiment {spec.experiment}, variant {spec.variant}, seed {spec.seed}, job {job_id}",
        got=f"{other.allocation}, newest checkpoint: {place}",
        expected=f"its end, before it goes on with {spec.allocation}",
        next_step=f"{end}, wait until it is gone, and: {command}; or set train.ranks back, which joins it",
    )


def _silent_rank(spec: TrainingSpec, folder: Path, failure: dict[str, Any] | None) -> int:
    """The rank that was killed: one that has left no word while its peers complain of its end."""
    if failure is None:
        return 0
    silent = (rank for rank in range(spec.allocation.ranks) if not (folder / f"failure-rank-{rank}.json").exists())
    return next(silent, int(failure["rank"]))


def _last_lines(folder: Path, job_id: str, rank: int) -> list[str]:
    logs = sorted((folder / "submitit").glob(f"{job_id}_{rank}_log.out"))
    return logs[0].read_text(errors="replace").splitlines()[-LOG_LINES:] if logs else ["(no log was written)"]

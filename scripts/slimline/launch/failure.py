"""The screen for a training job that has failed: who, where, the end of the right log, and how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimline.errors import NotSupportedError, SlimlineError
from slimline.launch.earlier import EarlierJob
from slimline.launch.patience import LOCK_SILENT_LIMIT_S
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
    blamed = failure is not None and failure["kind"] != "peer"
    rank = failure["rank"] if failure is not None and blamed else _silent_rank(spec, folder, failure)
    if failure is not None and failure["kind"] == "mistake":
        what = failure["text"]  # a screen of its own, which says what to mend
    elif failure is not None:
        what = f"Rank {rank} of the training job failed."
    else:
        what = "The training job ended without a result."
    return SlimlineError(
        what if why is None else f"{what.removesuffix('.')}: {why}.",
        where=f"experiment {spec.experiment}, variant {spec.variant}, seed {spec.seed}, job {job_id}, {ending.state}",
        got=f"the last lines of rank {rank}\n    " + "\n    ".join(_last_lines(folder, job_id, rank)),
        next_step=f"all logs are in {folder / 'submitit'}; to go on from the last checkpoint: {command}",
    )


def kept_screen(spec: TrainingSpec, job_id: str, state: JobState, why: str, command: str) -> SlimlineError:
    """The error for a job that has waited too long for somebody to do something: it stays in the queue.

    Args:
        spec: the job.
        job_id: its id.
        state: how it stands.
        why: what it waits for, and how long it has.
        command: what the user typed, to be typed again.
    """
    return SlimlineError(
        f"The training job does not go on: {why}.",
        where=f"experiment {spec.experiment}, variant {spec.variant}, seed {spec.seed}, job {job_id}",
        got=str(state),
        next_step=f"see to that ({_remedy(state, job_id)}), then join the job: {command}; or end it: scancel {job_id}",
    )


def _remedy(state: JobState, job_id: str) -> str:
    return f"scontrol release {job_id}" if state.is_held else f"scontrol show job {job_id} tells more"


def lock_screen(spec: TrainingSpec, command: str) -> SlimlineError:
    """The error for a job that another run keeps to itself without a sign of life."""
    return SlimlineError(
        "Another run holds this training job, and has shown no sign of life.",
        where=f"experiment {spec.experiment}, variant {spec.variant}, seed {spec.seed}",
        got=f"nothing for {LOCK_SILENT_LIMIT_S / 60:.0f} minutes",
        next_step=f"find it (a stopped process? another login node?), let it go on or end it, and: {command}",
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


def elsewhere_screen(spec: TrainingSpec, executor: str, end: str, command: str) -> SlimlineError:
    """The error for a job that another executor has, or may have.

    Args:
        spec: the job that was to be submitted.
        executor: where the other was submitted to.
        end: the command that ends it.
        command: what the user typed, to be typed again.
    """
    return SlimlineError(
        "The same training was submitted elsewhere, and may still run there.",
        where=f"experiment {spec.experiment}, variant {spec.variant}, seed {spec.seed}",
        got=f"a job of the executor {executor}",
        next_step=f"go on where it runs, with the command that started it, which joins it; or end it ({end}), there, "
        f"wait until it is gone, and: {command}",
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

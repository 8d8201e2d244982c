"""The course of a run in other programs: TensorBoard while it goes, Weights & Biases when it has ended.

`history.jsonl` is the truth; what is written here follows from its records and can be written again.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slimline.errors import SlimlineError

Record = dict[str, Any]

# Records with a course, and which of their values are places and not figures.
COURSES = ("step", "epoch")
PLACES = ("kind", "epoch", "step", "samples", "samples_digest")


class Board:
    """TensorBoard's event files in `folder`, made anew from `records`: a resumed run leaves no curve twice."""

    def __init__(self, folder: Path, records: Sequence[Record]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a second that only jobs need

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), flush_secs=10)
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """The figures of one record, as `step/loss` and so on over optimizer steps."""
        for name, value in figures(record):
            self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


def figures(record: Record) -> Iterator[tuple[str, float]]:
    """Names and values of what a record measures; nothing for records without a course."""
    if record["kind"] in COURSES:
        for key, value in record.items():
            if key not in PLACES and value is not None:
                yield f"{record['kind']}/{key}", value


def check_wandb() -> None:
    """Makes sure, before anything is trained, that the package is there.

    Raises:
        SlimlineError: it is not.
    """
    if importlib.util.find_spec("wandb") is None:
        raise SlimlineError(
            "The recipe names a project of Weights & Biases, and its package is not installed.",
            where="train.tracking.wandb",
            expected="the package wandb in this environment",
            next_step="pip install wandb, or leave the key out: TensorBoard's files are written in any case",
        )


def write_wandb_run(project: str, name: str, folder: Path, records: Sequence[Record], config: dict[str, Any]) -> None:
    """Writes a run offline, below `folder`/wandb: one run however often the job was resumed, and no network needed.

    Args:
        project: where `wandb sync` puts it.
        name: of the run.
        folder: the job's folder.
        records: the whole history.
        config: the job's spec.
    """
    import wandb

    shutil.rmtree(folder / "wandb", ignore_errors=True)  # of a process that was killed here
    run = wandb.init(project=project, name=name, dir=str(folder), mode="offline", config=config)
    run.define_metric("*", step_metric="optimizer_step")
    for record in records:
        if values := dict(figures(record)):
            # A step and the epoch that it ends share a number, so the axis is a value of its own.
            run.log({**values, "optimizer_step": record["step"]})
    run.finish()

"""Checkpoints: folders that are whole and verified, or not used.

A checkpoint is written beside, flushed to disk, given a manifest of SHA-256 digests and renamed. The newest one
whose digests hold is used; one that does not hold is reported and skipped, never loaded.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save

from slimline.errors import SlimlineError
from slimline.files import read_json, sha256_file, write_json
from slimline.training.spec import Allocation, checkpoint_names
from slimline.training.state import Copies, restore_state

log = logging.getLogger("slimline")

KEEP = 2
# What a rank sums up in an epoch; the times pass on all ranks at once.
COUNTS, TIMES = ("loss", "correct", "samples"), ("seconds", "data_wait")
MANIFEST, PROGRESS, STATE = "manifest.json", "progress.json", "state.safetensors"


@dataclass
class Progress:
    """Where a run is: the position in the data is (epoch, step), since order is a function of seed and epoch.

    Args:
        epoch: epochs completed.
        step: steps completed of the current epoch.
        sums: running sums of this rank in the current epoch: loss, correct, samples, seconds, data-wait seconds.
        rank_sums: in a checkpoint, the sums of each rank: adding up in the same order gives the same bits.
        digest: which samples the current epoch has seen, see `samples_digest`.
        records: history so far.
        stages: the allocations that the run has had so far, each with the epoch and step where it began.
        scaler: state of the loss scaler of fp16; empty without one.
        architecture: of a model that changes from round to round, what rebuilds it now; else empty.
        rounds: one note per round that has begun, where the job has rounds.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rank_sums: list[dict[str, float]] = field(default_factory=list)
    digest: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def go_on_with(self, allocation: Allocation) -> None:
        """Notes that from here on the run has `allocation`: another stage, unless it is that of the last one."""
        last = {name: self.stages[-1][name] for name in asdict(allocation)} if self.stages else None
        if last != asdict(allocation):
            self.stages.append(
                {"epoch": self.epoch, "step": self.step, "ranks": allocation.ranks, **asdict(allocation)}
            )

    def sums_of(self, rank: int, size: int) -> dict[str, float]:
        """The sums that rank `rank` of `size` goes on with.

        With another number of ranks the main one takes all counts, and each the time of the slowest: it passed for all.
        """
        if len(self.rank_sums) == size:
            return dict(self.rank_sums[rank])
        taken = TIMES if rank else (*COUNTS, *TIMES)
        return {
            name: (max if name in TIMES else sum)(sums[name] for sums in self.rank_sums)
            for name in taken
            if self.rank_sums
        }


def save_checkpoint(
    folder: Path, name: str, state: dict[str, Tensor], at: Progress, is_main: bool, shards: dist.ProcessGroup | None
) -> None:
    """Writes `folder/name` whole, then removes all but the newest `KEEP` checkpoints.

    Args:
        folder: of the checkpoints; ranks on other nodes see it too.
        name: see `checkpoint_name`.
        state: what `collect_state` gave.
        at: where the run is; that of the main rank is kept.
        is_main: whether this rank is the one that gives the folder its name.
        shards: the ranks that write a file each; None where the main rank writes all, alone.
    """
    temporary = folder / f".{name}.tmp"  # the same on every rank
    if is_main:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True, exist_ok=True)  # another rank may have been faster
    if shards is None:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, temporary / STATE)
    else:
        _write_shards(temporary, state, shards)
    if is_main:
        _finish(temporary, folder / name, at)


def newest_valid_checkpoint(*folders: Path) -> Path | None:
    """The newest checkpoint that holds, of two at one place that in the first folder; others are reported.

    In the first folder, the job's own, they are renamed too: among those that are kept they would take a good one's
    place.
    """
    found = [folder / name for folder in reversed(folders) for name in checkpoint_names(folder)]
    for checkpoint in sorted(found, key=lambda path: path.name)[::-1]:
        problem = _damage(checkpoint)
        if problem is None:
            return checkpoint
        log.warning("checkpoint %s is damaged (%s): going back to the one before", checkpoint, problem)
        if checkpoint.parent == folders[0]:
            aside = checkpoint.with_name(f"damaged-{checkpoint.name}")
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.replace(aside)
    return None


def load_checkpoint(
    checkpoint: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[Progress, Copies]:
    """Loads a checkpoint that holds into model and optimizers; gives the position, and the copies of the weights."""
    copies = restore_state(checkpoint, model, optimizers)
    return Progress(**read_json(checkpoint / PROGRESS)), copies


def _write_shards(folder: Path, state: dict[str, Tensor], ranks: dist.ProcessGroup) -> None:
    """One safetensors file per rank, its header says what part of each tensor it holds; returns when all are there."""
    try:
        # The main rank plans for all before any file is opened: so the folder is there.
        save(
            dict(state),
            storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
            process_group=ranks,
        )
    except CheckpointException as error:  # no Exception, so that nobody would catch it
        raise RuntimeError(f"a rank could not write its part of the checkpoint: {error}") from error


def _finish(temporary: Path, checkpoint: Path, at: Progress) -> None:
    write_json(temporary / PROGRESS, asdict(at))
    files = sorted(temporary.iterdir())
    write_json(temporary / MANIFEST, {file.name: sha256_file(file) for file in files})
    for path in (*files, temporary):
        _flush(path)
    shutil.rmtree(checkpoint, ignore_errors=True)
    temporary.replace(checkpoint)
    _flush(checkpoint.parent)
    for old in checkpoint_names(checkpoint.parent)[:-KEEP]:
        shutil.rmtree(checkpoint.parent / old)
    for unfinished in checkpoint.parent.glob(".epoch-*.tmp"):  # of a process that was killed while it wrote
        shutil.rmtree(unfinished)


def _flush(path: Path) -> None:
    """Has the disk take a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damage(checkpoint: Path) -> str | None:
    try:
        manifest = read_json(checkpoint / MANIFEST)
        if not isinstance(manifest, dict):
            return f"{MANIFEST} is no object"
        wrong = [file for file, digest in manifest.items() if digest != sha256_file(checkpoint / file)]
    except (SlimlineError, OSError) as error:
        return str(error).splitlines()[0]
    if PROGRESS not in manifest:
        return f"{MANIFEST} does not name {PROGRESS}"
    return f"digest of {', '.join(wrong)} differs" if wrong else None

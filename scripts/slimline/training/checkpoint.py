"""Checkpoints: folders that are whole and verified, or not used.

A checkpoint is written beside, flushed to disk, given a manifest of SHA-256 digests and renamed. The newest one
whose digests hold is used; one that does not hold is reported and skipped, never loaded.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slimline.errors import SlimlineError
from slimline.files import read_json, replacing_folder, sha256_file, write_json
from slimline.training.spec import checkpoint_names

log = logging.getLogger("slimline")

KEEP = 2
MANIFEST = "manifest.json"
FILES = ("model.safetensors", "optimizer.safetensors", "progress.json")


@dataclass
class Progress:
    """Where a run is: the position in the data is (epoch, step), since order is a function of seed and epoch.

    Args:
        epoch: epochs completed.
        step: steps completed of the current epoch.
        sums: running sums of this rank in the current epoch: loss, correct, samples, seconds, data-wait seconds.
        rank_sums: in a checkpoint, the sums of each rank: adding up in the same order gives the same bits.
        digest: which samples the current epoch has seen, see `samples_digest`.
        records: history of the epochs completed.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rank_sums: list[dict[str, float]] = field(default_factory=list)
    digest: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)

    def sums_of(self, rank: int, size: int) -> dict[str, float]:
        """The sums that rank `rank` of `size` goes on with; with another number of ranks the main one takes all."""
        if len(self.rank_sums) == size:
            return dict(self.rank_sums[rank])
        names = self.rank_sums[0] if self.rank_sums and rank == 0 else {}
        return {name: sum(sums[name] for sums in self.rank_sums) for name in names}


def save_checkpoint(folder: Path, name: str, model: nn.Module, optimizer: torch.optim.Optimizer, at: Progress) -> None:
    """Writes `folder/name` whole, then removes all but the newest `KEEP` checkpoints."""
    with replacing_folder(folder / name) as temporary:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, temporary / FILES[0])
        save_file(dict(_optimizer_tensors(optimizer)), temporary / FILES[1])
        write_json(temporary / FILES[2], asdict(at))
        write_json(temporary / MANIFEST, {file: sha256_file(temporary / file) for file in FILES})
    for old in checkpoint_names(folder)[:-KEEP]:
        shutil.rmtree(folder / old)
    for unfinished in folder.glob(".epoch-*.tmp"):  # of a process that was killed while it wrote
        shutil.rmtree(unfinished)


def newest_valid_checkpoint(folder: Path) -> str | None:
    """Name of the newest checkpoint that holds; those that do not are reported."""
    for name in reversed(checkpoint_names(folder)):
        problem = _damage(folder / name)
        if problem is None:
            return name
        log.warning("checkpoint %s is damaged (%s): going back to the one before", folder / name, problem)
    return None


def load_checkpoint(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Loads a checkpoint that holds into model and optimizer."""
    model.load_state_dict(load_file(checkpoint / FILES[0]))
    _restore_optimizer(optimizer, load_file(checkpoint / FILES[1]))
    return Progress(**read_json(checkpoint / FILES[2]))


def _damage(checkpoint: Path) -> str | None:
    try:
        manifest = read_json(checkpoint / MANIFEST)
        wrong = [file for file in FILES if manifest.get(file) != sha256_file(checkpoint / file)]
    except (SlimlineError, OSError) as error:
        return str(error).splitlines()[0]
    return f"digest of {', '.join(wrong)} differs" if wrong else None


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """The optimizer's per-parameter state as (`index.name`, tensor); groups follow from the recipe."""
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                yield f"{index}.{name}", torch.as_tensor(value).contiguous()


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    content = optimizer.state_dict()
    content["state"] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # Fused kernels walk through parameter and state side by side in memory: the layouts must agree.
            value = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
        content["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(content)

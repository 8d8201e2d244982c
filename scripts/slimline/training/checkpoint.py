"""Checkpoints: folders that are whole and verified, or not used.

A checkpoint is written beside, flushed to disk, given a manifest of SHA-256 digests and renamed. The newest one
whose digests hold is used; one that does not hold is reported and skipped, never loaded.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
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
FILES = ("model.safetensors", "optimizer.safetensors", "progress.json", "extra.safetensors")


@dataclass
class Progress:
    """Where a run is: the position in the data is (epoch, step), since order is a function of seed and epoch.

    Args:
        epoch: epochs completed.
        step: steps completed of the current epoch.
        sums: running sums of the current epoch: loss, correct, samples, seconds, data-wait seconds.
        digest: which samples the current epoch has seen, see `samples_digest`.
        records: history so far.
        scaler: state of the loss scaler of fp16; empty without one.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    digest: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    name: str,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    at: Progress,
    extra: dict[str, Tensor],
) -> None:
    """Writes `folder/name` whole, then removes all but the newest `KEEP` checkpoints.

    `extra` holds what a run needs besides: the moving average and the best weights, under names of the caller's.
    """
    with replacing_folder(folder / name) as temporary:
        _save(model.state_dict(), temporary / FILES[0])
        _save(dict(_optimizer_tensors(optimizers)), temporary / FILES[1])
        write_json(temporary / FILES[2], asdict(at))
        _save(extra, temporary / FILES[3])
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


def load_checkpoint(
    checkpoint: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[Progress, dict[str, Tensor]]:
    """Loads a checkpoint that holds into model and optimizers; gives the position, and the extra tensors."""
    model.load_state_dict(load_file(checkpoint / FILES[0]))
    _restore_optimizers(optimizers, load_file(checkpoint / FILES[1]))
    return Progress(**read_json(checkpoint / FILES[2])), load_file(checkpoint / FILES[3])


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)


def _damage(checkpoint: Path) -> str | None:
    try:
        manifest = read_json(checkpoint / MANIFEST)
        wrong = [file for file in FILES if manifest.get(file) != sha256_file(checkpoint / file)]
    except (SlimlineError, OSError) as error:
        return str(error).splitlines()[0]
    return f"digest of {', '.join(wrong)} differs" if wrong else None


def _optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[tuple[str, Tensor]]:
    """Per-parameter state as (`optimizer.index.name`, tensor); groups follow from the recipe."""
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:
                    yield f"{number}.{index}.{name}", torch.as_tensor(value)


def _restore_optimizers(optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    for number, optimizer in enumerate(optimizers):
        prefix = f"{number}."
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        _restore_optimizer(optimizer, own)


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

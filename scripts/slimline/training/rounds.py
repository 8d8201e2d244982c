"""Training in rounds: before each something is taken away from the model, and what is left is trained on.

The epochs of all rounds are one course: checkpoints, history and heartbeat count on from round to round. Optimizer
and schedule of the learning rate start anew in each, as does what `keep` looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimline.files import read_json
from slimline.models.architecture import Architecture
from slimline.models.artifact import build
from slimline.training.checkpoint import PROGRESS, Progress, newest_valid_checkpoint
from slimline.training.distributed import World
from slimline.training.settings import RunSettings
from slimline.training.spec import CHECKPOINTS_FOLDER, TrainingSpec
from slimline.training.state import unsharded

# (spec, world, folder, model, architecture, notes of the rounds before) -> architecture and note of this round.
# It changes the model, whole and in host memory, in place; every rank calls it, and all get the same.
Change = Callable[
    [TrainingSpec, World, Path, nn.Module, Architecture, list[dict[str, Any]]], tuple[Architecture, dict[str, Any]]
]


def round_epochs(epochs: int, rounds: int) -> list[range]:
    """The epochs of each round: as many in each, but for one."""
    bounds = [epochs * number // rounds for number in range(rounds + 1)]
    return [range(start, stop) for start, stop in pairwise(bounds)]


def newest_checkpoint(folder: Path, world: World) -> Path | None:
    """The checkpoint from which the job in `folder` goes on, its own or that of an earlier job; a collective."""
    # The main rank chooses: on a shared file system others may not see the newest one yet.
    jobs = (folder, *map(Path, RunSettings.read(folder).earlier))
    places = [job / CHECKPOINTS_FOLDER for job in jobs]
    newest = world.from_main(str(newest_valid_checkpoint(*places) or "") if world.is_main else None)
    return Path(newest) if newest else None


def progress_at(checkpoint: Path | None) -> Progress:
    """Where the run was at a checkpoint; at the start without one."""
    return Progress(**read_json(checkpoint / PROGRESS)) if checkpoint else Progress()


def next_round(at: Progress, epochs: range, architecture: Architecture, note: dict[str, Any]) -> Progress:
    """Where a round begins.

    Args:
        at: the end of the round before, or the start.
        epochs: of the round.
        architecture: of the model as it goes into the round.
        note: what was done to it.
    """
    return Progress(
        epoch=epochs.start,
        records=at.records,
        stages=at.stages,
        architecture=architecture.to_json(),
        rounds=[*at.rounds, note],
    )


def whole_copy(model: nn.Module, architecture: Architecture, world: World) -> nn.Module:
    """A copy of a trained model in host memory, free of what training has hung on it; a collective.

    Args:
        model: as trained.
        architecture: what rebuilds it.
        world: its ranks; running statistics are those of the main one.
    """
    world.copy_from_main(model.buffers())
    whole = unsharded(model, architecture)
    with torch.random.fork_rng(devices=[]):
        copy = build(architecture)
    copy.load_state_dict(whole.state_dict())
    return copy

"""Further training: the parent is trained on, and nothing else about it changes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from slimline.models.architecture import Architecture
from slimline.models.artifact import load_artifact
from slimline.training.distributed import World
from slimline.training.job import run_training
from slimline.training.losses import LossSum, cross_entropy
from slimline.training.spec import TrainingSpec


def run(spec: TrainingSpec, folder: Path) -> None:
    """Entry point of a job that trains the parent on."""
    run_training(spec, folder, _parent)


def _parent(spec: TrainingSpec, world: World) -> tuple[nn.Module, Architecture, LossSum]:
    assert spec.parent is not None
    model, architecture = load_artifact(spec.parent)
    return model, architecture, cross_entropy(spec.recipe.label_smoothing)

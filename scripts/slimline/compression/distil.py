"""Distillation: a smaller student is trained on its parent's logits."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from slimline.config.variants import DistilConfig
from slimline.data.prepared import PreparedDataset
from slimline.models.architecture import Architecture
from slimline.models.artifact import build, load_artifact
from slimline.models.pretrained import start_from
from slimline.models.registry import architecture_for
from slimline.training.distributed import World
from slimline.training.job import run_training
from slimline.training.losses import LossSum, distillation
from slimline.training.spec import TrainingSpec


def run(spec: TrainingSpec, folder: Path) -> None:
    """Entry point of a distillation job."""
    run_training(spec, folder, _student)


def _student(spec: TrainingSpec, world: World) -> tuple[nn.Module, Architecture, LossSum]:
    assert spec.parent is not None
    assert isinstance(spec.step, DistilConfig)
    teacher, _ = load_artifact(spec.parent)
    teacher.to(world.device).requires_grad_(False)
    architecture = architecture_for(spec.step.model, PreparedDataset.open(spec.prepared).stats)
    model = build(architecture)
    start_from(model, spec.step.model)
    return model, architecture, distillation(teacher, spec.step.temperature, spec.step.weight)

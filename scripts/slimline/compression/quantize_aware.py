"""Quantization-aware training: the parent is trained on while it computes as its int8 file will."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from slimline.compression.simulation import simulate, take_away
from slimline.compression.weight_range import largest_weight
from slimline.config.variants import QuantizeConfig
from slimline.models.architecture import Architecture
from slimline.models.artifact import load_artifact
from slimline.training.distributed import World
from slimline.training.job import run_training
from slimline.training.losses import LossSum, cross_entropy
from slimline.training.spec import TrainingSpec


def run(spec: TrainingSpec, folder: Path) -> None:
    """Entry point of a job of quantization-aware training; its result is an ordinary float artifact."""
    run_training(spec, folder, _simulated_parent, finish=_ordinary)


def _simulated_parent(spec: TrainingSpec, world: World) -> tuple[nn.Module, Architecture, LossSum]:
    del world
    assert spec.parent is not None
    model, architecture = load_artifact(spec.parent)
    assert isinstance(spec.step, QuantizeConfig)
    simulate(model, largest_weight(spec.step))
    return model, architecture, cross_entropy(spec.recipe.label_smoothing)


def _ordinary(model: nn.Module, architecture: Architecture) -> Architecture:
    """Float layers again; the architecture remembers the ranges, for the int8 file to use."""
    ranges = take_away(model)
    return replace(architecture, ranges=tuple((name, low, high) for name, (low, high) in ranges.items()))

"""Structured pruning: remove whole channels with everything that depends on them, then fine-tune."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch_pruning
from torch import nn

from slimline.config.variants import PruneConfig
from slimline.errors import NotSupportedError
from slimline.failed import is_of_the_machine
from slimline.models.architecture import Architecture
from slimline.models.artifact import load_artifact, with_pruning
from slimline.models.count import count_parameters
from slimline.models.dependency import example_images
from slimline.training.distributed import World
from slimline.training.job import run_training
from slimline.training.losses import LossSum, cross_entropy
from slimline.training.spec import TrainingSpec


def run(spec: TrainingSpec, folder: Path) -> None:
    """Entry point of a pruning job."""
    run_training(spec, folder, _pruned_parent)


def _pruned_parent(spec: TrainingSpec, world: World) -> tuple[nn.Module, Architecture, LossSum]:
    assert spec.parent is not None
    assert isinstance(spec.step, PruneConfig)
    model, architecture = load_artifact(spec.parent)
    architecture = prune(model, architecture, spec.step)
    return model, architecture, cross_entropy(spec.recipe.label_smoothing)


def prune(model: nn.Module, architecture: Architecture, config: PruneConfig) -> Architecture:
    """Removes the least important channels of every layer but the last, in place.

    The groups of channels that must go together come from the dependency graph (DepGraph, Fang et al., CVPR
    2023); their importance is the norm of their weights.

    Args:
        model: the parent, with its weights.
        architecture: its architecture.
        config: how much to remove, and by what order.

    Returns:
        The architecture after pruning: it rebuilds the same shapes.

    Raises:
        NotSupportedError: the library cannot prune this network, or there was nothing to remove.
    """
    before = count_parameters(model)
    try:
        pruner = torch_pruning.pruner.BasePruner(
            model,
            example_images(architecture),
            importance=_importance(config),
            pruning_ratio=config.ratio,
            round_to=config.round_to,
            ignored_layers=[_last_linear(model)],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner.step()
        model(example_images(architecture))  # shapes that no longer fit show here, not in the trainer
        history = pruner.pruning_history()
    except (RuntimeError, ValueError, AttributeError, KeyError, ZeroDivisionError) as error:
        if is_of_the_machine(error):
            raise
        raise _cannot_prune(architecture, f"{type(error).__name__}: {error}") from error
    if count_parameters(model) >= before:
        raise _cannot_prune(architecture, f"nothing was removed at ratio {config.ratio} and round_to {config.round_to}")
    return with_pruning(architecture, history)


def _importance(config: PruneConfig) -> Any:
    if config.importance == "random":
        return torch_pruning.importance.RandomImportance()
    return torch_pruning.importance.GroupMagnitudeImportance(p=2 if config.importance == "magnitude-l2" else 1)


def _last_linear(model: nn.Module) -> nn.Module:
    """The layer that gives the logits; its outputs are the classes and stay."""
    outputs = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    linears = [module for module in outputs if isinstance(module, nn.Linear)]
    return linears[-1] if linears else outputs[-1]


def _cannot_prune(architecture: Architecture, reason: str) -> NotSupportedError:
    return NotSupportedError(
        f"The model {architecture.name} cannot be pruned this way.",
        where="a variant with `prune`",
        got=reason,
        expected="a network whose channels can be removed in groups",
        next_step="use quantize or distil for this model, or another ratio or round_to",
    )

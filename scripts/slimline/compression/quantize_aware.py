"""Quantization-aware training: the parent is trained on while it computes as its int8 file will."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from slimline.compression.simulation import simulate, take_away
from slimline.compression.weight_range import largest_weight
from slimline.config.variants import QuantizeConfig
from slimline.errors import NotSupportedError
from slimline.models.architecture import Architecture
from slimline.models.artifact import load_artifact
from slimline.models.modes import hooked
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
    refuse_tokens(model, architecture)
    simulate(model, largest_weight(spec.step))
    return model, architecture, cross_entropy(spec.recipe.label_smoothing)


def refuse_tokens(model: nn.Module, architecture: Architecture) -> None:
    """Refuses before any step what could not be quantized after all of them.

    The export transposes the weights of products of tokens and gives them other names, so that no range finds them.

    Raises:
        NotSupportedError: less than half of the convolutions and linear layers are called on whole images or features.
    """
    layers = [module for module in model.modules() if type(module) in (nn.Conv2d, nn.Linear)]
    found: set[nn.Module] = set()

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if type(layer) is nn.Conv2d or inputs[0].dim() == 2:
            found.add(layer)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad(), hooked(hooks):
        model.eval()(torch.zeros(2, *architecture.image_shape, dtype=torch.uint8))
    if 2 * len(found) < len(layers):
        raise NotSupportedError(
            f"The model {architecture.name} cannot be trained to be quantized.",
            where="`quantize` of a variant with epochs",
            got=f"products of tokens in {len(layers) - len(found)} of {len(layers)} layers, whose ranges would be lost",
            expected="a network of convolutions",
            next_step="quantize this model without epochs",
        )


def _ordinary(model: nn.Module, architecture: Architecture) -> Architecture:
    """Float layers again; the architecture remembers the ranges, for the int8 file to use."""
    ranges = take_away(model)
    return replace(architecture, ranges=tuple((name, low, high) for name, (low, high) in ranges.items()))

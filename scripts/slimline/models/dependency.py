"""The graph of which channels must go together (DepGraph, Fang et al., CVPR 2023)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch_pruning
from torch import nn

from slimline.config.model_names import channels_cannot_go
from slimline.errors import SlimlineError
from slimline.models.architecture import Architecture

# What Torch-Pruning raises where it does not understand a network.
NOT_UNDERSTOOD = (
    RuntimeError, ValueError, AttributeError, KeyError, IndexError, ZeroDivisionError, AssertionError, RecursionError,
    UserWarning,
)  # fmt: skip


def example_images(architecture: Architecture) -> torch.Tensor:
    """Float images [2, c, h, w] that exercise a model's graph."""
    return torch.zeros(2, *architecture.image_shape)


def dependency_graph(model: nn.Module, architecture: Architecture) -> torch_pruning.DependencyGraph:
    """Torch-Pruning's dependency graph of a model, traced with images of its shape.

    Raises:
        SlimlineError: the library is known not to manage this network, or has just shown it.
    """
    reason = channels_cannot_go(architecture.name)
    if reason is not None:
        raise cannot_cut(architecture, reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # It says so and goes on, for hours.
        warnings.filterwarnings("error", message="Maximum recursive depth")
        try:
            return torch_pruning.DependencyGraph().build_dependency(model, example_images(architecture))
        except NOT_UNDERSTOOD as error:
            raise cannot_cut(architecture, f"{type(error).__name__}: {error}") from error


def replay(model: nn.Module, architecture: Architecture, removals: Sequence[tuple[str, bool, Sequence[int]]]) -> None:
    """Removes channels from a model, in place and in order.

    Args:
        model: as it was before the first of them.
        architecture: its architecture.
        removals: (module, along output channels?, indexes), as an `Architecture` has them.
    """
    graph = dependency_graph(model, architecture)
    graph.load_pruning_history([(name, out, list(indexes)) for name, out, indexes in removals])
    settle(model)


def settle(model: nn.Module) -> None:
    """Brings up to date what torchvision's ViT keeps beside its layers: how many channels a token has."""
    for module in model.modules():
        patches = getattr(module, "conv_proj", None)
        if isinstance(patches, nn.Conv2d) and hasattr(module, "hidden_dim"):
            module.hidden_dim = patches.out_channels  # type: ignore[assignment]


def cannot_cut(architecture: Architecture, reason: str) -> SlimlineError:
    """The error for a network whose channels cannot be removed."""
    return SlimlineError(
        f"The model {architecture.name} cannot be pruned this way.",
        where="`prune` of a variant, or `width` of a model",
        got=f"not supported: {reason}",
        expected="a network whose channels can be removed in groups",
        next_step="use quantize or distil for this model, prune with granularity: weights, or take another model",
    )

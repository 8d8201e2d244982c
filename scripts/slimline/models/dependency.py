"""The graph of which channels must go together (DepGraph, Fang et al., CVPR 2023)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import nn

from slimline.config.model_names import channels_cannot_go
from slimline.errors import NotSupportedError
from slimline.failed import is_of_the_machine
from slimline.models.architecture import Architecture
from slimline.models.layers import last_layer

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
        NotSupportedError: the library is known not to manage this network, or has just shown it.
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
            if is_of_the_machine(error):
                raise
            raise cannot_cut(architecture, f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, eq=False)
class GraphGroup:
    """Channels that go together, as the graph gives them.

    Args:
        name: of the first layer that writes them.
        channels: how many there are.
        blocks: in how many parts of equal size they lie, as the groups of a convolution and the heads of an
            attention do; each part loses as many.
        members: Torch-Pruning's group, with all channels.
    """

    name: str
    channels: int
    blocks: int
    members: Any


def channel_groups(graph: torch_pruning.DependencyGraph) -> list[GraphGroup]:
    """The groups of a network in the order of its graph; what the last layer writes is none: the classes stay."""
    found = graph.get_all_groups(ignored_layers=[last_layer(graph.model)])
    return [
        GraphGroup(
            graph._module2name[group[0].dep.target.module],
            len(group[0].idxs),
            math.lcm(*(_blocks(item.dep.target.module) for item in group)),
            group,
        )
        for group in found
    ]


def is_depthwise(layer: Any) -> bool:
    """Whether each of its channels is computed from that one alone, so that it passes on what it reads."""
    return isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.out_channels == layer.in_channels


def replay(model: nn.Module, architecture: Architecture) -> None:
    """Removes from a model the channels that its architecture says, in place and in order.

    Each round has a graph of its own, as it had when it was pruned: a grouped convolution that is down to one channel
    per group is depthwise from then on, and what goes with it is another.

    Args:
        model: as it was before the first round.
        architecture: its architecture.
    """
    for removals in architecture.pruning:
        graph = dependency_graph(model, architecture)
        graph.load_pruning_history([(name, out, list(indexes)) for name, out, indexes in removals])
        settle(model)


def settle(model: nn.Module) -> None:
    """Brings up to date what torchvision's ViT keeps beside its layers: how many channels a token has."""
    for module in model.modules():
        patches = getattr(module, "conv_proj", None)
        if isinstance(patches, nn.Conv2d) and hasattr(module, "hidden_dim"):
            module.hidden_dim = patches.out_channels  # type: ignore[assignment]


def _blocks(layer: Any) -> int:
    if isinstance(layer, nn.Conv2d) and not is_depthwise(layer):
        return layer.groups
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups
    return layer.num_heads if isinstance(layer, nn.MultiheadAttention) else 1


def cannot_cut(architecture: Architecture, reason: str) -> NotSupportedError:
    """The error for a network whose channels cannot be removed."""
    return NotSupportedError(
        f"The model {architecture.name} cannot be pruned this way.",
        where="`prune` of a variant, or `width` of a model",
        got=reason,
        expected="a network whose channels can be removed in groups",
        next_step="use quantize or distil for this model, prune with granularity: weights, or take another model",
    )

"""The groups of channels of a network that go together, what each costs, and how to take some away."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from slimline.failed import is_of_the_machine
from slimline.models.architecture import Architecture
from slimline.models.artifact import with_pruning
from slimline.models.dependency import (
    NOT_UNDERSTOOD,
    GraphGroup,
    cannot_cut,
    channel_groups,
    dependency_graph,
    example_images,
    is_depthwise,
    settle,
)

Layer = nn.Conv2d | nn.Linear | nn.MultiheadAttention
Importance = Callable[[Any], Tensor | None]  # of a group of Torch-Pruning: a score for each channel, if it has any


@dataclass(frozen=True, eq=False)
class Use:
    """One layer that writes or reads channels of a group.

    Args:
        layer: the layer.
        reads: whether it reads them; else it writes them.
        indexes: their places in the layer, [m]: more than one for a channel that is flattened with its pixels.
        channels: which channel of the group is at each place, [m].
    """

    layer: Layer
    reads: bool
    indexes: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def share(self) -> float:
        """Of all that the layer reads or writes."""
        return len(self.indexes) / _size(self.layer, self.reads)


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that several layers share, so that one goes in all of them or in none.

    Args:
        name: of the first layer that writes them.
        importance: of each, [channels].
        blocks: in how many parts of equal size they lie, as the groups of a convolution and the heads of an
            attention do; each part loses as many.
        uses: the layers that write and read them.
    """

    name: str
    importance: Tensor
    blocks: int
    uses: tuple[Use, ...]

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.importance)

    def unit(self, round_to: int) -> int:
        """The least number of channels of which a multiple is kept: one that fits `round_to` and the blocks."""
        return math.lcm(round_to, self.blocks)

    def weakest(self, n: int) -> list[int]:
        """The `n` least important channels; where there are blocks, the same places of each, by their mean."""
        size = self.channels // self.blocks
        order = torch.argsort(self.importance.view(self.blocks, size).mean(0), stable=True)
        places = order[: n // self.blocks]
        return sorted((torch.arange(self.blocks)[:, None] * size + places).flatten().tolist())


def find_groups(model: nn.Module, architecture: Architecture, importance: Importance) -> list[ChannelGroup]:
    """The groups of a network in the order of its layers; what the last layer writes is none: the classes stay.

    Raises:
        NotSupportedError: the network is not understood.
    """
    graph = dependency_graph(model, architecture)
    try:
        scored = [(group, importance(group.members)) for group in channel_groups(graph)]
        return [_described(graph, group, score.cpu()) for group, score in scored if score is not None]
    except NOT_UNDERSTOOD as error:
        if is_of_the_machine(error):
            raise
        raise cannot_cut(architecture, f"{type(error).__name__}: {error}") from error


def remove(
    model: nn.Module, architecture: Architecture, groups: Sequence[ChannelGroup], kept: Mapping[str, int]
) -> Architecture:
    """Takes the weakest channels away, in place.

    Args:
        model: the network that the groups were found in.
        architecture: its architecture.
        groups: all of them.
        kept: how many channels of each group stay, by its name.

    Returns:
        The architecture afterwards: it rebuilds the same shapes.

    Raises:
        NotSupportedError: what would be left does not compute.
    """
    graph = dependency_graph(model, architecture)
    layers = dict(model.named_modules())
    try:
        for group in groups:
            if kept[group.name] < group.channels:
                layer = layers[group.name]
                write = graph.get_pruner_of_module(layer).prune_out_channels
                graph.get_pruning_group(layer, write, group.weakest(group.channels - kept[group.name])).prune()
        settle(model)
        with torch.no_grad():
            model(example_images(architecture))  # shapes that no longer fit show here, not in the trainer
    except NOT_UNDERSTOOD as error:
        if is_of_the_machine(error):
            raise
        raise cannot_cut(architecture, f"{type(error).__name__}: {error}") from error
    return with_pruning(architecture, graph.pruning_history())


def outputs_that_stay(
    model: nn.Module, groups: Sequence[ChannelGroup], kept: Mapping[str, int]
) -> dict[str, list[int]]:
    """Which of its outputs each layer keeps that writes channels of a group, by its name; see `remove`."""
    names = {module: name for name, module in model.named_modules()}
    stay: dict[str, set[int]] = {}
    for group in groups:
        gone = set(group.weakest(group.channels - kept[group.name]))
        for use in group.uses:
            if not use.reads:
                outputs = stay.setdefault(names[use.layer], set(range(_size(use.layer, reads=False))))
                outputs -= {index for index, channel in zip(use.indexes, use.channels, strict=True) if channel in gone}
    return {name: sorted(outputs) for name, outputs in stay.items()}


@contextmanager
def without(group: ChannelGroup, n: int) -> Iterator[None]:
    """The network computes as if the `n` weakest channels of a group were gone: nothing reads them.

    Exact but for layer normalisation, whose mean and variance still count them as they are.
    """
    gone = set(group.weakest(n))
    saved = [(weight, weight.detach().clone()) for use in group.uses if use.reads for weight in _readers(use.layer)]
    try:
        with torch.no_grad():
            for use in group.uses:
                if use.reads:
                    _forget(use.layer, [i for i, c in zip(use.indexes, use.channels, strict=True) if c in gone])
        yield
    finally:
        with torch.no_grad():
            for weight, values in saved:
                weight.copy_(values)


def _described(graph: torch_pruning.DependencyGraph, group: GraphGroup, importance: Tensor) -> ChannelGroup:
    uses = []
    for item in group.members:
        layer = item.dep.target.module
        if isinstance(layer, Layer) and None not in item.root_idxs:
            places = tuple(item.idxs), tuple(item.root_idxs)
            if is_depthwise(layer):
                uses.append(Use(layer, False, *places))
            elif isinstance(layer, nn.MultiheadAttention):
                uses += [Use(layer, False, *places), Use(layer, True, *places)]
            else:
                uses.append(Use(layer, graph.is_in_channel_pruning_fn(item.dep.handler), *places))
    return ChannelGroup(group.name, importance, group.blocks, tuple(uses))


def _size(layer: Layer, reads: bool) -> int:
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels if reads else layer.out_channels
    if isinstance(layer, nn.Linear):
        return layer.in_features if reads else layer.out_features
    return int(layer.embed_dim)


def _readers(layer: Layer) -> list[Tensor]:
    """The weights that meet what a layer reads."""
    if isinstance(layer, nn.MultiheadAttention):
        return [layer.in_proj_weight, layer.out_proj.weight]
    return [layer.weight]


def _forget(layer: Layer, indexes: list[int]) -> None:
    """Sets to zero what a layer does with its inputs at these places."""
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        grouped = layer.weight.view(layer.groups, -1, *layer.weight.shape[1:])  # [groups, out, in, h, w] of each
        for index in indexes:
            grouped[index // grouped.shape[2], :, index % grouped.shape[2]] = 0
        return
    for weight in _readers(layer):
        weight[:, indexes] = 0

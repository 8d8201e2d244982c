"""Structured pruning: which channels go, and how many of each layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from slimline.compression.allocation import MacModel, Price, Scan, by_damage, by_importance, cheapest, uniform
from slimline.compression.channels import ChannelGroup, Importance, find_groups, outputs_that_stay, remove
from slimline.config.pruning import PruneConfig
from slimline.models.architecture import Architecture
from slimline.models.count import count_macs, count_parameters
from slimline.models.dependency import cannot_cut, example_images

# Measures, for a network and its groups, how far the loss rises without shares of each.
Measure = Callable[[nn.Module, list[ChannelGroup]], Scan]
# The groups of a network with an importance that images decide.
Rank = Callable[[nn.Module, list[ChannelGroup]], list[ChannelGroup]]
# Makes up for what was removed: takes the pruned network, the one before, and which of its outputs each layer kept.
Mend = Callable[[nn.Module, nn.Module, Mapping[str, Sequence[int]]], dict[str, Any]]


@dataclass(frozen=True)
class WithImages:
    """What a pruning does by training images.

    Args:
        measure: for the allocation `sensitivity`.
        rank: for the importance `redundancy`.
        mend: called after the removal, where there was any; what it returns goes into the record.
    """

    measure: Measure | None = None
    rank: Rank | None = None
    mend: Mend | None = None


NO_IMAGES = WithImages()


@dataclass(frozen=True)
class Goal:
    """Where one round of pruning has to get.

    Args:
        ratio: share of the channels (or weights) at first that are gone afterwards.
        at_first: channels of each group before the first round; None: as they are now.
        seed: decides which channels go where `importance` is `random`.
    """

    ratio: float
    at_first: dict[str, int] | None = None
    seed: int = 0


def prune(
    model: nn.Module,
    architecture: Architecture,
    config: PruneConfig,
    goal: Goal | None = None,
    images: WithImages = NO_IMAGES,
) -> tuple[Architecture, dict[str, Any]]:
    """Removes channels of every layer but the last, in place.

    The groups of channels that must go together come from the dependency graph (DepGraph, Fang et al., CVPR
    2023); their importance is the norm of their weights, or what `rank` of `images` says.

    How many each group loses: `uniform`, the same share of all. `global`: least importance for the MACs that are
    saved. `sensitivity`: least rise of the loss for the MACs that are saved, by a scan that takes shares of one group
    away at a time (Li et al., ICLR 2017). The last two stop where the MACs are those of `uniform`.

    Args:
        model: the parent, with its weights.
        architecture: its architecture.
        config: how much to remove, and by what order.
        goal: of this round; that of the config where it is None.
        images: what needs training images; without them the importance `redundancy` is the norm of weights.

    Returns:
        The architecture after pruning, which rebuilds the same shapes, and what was decided, for the record.

    Raises:
        NotSupportedError: the library cannot prune this network, or no round has anything to remove.
    """
    goal = goal or Goal(config.ratio)
    groups = find_groups(model, architecture, _importance(config, goal.seed))
    if config.ranking == "redundancy" and images.rank is not None:
        groups = images.rank(model, groups)
    at_first = goal.at_first or {group.name: group.channels for group in groups}
    scan: Scan = {}
    if config.allocation == "uniform":
        kept = uniform(groups, at_first, goal.ratio, config.round_to)
    else:
        price: Price = by_importance
        if config.allocation == "sensitivity":
            assert images.measure is not None
            scan = images.measure(model, groups)
            price = by_damage(scan)
        macs = MacModel(model, example_images(architecture), groups)
        kept = cheapest(groups, at_first, goal.ratio, config.round_to, macs, price)
    before = sizes(model, architecture)
    # A round may find its goal reached, or too small for one whole multiple: the last one's is what counts.
    mended: dict[str, Any] = {}
    if any(kept[group.name] < group.channels for group in groups):
        parent, stay = copy.deepcopy(model), outputs_that_stay(model, groups, kept)
        architecture = remove(model, architecture, groups, kept)
        if images.mend is not None:
            mended = images.mend(model, parent, stay)
    elif goal.at_first is None and (
        config.iterations == 1 or uniform(groups, at_first, config.ratio, config.round_to) == kept
    ):
        raise cannot_cut(architecture, "no channel was to go: the ratio is too small, or round_to too large")
    return architecture, {
        "ratio": goal.ratio,
        "before": before,
        "after": sizes(model, architecture),
        # Groups get new names when a grouped convolution becomes a depthwise one, or one channel is left.
        "layers": {
            group.name: {"channels": at_first.get(group.name, group.channels), "kept": kept[group.name]}
            for group in groups
        },
        "sensitivity": {name: {str(share): rise for share, rise in rises.items()} for name, rises in scan.items()},
        **mended,
    }


def _importance(config: PruneConfig, seed: int) -> Importance:
    if config.importance == "random":
        generator = torch.Generator().manual_seed(seed)

        def random(group: Any) -> Tensor:
            return torch.rand(len(group[0].idxs), generator=generator)

        return random
    importance: Importance = torch_pruning.importance.GroupMagnitudeImportance(
        p=1 if config.importance == "magnitude-l1" else 2
    )
    return importance


def sizes(model: nn.Module, architecture: Architecture) -> dict[str, int]:
    """Parameters and MACs."""
    return {"parameters": count_parameters(model), "macs": count_macs(model, architecture.image_shape)}

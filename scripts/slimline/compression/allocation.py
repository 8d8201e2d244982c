"""How many channels of each group stay: all allocations leave as many MACs as the uniform one of the same ratio.

So a ratio means the same whatever the allocation, and two of them can be compared at equal cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from slimline.compression.channels import ChannelGroup, Layer
from slimline.models.modes import evaluating, hooked

# No group loses more than this share of its channels, or the ratio where that is more: no layer vanishes.
LARGEST_SHARE = 0.9
# Most moves in which a group can go from all of its channels to the fewest: wide ones go in larger steps.
MOST_STEPS = 32
# 1 - 0.8 is a little less than 0.2, in floats.
ROUNDING = 1e-9

Kept = Mapping[str, int]  # channels that stay, by the name of their group
Scan = Mapping[str, Mapping[float, float]]  # rise of the loss by group and by the share of it that is gone
# (group, channels that stay, channels that would stay after the next step) -> what that step costs
Price = Callable[[ChannelGroup, int, int], float]


class MacModel:
    """Multiply-accumulate operations of a network as a function of the channels that stay.

    A layer's are proportional to the channels that it writes times those that it reads (a depthwise convolution:
    to those that it writes). What attention does with its scores is proportional to its channels.

    Args:
        model: the network.
        images: an input, [n, c, h, w].
        groups: its groups of channels.
    """

    def __init__(self, model: nn.Module, images: Tensor, groups: Sequence[ChannelGroup]) -> None:
        self._macs, self._scores = _macs_by_layer(model, images)
        self._channels = {group.name: group.channels for group in groups}
        # Each once, in the order of the graph: sums in another order would end in other bits on another rank.
        self._layers: dict[str, list[Layer]] = {
            group.name: list(dict.fromkeys(use.layer for use in group.uses if use.layer in self._macs))
            for group in groups
        }
        self._shares: dict[tuple[Layer, bool], dict[str, float]] = {}
        for group in groups:
            for use in group.uses:
                shares = self._shares.setdefault((use.layer, use.reads), {})
                shares[group.name] = shares.get(group.name, 0.0) + use.share

    def total(self, kept: Kept) -> float:
        """MACs of one image."""
        return self._sum(self._macs, kept)

    def around(self, group: str, kept: Kept) -> float:
        """MACs of the layers that read or write a group."""
        return self._sum(self._layers[group], kept)

    def _sum(self, layers: Iterable[Layer], kept: Kept) -> float:
        total = 0.0
        for layer in layers:
            reads = self._left(layer, True, kept)
            total += reads * (self._macs[layer] * self._left(layer, False, kept) + self._scores.get(layer, 0.0))
        return total

    def _left(self, layer: Layer, reads: bool, kept: Kept) -> float:
        shares = self._shares.get((layer, reads), {})
        return 1 - sum(share * (1 - kept[name] / self._channels[name]) for name, share in shares.items())


def uniform(groups: Sequence[ChannelGroup], at_first: Kept, ratio: float, round_to: int) -> dict[str, int]:
    """Every group keeps the share 1 - `ratio` of the channels that it had at first, to the nearest unit.

    Args:
        groups: as they are now.
        at_first: channels of each group before any round of pruning.
        ratio: share to remove of those.
        round_to: see `ChannelGroup.unit`.
    """
    return {group.name: min(group.channels, _target(group, at_first, ratio, round_to)) for group in groups}


def cheapest(
    groups: Sequence[ChannelGroup], at_first: Kept, ratio: float, round_to: int, macs: MacModel, price: Price
) -> dict[str, int]:
    """Takes channels where it costs least, step by step, until as few MACs are left as `uniform` would leave.

    In the manner of NetAdapt (Yang et al., ECCV 2018), with prices that are known beforehand.

    Args:
        groups: as they are now.
        at_first: channels of each group before any round of pruning.
        ratio: share to remove of those by `uniform`.
        round_to: see `ChannelGroup.unit`.
        macs: of the network with the groups.
        price: of a step, the less the sooner it is taken.
    """
    # Not what `uniform` would leave of what is left: a group that has lost more than its share makes up for another.
    budget = macs.total({group.name: _target(group, at_first, ratio, round_to) for group in groups})
    kept = {group.name: group.channels for group in groups}
    fewest = {group.name: _fewest(group, at_first, ratio, round_to) for group in groups}
    while macs.total(kept) > budget:
        steps = [(group, _next(group, kept[group.name], fewest[group.name], round_to)) for group in groups]
        prices = [
            (price(group, kept[group.name], target) / _saved(macs, group.name, kept, target), group.name, target)
            for group, target in steps
            if target < kept[group.name]
        ]
        if not prices:
            break
        _, name, target = min(prices)
        kept[name] = target
    return kept


def by_importance(group: ChannelGroup, kept: int, target: int) -> float:
    """The importance that a step takes away.

    Groups compare: norms have the mean 1 in each, redundancy is a share of what the readers give.
    """
    going = sorted(set(group.weakest(group.channels - target)) - set(group.weakest(group.channels - kept)))
    return float(group.importance[going].clamp(min=0).sum())


def by_damage(scan: Scan) -> Price:
    """The rise of the loss that a step brings by a measured scan, between whose points lines are drawn."""

    def price(group: ChannelGroup, kept: int, target: int) -> float:
        shares = np.array([0.0, *sorted(scan[group.name])])
        rises = np.maximum.accumulate([0.0, *(scan[group.name][share] for share in shares[1:])])
        gone = 1 - np.array([kept, target]) / group.channels
        before, after = np.interp(gone, shares, rises)
        # Beyond the last point it goes on as steeply as from none to there, at the least.
        beyond = np.maximum(gone - shares[-1], 0) * rises[-1] / shares[-1]
        return float(after - before + beyond[1] - beyond[0])

    return price


def _target(group: ChannelGroup, at_first: Kept, ratio: float, round_to: int) -> int:
    """How many channels the share 1 - `ratio` is, in whole units: the nearest, or the lower of two that are as near.

    It may be more than are left, but is all that there were where those are fewer than a unit.
    """
    unit, before = group.unit(round_to), _before(group, at_first)
    return min(before, max(unit, math.ceil(before * (1 - ratio) / unit - 0.5 - ROUNDING) * unit))


def _fewest(group: ChannelGroup, at_first: Kept, ratio: float, round_to: int) -> int:
    """How many channels stay at the least: never more than the budget reckons with."""
    unit = group.unit(round_to)
    least = math.ceil(_before(group, at_first) * (1 - max(LARGEST_SHARE, ratio)) / unit - ROUNDING) * unit
    return min(max(unit, least), _target(group, at_first, ratio, round_to))


def _before(group: ChannelGroup, at_first: Kept) -> int:
    """Channels before any round; those of now where one channel is left, with which the graph gives other names."""
    return at_first.get(group.name, group.channels)


def _next(group: ChannelGroup, kept: int, fewest: int, round_to: int) -> int:
    """How many channels stay after one step more: a multiple of the unit."""
    unit = group.unit(round_to)
    step = math.ceil(group.channels / unit / MOST_STEPS) * unit
    return max(fewest, (kept - 1) // unit * unit - (step - unit))


def _saved(macs: MacModel, name: str, kept: Kept, target: int) -> float:
    return macs.around(name, kept) - macs.around(name, {**kept, name: target}) + 1e-9


def _macs_by_layer(model: nn.Module, images: Tensor) -> tuple[dict[Layer, float], dict[Layer, float]]:
    """MACs of one image in each convolution, linear layer and attention's projections; and for attention's scores."""
    found: dict[Layer, float] = {}
    scores: dict[Layer, float] = {}

    def note(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        if isinstance(layer, nn.MultiheadAttention):
            tokens = inputs[0].shape[1] if layer.batch_first else inputs[0].shape[0]
            found[layer] = tokens * 4.0 * layer.embed_dim**2
            scores[layer] = tokens**2 * 2.0 * layer.embed_dim
            return
        assert isinstance(output, Tensor)
        places = output.numel() / len(images) / layer.weight.shape[0]
        found[layer] = found.get(layer, 0.0) + places * layer.weight.numel()

    hooks = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, Layer)]
    with torch.no_grad(), evaluating(model), hooked(hooks):
        model(images)
    return found, scores

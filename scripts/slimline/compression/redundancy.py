"""Which channels a layer can best do without, once the rest is fitted to make up for them.

A layer reads channels x with the moments M = E[x x'] and has weights W. Without channel j, and with its other weights
refitted by least squares, the squared error of its outputs rises by |w_j|^2 / (M^-1)_jj: Optimal Brain Surgeon (Hassibi
and Stork, NIPS 1992) for all outputs at once. Channels go one after the other, the cheapest first, each time from the
refitted weights, as in the selections layer by layer of He et al. and of Luo et al. (both ICCV 2017). It takes one
forward pass. What is refitted here is thrown away: a reconstruction does it for the channels that stay in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from slimline.compression.channels import ChannelGroup, Use
from slimline.compression.reconstruction import RIDGE
from slimline.models.modes import evaluating, hooked

# Groups with more channels keep the order of their weights' norms: the work grows with the cube.
MOST_CHANNELS = 2048
# In how many steps a group loses its channels, at most.
MOST_STEPS = 256
# A later channel's score is larger at least by this share, so that scores have the order in which channels go.
LARGER = 1e-9


@dataclass
class Fit:
    """What a layer gives, as a function of the channels that it still reads.

    Args:
        inverse: of the channels' moments, [channels, channels].
        energy: products of the weights that meet them, summed over the outputs, [channels, channels].
        total: mean square of what all channels together give.
    """

    inverse: Tensor
    energy: Tensor
    total: float

    @property
    def rises(self) -> Tensor:
        """By how much the error rises without each channel, as a share of `total`, [channels]."""
        return self.energy.diagonal() / self.inverse.diagonal() / self.total

    def leave_out(self, going: Tensor) -> None:
        """Takes channels out, by their numbers, in place; the other weights are refitted."""
        rows = self.inverse[going]
        shift = torch.linalg.solve(rows[:, going], rows)  # [going, channels]: what the others take over
        self.inverse.addmm_(shift.t(), rows, alpha=-1)
        half = self.energy[going] - 0.5 * self.energy[going][:, going] @ shift
        self.energy.addmm_(torch.cat((half, shift)).t(), torch.cat((shift, half)), alpha=-1)
        # Those that are gone bind no others, and cost nothing.
        self.inverse[going], self.inverse[:, going] = 0.0, 0.0
        self.inverse[going, going] = 1.0
        self.energy[going, going] = 0.0


class Reader:
    """A layer that reads the channels of a group.

    Args:
        layer: it.
        places: where in its inputs each channel is, [channels, p]; p is 1 unless pixels were flattened.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, places: Tensor) -> None:
        self.layer, self._places, self._rows = layer, places, 0
        self._products = torch.zeros(len(places), len(places), dtype=torch.float64)

    @classmethod
    def of(cls, use: Use, channels: int) -> Reader | None:
        """The reader of a use, if it is one whose outputs are products of weights and single inputs."""
        layer = use.layer
        if not use.reads or not (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)):
            return None
        order = torch.argsort(torch.tensor(use.channels), stable=True)
        return cls(layer, torch.tensor(use.indexes)[order].view(channels, -1))

    def note(self, inputs: Tensor) -> None:
        """Adds what the layer reads to the moments, [n, c, h, w] or [..., c]."""
        rows = (inputs.movedim(1, -1) if isinstance(self.layer, nn.Conv2d) else inputs).flatten(0, -2)
        read = self._of_each(rows, self._places.to(rows.device))
        self._products += (read.t() @ read).to("cpu", torch.float64)
        self._rows += len(read)

    def fit(self) -> Fit | None:
        """With all channels; None where they give nothing."""
        weights = self.layer.weight.detach().to("cpu", torch.float64)
        columns = self._of_each(weights.movedim(1, -1).flatten(0, -2), self._places)
        energy, moments = columns.t() @ columns, self._products / max(1, self._rows)
        total = float((energy * moments).sum())
        if not total > 0:
            return None
        moments.diagonal().add_(RIDGE * moments.diagonal().mean())
        return Fit(torch.linalg.inv(moments), energy, total)

    @staticmethod
    def _of_each(rows: Tensor, places: Tensor) -> Tensor:
        """Columns of the channels alone, [m * p, channels]."""
        return rows[:, places].transpose(1, 2).flatten(0, 1)


def by_redundancy(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    images: Iterable[Tensor],
    beat: Callable[[], None] = lambda: None,
) -> list[ChannelGroup]:
    """The groups with another importance: the error that a channel's removal adds, as a share of a layer's outputs.

    Where several layers read a group, their shares are added up. Grouped convolutions and attention do not count as
    readers; a group without others keeps its order, with scores that are on the mean those of the other groups.

    Args:
        model: the network that the groups were found in.
        groups: all of them.
        images: batches of training images [n, c, h, w] in 0..255, on the network's device.
        beat: called at each group, since wide ones take long.
    """
    readers = {
        group.name: [reader for use in group.uses if (reader := Reader.of(use, group.channels)) is not None]
        for group in groups
        if group.channels <= MOST_CHANNELS
    }
    hooks = [
        reader.layer.register_forward_pre_hook(partial(_note, reader)) for each in readers.values() for reader in each
    ]
    with torch.no_grad(), evaluating(model), hooked(hooks):
        for batch in images:
            model(batch)
    scores: dict[str, Tensor] = {}
    for group in groups:
        beat()
        fits = [fit for reader in readers.get(group.name, []) if (fit := reader.fit()) is not None]
        if fits:
            scores[group.name] = _scores(group.blocks, fits)
    typical = sum(float(score.mean()) for score in scores.values()) / len(scores) if scores else 1.0
    return [replace(group, importance=scores.get(group.name, typical * group.importance)) for group in groups]


def _note(reader: Reader, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    reader.note(inputs[0])


def _scores(blocks: int, fits: Sequence[Fit]) -> Tensor:
    """The errors that channels add when they go one after the other, [channels]; the same places of blocks together."""
    channels = len(fits[0].energy)
    members = torch.arange(channels).view(blocks, -1)  # [blocks, places]
    n_places = members.shape[1]
    at_once = math.ceil(n_places / MOST_STEPS)
    scores, left, score = torch.zeros(channels, dtype=torch.float64), torch.ones(n_places, dtype=torch.bool), 0.0
    while left.any():
        rises = torch.stack([fit.rises for fit in fits]).sum(0)[members].mean(0).masked_fill(~left, math.inf)
        going = torch.argsort(rises, stable=True)[: min(at_once, int(left.sum()))]
        for place in going:
            score = max(score * (1 + LARGER), float(rises[place]))
            scores[members[:, place]] = score
        left[going] = False
        for fit in fits:
            fit.leave_out(members[:, going].flatten())
    return scores

"""Networks with fewer channels than their library builds: the last ones of every layer go before any training.

What is left starts with the variance that the library's own initialisation would have given it.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from slimline.models.architecture import Architecture
from slimline.models.dependency import cannot_cut, channel_groups, dependency_graph, settle
from slimline.models.sparsity import prunable_weights

ROUND_TO = 8
# Ways of initialising a weight: its variance is a gain over a number of connections, of which inputs have a share.
GAINS, SHARES = (2.0, 1.0, 1 / 3), (1.0, 0.0, 0.5)
TOLERANCE = 0.05  # of a standard deviation that was measured, relative


def narrow(model: nn.Module, architecture: Architecture) -> None:
    """Keeps the share `architecture.width` of the channels of every layer but the last, in place.

    Multiples of 8 (and of a layer's groups or heads) stay, at least one. Weights are scaled by the root of how the
    number of connections has changed where their variance shows that the library follows that number (He et al.,
    2015; Glorot and Bengio, 2010); others, such as those of a fixed variance, stay as they are.

    Args:
        model: freshly initialised.
        architecture: of the network, with a width below 1.

    Raises:
        NotSupportedError: the network is not understood, or has no channels to spare.
    """
    before = {name: (_scheme(weight), _connections(weight)) for name, weight in prunable_weights(model).items()}
    graph = dependency_graph(model, architecture)
    removals = []
    for name, channels, blocks in ((each.name, each.channels, each.blocks) for each in channel_groups(graph)):
        unit = math.lcm(ROUND_TO, blocks)
        kept = min(channels, max(unit, round(channels * architecture.width / unit) * unit))
        size, kept_size = channels // blocks, kept // blocks
        gone = [block * size + place for block in range(blocks) for place in range(kept_size, size)]
        if gone:
            removals.append((name, True, gone))
    if not removals:
        raise cannot_cut(architecture, f"at width {architecture.width:g} no layer has a channel to spare")
    graph.load_pruning_history(removals)
    settle(model)
    with torch.no_grad():
        for name, weight in prunable_weights(model).items():
            share, connections = before[name]
            if share is not None:
                weight.mul_(math.sqrt(_number(share, connections) / _number(share, _connections(weight))))


def _connections(weight: nn.Parameter) -> tuple[int, int]:
    """Inputs of each output and outputs of each input, as initialisers count them (fan in and fan out)."""
    pixels = weight[0, 0].numel()
    return weight.shape[1] * pixels, weight.shape[0] * pixels


def _number(share: float, connections: tuple[int, int]) -> float:
    inputs, outputs = connections
    return share * inputs + (1 - share) * outputs


def _scheme(weight: nn.Parameter) -> float | None:
    """The share of inputs in the number of connections that a weight's variance follows; None if it follows none."""
    deviation, connections = float(weight.detach().std()), _connections(weight)
    if deviation == 0:
        return None
    expected = {(math.sqrt(gain / _number(share, connections)), share) for gain in GAINS for share in SHARES}
    error, share = min((abs(each / deviation - 1), share) for each, share in expected)
    return share if error < TOLERANCE else None

"""Zeros among the weights of a model."""

from __future__ import annotations

import torch
from torch import nn


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Kernels of convolutions and matrices of linear layers and attentions by their names; no biases, no embeddings."""
    layers = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)
    return {
        f"{name}.{key}".lstrip("."): parameter
        for name, module in model.named_modules()
        if isinstance(module, layers)
        for key, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1
    }


@torch.no_grad()
def zero_smallest(model: nn.Module, ratio: float) -> float:
    """Sets the smallest weights of the whole network to zero, in place (Han et al., NeurIPS 2015).

    Args:
        model: the network.
        ratio: share of its weights, from 0 to 1, that are zero afterwards; those that are already count.

    Returns:
        The share of zeros among all of them.
    """
    weights = list(prunable_weights(model).values())
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    smallest = torch.argsort(sizes, stable=True)[: round(ratio * len(sizes))]
    gone = torch.zeros(len(sizes), dtype=torch.bool)
    gone[smallest] = True
    for weight, part in zip(weights, torch.split(gone, [weight.numel() for weight in weights]), strict=True):
        weight.masked_fill_(part.view(weight.shape), 0.0)
    return share_of_zeros(model)


def share_of_zeros(model: nn.Module) -> float:
    """Of all weights that pruning looks at, from 0 to 1."""
    weights = prunable_weights(model).values()
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)

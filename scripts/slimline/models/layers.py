"""Layers of a model by what they are for."""

from __future__ import annotations

from torch import nn


def last_layer(model: nn.Module) -> nn.Module:
    """The layer that gives the logits."""
    outputs = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    linears = [module for module in outputs if isinstance(module, nn.Linear)]
    return linears[-1] if linears else outputs[-1]  # without a linear layer it is a convolution, as in SqueezeNet

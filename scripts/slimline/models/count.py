"""Sizes of a model that need nothing but torch."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from slimline.models.architecture import Architecture


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, architecture: Architecture) -> int:
    """Multiply-accumulate operations of one image, by torch's own counter (2 FLOPs each)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *architecture.image_shape))
    return int(counter.get_total_flops()) // 2

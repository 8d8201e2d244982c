"""Sizes of a model that need nothing but torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from slimline.models.modes import evaluating, hooked


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulate operations of one image of shape (c, h, w), by torch's own counter (2 FLOPs each)."""
    training = model.training
    device = next(model.parameters()).device
    # The counter does not see into attention that is computed in one piece.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()(torch.zeros(1, *image_shape, device=device))
    torch.backends.mha.set_fastpath_enabled(fused)
    model.train(training)
    return int(counter.get_total_flops()) // 2


def largest_activation_bytes(model: nn.Module, image_shape: Sequence[int]) -> int:
    """Size of the largest tensor that any layer gives for one image [c, h, w], in a forward pass without gradients."""
    largest = 0

    def note(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.nbytes)

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    with torch.no_grad(), evaluating(model), hooked(hooks):
        model(torch.zeros(1, *image_shape, device=next(model.parameters()).device))
    return largest

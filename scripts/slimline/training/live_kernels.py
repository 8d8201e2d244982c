"""Convolutions that do less, or do it in another order, for the size that their maps have.

Where feature maps are smaller than a kernel, as in the last stages of networks that were made for larger images, some
of its taps lie outside the map at every position: a 3 x 3 kernel on a map of one pixel multiplies eight of its nine
taps with zeros. They are left out of the computation, forward and backward. Their gradients are zero as they always
were, and the optimizer sees whole kernels. Others may become products of matrices, see `matrix_kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimline.models.modes import evaluating, hooked
from slimline.training.matrix_kernels import faster_kind, n_outputs


class Live(NamedTuple):
    """What a kernel does along one axis: taps `first` to `last`, one past it, with `padding` on either side."""

    first: int
    last: int
    padding: int


class Taps(torch.autograd.Function):
    """The live taps [o, i, h', w'] of kernels [o, i, h, w]; the gradient of the others is zero."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Live, columns: Live) -> Tensor:
        """See the class."""
        ctx.save_for_backward(weight)
        ctx.rows, ctx.columns = rows, columns
        return _taps(weight, rows, columns).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient, laid out in memory as the weight is."""
        (weight,) = ctx.saved_tensors
        whole = torch.zeros_like(weight)
        _taps(whole, ctx.rows, ctx.columns).copy_(gradients[0])
        return whole, None, None


class LiveConv2d(nn.Conv2d):
    """`nn.Conv2d` for feature maps of one size, by the live part of its kernels."""

    rows: Live
    columns: Live

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that torch gives it)
        """Feature maps [n, o, h', w'] of [n, i, h, w]."""
        weight = Taps.apply(self.weight, self.rows, self.columns)
        padding = (self.rows.padding, self.columns.padding)
        return functional.conv2d(input, weight, self.bias, self.stride, padding, self.dilation, self.groups)


def fit_kernels(
    model: nn.Module, image_shape: tuple[int, int, int], by_matrices: bool, smaller: Sequence[tuple[int, int]] = ()
) -> int:
    """Has the model's convolutions compute as suits the size of their maps, in place.

    Args:
        model: a network for images of one size, or of few.
        image_shape: [c, h, w] of most images.
        by_matrices: whether those that gain by it are products of matrices where they compute in bf16.
        smaller: sizes [h, w] of other images that it gets: taps are left out only if they are at all sizes.

    Returns:
        How many convolutions compute in another way than they did.
    """
    found = 0
    whole, *others = (_map_sizes(model, (image_shape[0], *size)) for size in (image_shape[1:], *smaller))
    for layer, size in whole.items():
        sizes = [size, *(of_layer[layer] for of_layer in others if layer in of_layer)]
        axes = [
            live_taps(of_axis, layer.kernel_size[axis], layer.stride[axis], int(layer.padding[axis]))
            for axis, of_axis in enumerate(zip(*sizes, strict=True))
        ]
        if any(live.last - live.first < layer.kernel_size[axis] for axis, live in enumerate(axes)):
            layer.__class__ = LiveConv2d  # in place: names, weights and hooks stay
            cast(LiveConv2d, layer).rows, cast(LiveConv2d, layer).columns = axes
            found += 1
        elif by_matrices and (kind := faster_kind(layer, size)):
            layer.__class__ = kind
            found += 1
    return found


def live_taps(sizes: Sequence[int], kernel: int, stride: int, padding: int) -> Live:
    """The taps of a kernel that meet pixels, along an axis of any of these numbers of pixels.

    All where no even padding fits those that do.
    """
    outputs = {size: n_outputs(size, kernel, stride, padding) for size in sizes}
    met = [
        tap
        for tap in range(kernel)
        if any(0 <= at * stride + tap - padding < size for size, n in outputs.items() for at in range(n))
    ]
    everything = Live(0, kernel, padding)
    if not met:
        return everything
    live = Live(met[0], met[-1] + 1, padding - met[0])
    taps = live.last - live.first
    same = live.padding >= 0 and all(n_outputs(size, taps, stride, live.padding) == n for size, n in outputs.items())
    return live if same else everything


def _taps(weight: Tensor, rows: Live, columns: Live) -> Tensor:
    return weight[:, :, rows.first : rows.last, columns.first : columns.last]


def _map_sizes(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[nn.Conv2d, tuple[int, int]]:
    """Height and width of what each plain convolution gets, where that is always the same."""
    sizes: dict[nn.Conv2d, set[tuple[int, int]]] = {}

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        sizes.setdefault(layer, set()).add((inputs[0].shape[-2], inputs[0].shape[-1]))

    layers = [module for module in model.modules() if type(module) is nn.Conv2d and _is_plain(module)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad(), evaluating(model), hooked(hooks):
        model(next(model.parameters()).new_zeros(1, *image_shape))
    return {layer: next(iter(of_layer)) for layer, of_layer in sizes.items() if len(of_layer) == 1}


def _is_plain(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str) and set(layer.dilation) == {1}

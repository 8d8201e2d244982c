"""Convolutions over small feature maps as one product of matrices, for processors with AMX.

A convolution library goes through a batch image by image. Where a map has a few pixels and a layer millions of
weights, as in a network's last stages, each image reads all weights anew for a handful of products, and processors
whose matrix units are fast (AMX in bf16) spend their time waiting for memory. Rows of all images in one product use a
weight for the whole batch: im2col (Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for
Document Processing", 2006). The copies that it takes are small where maps are.

The gradient of the weights gains before the rest does: the library adds up a gradient of the size of all weights image
by image. So there is a second kind of layer, of which that alone is a product of matrices.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimline.cpu import cpu_has_any

# From measurements of 64 channels on 7 x 7 pixels to 512 on 4 x 4: maps of more pixels than this, or layers of fewer
# weights per pixel, are as fast or faster by the library's convolution, at least while no other program wants memory.
MOST_PIXELS = 49
FEWEST_CHANNEL_PAIRS_PER_PIXEL = 4096
FEWEST_FOR_THE_GRADIENT = 160
# The library has nothing fast in bf16 for images of a single channel, but with fewer outputs or more taps than these
# copies take as long.
FEWEST_OUTPUTS_OF_ONE_CHANNEL = 64
MOST_TAPS_OF_ONE_CHANNEL = 9


class Convolution(torch.autograd.Function):
    """Convolution [n, o, h', w'] of [n, i, h, w] with kernels [o, i, kh, kw], undilated and in one group."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        """See the class; the outputs' channels come last in memory."""
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        patches = _patches(images, weight.shape[2:], stride, padding)
        outputs = patches.flatten(0, 2) @ _as_matrix(weight).t()
        return outputs.view(*patches.shape[:3], -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of images and weights, their channels last in memory."""
        images, weight = ctx.saved_tensors
        rows = gradients[0].permute(0, 2, 3, 1)
        n, height, width, channels = rows.shape
        rows = rows.reshape(-1, channels)
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            patches = (rows @ _as_matrix(weight)).view(n, height, width, -1)
            of_images = _sum_of_patches(patches, images.shape, weight.shape[2:], ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            of_weight = _gradient_of_weight(images, rows, weight.shape, ctx.stride, ctx.padding)
        return of_images, of_weight, None, None


class LibraryConvolution(torch.autograd.Function):
    """The same by the library, but for the gradient of the weights."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        """See the class."""
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(images, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of images and weights, the latter's channels last in memory."""
        images, weight = ctx.saved_tensors
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            of_images, _, _ = torch.ops.aten.convolution_backward(
                gradients[0], images, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1,
                (True, False, False),
            )  # fmt: skip
        if ctx.needs_input_grad[1]:
            rows = gradients[0].permute(0, 2, 3, 1).flatten(0, 2)
            of_weight = _gradient_of_weight(images, rows, weight.shape, ctx.stride, ctx.padding)
        return of_images, of_weight, None, None


class MatrixConv2d(nn.Conv2d):
    """`nn.Conv2d` that is a product of matrices wherever it computes in bf16."""

    convolution: ClassVar[type[torch.autograd.Function]] = Convolution

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that torch gives it)
        """Feature maps [n, o, h', w'] of [n, i, h, w]."""
        if not computes_in_bf16(input):
            return super().forward(input)
        stride, padding = self.stride, (int(self.padding[0]), int(self.padding[1]))
        outputs: Tensor = self.convolution.apply(input.bfloat16(), self.weight.bfloat16(), stride, padding)
        return outputs if self.bias is None else outputs + self.bias.bfloat16()[:, None, None]


class MatrixGradientConv2d(MatrixConv2d):
    """`nn.Conv2d` whose gradient of the weights is a product of matrices wherever it computes in bf16."""

    convolution = LibraryConvolution


def computes_in_bf16(images: Tensor) -> bool:
    """Whether a convolution of these would compute in bf16 on a CPU, by their type or autocast's."""
    if images.device.type != "cpu":
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
    return dtype == torch.bfloat16


def multiplies_matrices_fast() -> bool:
    """Whether this processor has matrix units for bf16."""
    return cpu_has_any(["amx_bf16"])


def faster_kind(layer: nn.Conv2d, size: tuple[int, int]) -> type[MatrixConv2d] | None:
    """How a layer that gets maps of `size` [h, w] is faster, where products of matrices are fast; None if it is not."""
    height, width = (
        n_outputs(size[axis], layer.kernel_size[axis], layer.stride[axis], int(layer.padding[axis])) for axis in (0, 1)
    )
    pixels, taps = height * width, math.prod(layer.kernel_size)
    pairs_per_pixel = layer.in_channels * layer.out_channels / pixels
    if layer.groups > 1 or taps == 1:  # a kernel of one pixel is a product of matrices anyhow
        return None
    has_many_outputs = layer.out_channels >= FEWEST_OUTPUTS_OF_ONE_CHANNEL
    if layer.in_channels == 1 and has_many_outputs and taps <= MOST_TAPS_OF_ONE_CHANNEL:
        return MatrixConv2d
    if pixels > MOST_PIXELS or pairs_per_pixel < FEWEST_FOR_THE_GRADIENT:
        return None
    return MatrixConv2d if pairs_per_pixel >= FEWEST_CHANNEL_PAIRS_PER_PIXEL else MatrixGradientConv2d


def n_outputs(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many pixels a convolution gives along an axis of `size` pixels."""
    return (size + 2 * padding - kernel) // stride + 1


def _as_matrix(weight: Tensor) -> Tensor:
    """Kernels [o, i, kh, kw] as [o, kh * kw * i]."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _patches(images: Tensor, kernel: torch.Size, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """What the kernel sees at each place [n, h', w', kh * kw * i] of images [n, i, h, w]."""
    padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    height, width = (n_outputs(images.shape[2 + axis], kernel[axis], stride[axis], padding[axis]) for axis in (0, 1))
    image, row, column, channel = padded.stride()
    # A view in which each patch is whole: one copy that writes in order, a row of a patch at a time.
    seen = padded.as_strided(
        (len(images), height, width, *kernel, images.shape[1]),
        (image, row * stride[0], column * stride[1], row, column, channel),
    )
    return seen.reshape(len(images), height, width, -1)


def _gradient_of_weight(
    images: Tensor, rows: Tensor, shape: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Gradient [o, i, kh, kw] by images [n, i, h, w] and gradients of the outputs [n * h' * w', o]."""
    o, i, *kernel = shape
    patches = _patches(images, shape[2:], stride, padding).flatten(0, 2)
    return (rows.t() @ patches).view(o, *kernel, i).permute(0, 3, 1, 2)


def _sum_of_patches(
    patches: Tensor, shape: torch.Size, kernel: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Images of `shape` [n, i, h, w], each pixel the sum of where it is seen in patches [n, h', w', kh * kw * i]."""
    n, channels, height, width = shape
    padded = patches.new_zeros(n, height + 2 * padding[0], width + 2 * padding[1], channels)
    taps = _taps(kernel, stride, patches.shape[1], patches.shape[2])
    for (rows, columns), patch in zip(taps, patches.chunk(len(taps), dim=3), strict=True):
        padded[:, rows, columns] += patch
    inner = padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return inner.permute(0, 3, 1, 2)


def _taps(kernel: torch.Size, stride: tuple[int, int], height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the padded images that each tap of the kernel meets, row by row."""
    return [
        (
            slice(row, row + (height - 1) * stride[0] + 1, stride[0]),
            slice(column, column + (width - 1) * stride[1] + 1, stride[1]),
        )
        for row in range(kernel[0])
        for column in range(kernel[1])
    ]

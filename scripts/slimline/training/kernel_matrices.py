"""Optimizers that are for matrices, over kernels of convolutions too.

During a step, and only then, such an optimizer sees a kernel [o, i, h, w] as the matrix [o, i * h * w] that it is for
one patch of its images, its columns in the order in which they lie in memory. Muon's steps do not depend on that order
(K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, flattens kernels the same way).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slimline.training.plain_layout import AS_IT_LIES, show


@dataclass(frozen=True)
class Kernel:
    """A parameter that has two shapes.

    Args:
        parameter: the kernel, [o, i, h, w] between steps.
        shape, stride: those.
    """

    parameter: Tensor
    shape: torch.Size
    stride: tuple[int, ...]

    def matrix(self, tensor: Tensor) -> Tensor:
        """[o, i * h * w] of a tensor of the kernel's shape, in the order in which the kernel lies in memory."""
        channels_last = self.stride[1] < self.stride[3]
        return (tensor.permute(AS_IT_LIES) if channels_last else tensor).flatten(1)

    def kernel(self, matrix: Tensor) -> Tensor:
        """The inverse of `matrix`."""
        return matrix.as_strided(self.shape, self.stride)


def step_on_matrices(make: Callable[[], torch.optim.Optimizer], parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """An optimizer that takes matrices alone, with kernels among its parameters.

    Args:
        make: makes it over `parameters`.
        parameters: weights [o, i] and kernels [o, i, h, w], contiguous or with channels last.

    Returns:
        The optimizer. Between steps, kernels, gradients and state are as they would be without.
    """
    kernels = [Kernel(each, each.shape, each.stride()) for each in parameters if each.ndim == 4]
    gradients: list[Tensor | None] = []

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for kernel in kernels:
            gradient = kernel.parameter.grad
            gradients.append(gradient)
            flat = None if gradient is None else kernel.matrix(gradient)
            show(kernel.parameter, flat, optimizer.state[kernel.parameter], kernel.matrix)

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for kernel, gradient in zip(kernels, gradients, strict=True):
            show(kernel.parameter, gradient, optimizer.state[kernel.parameter], kernel.kernel)
        gradients.clear()

    for kernel in kernels:  # it looks at shapes when it is made
        show(kernel.parameter, None, {}, kernel.matrix)
    optimizer = make()
    for kernel in kernels:
        show(kernel.parameter, None, {}, kernel.kernel)
    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    return optimizer

"""Muon, with most of its work done on small square matrices.

torch's Newton-Schulz iteration multiplies the whole matrix X [n, m] twice in each of its five steps. Every step is
X <- P X with a polynomial P of the Gram matrix R = X X^T [n, n], and R <- P R P keeps track of R without X: so the
product of several P is made first, and X is multiplied by it once. In bf16 the errors of R grow with each step until it
diverges, so R is made anew from X after three of the five; errors are then those of torch's own iteration, for half the
operations where m is many times n, as in a kernel of 3 x 3 pixels. With torch's, a step of ResNet-18 on 128 images of
28 x 28 pixels spends a quarter of its time there.

Iteration: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor

# How many steps go by on Gram matrices before the matrix itself is multiplied.
STEPS_PER_PRODUCT = (3, 2)
# With fewer columns per row than this, it is as fast to multiply the matrix itself in every step.
LEAST_ASPECT_RATIO = 2
# Rows of the smallest block of a Gram matrix that is computed alone; products of smaller ones are slower.
LEAST_BLOCK = 128


class Muon(torch.optim.Muon):
    """torch's, with steps that differ from its own by rounding; learning rates are matched to AdamW's.

    Args:
        params: groups of matrices, none of them shared between ranks.
        lr: learning rate.
    """

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; see torch.optim.Muon."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters: list[Tensor] = []
            gradients: list[Tensor] = []
            buffers: list[Tensor] = []
            self._init_group(group, parameters, gradients, buffers)
            momentum, coefficients = group["momentum"], group["ns_coefficients"]
            for parameter, gradient, buffer in zip(parameters, gradients, buffers, strict=True):
                buffer.lerp_(gradient, 1 - momentum)
                update = orthogonalized(gradient.lerp(buffer, momentum), coefficients, group["eps"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-0.2 * sqrt(max(parameter.shape)) * group["lr"])
        return loss


def orthogonalized(matrix: Tensor, coefficients: tuple[float, float, float], eps: float) -> Tensor:
    """The matrix [n, m] in bf16 with all its singular values brought close to one by five steps of Newton-Schulz.

    Args:
        matrix: any.
        coefficients: a, b, c of a step, X <- (a + b R + c R^2) X with R = X X^T.
        eps: least norm that it is divided by.
    """
    x = matrix.bfloat16()
    is_tall = x.size(0) > x.size(1)
    if is_tall:
        x = x.T
    x = x / x.norm().clamp(min=eps)
    is_wide = x.size(1) >= LEAST_ASPECT_RATIO * x.size(0)
    for n_steps in STEPS_PER_PRODUCT if is_wide else [1] * sum(STEPS_PER_PRODUCT):
        x = _steps(x, n_steps, coefficients)
    return x.T if is_tall else x


def gram_matrix(x: Tensor) -> Tensor:
    """X X^T [n, n] of X [n, m]; on a CPU, what symmetry says of its blocks is not computed again."""
    n_rows = len(x)
    if x.device.type != "cpu" or n_rows < 2 * LEAST_BLOCK:
        return x @ x.T
    upper, lower = x[: n_rows // 2], x[n_rows // 2 :]
    corner = lower @ upper.T
    return torch.cat([torch.cat([gram_matrix(upper), corner.T], dim=1), torch.cat([corner, gram_matrix(lower)], dim=1)])


def _steps(x: Tensor, n_steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """Steps of Newton-Schulz on x [n, m]; where they are several, x is multiplied by the product [n, n] of all."""
    a, b, c = coefficients
    gram = gram_matrix(x)
    moved = x if n_steps == 1 else None
    for remaining in reversed(range(n_steps)):
        # The polynomial without its a, which in a sum with small entries would be rounded to bf16.
        rest = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        moved = _plus_on_diagonal(rest, a) if moved is None else torch.addmm(moved, rest, moved, beta=a)
        if remaining:
            half = torch.addmm(gram, gram, rest, beta=a)
            gram = torch.addmm(half, rest, half, beta=a)
    assert moved is not None
    return moved if n_steps == 1 else moved @ x


def _plus_on_diagonal(matrix: Tensor, number: float) -> Tensor:
    """A copy with a number on the diagonal that is not rounded before it is added."""
    copy = matrix.clone()
    copy.diagonal().copy_(matrix.diagonal().float() + number)
    return copy

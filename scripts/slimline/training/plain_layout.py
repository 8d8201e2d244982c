"""Fused optimizers on a CPU, without the copies they make of every gradient whose channels come last.

torch's fused kernels there ask for each gradient as a contiguous tensor and then do not use it (torch 2.14): a copy
with another order, which for ResNet-18 takes longer than the step itself. During the step such weights are therefore
seen with their dimensions in the order in which they lie in memory, and are contiguous then. Values do not change,
since the step treats each element alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

AS_IT_LIES = (0, 2, 3, 1)
AS_NAMED = (0, 3, 1, 2)


def step_in_plain_layout(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Has the steps of an elementwise optimizer see weights [o, i, h, w] with channels last as [o, h, w, i].

    Returns:
        The same optimizer. Between steps, weights, gradients and state are as they would be without.
    """
    seen: list[tuple[Tensor, Tensor]] = []  # weights and their gradients as they were

    def before(*_: Any) -> None:
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            gradient = parameter.grad
            if gradient is not None and _has_channels_last(parameter) and gradient.stride() == parameter.stride():
                seen.append((parameter, gradient))
                show(parameter, gradient.permute(AS_IT_LIES), optimizer.state[parameter], _to(AS_IT_LIES))

    def after(*_: Any) -> None:
        for parameter, gradient in seen:
            show(parameter, gradient, optimizer.state[parameter], _to(AS_NAMED))
        seen.clear()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    return optimizer


def _has_channels_last(parameter: Tensor) -> bool:
    return (
        parameter.device.type == "cpu"
        and not isinstance(parameter, DTensor)
        and parameter.ndim == 4
        and not parameter.is_contiguous()
        and parameter.is_contiguous(memory_format=torch.channels_last)
    )


def show(parameter: Tensor, gradient: Tensor | None, state: dict[str, Any], change: Callable[[Tensor], Tensor]) -> None:
    """Gives a weight and its state another shape, and the weight a gradient of that one; no weight moves.

    Args:
        parameter: the weight.
        gradient: in the new shape.
        state: an optimizer's of the weight.
        change: gives tensors of the weight's shape the new one.
    """
    for key, value in state.items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            state[key] = change(value)
    parameter.grad = None  # it has to be of the weight's shape at any time
    parameter.data = change(parameter.data)
    parameter.grad = gradient


def _to(order: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    return partial(torch.permute, dims=order)

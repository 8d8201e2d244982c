"""A moving average of the weights: smoother than the last step's, and often better."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from slimline.training.parallel import mesh_of

WARMUP_STEPS = 10


class WeightAverage:
    """Exponential moving average of a model's weights and running statistics (Polyak and Juditsky, 1992).

    Own code since torch's `AveragedModel` has no warm-up: in a short run it would keep the initial weights for long.

    Args:
        model: the model to follow.
        decay: share of the average that stays at each step; (1 + step) / (10 + step) as long as that is less.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Takes its values from `model` from now on; again after ranks have come to share the weights of both."""
        pairs = list(zip(self.module.state_dict().values(), model.state_dict().values(), strict=True))
        floats: dict[DeviceMesh | None, list[tuple[Tensor, Tensor]]] = {}
        for pair in pairs:
            if pair[0].is_floating_point():
                floats.setdefault(mesh_of(pair[0]), []).append(pair)
        self._floats = list(floats.values())
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the model after optimizer step `step`, counted from 0 over the whole run."""
        share = 1 - min(self.decay, (1 + step) / (WARMUP_STEPS + step))
        for pairs in self._floats:
            averages, values = _columns(pairs)
            torch._foreach_lerp_(averages, values, share)  # one kernel for all; optimizers of torch use it as well
        for counter, value in self._counters:  # such as the batches that a normalisation layer has seen
            counter.copy_(value)


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [first for first, _ in pairs], [second for _, second in pairs]

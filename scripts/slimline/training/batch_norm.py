"""Batch normalisation over the images of all ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional

from slimline.training.distributed import World


class SummedOverRanks(torch.autograd.Function):
    """The sum of a tensor over ranks; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """The sum, of the shape of `values`."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of the gradients of all ranks."""
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class SyncBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose statistics are those of all ranks, on any device; torch's own works on GPUs only."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that torch gives it)
        """Feature maps [n, c, h, w], normalised; n may differ between ranks."""
        if not self.training:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        channels = input.shape[1]
        precise = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        values = precise.movedim(1, -1).reshape(-1, channels)
        # Mean first, then deviations from it: a difference of large sums would lose digits.
        sums = SummedOverRanks.apply(torch.cat([values.sum(0), values.new_full((1,), len(values))]))
        mean, count = sums[:-1] / sums[-1], float(sums[-1].detach())
        variance = SummedOverRanks.apply((values - mean).square().sum(0)) / count
        self._follow(mean.detach(), variance.detach(), count)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        normalised: Tensor = (values - mean) * scale + self.bias
        return normalised.view(input.movedim(1, -1).shape).movedim(-1, 1).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Moves the running statistics; that of the variance is without bias, as torch's."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)


def synchronise_batch_norm(model: nn.Module, world: World) -> None:
    """Makes every batch normalisation of `model` use the images of all ranks, in place; names and shapes stay."""
    if world.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d


def has_own_statistics(model: nn.Module) -> bool:
    """Whether running statistics of `model` follow the images of a single rank."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and not isinstance(module, nn.SyncBatchNorm | SyncBatchNorm2d)
        for module in model.modules()
    )


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> bool:
    """Takes the running statistics of batch normalisation anew, as means over batches (Wu and Johnson, 2021).

    After channels are removed the old ones belong to another network. Nothing else of the model changes.

    Args:
        model: changed in place.
        batches: images [n, c, h, w], all n alike or nearly so.

    Returns:
        Whether there was anything to take anew.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return False
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches alike
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return True

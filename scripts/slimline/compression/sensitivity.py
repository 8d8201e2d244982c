"""How much the loss rises when channels of a single group are gone (Li et al., ICLR 2017, figure 2b)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext

import torch
from torch import nn

from slimline.compression.allocation import Scan
from slimline.compression.channels import ChannelGroup, without
from slimline.data.batches import random_sample, share
from slimline.training.distributed import World
from slimline.training.evaluate import batch_size
from slimline.training.feed import Batch, Feed
from slimline.training.history import Pulse
from slimline.training.losses import cross_entropy

SAMPLES = 512
SHARES = (0.25, 0.5, 0.75)


def scan_losses(
    model: nn.Module, groups: Sequence[ChannelGroup], round_to: int, feed: Feed, seed: int, world: World, pulse: Pulse
) -> Scan:
    """The rise of the mean cross-entropy on training images without shares of each group, one group at a time.

    The network is not changed otherwise, and not trained: this is the damage that fine-tuning has to mend. Ranks
    share the work and come to the same answer.

    Args:
        model: the network; it comes back to host memory, as it was.
        groups: its groups of channels.
        round_to: see `ChannelGroup.unit`.
        feed: where images come from.
        seed: which training images, 512 at most.
        world: the ranks.
        pulse: shows that the work goes on.

    Returns:
        By group and by the share of it that is gone, near 0.25, 0.5 and 0.75: the rise of the loss.
    """
    trials = [(group, n) for group in groups for n in _numbers(group, round_to)]
    losses = torch.zeros(len(trials) + 1, dtype=torch.float64, device=world.device)
    model.to(world.device).eval()
    images = _images(feed, seed)
    for place, trial in enumerate(pulse.through("scan", [None, *trials])):
        if place % world.size == world.rank:
            with without(*trial) if trial is not None else nullcontext():
                losses[place] = _loss(model, images)
    model.cpu()
    whole, *rest = world.sum(losses).tolist()
    scan: dict[str, dict[float, float]] = {group.name: {} for group in groups}
    for (group, n), loss in zip(trials, rest, strict=True):
        scan[group.name][n / group.channels] = loss - whole
    return scan


def _numbers(group: ChannelGroup, round_to: int) -> list[int]:
    """How many channels to leave out, in turn."""
    unit = group.unit(round_to)
    most = (group.channels - 1) // unit
    return sorted({min(most, max(1, round(share * group.channels / unit))) * unit for share in SHARES} - {0})


def _images(feed: Feed, seed: int) -> list[Batch]:
    rows = random_sample(feed.data.rows("train"), SAMPLES, seed)
    parts = -(-len(rows) // batch_size(feed.data.stats.height, feed.data.stats.width))
    with closing(feed.plain(share(rows, parts, part) for part in range(parts))) as batches:
        return list(batches)


@torch.no_grad()
def _loss(model: nn.Module, batches: Sequence[Batch]) -> float:
    loss_sum = cross_entropy(label_smoothing=0.0)
    total = sum(float(loss_sum(model(batch.images).float(), batch)) for batch in batches)
    return total / sum(len(batch.rows) for batch in batches)

"""How good a model is on a split, while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from torch import nn

from slimline.data.batches import Rows, share
from slimline.training.distributed import World
from slimline.training.feed import Feed
from slimline.training.losses import cross_entropy
from slimline.training.precision import Precision

# Few enough that no more is alive than in a step of training.
EVALUATION_BATCH = 256
EVALUATION_PIXELS = 1 << 21  # of a batch: images of more than 90 x 90 come in smaller ones, which take no more memory


@torch.no_grad()
def evaluate(
    model: nn.Module, feed: Feed, rows: Rows, precision: Precision, world: World, between: Callable[[], None]
) -> dict[str, float | None]:
    """Loss and accuracy on the rows [n] of a split, each rank on its share; None without any.

    Args:
        model: set to evaluation mode.
        feed: where images come from.
        rows: the split.
        precision: how the model computes.
        world: the ranks that share the work.
        between: called on all ranks together after each round; may raise.
    """
    if not len(rows):
        return {"validation_loss": None, "validation_accuracy": None}
    model.eval()
    # Since the last step each rank has batch statistics of its own; the main one's ship, so they count.
    world.copy_from_main(model.buffers())
    plain_loss = cross_entropy(label_smoothing=0.0)
    sums = torch.zeros(2, dtype=torch.float64, device=world.device)
    mine = share(rows, world.size, world.rank)
    # As many rounds on every rank, though shares differ by one: they agree on stopping in each.
    rounds = -(-len(rows) // (world.size * batch_size(feed.data.stats.height, feed.data.stats.width)))
    with closing(feed.plain(share(mine, rounds, part) for part in range(rounds))) as batches:
        for batch in batches:
            with precision.autocast():
                logits = model(batch.images).float()
            loss = plain_loss(logits, batch).double()
            sums += torch.stack([loss, (logits.argmax(1) == batch.targets).sum()])
            between()
    loss_sum, correct = world.sum(sums).tolist()
    return {"validation_loss": loss_sum / len(rows), "validation_accuracy": correct / len(rows)}


def batch_size(height: int, width: int) -> int:
    """Images of so many pixels in a batch of one rank."""
    return max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // (height * width)))

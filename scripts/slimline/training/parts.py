"""What a rank is going to see: the rows of each forward pass, a function of seed and position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from slimline.data.batches import Rows, epoch_order, share, steps_per_epoch
from slimline.data.mixing import partners


class Part(NamedTuple):
    """One forward pass of one rank: its rows [n], and where images are mixed their partners [n], else the same."""

    epoch: int
    rows: Rows
    others: Rows


@dataclass(frozen=True)
class Course:
    """The order of a training.

    Args:
        rows: of the training split.
        seed: seed of the run.
        epochs: how many there are.
        batch_size: images of a step, at most.
        mixes: whether each image has a partner.
        accumulation: forward passes per step.
        rank: this rank,
        ranks: of how many with different images.
    """

    rows: Rows
    seed: int
    epochs: int
    batch_size: int
    mixes: bool
    accumulation: int
    rank: int
    ranks: int

    def batch(self, epoch: int, step: int) -> Rows:
        """Rows of a step on all ranks together."""
        return share(epoch_order(self.rows, self.seed, epoch), steps_per_epoch(len(self.rows), self.batch_size), step)

    def parts(self, epoch: int, step: int) -> Iterator[Part]:
        """All forward passes of this rank from a step on, those of later epochs too: who reads ahead goes on there."""
        n_steps = steps_per_epoch(len(self.rows), self.batch_size)
        for number in range(epoch, self.epochs):
            order = epoch_order(self.rows, self.seed, number)
            for place in range(step if number == epoch else 0, n_steps):
                batch = share(order, n_steps, place)
                others = partners(batch, self.seed, number) if self.mixes else batch
                mine, theirs = (share(rows, self.ranks, self.rank) for rows in (batch, others))
                for part in range(self.accumulation):
                    yield Part(number, share(mine, self.accumulation, part), share(theirs, self.accumulation, part))

"""Running sums of an epoch: this rank's own while it trains, those of each rank in a checkpoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimline.data.batches import Rows, samples_digest
from slimline.training.checkpoint import COUNTS, TIMES, Progress
from slimline.training.distributed import World

# Answers of steps that are judged together: three operations for all of them, and not for each.
MOST_ANSWERS = 16


class Tally:
    """Counts into the sums and the digest of `progress`.

    A checkpoint has the sums of each rank, so that after a resume they add up in the same order, to the same bits.
    """

    def __init__(self, progress: Progress, world: World) -> None:
        self.progress, self.world = progress, world
        self._seen: list[Rows] = []  # since the digest was last asked for
        self._answers: list[tuple[Tensor, Tensor]] = []  # logits and labels that are not judged yet
        progress.sums = progress.sums_of(world.rank, world.size)
        if world.rank > 0:
            progress.digest = 0  # a checkpoint's is that of all ranks

    def clear(self) -> None:
        """Starts an epoch."""
        self.progress.sums, self.progress.digest, self._seen, self._answers = {}, 0, [], []

    def add(self, **values: float | Tensor) -> None:
        """Adds to the sums; tensors stay on their device."""
        for name, value in values.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value  # type: ignore[assignment]

    def see(self, rows: Rows, logits: Tensor, labels: Tensor) -> None:
        """Notes which samples a step has seen, and what it answered.

        Args:
            rows: which samples, int64 [n].
            logits: the answers [n, k].
            labels: what would have been right, int64 [n].
        """
        self.add(samples=len(rows))
        self._seen.append(rows)
        self._answers.append((logits.detach(), labels))
        if len(self._answers) == MOST_ANSWERS:
            self._judge()

    def figures(self) -> dict[str, float]:
        """Mean loss and accuracy of the epoch over all ranks, and speed and seconds of this one; a collective."""
        self._judge()
        sums = self.progress.sums
        values = [float(sums.get(name, 0.0)) for name in COUNTS]
        loss, correct, samples = self.world.sum(
            torch.tensor(values, dtype=torch.float64, device=self.world.device)
        ).tolist()
        seconds = max(float(sums.get("seconds", 0.0)), 1e-9)
        return {
            "train_loss": loss / samples,
            "train_accuracy": correct / samples,
            "images_per_s": samples / seconds,
            "data_wait_share": float(sums.get("data_wait", 0.0)) / seconds,
            "seconds": seconds,
        }

    def of_ranks(self) -> list[dict[str, float]]:
        """The sums of each rank."""
        self._judge()
        names = (*COUNTS, *TIMES)
        mine = torch.tensor([float(self.progress.sums.get(name, 0.0)) for name in names], dtype=torch.float64)
        return [dict(zip(names, row, strict=True)) for row in self.world.gather(mine).tolist()]

    def digest(self) -> int:
        """Which samples the epoch has seen on all ranks together."""
        seen = np.concatenate([np.empty(0, np.int64), *self._seen])
        self.progress.digest, self._seen = (self.progress.digest + samples_digest(seen)) % 2**64, []
        signed = self.progress.digest - (self.progress.digest >> 63 << 64)
        return int(self.world.sum(torch.tensor(signed, device=self.world.device)).item()) % 2**64

    def pace(self, images_to_go: float) -> dict[str, Any]:
        """For the heartbeat: loss and speed of this rank's share of the epoch, and how long the rest will take."""
        sums = self.progress.sums
        images_per_s = float(sums["samples"]) * self.world.size / sums["seconds"] if sums.get("seconds") else 0.0
        loss = float(sums["loss"]) / float(sums["samples"]) if sums.get("samples") else math.nan
        return {
            "loss": loss if math.isfinite(loss) else None,  # on a GPU nobody may have looked at it yet
            "images_per_s": images_per_s,
            "eta_s": images_to_go / images_per_s if images_per_s else None,
        }

    def _judge(self) -> None:
        if self._answers:
            logits, labels = map(torch.cat, zip(*self._answers, strict=True))
            self.add(correct=(logits.argmax(1) == labels).sum())
            self._answers = []

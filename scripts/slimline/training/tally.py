"""Running sums of an epoch: this rank's own while it trains, those of each rank in a checkpoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimline.data.batches import Rows, samples_digest
from slimline.training.checkpoint import Progress
from slimline.training.distributed import World

TOTALS = ("loss", "correct", "samples")
TIMES = ("seconds", "data_wait")


class Tally:
    """Counts into the sums and the digest of `progress`.

    A checkpoint has the sums of each rank, so that after a resume they add up in the same order, to the same bits.
    """

    def __init__(self, progress: Progress, world: World) -> None:
        self.progress, self.world = progress, world
        self._seen: list[Rows] = []  # since the digest was last asked for
        progress.sums = progress.sums_of(world.rank, world.size)
        if world.rank > 0:
            progress.digest = 0  # a checkpoint's is that of all ranks

    def clear(self) -> None:
        """Starts an epoch."""
        self.progress.sums, self.progress.digest, self._seen = {}, 0, []

    def add(self, **values: float | Tensor) -> None:
        """Adds to the sums; tensors stay on their device."""
        for name, value in values.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value  # type: ignore[assignment]

    def see(self, rows: Rows) -> None:
        """Notes which samples a step has seen."""
        self.add(samples=len(rows))
        self._seen.append(rows)

    def totals(self) -> dict[str, float]:
        """Loss, correct answers and samples over all ranks, and the seconds of this one."""
        sums = self.progress.sums
        values = torch.tensor(
            [float(sums.get(name, 0.0)) for name in TOTALS], dtype=torch.float64, device=self.world.device
        )
        totals = dict(zip(TOTALS, self.world.sum(values).tolist(), strict=True))
        return totals | {name: float(sums.get(name, 0.0)) for name in TIMES}

    def of_ranks(self) -> list[dict[str, float]]:
        """The sums of each rank."""
        names = (*TOTALS, *TIMES)
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
        loss = float(sums["loss"]) / float(sums["samples"]) if sums.get("samples") else None
        return {
            "loss": loss if loss is not None and math.isfinite(loss) else None,  # a file of JSON takes no other
            "images_per_s": images_per_s,
            "eta_s": images_to_go / images_per_s if images_per_s else None,
        }

"""Losses and gradients that are not finite: found without waiting for a GPU at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NotFinite:
    """The first step whose loss or gradient is infinite or not a number."""

    step: int
    loss: float
    gradient_norm: float


class NotFiniteError(Exception):
    """A run cannot go on from here; the last checkpoint is good.

    Args:
        where: variant, seed, epoch and step.
        found: loss and gradient.
        sample_ids: the images of the step's batch, on all ranks.
    """

    def __init__(self, where: str, found: str, sample_ids: list[str]) -> None:
        super().__init__(f"{where}: {found}")
        self.where, self.found, self.sample_ids = where, found, sample_ids


class FiniteWatch:
    """Remembers the first bad step; on a GPU in its memory, so that only asking costs a synchronisation."""

    def __init__(self, device: torch.device) -> None:
        self._found: NotFinite | None = None
        # [step or -1, loss, norm of the gradients]
        self._first = torch.tensor([-1.0, 0.0, 0.0], dtype=torch.float64, device=device)

    def note(self, step: int, loss: Tensor, gradient_norm: Tensor) -> None:
        """Takes in a step's figures, two scalars on the device."""
        if self._first.device.type == "cpu":
            if self._found is None and not (math.isfinite(loss) and math.isfinite(gradient_norm)):
                self._found = NotFinite(step, loss.item(), gradient_norm.item())
            return
        now = torch.stack([torch.full_like(loss, step, dtype=torch.float64), loss.double(), gradient_norm.double()])
        is_first = ~torch.isfinite(now).all() & (self._first[0] < 0)
        self._first = torch.where(is_first, now, self._first)

    def found(self) -> NotFinite | None:
        """The first bad step, if there was one."""
        if self._first.device.type != "cpu":
            step, loss, norm = self._first.tolist()
            return None if step < 0 else NotFinite(int(step), loss, norm)
        return self._found

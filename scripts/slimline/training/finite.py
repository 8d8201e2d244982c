"""Losses and gradients that are not finite: found without waiting for a GPU at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NotFinite:
    """The first step whose loss or gradient was seen to be infinite or not a number; None: nobody looked at it."""

    step: int
    loss: float
    gradient_norm: float | None = None

    def __str__(self) -> str:
        return f"loss {self.loss:g}" + (
            "" if self.gradient_norm is None else f", norm of the gradients {self.gradient_norm:g}"
        )


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


def not_finite_error(first: NotFinite | None, name: str, sample_ids: list[str], overflows: bool) -> NotFiniteError:
    """The error for the first bad step, where this rank has seen one.

    Args:
        first: the step, None where only another rank has seen it.
        name: variant, seed and epoch.
        sample_ids: the step's images.
        overflows: whether gradients overflow at every step.
    """
    if first is not None:
        return NotFiniteError(f"{name}, step {first.step}", str(first), sample_ids)
    return NotFiniteError(
        name, "gradients that overflow fp16 at every step" if overflows else "found by another rank", []
    )


class FiniteWatch:
    """Remembers the first bad step; on a GPU in its memory, so that only asking costs a synchronisation."""

    def __init__(self, device: torch.device) -> None:
        self._found: NotFinite | None = None
        # [step or -1, loss, norm of the gradients or -1]
        self._first = torch.tensor([-1.0, 0.0, -1.0], dtype=torch.float64, device=device)

    def note(self, step: int, loss: Tensor, gradient_norm: Tensor | None = None) -> None:
        """Takes in a step's figures, scalars on the device."""
        if self._first.device.type == "cpu":
            norm = None if gradient_norm is None else gradient_norm.item()
            if self._found is None and not (math.isfinite(loss) and (norm is None or math.isfinite(norm))):
                self._found = NotFinite(step, loss.item(), norm)
            return
        norm_or_none = torch.full_like(loss, -1.0) if gradient_norm is None else gradient_norm
        now = torch.stack([torch.full_like(loss, step), loss, norm_or_none]).double()
        is_first = ~torch.isfinite(now).all() & (self._first[0] < 0)
        self._first = torch.where(is_first, now, self._first)

    def found(self) -> NotFinite | None:
        """The first bad step, if there was one."""
        if self._first.device.type != "cpu":
            step, loss, norm = self._first.tolist()
            return None if step < 0 else NotFinite(int(step), loss, None if norm < 0 else norm)
        return self._found

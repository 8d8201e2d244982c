"""Losses and gradients that are not finite: found without waiting for a GPU at every step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class NotFinite:
    """The first step with a figure that is infinite or not a number.

    Args:
        step: number of the step in its epoch.
        loss: of one rank's share of the batch.
        gradient_norm: None if nobody looked at it.
        in_weights: whether it is the weights after the step; the loss is finite then.
    """

    step: int
    loss: float
    gradient_norm: float | None = None
    in_weights: bool = False

    def __str__(self) -> str:
        if self.in_weights:
            return f"weights that are not finite after a loss of {self.loss:g}"
        norm = "" if self.gradient_norm is None else f", norm of the gradients {self.gradient_norm:g}"
        return f"loss {self.loss:g}{norm}"


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

    def described(self) -> str:
        """Where it was, what was found, and the first images."""
        images = f", on the images {', '.join(self.sample_ids[:3])}, …" if self.sample_ids else ""
        return f"{self}{images}"


def not_finite_error(first: NotFinite | None, name: str, sample_ids: list[str]) -> NotFiniteError:
    """The error for the first bad step.

    Args:
        first: the step; None where gradients overflow at every step.
        name: variant, seed and epoch.
        sample_ids: the step's images.
    """
    if first is None:
        return NotFiniteError(name, "gradients that overflow fp16 at every step", [])
    return NotFiniteError(f"{name}, step {first.step}", str(first), sample_ids)


def first_of_all(found: Sequence[NotFinite | None]) -> NotFinite | None:
    """The first bad step of those that ranks have found."""
    steps = [one for one in found if one is not None]
    return min(steps, key=lambda one: (one.step, one.in_weights)) if steps else None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is finite, in this rank's part of tensors that ranks share; waits for a GPU once."""
    parts = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    floats = [part.detach() for part in parts if part.is_floating_point() and part.numel()]
    return not floats or bool(torch.stack([part.isfinite().all() for part in floats]).all())


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

    def look_at(self, weights: Iterable[Tensor], step: int, loss: Tensor) -> None:
        """Looks at the weights after a step: an update may overflow though its gradient is finite."""
        if self.found() is None and not all_finite(weights):
            self._found = NotFinite(step, loss.item(), in_weights=True)

    def found(self) -> NotFinite | None:
        """The first bad step, if there was one."""
        if self._first.device.type != "cpu":
            step, loss, norm = self._first.tolist()
            if step >= 0:
                return NotFinite(int(step), loss, None if norm < 0 else norm)
        return self._found

"""Weights that were set to zero stay zero while the others are trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class KeptZeros:
    """The zeros of a model's kernels and matrices as they are now, or as a checkpoint says.

    They are set again after every step rather than found again: a weight that passes through zero may move on.

    Args:
        model: after `parallelise`: the masks are cut as its parameters are.
        names: of its kernels and matrices; once ranks share layers, they cannot be told by their kind.
        masks: which weights stay zero, by name; None: those that are zero now.
    """

    def __init__(self, model: nn.Module, names: Iterable[str], masks: Mapping[str, Tensor] | None = None) -> None:
        self._weights = {name: model.get_parameter(name) for name in names}
        self.masks = dict(masks) if masks is not None else {name: w.detach() == 0 for name, w in self._weights.items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Sets them to zero again, after an optimizer step."""
        for name, weight in self._weights.items():
            weight.masked_fill_(self.masks[name], 0.0)

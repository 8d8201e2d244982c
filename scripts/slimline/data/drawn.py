"""Random numbers of a batch: drawn in the host's memory, brought to the images in one copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """Numbers by name, one of each per image.

    Args:
        names: what they are for.
        table: float64 [names, n]; whole numbers up to 2^53 are exact in it.
    """

    names: tuple[str, ...]
    table: Tensor

    @classmethod
    def of(cls, numbers: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Numbers [n] by name, as one table."""
        rows = [values.astype(np.float64) for values in numbers.values()]
        return cls(tuple(numbers), torch.from_numpy(np.stack(rows)) if rows else torch.empty(0))

    def __getitem__(self, name: str) -> Tensor:
        return self.table[self.names.index(name)]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        """The same numbers where `move` brings them; none are not moved."""
        return type(self)(self.names, move(self.table)) if self.names else self

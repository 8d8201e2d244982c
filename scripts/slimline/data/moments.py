"""Mean and standard deviation of images that pass by."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

# Small images are summed up together: on each alone, most of the time would be that of the calls.
TOGETHER_BYTES = 1 << 18


class Moments:
    """Sums for mean and standard deviation per channel, in whole numbers and therefore exact."""

    def __init__(self, channels: int) -> None:
        self._n = 0
        self._sum = np.zeros(channels, np.int64)
        self._sum_of_squares = np.zeros(channels, np.int64)
        self._waiting: list[npt.NDArray[np.uint8]] = []
        self._waiting_bytes = 0

    def add(self, image: npt.NDArray[np.uint8]) -> None:
        """Adds an image [C, H, W] of less than 2^53 / 255^2 pixels, for which sums of doubles are exact."""
        self._waiting.append(image)
        self._waiting_bytes += image.size
        if self._waiting_bytes >= TOGETHER_BYTES:
            self._sum_up()

    def _sum_up(self) -> None:
        for shape in {image.shape for image in self._waiting}:
            images = np.stack([image for image in self._waiting if image.shape == shape], axis=1)  # [C, n, H, W]
            values = images.reshape(len(images), -1).astype(np.float64)
            self._n += values.shape[1]
            self._sum += values.sum(axis=1).astype(np.int64)
            # In one pass; BLAS would wake its threads for it.
            self._sum_of_squares += np.einsum("cn,cn->c", values, values).astype(np.int64)
        self._waiting, self._waiting_bytes = [], 0

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, in units of the pixels."""
        self._sum_up()
        return tuple(total / self._n for total in self._sum.tolist())

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of the population; 1 where all pixels are equal."""
        self._sum_up()
        sums = zip(self._sum.tolist(), self._sum_of_squares.tolist(), strict=True)
        variances = [(self._n * squares - total * total) / self._n**2 for total, squares in sums]
        return tuple(math.sqrt(variance) or 1.0 for variance in variances)

"""Images as uint8 arrays in files that are mapped into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from slimline.files import replacing_folder

SHARD_BYTES = (1 << 30) - 4096  # with its header a shard stays below 1 GiB


class ShardsError(Exception):
    """Shards that cannot be what was asked for; the message says what was found."""


class DamagedImageError(Exception):
    """An image that is not what was written.

    Attributes:
        row: its number.
        reason: what is wrong with it.
    """

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row, self.reason = row, reason


class Images(Protocol):
    """Images of one shape by row number, however they are kept; several threads may read at once."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Images [n, C, H, W] of rows [n], in their order.

        Raises:
            IndexError: a row is beyond the last.
            DamagedImageError: an image is not what was written.
        """


def write_shards(
    folder: Path, images: Iterator[npt.NDArray[np.uint8]], n_images: int, shape: tuple[int, int, int]
) -> None:
    """Writes `images-00000.npy` and so on, one image in memory at a time.

    Args:
        folder: the folder of the shards, replaced as a whole.
        images: `n_images` uint8 arrays of `shape`.
        n_images: how many there are.
        shape: channels, height, width.
    """
    per_shard = max(1, SHARD_BYTES // math.prod(shape))
    with replacing_folder(folder) as temporary:
        for number, start in enumerate(range(0, n_images, per_shard)):
            n_rows = min(per_shard, n_images - start)
            shard = np.lib.format.open_memmap(
                temporary / f"images-{number:05d}.npy", mode="w+", dtype=np.uint8, shape=(n_rows, *shape)
            )
            rows = np.asarray(shard)  # a memmap as plain array: writing to it costs less
            for row in range(n_rows):
                rows[row] = next(images)
            shard.flush()


def open_shards(folder: Path) -> list[npt.NDArray[np.uint8]]:
    """The shards in their order, mapped into memory and read-only; empty if there are none."""
    return [np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("images-*.npy"))]


class PixelShards:
    """What `write_shards` wrote.

    Args:
        folder: where it lies.
        shape: channels, height and width of every image.

    Raises:
        ShardsError: there is nothing, or it is of another shape or type.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        mapped = open_shards(folder)
        found = sorted({(str(shard.dtype), shard.shape[1:]) for shard in mapped})
        if found != [("uint8", shape)]:
            raise ShardsError(f"images of {found}")
        self._shards = [np.asarray(shard) for shard in mapped]  # a memmap as plain array: indexing it costs less
        self._ends = np.cumsum([len(shard) for shard in mapped])

    def __len__(self) -> int:
        """How many images there are."""
        return int(self._ends[-1])

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Images [n, C, H, W] of rows [n], a copy."""
        if len(self._shards) == 1:
            return self._shards[0][rows]
        shard_of_row = np.searchsorted(self._ends, rows, side="right")
        images = np.empty((len(rows), *self._shards[0].shape[1:]), np.uint8)
        for number in np.unique(shard_of_row):
            wanted = shard_of_row == number
            shard = self._shards[number]
            images[wanted] = shard[rows[wanted] - (self._ends[number] - len(shard))]
        return images

"""Images as uint8 arrays in files that are mapped into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimline.files import replacing_folder

SHARD_BYTES = (1 << 30) - 4096  # with its header a shard stays below 1 GiB


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
            for row in range(n_rows):
                shard[row] = next(images)
            shard.flush()


def open_shards(folder: Path) -> list[npt.NDArray[np.uint8]]:
    """The shards in their order, mapped into memory and read-only; empty if there are none."""
    return [np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("images-*.npy"))]

"""Images as JPEG, one after the other in large files that are mapped into memory; decoded when they are read.

Beside each `images-00000.jpegs` lies `table-00000.npy`: int64 [n, 3], where each image starts and ends in the file, and
its CRC-32. Decoders make something up where a JPEG is damaged; the checksum tells.
"""

from __future__ import annotations

import io
import itertools
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from slimline.data.shards import SHARD_BYTES, DamagedImageError, ShardsError
from slimline.files import replacing_folder

QUALITY = 95
NO_SUBSAMPLING = 0  # colours keep the resolution of the brightness: 4:4:4


def encode_jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    """An image [C, H, W] as JPEG, with 1 channel as grey, with 3 as colour."""
    file = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=QUALITY, subsampling=NO_SUBSAMPLING)
    return file.getvalue()


def decode_jpeg(blob: bytes) -> npt.NDArray[np.uint8]:
    """The image [C, H, W] of a JPEG; equal bytes give equal pixels."""
    with Image.open(io.BytesIO(blob), formats=("JPEG",)) as image:
        pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def write_jpeg_shards(folder: Path, blobs: Iterator[bytes]) -> None:
    """Writes JPEGs into files of at most 1 GiB, one image in memory at a time.

    Args:
        folder: the folder of the shards, replaced as a whole.
        blobs: the images in the order of their rows.
    """
    with replacing_folder(folder) as temporary:
        blob = next(blobs, None)
        for number in itertools.count():
            if blob is None:
                return
            places: list[tuple[int, int, int]] = []
            with _flushed(temporary / f"images-{number:05d}.jpegs") as file:
                while blob is not None and (not places or file.tell() + len(blob) <= SHARD_BYTES):
                    start = file.tell()
                    file.write(blob)
                    places.append((start, file.tell(), zlib.crc32(blob)))
                    blob = next(blobs, None)
            with _flushed(temporary / f"table-{number:05d}.npy") as file:
                np.save(file, np.array(places, np.int64), allow_pickle=False)


@contextmanager
def _flushed(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on disk when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


class JpegShards:
    """What `write_jpeg_shards` wrote.

    Args:
        folder: where it lies.
        shape: channels, height and width of every image.

    Raises:
        ShardsError: there is nothing, or its files do not fit together.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._files: list[npt.NDArray[np.uint8]] = []
        self._tables: list[npt.NDArray[np.int64]] = []
        for path in sorted(folder.glob("images-*.jpegs")):
            table_path = path.with_name(path.name.replace("images-", "table-")).with_suffix(".npy")
            try:
                file = np.asarray(np.memmap(path, np.uint8, "r"))
                table = np.asarray(np.load(table_path, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise ShardsError(f"{path.name} and its table: {error}") from None
            if table.dtype != np.int64 or table.shape[1:] != (3,) or not len(table) or table[-1, 1] != len(file):
                raise ShardsError(f"{path.name} of {len(file)} bytes and a table that does not fit it")
            self._files.append(file)
            self._tables.append(table)
        if not self._files:
            raise ShardsError("no images")
        self._ends = np.cumsum([len(table) for table in self._tables])

    def __len__(self) -> int:
        """How many images there are."""
        return int(self._ends[-1])

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Images [n, C, H, W] of rows [n], decoded one after the other."""
        images = np.empty((len(rows), *self._shape), np.uint8)
        shard_of_row = np.searchsorted(self._ends, rows, side="right")
        for image, row, number in zip(images, rows.tolist(), shard_of_row.tolist(), strict=True):
            image[:] = self._decoded(row, number)
        return images

    def _decoded(self, row: int, number: int) -> npt.NDArray[np.uint8]:
        table = self._tables[number]
        start, end, checksum = table[row - int(self._ends[number])].tolist()  # counted from the shard's end
        blob = self._files[number][start:end].tobytes()
        if zlib.crc32(blob) != checksum:
            raise DamagedImageError(row, "not the bytes that were written: their checksum differs")
        try:
            image = decode_jpeg(blob)
        except Exception as error:  # Pillow's decoders raise nearly anything on broken files
            raise DamagedImageError(row, f"{type(error).__name__}: {error}") from error
        if image.shape != self._shape:
            raise DamagedImageError(row, f"an image of shape {image.shape} instead of {self._shape}")
        return image

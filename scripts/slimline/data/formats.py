"""Files of the built-in datasets as arrays.

idx: Yann LeCun's format of MNIST (magic number, sizes, bytes). CIFAR: the binary versions of Krizhevsky
(2009), records of one or two label bytes and 3072 pixel bytes, read from the archive without unpacking it.
"""

from __future__ import annotations

import gzip
import struct
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from slimline.data.labelled import LabelledImages
from slimline.errors import SlimlineError

CIFAR_PIXELS = 3 * 32 * 32


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An array from a gzipped idx file of unsigned bytes.

    Raises:
        SlimlineError: the content is not idx.
    """
    with gzip.open(path) as file:
        content = file.read()
    zeros, kind, n_dimensions = struct.unpack_from(">HBB", content)
    if (zeros, kind) != (0, 8):
        raise _unexpected(path, f"magic number {content[:4].hex()}", "an idx file of unsigned bytes")
    shape = struct.unpack_from(f">{n_dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)


def read_mnist(raw: Path, part: str) -> LabelledImages:
    """A split of MNIST or Fashion-MNIST; `part` is `train` or `t10k`."""
    images = read_idx(raw / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(raw / f"{part}-labels-idx1-ubyte.gz")
    return LabelledImages(images[:, None], labels.astype(np.int64))


class CifarLayout(NamedTuple):
    """Where a binary CIFAR archive keeps what: names of its files, and label bytes per record.

    Of several label bytes the last is used (CIFAR-100: coarse, fine).
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    class_names: str
    label_bytes: int


CIFAR10 = CifarLayout(
    tuple(f"data_batch_{part}.bin" for part in range(1, 6)), ("test_batch.bin",), "batches.meta.txt", label_bytes=1
)
CIFAR100 = CifarLayout(("train.bin",), ("test.bin",), "fine_label_names.txt", label_bytes=2)


def read_cifar(archive: Path, layout: CifarLayout) -> tuple[LabelledImages, LabelledImages, tuple[str, ...]]:
    """Training images, test images and class names of a binary CIFAR archive.

    Raises:
        SlimlineError: a file is not in the archive.
    """
    contents = _members(archive, {*layout.train, *layout.test, layout.class_names})

    def labelled(parts: tuple[str, ...]) -> LabelledImages:
        content = b"".join(contents[part] for part in parts)
        records = np.frombuffer(content, np.uint8).reshape(-1, layout.label_bytes + CIFAR_PIXELS)
        images = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
        return LabelledImages(images, records[:, layout.label_bytes - 1].astype(np.int64))

    return labelled(layout.train), labelled(layout.test), tuple(contents[layout.class_names].decode().split())


def _members(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    """Contents of files in an archive by their names without folder, in one pass over it."""
    contents = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            if name in wanted and (file := tar.extractfile(member)):
                contents[name] = file.read()
    if missing := sorted(wanted - set(contents)):
        raise _unexpected(archive, f"no {', '.join(missing)}", "the binary version of CIFAR")
    return contents


def _unexpected(path: Path, got: str, expected: str) -> SlimlineError:
    return SlimlineError(
        "A downloaded file does not hold what it should.",
        where=str(path),
        got=got,
        expected=expected,
        next_step=f"delete it and run snakemake again: rm '{path}'",
    )

"""One way to read every dataset: samples with an id, a class and perhaps a published split, and their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from slimline.config.dataset import DatasetConfig
from slimline.data import options
from slimline.data.audit_table import PublishedSplit
from slimline.data.digits import read_digits
from slimline.data.folder import Layout
from slimline.data.formats import CIFAR10, CIFAR100, read_cifar, read_mnist
from slimline.data.images import Pixels, decode_image, fit
from slimline.data.labelled import LabelledImages

MNIST_CLASSES = tuple("0123456789")
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class Sample:
    """One image before it is read; `split` is None where slimline makes the split."""

    sample_id: str
    class_name: str
    split: PublishedSplit | None


class Listing(NamedTuple):
    """All samples of a dataset, training images first, and its class names in the order of their labels."""

    samples: list[Sample]
    class_names: list[str]


class Reader(Protocol):
    """A dataset in its raw form.

    Attributes:
        shape: channels, height and width of a prepared image.
    """

    shape: tuple[int, int, int]

    def listing(self, manifest: dict[str, Any]) -> Listing:
        """What there is; `manifest` is the content of `download.json`."""

    def decode(self, sample_id: str) -> Pixels:
        """Pixels as the source has them [height, width, channels].

        Raises:
            UnreadableImageError: a file cannot be decoded.
        """

    def prepare(self, pixels: Pixels) -> Pixels:
        """What `decode` gave, brought to `shape`."""


class ArrayReader:
    """A dataset that fits in memory as one array."""

    def __init__(self, images: Pixels, listing: Listing) -> None:
        self.shape: tuple[int, int, int] = images.shape[1:]
        self._images = images
        self._all = listing
        self._rows = {sample.sample_id: row for row, sample in enumerate(listing.samples)}

    def listing(self, manifest: dict[str, Any]) -> Listing:
        """All images; the manifest adds nothing here."""
        del manifest
        return self._all

    def decode(self, sample_id: str) -> Pixels:
        """Pixels [height, width, channels]."""
        image: Pixels = self._images[self._rows[sample_id]]
        return image.transpose(1, 2, 0)

    def prepare(self, pixels: Pixels) -> Pixels:
        """Pixels [channels, height, width]."""
        return pixels.transpose(2, 0, 1)


class FolderReader:
    """A user's image folder; a sample's id is its file's name below the folder."""

    def __init__(self, root: Path, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._root = root

    def listing(self, manifest: dict[str, Any]) -> Listing:
        """The files of the manifest, so that every step speaks of the same files."""
        layout: Layout = manifest["layout"]
        samples = [_folder_sample(file["file"], layout) for file in manifest["files"]]
        samples.sort(key=lambda sample: sample.split == "test")
        return Listing(samples, sorted({sample.class_name for sample in samples}))

    def decode(self, sample_id: str) -> Pixels:
        """RGB pixels [height, width, 3]."""
        return decode_image(self._root / sample_id)

    def prepare(self, pixels: Pixels) -> Pixels:
        """Pixels [channels, size, size]."""
        channels, size, _ = self.shape
        return fit(pixels, size, channels)


def open_reader(cfg: DatasetConfig, raw: Path) -> Reader:
    """The reader of a dataset whose files lie in `raw` (or in the user's folder)."""
    match cfg.name:
        case "image-folder":
            size = options.image_size(cfg)
            return FolderReader(options.folder_root(cfg), (options.channels(cfg), size, size))
        case "digits":
            digits = read_digits()
            return ArrayReader(digits.images, Listing(_samples("image", None, digits, MNIST_CLASSES), [*MNIST_CLASSES]))
        case "mnist" | "fashion-mnist":
            classes = MNIST_CLASSES if cfg.name == "mnist" else FASHION_CLASSES
            return _split_reader(read_mnist(raw, "train"), read_mnist(raw, "t10k"), classes)
        case "cifar10":
            return _split_reader(*read_cifar(raw / "cifar-10-binary.tar.gz", CIFAR10))
        case "cifar100":
            return _split_reader(*read_cifar(raw / "cifar-100-binary.tar.gz", CIFAR100))


def _folder_sample(name: str, layout: Layout) -> Sample:
    parts = name.split("/")
    if layout == "classes":
        return Sample(name, parts[0], None)
    split: PublishedSplit = "test" if parts[0] == "test" else "train"
    return Sample(name, parts[1], split if layout == "train-test" else None)


def _samples(
    prefix: str, split: PublishedSplit | None, content: LabelledImages, classes: tuple[str, ...]
) -> list[Sample]:
    return [Sample(f"{prefix}-{row:05d}", classes[label], split) for row, label in enumerate(content.labels)]


def _split_reader(train: LabelledImages, test: LabelledImages, classes: tuple[str, ...]) -> ArrayReader:
    samples = _samples("train", "train", train, classes) + _samples("test", "test", test, classes)
    return ArrayReader(np.concatenate([train.images, test.images]), Listing(samples, [*classes]))

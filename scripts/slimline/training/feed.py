"""Batches on the device: read ahead where that takes its time, directly from memory otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from slimline.config.train import TrainConfig
from slimline.data.augment import augment, draw_changes, erase
from slimline.data.batches import Rows
from slimline.data.drawn import Drawn
from slimline.data.mixing import draw_mixing, mix
from slimline.data.prepared import PreparedDataset
from slimline.training.parts import Part
from slimline.training.read_ahead import read_ahead
from slimline.training.to_device import ToDevice

T = TypeVar("T")

NOTHING = Drawn.of({})


@dataclass(frozen=True)
class Batch:
    """What one forward pass sees.

    Args:
        images: float [n, c, h, w] in 0..255, channels last in memory.
        targets: classes, int64 [n], or after mixing the share of each class, float [n, k].
        rows: which samples, int64 [n].
    """

    images: Tensor
    targets: Tensor
    rows: Rows

    @property
    def labels(self) -> Tensor:
        """The class of each image, int64 [n]; after mixing the one with the greatest share."""
        return self.targets if self.targets.ndim == 1 else self.targets.argmax(1)


@dataclass(frozen=True)
class Beside:
    """What comes with the images that were read for a batch.

    Args:
        labels: their classes, int64 [m].
        changes: what happens to each.
        place: where mixing images, int64 [2, n]: which of them a sample of the batch is, and its partner.
        mixing: how the two are mixed.
    """

    labels: Tensor
    changes: Drawn = NOTHING
    place: Tensor | None = None
    mixing: Drawn = NOTHING

    def moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        """The same, with each tensor where `move` brings it."""
        place = None if self.place is None else move(self.place)
        return type(self)(move(self.labels), self.changes.moved(move), place, self.mixing.moved(move))


class Feed:
    """Batches of a prepared dataset.

    Args:
        data: the dataset.
        recipe: how training images are changed.
        seed: seed of these changes.
        device: where batches go.
        threads: how many may decode images; what they read does not depend on it.

    Attributes:
        waited_s: seconds that the loop has waited for images, all told.
    """

    def __init__(
        self, data: PreparedDataset, recipe: TrainConfig, seed: int, device: torch.device, threads: int = 1
    ) -> None:
        self.data, self.config, self.seed, self.device = data, recipe.augmentation, seed, device
        self.threads = threads
        self.mean = torch.tensor(data.stats.mean, device=device)
        self.to_device = ToDevice(device)
        self.waited_s = 0.0

    @property
    def mixes(self) -> bool:
        """Whether training images come in pairs."""
        return bool(self.config.mixup or self.config.cutmix)

    def plain(self, parts: Iterable[Rows]) -> Generator[Batch, None, None]:
        """The images of each part's rows [n] as they are."""

        def beside(rows: Rows, needed: Rows) -> Beside:
            return Beside(torch.from_numpy(self.data.labels[needed]))

        with closing(self._loaded(((rows, rows) for rows in parts), beside)) as loaded:
            for rows, images, with_them in loaded:
                yield Batch(_as_floats(images), with_them.labels, rows)

    def training(self, parts: Iterable[Part]) -> Generator[Batch, None, None]:
        """The images of each part's rows [n] as (seed, epoch, row) changes them."""

        def beside(part: Part, needed: Rows) -> Beside:
            labels = torch.from_numpy(self.data.labels[needed])
            how = (self.config, self.data.stats.image_shape[1:], self.seed, part.epoch)
            changes = draw_changes(*how, needed)
            if not self.mixes:
                return Beside(labels, changes)
            place = np.searchsorted(needed, np.stack((part.rows, part.others)))  # needed rows are sorted
            return Beside(labels, changes, torch.from_numpy(place), draw_mixing(*how, part.rows))

        # Each image once, though it is a partner as well: with one rank all partners are in the part itself.
        needed = (
            (part, np.unique(np.concatenate((part.rows, part.others))) if self.mixes else part.rows) for part in parts
        )
        with closing(self._loaded(needed, beside)) as loaded:
            for part, images, with_them in loaded:
                yield self._changed(part.rows, images, with_them)

    def _changed(self, rows: Rows, images: Tensor, beside: Beside) -> Batch:
        images = _as_floats(augment(images, self.config, beside.changes))
        images, labels = erase(images, beside.changes, self.mean), beside.labels
        if beside.place is None:
            return Batch(images, labels, rows)
        own, other = beside.place
        pair = (images[own], labels[own], images[other], labels[other])
        return Batch(*mix(*pair, self.data.stats.num_classes, beside.mixing), rows)

    def _loaded(
        self, parts: Iterable[tuple[T, Rows]], beside: Callable[[T, Rows], Beside]
    ) -> Generator[tuple[T, Tensor, Beside], None, None]:
        """Each part with the images of its rows, uint8 [n, c, h, w], and what comes beside them, on the device."""
        with closing(self._read(parts, beside)) as read:
            while True:
                started_s = time.perf_counter()
                item = next(read, None)
                self.waited_s += time.perf_counter() - started_s
                if item is None:
                    return
                part, images, with_them = item
                with self.to_device as move:
                    images, with_them = move(images), with_them.moved(move)
                yield part, images, with_them

    def _read(
        self, parts: Iterable[tuple[T, Rows]], beside: Callable[[T, Rows], Beside]
    ) -> Generator[tuple[T, Tensor, Beside], None, None]:
        """Each part with its images and what comes beside them, in the host's memory: pinned for a GPU."""
        decodes, on_gpu = self.data.stats.storage == "jpeg", self.device.type == "cuda"
        if decodes or on_gpu:

            def made(part: T, rows: Rows) -> Beside:
                return beside(part, rows).moved(Tensor.pin_memory) if on_gpu else beside(part, rows)

            return read_ahead(self.data, parts, self.threads if decodes else 1, pinned=on_gpu, beside=made)
        # Pixels on a CPU: a copy in memory, which a thread beside those that compute would make no faster.
        return ((part, torch.from_numpy(self.data.read(rows)), beside(part, rows)) for part, rows in parts)


def _as_floats(images: Tensor) -> Tensor:
    return images.float().contiguous(memory_format=torch.channels_last)

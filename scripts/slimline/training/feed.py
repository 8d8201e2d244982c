"""Batches on the device: read ahead where that takes its time, directly from memory otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from slimline.config.train import TrainConfig
from slimline.data.augment import augment, erase
from slimline.data.batches import Rows
from slimline.data.mixing import mix
from slimline.data.prepared import PreparedDataset
from slimline.training.read_ahead import read_ahead

T = TypeVar("T")


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
        self.waited_s = 0.0

    @property
    def mixes(self) -> bool:
        """Whether training images come in pairs."""
        return bool(self.config.mixup or self.config.cutmix)

    def plain(self, parts: Iterable[Rows]) -> Generator[Batch, None, None]:
        """The images of each part's rows [n] as they are."""
        with closing(self._loaded(parts, lambda rows: rows)) as loaded:
            for rows, images, labels in loaded:
                yield Batch(_as_floats(images), labels, rows)

    def training(self, epoch: int, parts: Iterable[tuple[Rows, Rows]]) -> Generator[Batch, None, None]:
        """The images of each part's rows [n] as (seed, epoch, row) changes them.

        Args:
            epoch: number of the epoch.
            parts: rows, and their partners where the recipe mixes images.
        """
        if not self.mixes:
            with closing(self._loaded(parts, lambda part: part[0])) as loaded:
                for (rows, _), images, labels in loaded:
                    yield Batch(self._changed(images, epoch, rows), labels, rows)
            return
        # Each image once, though it is a partner as well: with one rank all partners are in the part itself.
        pairs = ((rows, *np.unique(np.concatenate((rows, others)), return_inverse=True)) for rows, others in parts)
        with closing(self._loaded(pairs, lambda pair: pair[1])) as loaded_pairs:
            for (rows, needed, place), images, labels in loaded_pairs:
                images = self._changed(images, epoch, needed)
                own, other = torch.from_numpy(place).to(self.device).view(2, -1)
                both = (images[own], labels[own], images[other], labels[other])
                mixed, shares = mix(*both, self.data.stats.num_classes, self.config, self.seed, epoch, rows)
                yield Batch(mixed, shares, rows)

    def _changed(self, images: Tensor, epoch: int, rows: Rows) -> Tensor:
        images = _as_floats(augment(images, self.config, self.seed, epoch, rows))
        return erase(images, self.config, self.seed, epoch, rows, self.data.stats.mean)

    def _loaded(
        self, parts: Iterable[T], rows_of: Callable[[T], Rows]
    ) -> Generator[tuple[T, Tensor, Tensor], None, None]:
        """Each part with its images, uint8 [n, c, h, w], and labels, int64 [n], on the device."""
        with closing(self._read((part, rows_of(part)) for part in parts)) as read:
            while True:
                started_s = time.perf_counter()
                item = next(read, None)
                self.waited_s += time.perf_counter() - started_s
                if item is None:
                    return
                part, rows, images = item
                labels = torch.from_numpy(self.data.labels[rows])
                labels = labels.pin_memory() if self.device.type == "cuda" else labels
                yield part, images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def _read(self, parts: Iterable[tuple[T, Rows]]) -> Generator[tuple[T, Rows, Tensor], None, None]:
        """Each part with its rows and images, in the host's memory."""
        decodes, on_gpu = self.data.stats.storage == "jpeg", self.device.type == "cuda"
        if decodes or on_gpu:
            return read_ahead(self.data, parts, self.threads if decodes else 1, pinned=on_gpu)
        # Pixels on a CPU: a copy in memory, which a thread beside those that compute would make no faster.
        return ((part, rows, torch.from_numpy(self.data.read(rows))) for part, rows in parts)


def _as_floats(images: Tensor) -> Tensor:
    return images.float().contiguous(memory_format=torch.channels_last)

"""Batches on the device: read ahead of a GPU, directly on a CPU."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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

READ_AHEAD = 2  # batches: one that is waited for, one that is read

T = TypeVar("T")
U = TypeVar("U")


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

    Attributes:
        waited_s: seconds that the loop has waited for images, all told.
    """

    def __init__(self, data: PreparedDataset, recipe: TrainConfig, seed: int, device: torch.device) -> None:
        self.data, self.config, self.seed, self.device = data, recipe.augmentation, seed, device
        self.waited_s = 0.0

    @property
    def mixes(self) -> bool:
        """Whether training images come in pairs."""
        return bool(self.config.mixup or self.config.cutmix)

    def plain(self, parts: Iterable[Rows]) -> Generator[Batch, None, None]:
        """The images of each part's rows [n] as they are."""
        for rows, images, labels in self._loaded(parts, lambda rows: rows):
            yield Batch(_as_floats(images), labels, rows)

    def training(self, epoch: int, parts: Iterable[tuple[Rows, Rows]]) -> Generator[Batch, None, None]:
        """The images of each part's rows [n] as (seed, epoch, row) changes them.

        Args:
            epoch: number of the epoch.
            parts: rows, and their partners where the recipe mixes images.
        """
        if not self.mixes:
            for (rows, _), images, labels in self._loaded(parts, lambda part: part[0]):
                yield Batch(self._changed(images, epoch, rows), labels, rows)
            return
        # Each image once, though it is a partner as well: with one rank all partners are in the part itself.
        pairs = ((rows, *np.unique(np.concatenate((rows, others)), return_inverse=True)) for rows, others in parts)
        for (rows, needed, place), images, labels in self._loaded(pairs, lambda pair: pair[1]):
            images = self._changed(images, epoch, needed)
            own, other = torch.from_numpy(place).to(self.device).view(2, -1)
            both = (images[own], labels[own], images[other], labels[other])
            mixed, shares = mix(*both, self.data.stats.num_classes, self.config, self.seed, epoch, rows)
            yield Batch(mixed, shares, rows)

    def _changed(self, images: Tensor, epoch: int, rows: Rows) -> Tensor:
        images = _as_floats(augment(images, self.config, self.seed, epoch, rows))
        return erase(images, self.config, self.seed, epoch, rows, self.data.stats.mean)

    def _loaded(self, parts: Iterable[T], rows_of: Callable[[T], Rows]) -> Iterator[tuple[T, Tensor, Tensor]]:
        """Each part with its images, uint8 [n, c, h, w], and labels, int64 [n], on the device."""

        def read(part: T) -> tuple[Tensor, Tensor]:
            rows = rows_of(part)
            images, labels = torch.from_numpy(self.data.read(rows)), torch.from_numpy(self.data.labels[rows])
            # From page-locked memory a GPU copies while the loop goes on.
            return (images.pin_memory(), labels.pin_memory()) if on_gpu else (images, labels)

        on_gpu = self.device.type == "cuda"
        loaded = ahead(read, parts) if on_gpu else ((part, read(part)) for part in parts)
        while True:
            started_s = time.perf_counter()
            item = next(loaded, None)
            self.waited_s += time.perf_counter() - started_s
            if item is None:
                return
            part, (images, labels) = item
            yield part, images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


def ahead(read: Callable[[T], U], items: Iterable[T]) -> Iterator[tuple[T, U]]:
    """Each item with `read(item)`, in order, read in a thread while the one before is in use."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending: deque[tuple[T, Future[U]]] = deque()
        for item in items:
            pending.append((item, pool.submit(read, item)))
            if len(pending) >= READ_AHEAD:
                first, future = pending.popleft()
                yield first, future.result()
        for first, future in pending:
            yield first, future.result()


def _as_floats(images: Tensor) -> Tensor:
    return images.float().contiguous(memory_format=torch.channels_last)

"""Images read by threads while the loop computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from slimline.data.batches import Rows
from slimline.data.prepared import PreparedDataset

READ_AHEAD = 2  # batches: one that is waited for, one that is read

T = TypeVar("T")
B = TypeVar("B")


def read_ahead(
    data: PreparedDataset,
    parts: Iterable[tuple[T, Rows]],
    workers: int,
    *,
    pinned: bool,
    beside: Callable[[T, Rows], B],
) -> Generator[tuple[T, Tensor, B], None, None]:
    """Each part with the images of its rows, uint8 [n, c, h, w], and what comes beside them, in order.

    The rows of a batch are cut into one run per worker, so that a batch is there early and few wait in memory. What
    a worker does follows from its rows alone: images are the same whatever their number. An error of a worker is
    raised where its batch would come. Closing the generator ends the workers.

    Args:
        data: where images come from.
        parts: anything, and the rows to read for it; taken up as batches are read.
        workers: threads that read.
        pinned: whether images lie in page-locked memory, from which a GPU copies while the loop goes on.
        beside: gives what else a part needs; called by a worker.
    """

    def fill(images: Tensor, rows: Rows) -> None:
        images.numpy()[:] = data.read(rows)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-ahead")

    def taken_up(part: T, rows: Rows) -> tuple[T, Tensor, Future[B], list[Future[None]]]:
        made = pool.submit(beside, part, rows)
        images = torch.empty((len(rows), *data.stats.image_shape), dtype=torch.uint8, pin_memory=pinned)
        runs = max(1, min(workers, len(rows)))
        parts_of_both = zip(images.tensor_split(runs), np.array_split(rows, runs), strict=True)  # cut alike
        return part, images, made, [pool.submit(fill, *both) for both in parts_of_both]

    pending: deque[tuple[T, Tensor, Future[B], list[Future[None]]]] = deque()

    def oldest() -> tuple[T, Tensor, B]:
        part, images, made, reads = pending.popleft()
        for read in reads:
            read.result()
        return part, images, made.result()

    try:
        for part, rows in parts:
            pending.append(taken_up(part, rows))
            if len(pending) >= READ_AHEAD:
                yield oldest()
        while pending:
            yield oldest()
    finally:
        pool.shutdown(cancel_futures=True)

"""Progress of long work: a bar on a terminal, a log line now and then everywhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from slimline.status_line import without_bar

LOG_INTERVAL_S = 15.0
AHEAD = 64
# An item that takes less is done sooner by one thread than by several that share the interpreter.
LEAST_S = 4e-4

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Progress:
    """Counts work that is done.

    Args:
        what: what is counted, as bar and log name it.
        total: how much there is.
        unit: of what.
        done: how much was done before.
    """

    def __init__(self, what: str, total: int, unit: str, done: int = 0) -> None:
        self._what, self._total, self._unit, self._done = what, total, unit, done
        self._next_line_s = time.monotonic() + LOG_INTERVAL_S
        self._bar = tqdm(
            total=total, initial=done, desc=what, unit=unit, unit_scale=True, leave=False, disable=without_bar()
        )

    def advance(self, amount: int = 1) -> None:
        """Notes that `amount` more is done."""
        self._done += amount
        self._bar.update(amount)
        if time.monotonic() >= self._next_line_s:
            log.info("%s: %d of %d %s", self._what, self._done, self._total, self._unit)
            self._next_line_s = time.monotonic() + LOG_INTERVAL_S

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def map_in_order(work: Callable[[Item], Result], items: Sequence[Item], *, threads: int, what: str) -> Iterator[Result]:
    """As `map`, with progress, and on several threads where that pays; at most `AHEAD` results wait in memory.

    Decoding, resizing and hashing release the interpreter lock, so threads are enough. For small files what remains
    under the lock takes longer, and threads would only wait for one another: the time of the first items decides.
    """
    progress = Progress(what, len(items), "images")
    try:
        with ThreadPoolExecutor(threads) as pool:
            first_s = time.perf_counter()
            side_by_side = False
            for start in range(0, len(items), AHEAD):
                block = items[start : start + AHEAD]
                for result in pool.map(work, block) if side_by_side else map(work, block):
                    yield result
                    progress.advance()
                if start == 0:
                    took_s = time.perf_counter() - first_s
                    side_by_side = threads > 1 and took_s / len(block) > LEAST_S
    finally:
        progress.close()

"""The same work on many items, on several cores where that pays, with results in order and progress."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from statistics import median
from typing import Any, TypeVar

from slimline.data.progress import Progress

BLOCK = 64  # items that are handed out together, and that wait in memory at most for each worker, twice
# An item that takes less is done sooner by one thread than by several that share the interpreter.
LEAST_ITEM_S = 4e-4
# All of them together: what takes less is done before processes have begun.
LEAST_TOTAL_S = 1.0

Item = TypeVar("Item")
Result = TypeVar("Result")

_work: Callable[[Any], Any]  # of a process that was made for it


def map_in_order(
    work: Callable[[Item], Result], items: Sequence[Item], *, threads: int, what: str
) -> Generator[Result, None, None]:
    """As `map`, with progress, by several processes or threads where that pays.

    Decoding, resizing and hashing release the interpreter's lock, but with small files what remains under it takes
    longer, and threads would only wait for one another. So much work goes to processes, which are copies of this one;
    where they cannot be made that way, and for little work on large items, there are threads. The time of the first
    items decides.

    Args:
        work: what is done with an item; may raise, and warn.
        items: the items.
        threads: threads or processes at once.
        what: name of the work for progress.
    """
    progress = Progress(what, len(items), "images")
    try:
        took_s: list[float] = []
        for item in items[:BLOCK]:
            start_s = time.perf_counter()
            result = work(item)
            took_s.append(time.perf_counter() - start_s)
            yield result
            progress.advance()
        with closing(_rest(work, items[BLOCK:], threads, median(took_s or [0.0]))) as rest:
            for result in rest:
                yield result
                progress.advance()
    finally:
        progress.close()


def _rest(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int, item_s: float
) -> Generator[Result, None, None]:
    """The results of all items, each of which takes `item_s` or so."""
    if threads > 1 and item_s * len(items) > LEAST_TOTAL_S and sys.platform == "linux":
        yield from _by_processes(work, items, threads)
    elif threads > 1 and item_s > LEAST_ITEM_S:
        with ThreadPoolExecutor(threads) as pool:
            for block in _blocks(items):
                yield from pool.map(work, block)
    else:
        yield from map(work, items)


def _by_processes(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Generator[Result, None, None]:
    context = multiprocessing.get_context("fork")  # at once, without importing anything again
    with ProcessPoolExecutor(processes, context, initializer=_take_up, initargs=(work,)) as pool:
        blocks = _blocks(items)
        waiting: deque[Future[tuple[list[Result], list[warnings.WarningMessage]]]] = deque()
        while True:
            while len(waiting) < 2 * processes and (block := next(blocks, None)):
                waiting.append(pool.submit(_do, block))
            if not waiting:
                return
            results, warned = waiting.popleft().result()
            for one in warned:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
            yield from results


def _take_up(work: Callable[[Any], Any]) -> None:
    """Begins a process: an interrupt is for the one that it works for."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(block: Sequence[Any]) -> tuple[list[Any], list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as warned:
        return [_work(item) for item in block], warned


def _blocks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))

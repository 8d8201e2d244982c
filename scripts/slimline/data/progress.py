"""Progress of long work: a bar on a terminal, a log line now and then everywhere."""

from __future__ import annotations

import logging
import time

from tqdm import tqdm

from slimline.status_line import without_bar

LOG_INTERVAL_S = 15.0

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

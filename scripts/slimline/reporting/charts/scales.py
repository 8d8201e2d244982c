"""From data to pixels: linear and logarithmic scales, and ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

TICK_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
LOG_MANTISSAS = (1, 2, 5)
ROUNDING = 1e-9


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` on pixels from `start` to `end`, evenly or by logarithm.

    `low` must be less than `high`, and positive where the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel position of `value`, which may lie outside the scale."""
        low, high = self._warp(self.low), self._warp(self.high)
        return self.start + (self._warp(value) - low) / (high - low) * (self.end - self.start)

    def clamp(self, value: float) -> float:
        """Pixel position of the nearest value on the scale."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, n_wanted: int = 5) -> list[float]:
        """About `n_wanted` round values on the scale."""
        if self.log:
            return log_ticks(self.low, self.high, n_wanted)
        return nice_ticks(self.low, self.high, n_wanted)

    def _warp(self, value: float) -> float:
        return math.log10(value) if self.log else value


def nice_step(low: float, high: float, n_wanted: int = 5) -> float:
    """A step of 1, 2, 2.5 or 5 times a power of ten that gives at most about `n_wanted` intervals."""
    raw = (high - low) / max(1, n_wanted)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    return next(step * magnitude for step in TICK_STEPS if step * magnitude >= raw * (1 - ROUNDING))


def nice_ticks(low: float, high: float, n_wanted: int = 5) -> list[float]:
    """Multiples of a round step from `low` to `high`."""
    step = nice_step(low, high, n_wanted)
    first = math.ceil(low / step - ROUNDING)
    last = math.floor(high / step + ROUNDING)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float, n_wanted: int = 5) -> list[float]:
    """1, 2 and 5 times powers of ten from `low` to `high`; powers of ten alone where those are enough."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = [10.0**exponent for exponent in exponents if _within(10.0**exponent, low, high)]
    if len(decades) >= n_wanted:
        return decades
    steps = [mantissa * 10.0**exponent for exponent in exponents for mantissa in LOG_MANTISSAS]
    return [step for step in steps if _within(step, low, high)]


def tick_digits(ticks: Iterable[float]) -> int:
    """Decimals that tell all `ticks` apart, 6 at most."""
    values = list(ticks)
    return next((digits for digits in range(6) if all(math.isclose(round(v, digits), v) for v in values)), 6)


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A range that is wider by `share` on both sides; one of no width is widened around its value."""
    span = high - low
    if span <= 0:
        span = abs(high) or 1.0
    return low - share * span, high + share * span


def from_zero(values: Iterable[float], start: float, end: float, headroom: float = 1.1) -> Scale:
    """A linear scale from 0 to a little more than the largest of `values`."""
    largest = max(values, default=0.0)
    return Scale(0.0, largest * headroom if largest > 0 else 1.0, start, end)


def from_zero_or_log(values: Iterable[float], start: float, end: float, most: float = 6.0) -> Scale:
    """As `from_zero`, but logarithmic where values differ by more than `most` times and all are positive."""
    known = list(values)
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low > 0 and high / low > most:
        return Scale(low / 1.3, high * 1.3, start, end, log=True)
    return from_zero(known, start, end)


def _within(value: float, low: float, high: float) -> bool:
    return low * (1 - ROUNDING) <= value <= high * (1 + ROUNDING)

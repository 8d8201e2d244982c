"""Numbers as readers see them: units, significant digits, real minus signs, no broken lines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

NBSP = "\u00a0"
MINUS = "\u2212"
TIMES = "\u00d7"
ELLIPSIS = "\u2026"

BYTE_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))
COUNT_UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))


def fixed(value: float, digits: int, *, signed: bool = False) -> str:
    """`value` with `digits` decimals and thousands separators; never "-0.0"."""
    rounded = round(value, digits)
    text = f"{abs(rounded):,.{digits}f}"
    if rounded < 0:
        return MINUS + text
    return "+" + text if signed and rounded > 0 else text


def count(value: float) -> str:
    """A whole number: 1,234,567."""
    return fixed(value, 0)


def plural(number: int, noun: str, many: str | None = None) -> str:
    """`1 image`, `2 images`, `3 classes`."""
    return f"{count(number)}{NBSP}{noun if number == 1 else many or noun + 's'}"


def significant_digits(values: Iterable[float], significant: int = 3) -> int:
    """Decimals at which the smallest of `values` (zero aside) shows `significant` digits, 4 at most.

    One number of decimals for a whole column keeps its points aligned.
    """
    smallest = min((abs(value) for value in values if value), default=1.0)
    return min(4, max(0, significant - 1 - math.floor(math.log10(smallest))))


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits: 0.0832, 1.24, 96.4, 1,204."""
    return fixed(value, significant_digits([value], digits)) if value else "0"


def share_digits(n_items: int) -> int:
    """Decimals of a percentage that `n_items` test items can carry: no finer than a few items."""
    return 1 if n_items < 2_000 else 2


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage: 0.984 gives "98.4 %"."""
    return f"{fixed(100 * share, digits)}{NBSP}%"


def points(difference: float, digits: int = 2) -> str:
    """A difference of shares in percentage points, signed, without its unit: -0.0041 gives "-0.41"."""
    return fixed(100 * difference, digits, signed=True)


def points_with_unit(difference: float, digits: int = 2) -> str:
    """A difference of shares with its unit: "-0.41 points"."""
    return f"{points(difference, digits)}{NBSP}points"


def percent_interval(low: float, high: float, digits: int = 1) -> str:
    """Both ends of an interval of shares: "(97.1 to 99.2)", in percent."""
    return f"({fixed(100 * low, digits)} to {fixed(100 * high, digits)})".replace(" ", NBSP)


def points_interval(low: float, high: float, digits: int = 2) -> str:
    """Both ends of an interval of differences: "(-0.83 to +0.28)", in percentage points."""
    return f"({points(low, digits)} to {points(high, digits)})".replace(" ", NBSP)


def unit_for(largest: float, units: tuple[tuple[str, float], ...]) -> tuple[str, float]:
    """The unit in which `largest` is 1 or more, and its size."""
    return next(((unit, scale) for unit, scale in units if largest >= scale), units[-1])


def with_unit(value: float, units: tuple[tuple[str, float], ...]) -> str:
    """`value` with three significant digits in the unit that suits it."""
    unit, scale = unit_for(abs(value), units)
    text = fixed(value, 0) if scale == 1.0 else significant(value / scale)
    return f"{text}{NBSP}{unit}" if unit else text


def size(size_bytes: float) -> str:
    """Bytes in decimal units: 1.24 MB, 41.3 kB."""
    return with_unit(size_bytes, BYTE_UNITS)


def quantity(value: float) -> str:
    """A large count with a prefix: 1.20 M, 38.4 k."""
    return with_unit(value, COUNT_UNITS)


def milliseconds(value_ms: float) -> str:
    """0.0830 ms, 12.4 ms."""
    return f"{significant(value_ms)}{NBSP}ms"


def ratio(value: float, digits: int = 2) -> str:
    """A multiple of the reference: 0.27x."""
    return multiple(fixed(value, digits))


def multiple(number: str) -> str:
    """A number, written already, as a multiple of the reference."""
    return f"{number}{NBSP}{TIMES}"


def duration(seconds: float) -> str:
    """4.2 s, 2 min 5 s, 3 h 20 min."""
    if seconds < 60:
        return f"{significant(seconds, 2) if seconds < 10 else fixed(seconds, 0)}{NBSP}s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min {rest_s}{NBSP}s"
    hours, minutes = divmod(minutes, 60)
    return f"{count(hours)}{NBSP}h {minutes}{NBSP}min"


def hours(value_h: float) -> str:
    """CPU- or GPU-hours: 0.0123 h, 31.4 h."""
    return f"{significant(value_h)}{NBSP}h"


def moment(text: str) -> str:
    """An ISO 8601 time as `2025-01-31 14:05 UTC`, which it is taken for if it names no zone; other text as it is."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (time.astimezone(UTC) if time.tzinfo else time).strftime("%Y-%m-%d %H:%M UTC")


def shorten(text: str, length: int) -> str:
    """`text` cut to `length` characters, the last of them an ellipsis where something is missing."""
    return text if len(text) <= length else text[: length - 1].rstrip() + ELLIPSIS


def sentence_list(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *head, last = list(items) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def first_few(items: Iterable[str], most: int) -> str:
    """The first `most` of `items`, and how many more there are."""
    known = list(items)
    more = [f"{count(len(known) - most)} more"] if len(known) > most else []
    return sentence_list([*known[:most], *more])

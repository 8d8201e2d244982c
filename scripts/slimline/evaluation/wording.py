"""Figures as a reader says them: points, times faster, kilobytes. ASCII, for terminals of any kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

LEVEL = 0.005  # ratios this near to 1 are called equal
MOST_DIGITS = 8
SAME = 1e-12  # shares nearer than that differ by the rounding of floats
SIZE_UNITS = ("B", "kB", "MB", "GB")


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage, such as "98.1 %"."""
    return f"{share * 100:.{decimals}f} %"


def points(share: float, decimals: int = 2) -> str:
    """A difference of shares in percentage points without its unit, such as "-0.28"; never "-0.00"."""
    return f"{round(share * 100, decimals) + 0.0:.{decimals}f}"


def decimals_beside(limit: float, *shares: float) -> int:
    """Decimals with which `points` tells each of the shares from a limit that it does not equal: 2, or more."""
    return _digits_beside(limit, shares, 2, points)


def ratio_beside(ratio: float, limit: float) -> str:
    """A ratio with three digits, or as many more as it takes to tell it from a limit that it does not equal."""
    return _significant(ratio, _digits_beside(limit, [ratio], 3, _significant))


def _digits_beside(limit: float, values: Sequence[float], fewest: int, write: Callable[[float, int], str]) -> int:
    def looks_equal(value: float) -> bool:
        return write(value, digits) == write(limit, digits) and not math.isclose(value, limit, abs_tol=SAME)

    digits = fewest
    while digits < MOST_DIGITS and any(map(looks_equal, values)):
        digits += 1
    return digits


def _significant(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def signed_points(share: float) -> str:
    """As `points`, with a plus sign where it is above zero."""
    text = points(share)
    return text if text.startswith("-") or text == "0.00" else f"+{text}"


def _times(ratio: float, less: str, more: str, equal: str) -> str:
    if abs(ratio - 1) < LEVEL:
        return equal
    factor = max(ratio, 1 / ratio)
    digits = 1 if round(factor, 2) >= 2 else 2
    return f"{factor:.{digits}f}x {less if ratio < 1 else more}"


def speed(latency_ratio: float) -> str:
    """A latency ratio in words, such as "3.2x faster" or "1.15x slower"."""
    return _times(latency_ratio, "faster", "slower", "as fast")


def size(size_ratio: float) -> str:
    """A size ratio in words, such as "4.0x smaller"."""
    return _times(size_ratio, "smaller", "larger", "as large")


def runtime(name: str) -> str:
    """A runtime as its makers write it."""
    return {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}.get(name, name)


def file_size(size_bytes: int) -> str:
    """A size with three digits in the fitting unit of 1,000, such as "62.1 kB"."""
    value, exponent = float(size_bytes), 0
    while round(value) >= 1000 and exponent < len(SIZE_UNITS) - 1:
        value, exponent = value / 1000, exponent + 1
    digits = 0 if exponent == 0 else _decimals(value)
    return f"{value:.{digits}f} {SIZE_UNITS[exponent]}"


def milliseconds(value_ms: float) -> str:
    """A time with three digits, such as "0.0514 ms"."""
    return f"{value_ms:.{_decimals(value_ms)}f} ms"


def _decimals(value: float) -> int:
    """Decimals that leave three digits of a positive value, which may round up to one more before the point."""
    rounded = float(f"{value:.3g}")
    return max(0, 2 - math.floor(math.log10(rounded))) if rounded > 0 else 0

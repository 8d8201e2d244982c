"""Intervals of a difference against its reference and a margin: the picture of non-inferiority."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimline.reporting.charts.frame import WIDTH
from slimline.reporting.charts.scales import Scale, padded, tick_digits
from slimline.reporting.charts.svg import group, line, mark, picture, polygon, rectangle, text
from slimline.reporting.format import MINUS, fixed, shorten

EDGE = 2.0
TOP = 26.0
ROW_PX = 30.0
FOOT_PX = 44.0
CAP_PX = 4.0
GAP_PX = 12.0
CHARACTER_PX = 7.4  # of names, on the average; readings are smaller, and capitals
LONGEST_NAME = 22
# Losses beyond this many margins are drawn as an arrow at the edge: one broken variant would otherwise
# leave no room for the distances that decide.
DEEPEST_IN_MARGINS = 8.0
LEAST_MARGIN = 0.005


@dataclass(frozen=True)
class ForestRow:
    """One variant: its difference and interval as shares, and what the reader should take from it."""

    name: str
    value: float
    low: float
    high: float
    reading: str
    status: str


def forest_chart(
    identifier: str, rows: Sequence[ForestRow], margin: float, reference: str, title: str, description: str
) -> Markup:
    """One row per variant: its name, point and interval, and the reading, with lines at zero and at `-margin`.

    Args:
        identifier: unique on the page.
        rows: top to bottom.
        margin: largest loss that the gate allows, as a share, 0 or more.
        reference: what zero is.
        title: name of the picture.
        description: what it says in words.
    """
    bottom = TOP + ROW_PX * len(rows)
    left = EDGE + _room(shorten(row.name, LONGEST_NAME) for row in rows)
    right = WIDTH - EDGE - _room(row.reading for row in rows)
    ends = [end for row in rows for end in (row.low, row.high)]
    low, high = padded(min(*ends, -margin), max(*ends, 0.0), 0.08)
    x = Scale(max(low, -DEEPEST_IN_MARGINS * max(margin, LEAST_MARGIN)), high, left, right)
    return picture(
        identifier,
        WIDTH,
        bottom + FOOT_PX,
        title,
        description,
        rectangle(left, TOP, x(-margin) - left, bottom - TOP, "fail-region"),
        _ruler(x, bottom, reference),
        line((x(0.0), TOP), (x(0.0), bottom), "reference-line"),
        line((x(-margin), TOP), (x(-margin), bottom), "gate"),
        _captions(x, margin, reference),
        *(_row(row, TOP + ROW_PX * (index + 0.5), x) for index, row in enumerate(rows)),
    )


def _room(texts: Iterable[str]) -> float:
    """Width of the longest of some texts beside the plot, with the gap to it."""
    return GAP_PX + CHARACTER_PX * max(map(len, texts))


def _captions(x: Scale, margin: float, reference: str) -> Markup:
    gate = f"gate: {MINUS if margin else ''}{100 * margin:g}"
    zero, at_gate = x(0.0), x(-margin)
    near = zero - at_gate < 70
    return group(
        text(f"as {reference}", min(zero, WIDTH - 30), TOP - 8, "tick", "start" if near else "middle"),
        text(gate, at_gate, TOP - 8, "gate-name", "end" if near and at_gate > 80 else "start"),
    )


def _ruler(x: Scale, bottom: float, reference: str) -> Markup:
    ticks = x.ticks(5)
    digits = tick_digits([100 * tick for tick in ticks])
    parts = [line((x.start, bottom), (x.end, bottom), "axis")]
    for tick in ticks:
        parts.append(line((x(tick), TOP), (x(tick), bottom), "grid"))
        parts.append(text(fixed(100 * tick, digits, signed=True), x(tick), bottom + 18, "tick", "middle"))
    parts.append(text(f"accuracy minus {reference}, percentage points", x.end, bottom + 38, "axis-title", "end"))
    return group(*parts, class_="axes")


def _row(row: ForestRow, middle: float, x: Scale) -> Markup:
    return group(
        text(shorten(row.name, LONGEST_NAME), EDGE, middle + 4, "row-name"),
        text(row.reading, WIDTH - EDGE, middle + 4, "row-name reading", "end"),
        *(_beyond(row, middle, x) if row.value < x.low else _interval(row, middle, x)),
        class_=f"status-{row.status}",
    )


def _interval(row: ForestRow, middle: float, x: Scale) -> list[Markup]:
    ends = [x.clamp(row.low), x(row.high)]
    return [
        line((ends[0], middle), (ends[1], middle), "interval"),
        *(line((end, middle - CAP_PX), (end, middle + CAP_PX), "interval") for end in ends),
        mark("circle", (x(row.value), middle), 4.5, "point"),
    ]


def _beyond(row: ForestRow, middle: float, x: Scale) -> list[Markup]:
    """An arrow to where the point would be, with its number."""
    left = x.start
    return [
        polygon([(left, middle), (left + 9, middle - 5), (left + 9, middle + 5)], "point"),
        text(fixed(100 * row.value, 1), left + 14, middle + 4, "row-name"),
    ]

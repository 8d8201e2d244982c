"""Intervals of a difference against its reference and a margin: the picture of non-inferiority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimline.reporting.charts.frame import WIDTH
from slimline.reporting.charts.scales import Scale, padded, tick_digits
from slimline.reporting.charts.svg import group, line, mark, picture, polygon, rectangle, text
from slimline.reporting.format import fixed, shorten

LEFT, RIGHT = 14.0, WIDTH - 14.0
TOP = 26.0
ROW_PX = 40.0
FOOT_PX = 44.0
CAP_PX = 4.0
# Losses beyond this many margins are drawn as an arrow at the edge: one broken variant would otherwise
# leave no room for the distances that decide.
DEEPEST_IN_MARGINS = 8.0
LEAST_MARGIN = 0.005
READING_SHARE = 0.4  # room right of zero for the longest reading, as a share of the room left of it


@dataclass(frozen=True)
class ForestRow:
    """One variant: its difference and interval as shares, and what the reader should take from it."""

    name: str
    value: float
    low: float
    high: float
    reading: str
    status: str


def forest_chart(identifier: str, rows: Sequence[ForestRow], margin: float, title: str, description: str) -> Markup:
    """One row per variant: point and interval, with lines at zero and at `-margin`.

    Args:
        identifier: unique on the page.
        rows: top to bottom.
        margin: largest loss that the gate allows, as a share, 0 or more.
        title: name of the picture.
        description: what it says in words.
    """
    bottom = TOP + ROW_PX * len(rows)
    ends = [end for row in rows for end in (row.low, row.high)]
    low, high = padded(min(*ends, -margin), max(*ends, 0.0), 0.08)
    low = max(low, -DEEPEST_IN_MARGINS * max(margin, LEAST_MARGIN))
    x = Scale(low, max(high, READING_SHARE * abs(low)), LEFT, RIGHT)
    return picture(
        identifier,
        WIDTH,
        bottom + FOOT_PX,
        title,
        description,
        rectangle(LEFT, TOP, x(-margin) - LEFT, bottom - TOP, "fail-region"),
        _ruler(x, bottom),
        line((x(0.0), TOP), (x(0.0), bottom), "reference-line"),
        line((x(-margin), TOP), (x(-margin), bottom), "gate"),
        _captions(x, margin),
        *(_row(row, TOP + ROW_PX * index, x) for index, row in enumerate(rows)),
    )


def _captions(x: Scale, margin: float) -> Markup:
    gate = f"gate: {fixed(-100 * margin, 1)}"
    zero, at_gate = x(0.0), x(-margin)
    near = zero - at_gate < 70
    return group(
        text("as dense", min(zero, RIGHT - 26), TOP - 8, "tick", "middle" if not near else "start"),
        text(gate, max(at_gate, LEFT), TOP - 8, "gate-name", "end" if near and at_gate > 80 else "start"),
    )


def _ruler(x: Scale, bottom: float) -> Markup:
    ticks = x.ticks(6)
    digits = tick_digits([100 * tick for tick in ticks])
    parts = [line((LEFT, bottom), (RIGHT, bottom), "axis")]
    for tick in ticks:
        parts.append(line((x(tick), TOP), (x(tick), bottom), "grid"))
        parts.append(text(fixed(100 * tick, digits, signed=True), x(tick), bottom + 18, "tick", "middle"))
    parts.append(text("accuracy minus dense, percentage points", RIGHT, bottom + 38, "axis-title", "end"))
    return group(*parts, class_="axes")


def _row(row: ForestRow, top: float, x: Scale) -> Markup:
    off_scale = row.value < x.low
    name = shorten(row.name, 44) + (f" ({fixed(100 * row.value, 1)})" if off_scale else "")
    middle = top + 29
    shapes = [_arrow(middle)] if off_scale else _interval(row, middle, x)
    return group(
        text(name, LEFT + 4, top + 15, "row-name"),
        text(row.reading, RIGHT - 4, top + 15, "row-name reading", "end"),
        *shapes,
        class_=f"status-{row.status}",
    )


def _interval(row: ForestRow, middle: float, x: Scale) -> list[Markup]:
    ends = [x.clamp(row.low), x(row.high)]
    return [
        line((ends[0], middle), (ends[1], middle), "interval"),
        *(line((end, middle - CAP_PX), (end, middle + CAP_PX), "interval") for end in ends),
        mark("circle", (x(row.value), middle), 4.5, "point"),
    ]


def _arrow(middle: float) -> Markup:
    return polygon([(LEFT, middle), (LEFT + 9, middle - 5), (LEFT + 9, middle + 5)], "point")

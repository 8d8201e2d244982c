"""A square matrix of counts with shaded cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimline.reporting.charts.frame import WIDTH
from slimline.reporting.charts.svg import group, picture, rectangle, text, text_width
from slimline.reporting.format import shorten

SMALLEST_CELL_PX = 29.0
LARGEST_CELL_PX = 64.0
LABEL_LENGTH = 12
LABEL_FONT_PX = 12.0
AXIS_PX = 20.0
MOST_OPAQUE = 0.6  # more would hide the text of a cell


@dataclass(frozen=True)
class HeatCell:
    """One cell: its text, its shade from 0 to 1, its kind (a class that gives the colour), its tip."""

    text: str
    shade: float
    kind: str
    tip: str


def heat_map(
    identifier: str, names: Sequence[str], cells: Sequence[Sequence[HeatCell | None]], title: str, description: str
) -> Markup:
    """A matrix with the true class down and the predicted class across.

    Args:
        identifier: unique on the page.
        names: class names, in the order of rows and columns.
        cells: [classes][classes]; None leaves a cell empty.
        title: name of the picture.
        description: what it says in words.
    """
    short = [shorten(name, LABEL_LENGTH) for name in names]
    longest = max(text_width(name, LABEL_FONT_PX) for name in short)
    left = AXIS_PX + longest + 8
    cell = min(max((WIDTH - left - 4) / len(names), SMALLEST_CELL_PX), LARGEST_CELL_PX)
    upright = longest <= cell
    top = AXIS_PX + (LABEL_FONT_PX if upright else longest) + 8
    side = cell * len(names)
    return picture(
        identifier,
        max(WIDTH, left + side + 4),
        top + side + 4,
        title,
        description,
        text("predicted class", left + side / 2, 12.0, "axis-title", "middle"),
        text("true class", 12.0, top + side / 2, "axis-title", "middle", turn=-90.0),
        rectangle(left, top, side, side, "heat-ground"),
        *(_row_name(name, left, top + cell * index, cell) for index, name in enumerate(short)),
        *(_column_name(name, left + cell * index, top, cell, upright) for index, name in enumerate(short)),
        *(
            _cell(entry, left + cell * column, top + cell * row, cell)
            for row, entries in enumerate(cells)
            for column, entry in enumerate(entries)
            if entry is not None
        ),
        wide=left + side > WIDTH,
    )


def _row_name(name: str, left: float, top: float, cell: float) -> Markup:
    return text(name, left - 7, top + cell / 2 + 4.5, "tick", "end")


def _column_name(name: str, left: float, top: float, cell: float, upright: bool) -> Markup:
    if upright:
        return text(name, left + cell / 2, top - 7, "tick", "middle")
    return text(name, left + cell / 2 + 4.5, top - 7, "tick", turn=-90.0)


def _cell(entry: HeatCell, left: float, top: float, cell: float) -> Markup:
    opacity = f"{MOST_OPAQUE * entry.shade:.2f}"
    return group(
        rectangle(left + 0.5, top + 0.5, cell - 1, cell - 1, entry.kind, fill_opacity=opacity),
        text(entry.text, left + cell / 2, top + cell / 2 + 4, "heat-text", "middle"),
        tip=entry.tip,
    )

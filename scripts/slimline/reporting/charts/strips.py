"""Small pictures inside table cells; the number beside each says the same in words."""

from __future__ import annotations

from markupsafe import Markup

from slimline.reporting.charts.scales import Scale
from slimline.reporting.charts.svg import element, line, mark, rectangle

WIDTH = 100.0
HEIGHT = 16.0
BAR_TOP, BAR_HEIGHT = 4.0, 8.0


def bar_strip(share: float, *, kind: str = "bar") -> Markup:
    """A bar that fills `share` of its width; more than all of it is drawn as full, in the colour of a failure."""
    filled = min(max(share, 0.0), 1.0) * WIDTH
    return _strip(
        rectangle(0.0, BAR_TOP, WIDTH, BAR_HEIGHT, "bar-ground"),
        rectangle(0.0, BAR_TOP, filled, BAR_HEIGHT, kind if share <= 1.0 else "bar over"),
    )


def interval_strip(low: float, value: float, high: float, reference: float | None, least: float) -> Markup:
    """A point with its interval on a scale from `least` to 1, and a tick at `reference`."""
    x = Scale(least, 1.0, 4.0, WIDTH - 4.0)
    middle = HEIGHT / 2
    ticks = [] if reference is None else [line((x.clamp(reference), 1.0), (x.clamp(reference), 15.0), "reference-line")]
    return _strip(
        line((4.0, middle), (WIDTH - 4.0, middle), "grid"),
        *ticks,
        line((x.clamp(low), middle), (x.clamp(high), middle), "interval"),
        mark("circle", (x.clamp(value), middle), 3.5, "point"),
    )


def _strip(*children: str) -> Markup:
    return element(
        "svg", *children, class_="strip", viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", aria_hidden="true", focusable="false"
    )

"""Many counts side by side: the balance of a dataset with more classes than a table can show."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from slimline.reporting.charts.frame import WIDTH, Axis, Plot, draw_axes
from slimline.reporting.charts.scales import Scale, from_zero
from slimline.reporting.charts.svg import picture, rectangle

HEIGHT = 186.0
PLOT = Plot(left=56.0, top=30.0, right=WIDTH - 12.0, bottom=138.0)


def column_chart(identifier: str, values: Sequence[int], x_title: str, y_title: str, title: str, desc: str) -> Markup:
    """One thin column for each of `values`, largest first, from zero."""
    ranked = sorted(values, reverse=True)
    x = Scale(0.0, float(len(ranked)), PLOT.left, PLOT.right)
    y = from_zero(ranked, PLOT.bottom, PLOT.top)
    width = (PLOT.right - PLOT.left) / len(ranked)
    gap = min(1.0, width / 4)
    bars = [
        rectangle(x(float(index)), y(value), width - gap, PLOT.bottom - y(value), "bar")
        for index, value in enumerate(ranked)
    ]
    axes = draw_axes(PLOT, Axis(x, x_title), Axis(y, y_title, n_ticks=3))
    return picture(identifier, WIDTH, HEIGHT, title, desc, axes, *bars)

"""The frame of a chart: plot area, grid, ticks, titles of the axes."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from slimline.reporting.charts.labels import Box
from slimline.reporting.charts.scales import Scale, tick_digits
from slimline.reporting.charts.svg import group, line, text
from slimline.reporting.format import fixed

# Drawn at this width, a picture shown on a phone is scaled to about four fifths and stays readable.
WIDTH = 460.0


@dataclass(frozen=True)
class Plot:
    """The plot area of a chart, in pixels."""

    left: float = 54.0
    top: float = 14.0
    right: float = WIDTH - 14.0
    bottom: float = 250.0

    @property
    def box(self) -> Box:
        """The plot area as a box."""
        return Box(self.left, self.top, self.right, self.bottom)


@dataclass(frozen=True)
class Axis:
    """A scale with its title; ticks are written in units of `1 / factor`, so 100 gives percent.

    `whole` leaves out ticks that are no whole numbers, such as half an epoch.
    """

    scale: Scale
    title: str
    factor: float = 1.0
    n_ticks: int = 5
    whole: bool = False

    def marks(self) -> list[tuple[float, str]]:
        """Ticks with their texts, which have just as many decimals as tell them apart."""
        ticks = [tick for tick in self.scale.ticks(self.n_ticks) if not self.whole or tick.is_integer()]
        if self.scale.log:
            return [(tick, f"{self.factor * tick:g}") for tick in ticks]
        digits = tick_digits([self.factor * tick for tick in ticks])
        return [(tick, fixed(self.factor * tick, digits)) for tick in ticks]


def draw_axes(plot: Plot, x: Axis, y: Axis) -> Markup:
    """Grid lines, ticks and titles: what is drawn behind the data."""
    return group(*_x_axis(plot, x), *_y_axis(plot, y), class_="axes")


def _x_axis(plot: Plot, axis: Axis) -> list[Markup]:
    parts = [line((plot.left, plot.bottom), (plot.right, plot.bottom), "axis")]
    for tick, label in axis.marks():
        at = axis.scale(tick)
        parts.append(line((at, plot.bottom), (at, plot.bottom + 4), "axis"))
        parts.append(text(label, at, plot.bottom + 19, "tick", "middle"))
    parts.append(text(axis.title, plot.right, plot.bottom + 38, "axis-title", "end"))
    return parts


def _y_axis(plot: Plot, axis: Axis) -> list[Markup]:
    parts = []
    for tick, label in axis.marks():
        at = axis.scale(tick)
        parts.append(line((plot.left, at), (plot.right, at), "grid"))
        parts.append(text(label, plot.left - 7, at + 4.5, "tick", "end"))
    parts.append(text(axis.title, 2.0, 12.0, "axis-title"))
    return parts

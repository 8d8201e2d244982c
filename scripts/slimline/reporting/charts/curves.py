"""Training curves: the mean over seeds as a line, the range over seeds as a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimline.reporting.charts.frame import WIDTH, Axis, Plot, draw_axes
from slimline.reporting.charts.scales import Scale, padded
from slimline.reporting.charts.svg import group, line, mark, picture, polygon, polyline, text, text_width

HEIGHT = 236.0
PLOT = Plot(left=50.0, top=30.0, right=WIDTH - 12.0, bottom=188.0)
LEGEND_FONT_PX = 13.0


@dataclass(frozen=True)
class Curve:
    """One quantity over epochs; `low` and `high` are the least and largest over seeds."""

    name: str
    style: str
    epochs: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class ResumeMark:
    """Where a run went on from a checkpoint."""

    epoch: float
    seed: int


def curves_chart(
    identifier: str,
    curves: Sequence[Curve],
    resumes: Sequence[ResumeMark],
    y_title: str,
    factor: float,
    title: str,
    description: str,
    y_most: float | None = None,
) -> Markup:
    """The picture: a band and a line for each of `curves`, and a small flag for each of `resumes`.

    Args:
        identifier: unique on the page.
        curves: at least one, each with at least two epochs.
        resumes: marks along the axis of epochs.
        y_title: name and unit of the quantity.
        factor: ticks are written times this, such as 100 for percent.
        title: name of the picture.
        description: what it says in words.
        y_most: the largest value that the quantity can take, where there is one.
    """
    epochs = [epoch for curve in curves for epoch in curve.epochs]
    x = Scale(min(epochs), max(epochs), PLOT.left + 4, PLOT.right - 4)
    y = _y_scale(curves, y_most)
    axes = draw_axes(PLOT, Axis(x, "epoch", n_ticks=6, whole=True), Axis(y, y_title, factor, n_ticks=4))
    return picture(
        identifier,
        WIDTH,
        HEIGHT,
        title,
        description,
        axes,
        _legend(curves),
        *(_resume(resume, x) for resume in resumes),
        *(_curve(curve, x, y) for curve in curves),
    )


def _y_scale(curves: Sequence[Curve], y_most: float | None) -> Scale:
    low, high = padded(min(min(c.low) for c in curves), max(max(c.high) for c in curves))
    return Scale(max(0.0, low), high if y_most is None else min(high, 1.02 * y_most), PLOT.bottom, PLOT.top)


def _curve(curve: Curve, x: Scale, y: Scale) -> Markup:
    upper = [(x(epoch), y(value)) for epoch, value in zip(curve.epochs, curve.high, strict=True)]
    lower = [(x(epoch), y(value)) for epoch, value in zip(curve.epochs, curve.low, strict=True)]
    middle = [(x(epoch), y(value)) for epoch, value in zip(curve.epochs, curve.mean, strict=True)]
    band = [polygon([*upper, *reversed(lower)], "band")] if curve.low != curve.high else []
    return group(*band, polyline(middle, "curve"), class_=curve.style)


def _legend(curves: Sequence[Curve]) -> Markup:
    parts = []
    right = PLOT.right
    for curve in reversed(curves):
        left = right - text_width(curve.name, LEGEND_FONT_PX)
        swatch = group(line((left - 30, 8.0), (left - 6, 8.0), "curve"), class_=curve.style)
        parts += [text(curve.name, left, 12.0, "tick"), swatch]
        right = left - 46
    return group(*parts)


def _resume(resume: ResumeMark, x: Scale) -> Markup:
    at = x.clamp(resume.epoch)
    return group(
        line((at, PLOT.top), (at, PLOT.bottom), "resume"),
        mark("triangle", (at, PLOT.bottom - 1), 5.0, "resume-mark"),
        tip=f"seed {resume.seed} resumed from a checkpoint at epoch {resume.epoch:g}",
    )

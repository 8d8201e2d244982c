"""Accuracy against what it costs: intervals, every seed, the Pareto front and the gate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimline.reporting.charts.frame import WIDTH, Axis, Plot, draw_axes
from slimline.reporting.charts.labels import Box, Label, place_labels
from slimline.reporting.charts.scales import Scale, from_zero_or_log, nice_step, padded
from slimline.reporting.charts.svg import XY, group, line, mark, picture, polyline, rectangle, text
from slimline.reporting.format import percent, shorten, significant

HEIGHT = 318.0
PLOT = Plot(left=50.0, top=30.0, right=WIDTH - 12.0, bottom=268.0)
RADIUS = 5.0
SEED_RADIUS = 2.6
CAP_PX = 4.0
GATE_NAME_PX = 32.0
SHAPES = {"train": "diamond", "prune": "triangle", "distil": "square", "finetune": "hexagon", "quantize": "circle"}
# A variant further below the reference than this is drawn as an arrow at the lower edge, with its number.
# Otherwise one broken variant would press all the others into a line.
DEEPEST_DROP = 0.15


@dataclass(frozen=True)
class TradeoffPoint:
    """One variant: its cost `x`, its accuracy `y` as a share with an interval, and each seed's (x, y)."""

    name: str
    step: str
    hue: int
    x: float
    y: float
    y_low: float
    y_high: float
    seeds: tuple[XY, ...]
    recommended: bool = False


@dataclass(frozen=True)
class Gate:
    """What a variant has to reach: an accuracy as a share, and a cost where one is declared."""

    y_least: float
    x_most: float | None


def pareto_front(points: Sequence[TradeoffPoint]) -> list[TradeoffPoint]:
    """The points to which no other is at least as accurate and at least as cheap, by rising cost."""
    front: list[TradeoffPoint] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def tradeoff_chart(
    identifier: str, points: Sequence[TradeoffPoint], gate: Gate, x_title: str, title: str, description: str
) -> Markup:
    """The picture; `points` begin with the reference, to which the dashed line belongs."""
    reference = points[0]
    x, y = _x_scale(points, gate), _y_scale(points, gate)
    front = pareto_front(points)
    log_note = ", log scale" if x.log else ""
    axes = draw_axes(
        PLOT,
        Axis(x, f"{x_title}{log_note}"),
        Axis(y, "accuracy, %", factor=100.0),
    )
    gate_name = Box(PLOT.right - GATE_NAME_PX, y(gate.y_least), PLOT.right, y(gate.y_least) + 16)
    labels = _labels(points, front, x, y, gate_name)
    return picture(
        identifier,
        WIDTH,
        HEIGHT,
        title,
        description,
        _gate_region(gate, x, y),
        axes,
        _reference_lines(reference, gate, x, y),
        polyline(_front_corners(front, x, y), "front"),
        *(_seeds(point, x, y) for point in points),
        *(_point(point, point in front, x, y) for point in points),
        *(_name(point, label, x, y) for point, label in zip(points, labels, strict=True)),
    )


def _x_scale(points: Sequence[TradeoffPoint], gate: Gate) -> Scale:
    costs = [cost for point in points for cost in (point.x, *(seed_x for seed_x, _ in point.seeds))]
    return from_zero_or_log([*costs, *([gate.x_most] if gate.x_most else [])], PLOT.left, PLOT.right)


def _y_scale(points: Sequence[TradeoffPoint], gate: Gate) -> Scale:
    shown = [point for point in points if point.y >= points[0].y - DEEPEST_DROP]
    shares = [share for p in shown for share in (p.y_low, p.y_high, *(seed_y for _, seed_y in p.seeds))]
    low, high = padded(min(*shares, gate.y_least), max(shares), 0.08)
    return Scale(max(0.0, low), min(high, 1.0 + 0.2 * nice_step(low, high)), PLOT.bottom, PLOT.top)


def _gate_region(gate: Gate, x: Scale, y: Scale) -> Markup:
    right = PLOT.right if gate.x_most is None else x.clamp(gate.x_most)
    return rectangle(PLOT.left, PLOT.top, right - PLOT.left, y.clamp(gate.y_least) - PLOT.top, "gate-region")


def _reference_lines(reference: TradeoffPoint, gate: Gate, x: Scale, y: Scale) -> Markup:
    at_reference, at_gate = y(reference.y), y(gate.y_least)
    parts = [
        line((PLOT.left, at_reference), (PLOT.right, at_reference), "reference-line"),
        line((PLOT.left, at_gate), (PLOT.right, at_gate), "gate"),
        text("gate", PLOT.right - 3, at_gate + 13, "gate-name", "end"),
    ]
    if gate.x_most is not None:
        parts.append(line((x(gate.x_most), PLOT.top), (x(gate.x_most), PLOT.bottom), "gate"))
    return group(*parts)


def _front_corners(front: Sequence[TradeoffPoint], x: Scale, y: Scale) -> list[XY]:
    corners = [(x(front[0].x), y.clamp(front[0].y))]
    for before, point in itertools.pairwise(front):
        corners += [(x(point.x), y.clamp(before.y)), (x(point.x), y.clamp(point.y))]
    return [*corners, (PLOT.right, y.clamp(front[-1].y))]


def _seeds(point: TradeoffPoint, x: Scale, y: Scale) -> Markup:
    inside = [(x(seed_x), y(seed_y)) for seed_x, seed_y in point.seeds if seed_y >= y.low]
    return group(*(mark("circle", at, SEED_RADIUS, "seed") for at in inside), class_=f"hue{point.hue}")


def _point(point: TradeoffPoint, on_front: bool, x: Scale, y: Scale) -> Markup:
    at = (x(point.x), y.clamp(point.y))
    class_ = "point" if on_front else "point hollow"
    tip = f"{point.name}: {percent(point.y, 2)} at {significant(point.x)}"
    if point.y < y.low:
        return group(mark("arrow", (at[0], at[1] - RADIUS), RADIUS, class_), class_=f"hue{point.hue}", tip=tip)
    low, high = (at[0], y.clamp(point.y_low)), (at[0], y.clamp(point.y_high))
    caps = [line((end[0] - CAP_PX, end[1]), (end[0] + CAP_PX, end[1]), "interval") for end in (low, high)]
    ring = [mark("circle", at, RADIUS + 5, "ring")] if point.recommended else []
    shape = mark(SHAPES[point.step], at, RADIUS, class_)
    return group(line(low, high, "interval"), *caps, *ring, shape, class_=f"hue{point.hue}", tip=tip)


def _labels(
    points: Sequence[TradeoffPoint], front: Sequence[TradeoffPoint], x: Scale, y: Scale, gate_name: Box
) -> list[Label]:
    anchors = [(x(point.x), y.clamp(point.y)) for point in points]
    obstacles = [gate_name, *(Box.about(anchor, RADIUS + 6) for anchor in anchors)]
    obstacles += [Box(x(p.x) - 3, y.clamp(p.y_high), x(p.x) + 3, y.clamp(p.y_low)) for p in points]
    obstacles += [Box.about((x(a), y.clamp(b)), SEED_RADIUS + 1) for point in points for a, b in point.seeds]
    obstacles += [Box.along(start, end) for start, end in itertools.pairwise(_front_corners(front, x, y))]
    obstacles.append(Box.along((PLOT.left, anchors[0][1]), (PLOT.right, anchors[0][1])))
    return place_labels([_label_text(point, y) for point in points], anchors, obstacles, PLOT.box)


def _label_text(point: TradeoffPoint, y: Scale) -> str:
    name = shorten(point.name, 22)
    return f"{name} ({percent(point.y)})" if point.y < y.low else name


def _name(point: TradeoffPoint, label: Label, x: Scale, y: Scale) -> Markup:
    class_ = "name recommended" if point.recommended else "name"
    name = text(label.text, label.x, label.y, class_, label.anchor)
    if not label.far:
        return name
    end = (min(max(x(point.x), label.box.left), label.box.right), (label.box.top + label.box.bottom) / 2)
    return group(line((x(point.x), y.clamp(point.y)), end, "leader"), name)

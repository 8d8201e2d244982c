"""Names beside points, placed so that they cover neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slimline.reporting.charts.svg import XY, text_width

FONT_SIZE = 13.5
ASCENT = 0.8
DESCENT = 0.25
NEAR_PX = 9.0
RINGS = (1.0, 1.9, 3.0, 4.4)
DIRECTIONS: tuple[tuple[float, float, str], ...] = (
    (1.0, 0.0, "start"),
    (-1.0, 0.0, "end"),
    (0.8, -1.1, "start"),
    (0.8, 1.1, "start"),
    (-0.8, -1.1, "end"),
    (-0.8, 1.1, "end"),
    (0.0, -1.3, "middle"),
    (0.0, 1.3, "middle"),
)
OUTSIDE_COST = 1e6
LINE_PX = 1.5
ROOM_PX = 2.0


@dataclass(frozen=True)
class Box:
    """An upright rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def about(cls, centre: XY, radius: float) -> Box:
        """A square around a point."""
        return cls(centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)

    @classmethod
    def along(cls, start: XY, end: XY) -> Box:
        """The room of an upright or level line."""
        (left, right), (top, bottom) = sorted((start[0], end[0])), sorted((start[1], end[1]))
        return cls(left - LINE_PX, top - LINE_PX, right + LINE_PX, bottom + LINE_PX)

    def overlap(self, other: Box) -> float:
        """Shared area in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def around(self, other: Box) -> bool:
        """Whether `other` lies inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )


@dataclass(frozen=True)
class Label:
    """A placed line of text: baseline position, SVG text anchor, and the room it takes."""

    text: str
    x: float
    y: float
    anchor: str
    box: Box
    far: bool


def place_labels(names: Sequence[str], anchors: Sequence[XY], obstacles: Sequence[Box], frame: Box) -> list[Label]:
    """Gives every name the place near its point that covers the least, one after the other.

    Args:
        names: the texts.
        anchors: the points that they name, in pixels.
        obstacles: what should stay visible.
        frame: what labels must stay inside, where that is possible at all.
    """
    placed: list[Label] = []
    for name, anchor in zip(names, anchors, strict=True):
        taken = [*obstacles, *(label.box for label in placed)]
        candidates = [_candidate(name, anchor, ring, place) for ring in RINGS for place in DIRECTIONS]
        costs = [_cost(label, index, taken, frame) for index, label in enumerate(candidates)]
        placed.append(candidates[costs.index(min(costs))])
    return placed


def _candidate(name: str, anchor: XY, ring: float, place: tuple[float, float, str]) -> Label:
    across, down, alignment = place
    x = anchor[0] + across * ring * NEAR_PX
    middle = anchor[1] + down * ring * NEAR_PX
    width = text_width(name, FONT_SIZE)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[alignment]
    y = middle + (ASCENT - DESCENT) / 2 * FONT_SIZE
    box = Box(left - ROOM_PX, y - ASCENT * FONT_SIZE, left + width + ROOM_PX, y + DESCENT * FONT_SIZE)
    return Label(name, x, y, alignment, box, far=ring > RINGS[1])


def _cost(label: Label, index: int, taken: Sequence[Box], frame: Box) -> float:
    covered = sum(label.box.overlap(box) for box in taken)
    return covered + index * 0.5 + (0.0 if frame.around(label.box) else OUTSIDE_COST)

"""The family tree of variants: which was made from which, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimline.reporting.charts.frame import WIDTH
from slimline.reporting.charts.svg import XY, group, mark, picture, polyline, text, text_width
from slimline.reporting.format import shorten

ROW_PX = 44.0
INDENT_PX = 26.0
LEFT = 12.0
TOP = 22.0
NAME_FONT_PX = 13.5
NOTE_FONT_PX = 12.0


@dataclass(frozen=True)
class TreeNode:
    """One node: its name, its parent's (None at the root), how it was made, the shape of its mark."""

    name: str
    parent: str | None
    note: str
    shape: str
    hue: int


def depth_first(nodes: Sequence[TreeNode], parent: str | None = None, depth: int = 0) -> list[tuple[TreeNode, int]]:
    """Nodes with their depth, every parent before its children, siblings in the order given."""
    return [
        entry
        for node in nodes
        if node.parent == parent
        for entry in [(node, depth), *depth_first(nodes, node.name, depth + 1)]
    ]


def tree_chart(identifier: str, nodes: Sequence[TreeNode], title: str, description: str) -> Markup:
    """The picture: one row per node, indented under its parent, so that it fits a phone at any depth."""
    rows = depth_first(nodes)
    at: dict[str, XY] = {
        node.name: (LEFT + INDENT_PX * depth, TOP + ROW_PX * index) for index, (node, depth) in enumerate(rows)
    }
    links = [
        polyline([(at[n.parent][0], at[n.parent][1]), (at[n.parent][0], at[n.name][1]), at[n.name]], "link")
        for n, _ in rows
        if n.parent is not None
    ]
    height = TOP + ROW_PX * len(rows) - 14
    return picture(identifier, WIDTH, height, title, description, *links, *(_node(n, at[n.name]) for n, _ in rows))


def _node(node: TreeNode, at: XY) -> Markup:
    x, y = at
    room = WIDTH - x - 20
    name_length, note_length = (int(room / text_width("n", px)) for px in (NAME_FONT_PX, NOTE_FONT_PX))
    return group(
        mark(node.shape, at, 5.0, "point"),
        text(shorten(node.name, name_length), x + 14, y + 4.5, "name"),
        text(shorten(node.note, note_length), x + 14, y + 20, "tick"),
        class_=f"hue{node.hue}",
        tip=f"{node.name}: {node.note}",
    )

"""SVG elements as escaped markup.

Pictures carry classes and coordinates only: the page's style sheet gives colours, for light, dark
and print. No element has a `style` attribute, which the page's content security policy forbids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

Attribute = str | float | int | None
XY = tuple[float, float]

GLYPH_WIDTH = 0.58  # mean width of a character as a share of the font size; errs on the wide side


def coordinate(value: float) -> str:
    """A tenth of a pixel: enough for the eye, short, and never "-0"."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def element(name: str, *children: str, **attributes: Attribute) -> Markup:
    """`<name attributes>children</name>`; text and attribute values are escaped unless they are markup.

    `class_` stands for `class`, and other underscores for hyphens; attributes that are None are left out.
    """
    pairs = [
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    content = "".join(escape(child) for child in children)
    return Markup(f"<{name}{''.join(pairs)}>{content}</{name}>" if content else f"<{name}{''.join(pairs)}/>")


def _value(value: Attribute) -> str:
    return coordinate(value) if isinstance(value, float) else str(escape(value))


def picture(
    identifier: str, width: float, height: float, title: str, description: str, *children: str, wide: bool = False
) -> Markup:
    """A whole picture with a name and a description for those who cannot see it.

    Args:
        identifier: unique on the page; the ids of title and description begin with it.
        width: natural width in pixels; the picture scales to the room it has.
        height: natural height in pixels.
        title: what is shown.
        description: what it says, in a sentence or two.
        children: elements, back to front.
        wide: the picture is too fine to be scaled to a phone's width, and scrolls there.
    """
    names = f"{identifier}-title {identifier}-desc"
    return element(
        "svg",
        element("title", title, id=f"{identifier}-title"),
        element("desc", description, id=f"{identifier}-desc"),
        *children,
        id=identifier,
        class_="picture wide" if wide else "picture",
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=names,
    )


def group(*children: str, class_: str | None = None, tip: str | None = None) -> Markup:
    """Elements that belong together; `tip` appears when the pointer rests on them."""
    titled = (element("title", tip), *children) if tip else children
    return element("g", *titled, class_=class_)


def text(
    content: str, x: float, y: float, class_: str = "", anchor: str = "start", turn: float | None = None
) -> Markup:
    """A line of text with its baseline at (x, y), turned by `turn` degrees around that point."""
    return element(
        "text",
        content,
        x=x,
        y=y,
        class_=class_ or None,
        text_anchor=None if anchor == "start" else anchor,
        transform=None if turn is None else f"rotate({coordinate(turn)} {coordinate(x)} {coordinate(y)})",
    )


def line(start: XY, end: XY, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def rectangle(x: float, y: float, width: float, height: float, class_: str, **more: Attribute) -> Markup:
    """A rectangle by its upper left corner."""
    return element("rect", x=x, y=y, width=max(0.0, width), height=max(0.0, height), class_=class_, **more)


def polyline(points: Iterable[XY], class_: str) -> Markup:
    """A line through `points`."""
    return element("path", d=path(points), class_=class_)


def polygon(points: Iterable[XY], class_: str) -> Markup:
    """A closed shape through `points`."""
    return element("path", d=f"{path(points)}Z", class_=class_)


def path(points: Iterable[XY]) -> str:
    """Path data: M, then L through the rest (implied, which halves its length)."""
    return "M" + " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in points)


MARKS: dict[str, Sequence[XY]] = {
    "diamond": ((0.0, -1.35), (1.35, 0.0), (0.0, 1.35), (-1.35, 0.0)),
    "triangle": ((0.0, -1.25), (1.2, 0.95), (-1.2, 0.95)),
    "arrow": ((0.0, 1.25), (1.2, -0.95), (-1.2, -0.95)),
    "hexagon": ((0.0, -1.3), (1.13, -0.65), (1.13, 0.65), (0.0, 1.3), (-1.13, 0.65), (-1.13, -0.65)),
    "square": ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)),
}


def mark(shape: str, centre: XY, radius: float, class_: str) -> Markup:
    """A point of a chart: a circle, or one of `MARKS`."""
    x, y = centre
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=radius, class_=class_)
    return polygon([(x + radius * dx, y + radius * dy) for dx, dy in MARKS[shape]], class_)


def text_width(content: str, font_size: float) -> float:
    """Estimated width of a line of text in pixels, since nothing here can measure it."""
    return GLYPH_WIDTH * font_size * len(content)

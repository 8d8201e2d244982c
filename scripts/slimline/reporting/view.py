"""What sections are made of: plain values that the template turns into HTML.

Every block has a `kind`, by which the template chooses its macro. Texts are escaped there; only
pictures are markup.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import quote

from markupsafe import Markup

Value = str | float | int | bool | None
Status = Literal["pass", "fail", "inconclusive", "reference", "error", "warning", "info"]

STATUS_WORDS: dict[str, str] = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "reference": "REFERENCE",
    "error": "ERROR",
    "warning": "WARNING",
    "info": "NOTE",
}

# What may stand unescaped in a data: URI inside an attribute; fewer escapes make a smaller page.
URI_SAFE = "/:;,.()!*~@$+=-_"


@dataclass(frozen=True)
class Download:
    """A table behind a figure, inside the page as a data: URI."""

    file_name: str
    href: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `value` is the exact number behind the text, by which the column sorts."""

    text: str = ""
    value: Value = None
    note: str = ""
    status: str | None = None
    strip: Markup | None = None
    mono: bool = False


@dataclass(frozen=True)
class Column:
    """A column, with the heading of its group where neighbours share one."""

    title: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table; the first cell of every row is the row's heading."""

    kind: ClassVar[str] = "table"
    identifier: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    sortable: bool = False
    marked_row: str | None = None
    download: Download | None = None

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings over several columns with the number of columns; empty where no column has one."""
        if not any(column.group for column in self.columns):
            return []
        runs = itertools.groupby(self.columns, key=lambda column: column.group)
        return [(name, len(list(columns))) for name, columns in runs]


@dataclass(frozen=True)
class Figure:
    """A picture with its caption and its numbers."""

    svg: Markup
    caption: str
    download: Download | None = None


@dataclass(frozen=True)
class Figures:
    """Pictures side by side where there is room."""

    kind: ClassVar[str] = "figures"
    items: Sequence[Figure]


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class NotMeasured:
    """What is missing, and why: never an empty place."""

    kind: ClassVar[str] = "not_measured"
    what: str
    reason: str


@dataclass(frozen=True)
class Fact:
    """A term and what is known of it."""

    term: str
    text: str
    status: str | None = None
    mono: bool = False


@dataclass(frozen=True)
class Facts:
    """Terms and values in two columns."""

    kind: ClassVar[str] = "facts"
    items: Sequence[Fact]


@dataclass(frozen=True)
class Code:
    """Text whose spaces matter."""

    kind: ClassVar[str] = "code"
    text: str
    label: str


@dataclass(frozen=True)
class Notice:
    """Something that a reviewer should know before trusting a number."""

    severity: Literal["error", "warning", "info"]
    subject: str
    message: str


@dataclass(frozen=True)
class Notices:
    """Notices, gravest first."""

    kind: ClassVar[str] = "notices"
    items: Sequence[Notice]


@dataclass(frozen=True)
class Tile:
    """A figure large enough to be read first."""

    label: str
    figure: str
    note: str


@dataclass(frozen=True)
class Answer:
    """The verdict: what to ship, and its key figures."""

    kind: ClassVar[str] = "answer"
    recommended: str | None
    status: str
    headline: str
    tiles: Sequence[Tile]
    notice_counts: str


@dataclass(frozen=True)
class Lists:
    """Titled lists of sentences, side by side where there is room; one without sentences is left out."""

    kind: ClassVar[str] = "lists"
    items: Sequence[tuple[str, Sequence[str]]]


Block = Answer | Lists | Table | Figures | Heading | Paragraph | NotMeasured | Facts | Code | Notices


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away on the screen and open in print."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """A section of the page; `identifier` is what links point at."""

    identifier: str
    title: str
    lead: str
    blocks: Sequence[Block | Details] = field(default_factory=list)


def csv_download(file_name: str, header: Sequence[str], rows: Iterable[Sequence[Value]]) -> Download:
    """A CSV file (RFC 4180, UTF-8, newlines as LF) as a data: URI."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return Download(file_name, f"data:text/csv;charset=utf-8,{quote(buffer.getvalue(), safe=URI_SAFE)}")

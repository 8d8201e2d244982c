"""The verdict on a terminal: `python -m slimline.evaluation.verdict results/<experiment>/metrics.json`."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from slimline.errors import SlimlineError
from slimline.evaluation import wording
from slimline.evaluation.artifact_status import may_ship
from slimline.evaluation.records import FailedVariant, Metrics, VariantRecord, read_metrics

WIDTH = 80
GAP = "  "
MARK, NO_MARK = "> ", "  "
CONTROL_MARK = "*"
BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
STATUS_COLOURS = {"pass": GREEN, "inconclusive": YELLOW, "slower": YELLOW, "fail": RED, "failed": RED, "reference": DIM}


def render(metrics: Metrics, *, colour: bool) -> str:
    """The headline and a table of the variants, at most WIDTH columns wide; `>` marks the variant to ship.

    Accuracy and its interval are in per cent. The difference is in points: to dense, or to the control where the gate
    looks at that.
    """

    def paint(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colour else text

    headings = ("accuracy", f"{metrics.confidence * 100:g} % CI", "delta", "size", "p50", "gate")
    marks = CONTROL_MARK if any(map(_is_held_against_control, metrics.variants)) else ""
    table = [_cells(variant, len(marks)) for variant in metrics.variants]
    widths = [max(map(len, column)) for column in zip(headings, *table, strict=True)]
    room = WIDTH - sum(widths) - len(GAP) * len(widths)
    names = [
        (MARK if variant.variant == metrics.verdict.recommended else NO_MARK) + variant.variant
        for variant in metrics.variants
    ]
    name_width = min(room, max(len(name) for name in [*names, NO_MARK + "variant"]))
    lines = [paint(part, BOLD) for part in textwrap.wrap(metrics.verdict.headline, WIDTH, break_on_hyphens=False)]
    lines += ["", paint(_line(NO_MARK + "variant", headings, name_width, widths), DIM)]
    for name, cells in zip(names, table, strict=True):
        fits = len(name) <= name_width
        if not fits:  # the name has a line of its own, and the figures stay in their columns
            lines.append(paint(name, BOLD) if name.startswith(MARK) else name)
        line = _line(name if fits else "", cells, name_width, widths)
        figures = line.removesuffix(cells[-1])
        painted = paint(figures, BOLD) if name.startswith(MARK) else figures
        lines.append(painted + paint(cells[-1], STATUS_COLOURS[cells[-1]]))
    if marks:
        lines.append(paint(f"{NO_MARK}{marks} against its control: dense, trained on for as many steps", DIM))
    lines += [line for variant in metrics.failed_variants for line in _failure(variant, paint)]
    return "\n".join(lines) + "\n"


def _failure(variant: FailedVariant, paint: Callable[[str, str], str]) -> list[str]:
    """A variant without figures, with its reason below the table."""
    text = f"{NO_MARK}{variant.variant} {variant.artifact_status}"
    wrapped = textwrap.wrap(text, WIDTH, subsequent_indent=NO_MARK * 2, break_on_hyphens=False)
    return [paint(line, RED) for line in wrapped]


def _is_held_against_control(variant: VariantRecord) -> bool:
    return any(check.criterion == "accuracy_drop" and check.reference == variant.control for check in variant.gate)


def _cells(variant: VariantRecord, mark_width: int) -> tuple[str, ...]:
    """The columns after the name; the gate in words comes last."""
    to_control = _is_held_against_control(variant)
    delta = variant.accuracy_delta_control if to_control else variant.accuracy_delta
    mark = (CONTROL_MARK if to_control else "").ljust(mark_width)
    return (
        f"{variant.accuracy_mean * 100:.2f}",
        f"{variant.accuracy_ci_low * 100:.1f}-{variant.accuracy_ci_high * 100:.1f}",
        "" if delta is None else wording.signed_points(delta) + mark,
        wording.file_size(variant.size_bytes),
        wording.milliseconds(variant.latency_p50_ms),
        _standing(variant),
    )


def _standing(variant: VariantRecord) -> str:
    """What the gate says, or in one word that it has no say."""
    if variant.problems:
        return "failed"
    slower = not may_ship(variant)
    return "slower" if slower and variant.status == "pass" else variant.status


def _line(name: str, cells: Sequence[str], name_width: int, widths: Sequence[int]) -> str:
    """Figures to the right, words to the left."""
    *figures, word = cells
    aligned = [cell.rjust(width) for cell, width in zip(figures, widths[:-1], strict=True)]
    return GAP.join([name.ljust(name_width), *aligned, word])


def wants_colour(stream: TextIO) -> bool:
    """Whether colour is welcome: on a terminal that knows it, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the verdict; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slimline.evaluation.verdict", description=__doc__)
    parser.add_argument("metrics", type=Path, help="results/<experiment>/metrics.json")
    path = parser.parse_args(arguments).metrics
    try:
        sys.stdout.write(render(read_metrics(path), colour=wants_colour(sys.stdout)))
    except SlimlineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

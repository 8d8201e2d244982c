"""Which classes are taken for which: matrices where they can be read, pairs in any case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimline.reporting.answers import Counts, VariantAnswers
from slimline.reporting.charts.heatmap import HeatCell, heat_map
from slimline.reporting.format import MINUS, NBSP, count, fixed, percent, plural, quantity
from slimline.reporting.view import Cell, Column, Download, Figure, Figures, Table, Value, csv_download

LISTED_PAIRS = 20
PAIRS_IN_FILE = 1000
FAINTEST = 0.3
LEAST_FULL_SHADE = 5  # answers; a difference of one should look like one
LONGEST_COUNT = 9_999


@dataclass(frozen=True, eq=False)
class Errors:
    """What the variant whose errors are shown answered, beside dense; `confusion` and `reference` are [C, C + 1]."""

    variant: str
    names: Sequence[str]
    answers: VariantAnswers
    dense: VariantAnswers
    confusion: Counts
    reference: Counts
    n_seeds: int

    @property
    def is_dense(self) -> bool:
        """Whether there is nothing to compare with."""
        return self.answers is self.dense

    @property
    def differs(self) -> bool:
        """Whether the confusion matrix is another one than dense's."""
        return not np.array_equal(self.confusion, self.reference)


def matrices(errors: Errors) -> Figures:
    """The confusion matrix, and its difference to that of dense where there is one."""
    return Figures([_confusion(errors), _difference(errors)] if errors.differs else [_confusion(errors)])


def _confusion(errors: Errors) -> Figure:
    totals = errors.confusion.sum(axis=1)
    classes = range(len(errors.names))
    cells = [[_count_cell(errors, row, column, int(totals[row])) for column in classes] for row in classes]
    title = f"Confusion matrix of {errors.variant}"
    wrong = f"{count(totals.sum() - np.trace(errors.confusion))} of {count(totals.sum())} answers are wrong."
    n_tied = int(errors.confusion[:, -1].sum())
    tied = f" {plural(n_tied, 'answer')} without one largest logit lie outside the matrix." if n_tied else ""
    svg = heat_map("chart-confusion", errors.names, cells, title, wrong)
    caption = f"{title}: {wrong} Shade: share of the true class (row).{tied}"
    return Figure(svg, caption, _download("confusion.csv", errors, errors.confusion))


def _count_cell(errors: Errors, row: int, column: int, total: int) -> HeatCell | None:
    answers = int(errors.confusion[row, column])
    if not answers:
        return None
    share = answers / total
    tip = f"{_pair(errors, row, column)}: {count(answers)} of {count(total)} ({percent(share)})"
    return HeatCell(_short(answers), max(FAINTEST, share), "heat" if row == column else "heat wrong", tip)


def _difference(errors: Errors) -> Figure:
    difference = errors.confusion - errors.reference
    largest = max(LEAST_FULL_SHADE, int(np.abs(difference[:, :-1]).max()))
    classes = range(len(errors.names))
    cells = [
        [_difference_cell(errors, row, column, int(difference[row, column]), largest) for column in classes]
        for row in classes
    ]
    gained = int(np.trace(difference))
    title = f"{errors.variant} minus dense"
    change = f"{count(abs(gained))} {'more' if gained > 0 else 'fewer'} than" if gained else "as many as"
    description = f"Right answers in all: {change} dense."
    svg = heat_map("chart-confusion-difference", errors.names, cells, title, description)
    caption = (
        f"{title}, in answers. Orange is worse: an error more, a right answer fewer. Blue is better. {description}"
    )
    return Figure(svg, caption, _download("confusion-difference.csv", errors, difference))


def _difference_cell(errors: Errors, row: int, column: int, difference: int, largest: int) -> HeatCell | None:
    if not difference:
        return None
    worse = (difference < 0) == (row == column)
    signed = f"{'+' if difference > 0 else MINUS}{_short(abs(difference))}"
    tip = f"{_pair(errors, row, column)}: {signed} ({'worse' if worse else 'better'})"
    shade = max(FAINTEST, abs(difference) / largest)
    return HeatCell(signed, shade, "heat worse" if worse else "heat better", tip)


def _pair(errors: Errors, row: int, column: int) -> str:
    return f"true {errors.names[row]}, predicted {errors.names[column]}"


def _short(value: int) -> str:
    return str(value) if value <= LONGEST_COUNT else quantity(value).replace(NBSP, "")


def _download(file_name: str, errors: Errors, matrix: Counts) -> Download:
    rows: list[list[Value]] = [[name, *row] for name, row in zip(errors.names, matrix.tolist(), strict=True)]
    return csv_download(file_name, ["true class", *errors.names, "tied"], rows)


def pairs_table(errors: Errors) -> Table:
    """Pairs of classes by the number of times that one was taken for the other."""
    wrong = errors.confusion[:, :-1].copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = [divmod(int(index), len(errors.names)) for index in order if wrong.flat[index]]
    columns = [
        Column("true class", numeric=False),
        Column("taken for", numeric=False),
        Column("answers"),
        Column("of the class, %"),
        Column("dense"),
        Column("change"),
    ]
    left_out = plural(len(pairs) - LISTED_PAIRS, "rarer pair")
    note = f"{left_out} not listed." if len(pairs) > LISTED_PAIRS else ""
    header = ("true_class", "predicted_class", "answers", "answers_dense")
    data = [
        (errors.names[row], errors.names[column], int(wrong[row, column]), int(errors.reference[row, column]))
        for row, column in pairs[:PAIRS_IN_FILE]
    ]
    return Table(
        "confusions",
        "Most frequent confusions",
        columns,
        [_pair_row(errors, row, column) for row, column in pairs[:LISTED_PAIRS]],
        note=note if pairs else "No test image was taken for another class.",
        sortable=True,
        download=csv_download("confusions.csv", header, data),
    )


def _pair_row(errors: Errors, row: int, column: int) -> list[Cell]:
    now, before = int(errors.confusion[row, column]), int(errors.reference[row, column])
    share = now / int(errors.confusion[row].sum())
    return [
        Cell(errors.names[row], errors.names[row]),
        Cell(errors.names[column], errors.names[column]),
        Cell(count(now), now),
        Cell(fixed(100 * share, 1), share),
        Cell(count(before), before),
        Cell(fixed(now - before, 0, signed=True), now - before),
    ]

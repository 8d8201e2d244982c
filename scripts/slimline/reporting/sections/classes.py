"""Which classes the shown variant recognises, which it confuses, and what it lost against dense."""

from __future__ import annotations

from dataclasses import dataclass

from slimline.reporting.charts.strips import interval_strip
from slimline.reporting.format import count, fixed, percent_interval, plural, points
from slimline.reporting.inputs import Evidence
from slimline.reporting.sections.confusion import Errors, matrices, pairs_table
from slimline.reporting.view import Block, Cell, Column, NotMeasured, Paragraph, Section, Table, csv_download

MOST_CLASSES_IN_MATRIX = 20
LISTED_CLASSES = 20
STRIP_MARGIN = 0.02


def classes_section(evidence: Evidence) -> Section:
    """Matrices where they can be read, pairs, and recall by class."""
    errors = _errors(evidence)
    recommended = evidence.metrics.verdict.recommended == errors.variant
    why = "the recommended variant" if recommended else "the most accurate one, as nothing is recommended"
    lead = (
        f"Errors of {errors.variant}, {why}. Counts are sums over {plural(errors.n_seeds, 'seed')} "
        f"on {plural(len(errors.answers.labels), 'test image')}."
    )
    blocks: list[Block] = [matrices(errors)] if len(errors.names) <= MOST_CLASSES_IN_MATRIX else []
    if errors.is_dense:
        blocks.append(NotMeasured("Difference to dense", "the variant shown is dense itself"))
    elif not errors.differs:
        blocks.append(Paragraph(f"{errors.variant} has the same confusion matrix as dense."))
    blocks += [_recall_table(errors, evidence.metrics.confidence), pairs_table(errors)]
    return Section("classes", "Errors by class", lead, blocks)


def _errors(evidence: Evidence) -> Errors:
    record = evidence.shown
    answers, dense = evidence.answers[record.variant], evidence.answers[evidence.dense.variant]
    return Errors(
        variant=record.variant,
        names=evidence.stats.class_names,
        answers=answers,
        dense=dense,
        confusion=answers.confusion(),
        reference=dense.confusion(),
        n_seeds=record.n_seeds,
    )


@dataclass(frozen=True)
class _ClassLine:
    name: str
    support: int
    recall: float
    low: float
    high: float
    precision: float | None
    dense: float


def _class_lines(errors: Errors, confidence: float) -> list[_ClassLine]:
    lines = []
    for label, (name, support) in enumerate(zip(errors.names, errors.answers.support(), strict=True)):
        recall, dense = errors.answers.recall(label, confidence), errors.dense.recall(label, confidence)
        if recall is not None and dense is not None:
            precision = errors.answers.precision(label)
            lines.append(_ClassLine(name, int(support), recall.value, recall.low, recall.high, precision, dense.value))
    return sorted(lines, key=lambda line: line.recall)


def _recall_table(errors: Errors, confidence: float) -> Table:
    lines = _class_lines(errors, confidence)
    listed = lines[:LISTED_CLASSES]
    least = max(0.0, min((line.low for line in listed), default=0.0) - STRIP_MARGIN)
    columns = [
        Column("class", numeric=False),
        Column("test images"),
        Column("recall, %"),
        Column(f"{100 * confidence:g} % interval"),
        Column(f"{fixed(100 * least, 0)} to 100 %", numeric=False),
        Column("dense, %"),
        Column("to dense, points"),
        Column("precision, %"),
    ]
    header = ("class", "test_images", "recall", "ci_low", "ci_high", "precision", "recall_dense")
    data = [(c.name, c.support, c.recall, c.low, c.high, c.precision, c.dense) for c in lines]
    return Table(
        "recall",
        f"Recall by class, {errors.variant}, worst first",
        columns,
        [_recall_row(line, least, errors.is_dense) for line in listed],
        note=_recall_note(len(lines) - len(listed), len(errors.names) - len(lines)),
        sortable=True,
        download=csv_download("recall.csv", header, data),
    )


def _recall_note(n_unlisted: int, n_untested: int) -> str:
    notes = [
        "Wilson intervals at the effective number of images: the answers of several seeds to one image are not "
        "independent. The tick on each line is dense."
    ]
    if n_unlisted:
        notes.append(f"{plural(n_unlisted, 'better class', 'better classes')} in the CSV file only.")
    if n_untested:
        notes.append(f"{plural(n_untested, 'class', 'classes')} not measured: no test images.")
    return " ".join(notes)


def _recall_row(line: _ClassLine, least: float, is_dense: bool) -> list[Cell]:
    delta = line.recall - line.dense
    return [
        Cell(line.name, line.name),
        Cell(count(line.support), line.support),
        Cell(fixed(100 * line.recall, 1), line.recall),
        Cell(percent_interval(line.low, line.high), line.low),
        Cell(strip=interval_strip(line.low, line.recall, line.high, None if is_dense else line.dense, least)),
        Cell(fixed(100 * line.dense, 1), line.dense),
        Cell("reference") if is_dense else Cell(points(delta, 1), delta),
        Cell("never answered") if line.precision is None else Cell(fixed(100 * line.precision, 1), line.precision),
    ]

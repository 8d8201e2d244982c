"""Accuracy against latency and against size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slimline.evaluation.records import Criterion, Row, VariantRecord
from slimline.reporting.charts.tradeoff import Gate, TradeoffPoint, pareto_front, tradeoff_chart
from slimline.reporting.format import BYTE_UNITS, TIMES, sentence_list, unit_for
from slimline.reporting.inputs import Evidence
from slimline.reporting.view import Block, Figure, Figures, NotMeasured, Section, csv_download

N_HUES = 6  # in the style sheet, beside the neutral one


@dataclass(frozen=True)
class Cost:
    """One horizontal axis: how to get it from a record, its unit, the criterion of the gate that limits it.

    The gate's limits are multiples of `of_dense`.
    """

    name: str
    title: str
    unit: float
    of_variant: Callable[[VariantRecord], float]
    of_row: Callable[[Row], float]
    of_dense: float
    criterion: Criterion


def hues(evidence: Evidence) -> Mapping[str, int]:
    """The colour of each variant by its place in the config; 0, which is neutral, belongs to dense and its controls."""
    others = {record.variant: 1 + index % N_HUES for index, record in enumerate(evidence.compressed)}
    return {record.variant: others.get(record.variant, 0) for record in evidence.metrics.variants}


def tradeoff_section(evidence: Evidence) -> Section:
    """Both pictures, or why there are none."""
    lead = (
        "Up and to the left is better. The stepped line is the Pareto front: for a variant off it there is one that "
        "is no less accurate and costs no more, by these figures as they are. Latencies are multiples of dense's, "
        "timed in turns, as the gate takes them: dense itself is off 1 by the error of such a timing. "
        "Bars are intervals over test images, small dots are single seeds, filled marks lie on the front, and the "
        "tinted area is what the gate allows. The interval that decides the gate is the paired one of the verdict, "
        "which is narrower than these bars."
    )
    if not evidence.compressed:
        blocks: list[Block] = [NotMeasured("Trade-off", f"{evidence.why_none}, and one point is no trade-off")]
        return Section("tradeoff", "Accuracy against latency and size", "", blocks)
    figures = Figures([_figure(evidence, cost) for cost in _costs(evidence)])
    return Section("tradeoff", "Accuracy against latency and size", lead, [figures])


def _costs(evidence: Evidence) -> list[Cost]:
    unit, scale = unit_for(max(v.size_bytes for v in evidence.metrics.variants), BYTE_UNITS)
    batch = sentence_list(sorted({f"{r.batch_size}" for r in evidence.metrics.rows}))
    return [
        Cost(
            "latency",
            f"latency p50, {TIMES} dense, batch {batch}",
            1.0,
            lambda v: v.latency_ratio,
            lambda r: r.latency_ratio,
            1.0,
            "latency_ratio",
        ),
        Cost(
            "size",
            f"file size in {unit}",
            scale,
            lambda v: v.size_bytes,
            lambda r: r.size_bytes,
            evidence.dense.size_bytes,
            "size_ratio",
        ),
    ]


def _figure(evidence: Evidence, cost: Cost) -> Figure:
    points = [_point(evidence, record, cost) for record in evidence.metrics.variants]
    front = sentence_list(point.name for point in pareto_front(points))
    title = f"Accuracy against {cost.name}"
    svg = tradeoff_chart(
        f"chart-{cost.name}", points, _gate(evidence, cost), cost.title, title, f"On the Pareto front: {front}."
    )
    header = ("variant", "seed", cost.name, "accuracy", "accuracy_ci_low", "accuracy_ci_high")
    rows = [
        (row.variant, row.seed, cost.of_row(row), row.accuracy, row.accuracy_ci_low, row.accuracy_ci_high)
        for row in evidence.metrics.rows
    ]
    caption = f"{title}. On the front, cheapest first: {front}."
    return Figure(svg, caption, csv_download(f"accuracy-{cost.name}.csv", header, rows))


def _point(evidence: Evidence, record: VariantRecord, cost: Cost) -> TradeoffPoint:
    rows = [row for row in evidence.metrics.rows if row.variant == record.variant]
    return TradeoffPoint(
        name=record.variant,
        step=record.step,
        hue=hues(evidence)[record.variant],
        x=cost.of_variant(record) / cost.unit,
        y=record.accuracy_mean,
        y_low=record.accuracy_ci_low,
        y_high=record.accuracy_ci_high,
        seeds=tuple((cost.of_row(row) / cost.unit, row.accuracy) for row in rows),
        recommended=record.variant == evidence.metrics.verdict.recommended,
    )


def _gate(evidence: Evidence, cost: Cost) -> Gate:
    """The limits; where variants have references of their own, the accuracy is that of the strictest."""
    limits = {check.criterion: check.limit for check in evidence.compressed[0].gate}
    most = limits.get(cost.criterion)
    references = {c.reference for v in evidence.compressed for c in v.gate if c.criterion == "accuracy_drop"}
    return Gate(
        y_least=max(evidence.variant(name).accuracy_mean for name in references) - limits["accuracy_drop"],
        x_most=None if most is None else most * cost.of_dense / cost.unit,
    )

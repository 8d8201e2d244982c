"""What to ship and why, how each variant stands to the gate, and what nobody tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from slimline.config.variants import DENSE
from slimline.evaluation.records import GateCheck, VariantRecord
from slimline.evaluation.wording import decimals_beside, ratio_beside
from slimline.reporting.charts.forest import ForestRow, forest_chart
from slimline.reporting.format import (
    fixed,
    milliseconds,
    multiple,
    percent,
    percent_interval,
    plural,
    points_interval,
    points_with_unit,
    ratio,
    sentence_list,
    share_digits,
    size,
)
from slimline.reporting.inputs import Evidence
from slimline.reporting.sections.comparison import origin
from slimline.reporting.sections.proof import status_cell
from slimline.reporting.view import (
    STATUS_WORDS,
    Answer,
    Block,
    Cell,
    Column,
    Figure,
    Figures,
    Lists,
    Notice,
    NotMeasured,
    Section,
    Table,
    Tile,
    csv_download,
)

CRITERIA = {
    "accuracy_drop": "loss of accuracy",
    "latency_ratio": "p50 latency, multiple of dense",
    "size_ratio": "file size, multiple of dense",
}


def verdict_section(evidence: Evidence, notices: Sequence[Notice]) -> Section:
    """The first section: everything else on the page is its footnote."""
    answer = _answer(evidence, notices)
    if evidence.compressed:
        gate: list[Block] = [_gate_table(evidence), Figures([_forest(evidence)])]
    else:
        gate = [NotMeasured("Gate", f"{evidence.why_none}, so there is nothing to hold against it")]
    verdict = evidence.metrics.verdict
    lists = Lists([("Why", verdict.reasons), ("Not tested", verdict.not_tested)])
    return Section("verdict", "Verdict", "", [answer, *gate, lists])


def _answer(evidence: Evidence, notices: Sequence[Notice]) -> Answer:
    verdict = evidence.metrics.verdict
    recommended = None if verdict.recommended is None else evidence.variant(verdict.recommended)
    return Answer(
        recommended=verdict.recommended,
        status="fail" if recommended is None else recommended.status,
        headline=verdict.headline,
        tiles=[] if recommended is None else _tiles(recommended),
        notice_counts=_notice_counts(notices),
    )


def _notice_counts(notices: Sequence[Notice]) -> str:
    counts = Counter[str](notice.severity for notice in notices)
    words = (("error", "error"), ("warning", "warning"), ("info", "note"))
    return sentence_list(plural(counts[key], word) for key, word in words if counts[key])


def _tiles(record: VariantRecord) -> list[Tile]:
    digits = share_digits(record.n_test)
    interval = percent_interval(record.accuracy_ci_low, record.accuracy_ci_high, digits)
    tiles = [Tile("accuracy", percent(record.accuracy_mean, digits), interval)]
    if record.accuracy_delta is not None:
        to_dense = _interval(record.accuracy_delta_ci_low, record.accuracy_delta_ci_high)
        tiles.append(Tile("against dense", points_with_unit(record.accuracy_delta), to_dense))
    if record.accuracy_delta_control is not None:
        interval = _interval(record.accuracy_delta_control_ci_low, record.accuracy_delta_control_ci_high)
        tiles.append(Tile("against its control", points_with_unit(record.accuracy_delta_control), interval))
    size_note = "" if record.parent is None else f"{ratio(record.size_ratio)} dense"
    latency_note = "" if record.parent is None else f"{ratio(record.latency_ratio)} dense"
    return [
        *tiles,
        Tile("file size", size(record.size_bytes), size_note),
        Tile("latency p50", milliseconds(record.latency_p50_ms), latency_note),
    ]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else points_interval(low, high)


def _gate_table(evidence: Evidence) -> Table:
    checks = evidence.compressed[0].gate
    columns = [Column("variant", numeric=False), Column("gate", numeric=False), Column("file", numeric=False)]
    columns += [Column(f"{CRITERIA[check.criterion]}, at most {_limit(check)}", numeric=False) for check in checks]
    rows = [
        [
            Cell(record.variant, note=origin(record)),
            Cell(status=record.status, value=record.status),
            status_cell(record.artifact_status),
            *(_check_cell(check) for check in record.gate),
        ]
        for record in evidence.compressed
    ]
    rows += [
        [
            Cell(failed.variant, note=origin(failed)),
            Cell(status="fail", value="fail"),
            status_cell(failed.artifact_status),
            *(Cell("not measured") for _ in checks),
        ]
        for failed in evidence.metrics.failed_variants
    ]
    level = f"{100 * evidence.metrics.confidence:g}"
    return Table(
        "gate",
        "Gate: limits of the config",
        columns,
        rows,
        note=(
            f"A loss of accuracy is a PASS where its whole {level} % interval is within the limit, a FAIL where the "
            "loss itself is beyond it, and else INCONCLUSIVE: to see no loss is not to see that there is none. What is "
            f"wrong with a file is said under proof.{_measured_against(evidence)}"
        ),
        marked_row=evidence.metrics.verdict.recommended,
    )


def _limit(check: GateCheck) -> str:
    return f"{100 * check.limit:g} points" if check.criterion == "accuracy_drop" else multiple(f"{check.limit:g}")


def _check_cell(check: GateCheck) -> Cell:
    if check.criterion != "accuracy_drop":
        return Cell(multiple(ratio_beside(check.value, check.limit)), check.value, status=check.status)
    low, high = check.ci_low, check.ci_high
    digits = decimals_beside(check.limit, check.value, *([] if high is None else [high]))
    interval = "" if low is None or high is None else percent_interval(low, high, digits)
    text = f"{fixed(100 * check.value, digits)} {interval}".strip()
    against = "" if check.reference == DENSE else f"against {check.reference}"
    missing = "" if check.missing_reference is None else f"against dense, for want of {check.missing_reference}"
    note = "; ".join(part for part in (against, missing, _even_chance(check)) if part)
    return Cell(text, check.value, note=note, status=check.status)


def _measured_against(evidence: Evidence) -> str:
    if all(check.reference == DENSE for record in evidence.compressed for check in record.gate):
        return ""
    return " The loss is against the control, dense trained on for as many steps, of each variant that has one."


def _even_chance(check: GateCheck) -> str:
    ways = []
    if check.items_needed is not None:
        ways.append(f"{fixed(check.items_needed, 0)} test images")
    if check.seeds_needed is not None:
        ways.append(plural(check.seeds_needed, "seed"))
    return f"an even chance to pass takes about {' or '.join(ways)}" if ways else ""


def _forest(evidence: Evidence) -> Figure:
    rows, data = [], []
    for record in evidence.compressed:
        check = next(check for check in record.gate if check.criterion == "accuracy_drop")
        if check.ci_low is None or check.ci_high is None:
            continue
        value, low, high = -check.value, -check.ci_high, -check.ci_low
        rows.append(ForestRow(record.variant, value, low, high, STATUS_WORDS[check.status], check.status))
        data.append((record.variant, check.reference, value, low, high, check.status))
    is_dense = {row[1] for row in data} == {DENSE}
    against = "dense" if is_dense else "its control, or dense where it has none"
    margin = next(check.limit for check in evidence.compressed[0].gate if check.criterion == "accuracy_drop")
    svg = forest_chart(
        "chart-forest",
        rows,
        margin,
        "dense" if is_dense else "reference",
        f"Accuracy of each variant minus that of {against}",
        "; ".join(f"{row.name} {points_interval(row.low, row.high)}: {row.reading}" for row in rows) + ".",
    )
    caption = (
        f"Difference of accuracy to {against}, averaged over seeds, with its paired interval. To pass, all of it has "
        f"to lie right of the dashed line, the {100 * margin:g} points that the gate allows to lose."
    )
    header = ("variant", "reference", "accuracy_delta", "ci_low", "ci_high", "status")
    return Figure(svg, caption, csv_download("accuracy-against-dense.csv", header, data))

"""Every variant in one table: accuracy, size, work, latency, each with what it was measured under."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from slimline.evaluation.latency_record import LatencyRecord
from slimline.evaluation.records import FailedVariant, Row, VariantRecord
from slimline.evaluation.wording import runtime
from slimline.reporting.format import (
    BYTE_UNITS,
    COUNT_UNITS,
    TIMES,
    count,
    fixed,
    percent_interval,
    plural,
    points,
    points_interval,
    sentence_list,
    share_digits,
    significant_digits,
    unit_for,
)
from slimline.reporting.inputs import Evidence
from slimline.reporting.view import Cell, Column, Details, Section, Table, csv_download

MANY_ZEROS = 0.2  # share of weights from which on a file is worth compressing; integers are zero in some places
NESTED = ("gate", "problems")  # lists, which a CSV file has no place for


class Unit:
    """One unit and one number of decimals for a whole column, so that its numbers line up."""

    def __init__(self, values: Iterable[float], units: Sequence[tuple[str, float]]) -> None:
        known = list(values)
        self.name, self.scale = unit_for(max(known, default=0.0), tuple(units))
        self.digits = 0 if self.scale == 1.0 else significant_digits([value / self.scale for value in known])

    def cell(self, value: float) -> Cell:
        """`value` in the unit of its column."""
        return Cell(fixed(value / self.scale, self.digits), value)


def comparison_section(evidence: Evidence) -> Section:
    """The table over seeds, and every seed of it folded away."""
    lead = (
        f"Every variant is scored from the file that ships, on the same {plural(evidence.dense.n_test, 'test image')}. "
        "Accuracies are means over seeds, sizes and latencies medians."
    )
    seeds = Details("Every seed", [_seeds_table(evidence)])
    return Section("comparison", "Comparison", lead, [_variants_table(evidence), seeds])


def _variants_table(evidence: Evidence) -> Table:
    variants = evidence.metrics.variants
    size = Unit([v.size_bytes for v in variants], BYTE_UNITS)
    parameters = Unit([v.parameters for v in variants], COUNT_UNITS)
    macs = Unit([v.macs for v in variants], COUNT_UNITS)
    macs_name = f"{macs.name} MACs".lstrip()
    latency = significant_digits(v.latency_p50_ms for v in variants)
    has_controls = any(v.control for v in variants)
    has_zeros = any(v.sparsity > MANY_ZEROS for v in variants)
    columns = [
        Column("variant", numeric=False),
        Column("mean, %", "accuracy"),
        Column("seeds", "accuracy"),
        Column("to dense, points", "accuracy"),
        *([Column("to control, points", "accuracy")] if has_controls else []),
        Column("flips, %", "accuracy"),
        Column(f"parameters{_in(parameters)}", "model"),
        Column(f"file, {size.name}", "model"),
        *([Column(f"gzip, {size.name}", "model")] if has_zeros else []),
        Column("runtime", "latency, ms", numeric=False),
        Column("p50", "latency, ms"),
        Column("p95", "latency, ms"),
    ]
    rows = [
        [
            Cell(v.variant, v.variant, note=origin(v), status=v.status),
            *_accuracy_cells(v, has_controls),
            replace(parameters.cell(v.parameters), note=f"{macs.cell(v.macs).text} {macs_name}"),
            replace(size.cell(v.size_bytes), note=_of_dense(v.size_ratio)),
            *([size.cell(v.size_gzip_bytes)] if has_zeros else []),
            Cell(runtime(v.runtime), v.runtime, note=_arithmetic(v)),
            Cell(fixed(v.latency_p50_ms, latency), v.latency_p50_ms, note=_of_dense(v.latency_ratio)),
            Cell(fixed(v.latency_p95_ms, latency), v.latency_p95_ms, note=f"p99 {fixed(v.latency_p99_ms, latency)}"),
        ]
        for v in variants
    ]
    return Table(
        "variants",
        "All variants",
        columns,
        rows,
        note=f"{_methods(evidence)} {latency_conditions(evidence.latencies.values())}",
        sortable=True,
        marked_row=evidence.metrics.verdict.recommended,
        download=csv_download(
            "variants.csv",
            [name for name in VariantRecord.model_fields if name not in NESTED],
            [[value for key, value in v.model_dump().items() if key not in NESTED] for v in variants],
        ),
    )


def origin(v: VariantRecord | FailedVariant) -> str:
    """How a variant was made, in a few words."""
    if isinstance(v, VariantRecord) and v.is_control:
        return "control: dense trained on"
    return "trained from scratch" if v.parent is None else f"{v.step}, from {v.parent}"


def _of_dense(ratio: float) -> str:
    return f"{fixed(ratio, 2)} {TIMES} dense"


def _in(unit: Unit) -> str:
    return f", {unit.name}" if unit.name else ""


def _accuracy_cells(v: VariantRecord, has_controls: bool) -> list[Cell]:
    digits = share_digits(v.n_test)
    interval = percent_interval(v.accuracy_ci_low, v.accuracy_ci_high, digits)
    spread = f"{fixed(100 * v.accuracy_min, digits)} to {fixed(100 * v.accuracy_max, digits)}" if v.n_seeds > 1 else ""
    return [
        Cell(fixed(100 * v.accuracy_mean, digits), v.accuracy_mean, note=interval),
        Cell(count(v.n_seeds), v.n_seeds, note=spread),
        _delta_cell(v.accuracy_delta, v.accuracy_delta_ci_low, v.accuracy_delta_ci_high),
        *([_to_control_cell(v)] if has_controls else []),
        Cell("reference") if v.prediction_flips is None else _flips_cell(v.prediction_flips),
    ]


def _delta_cell(delta: float | None, low: float | None, high: float | None) -> Cell:
    if delta is None:
        return Cell("reference")
    interval = "" if low is None or high is None else points_interval(low, high)
    return Cell(points(delta), delta, note=interval)


def _to_control_cell(v: VariantRecord) -> Cell:
    if v.status == "reference":
        return Cell("reference")
    if v.control is None:
        return Cell("no control")
    cell = _delta_cell(v.accuracy_delta_control, v.accuracy_delta_control_ci_low, v.accuracy_delta_control_ci_high)
    return replace(cell, note=f"{cell.note} {v.control}".strip())


def _arithmetic(v: VariantRecord) -> str:
    """The type that it computes in, and where that is not a float, how long that takes against the parent in one."""
    ratio = v.latency_ratio_float
    return v.dtype if ratio is None else f"{v.dtype}, {fixed(ratio, 2)} {TIMES} float"


def _flips_cell(flips: float) -> Cell:
    return Cell(fixed(100 * flips, 2), flips)


def _methods(evidence: Evidence) -> str:
    described = evidence.metrics.metrics
    accuracy, delta = described.get("accuracy"), described.get("accuracy_delta")
    parts = []
    if accuracy is not None and accuracy.ci:
        over_seeds = (
            " with the number of images that the mean over seeds is worth" if evidence.dense.n_seeds > 1 else ""
        )
        parts.append(f"Interval of the accuracy: {accuracy.ci}{over_seeds}.")
    if delta is not None and delta.ci:
        parts.append(f"Interval of the difference: {delta.ci}.")
    if any(v.control for v in evidence.metrics.variants):
        parts.append("Control: dense trained on for as many steps as the variant was after it; no candidate itself.")
    parts.append("Under the number of seeds: worst to best seed. Flips: answers that differ from dense's.")
    if any(v.latency_ratio_float is not None for v in evidence.metrics.variants):
        parts.append("Times float: against the parent in the same runtime, in its fastest float precision.")
    return " ".join(parts)


def latency_conditions(latencies: Iterable[LatencyRecord]) -> str:
    """Under which conditions latencies were measured; each that is not the same for all is listed in full."""
    records = list(latencies)

    def all_of(texts: Iterable[str]) -> str:
        return sentence_list(dict.fromkeys(texts))

    runtimes = all_of(f"{r.runtime} {r.runtime_version} ({r.provider})" for r in records)
    runs = sorted({r.timed_runs for r in records})
    timed = plural(runs[0], "timed run") if len(runs) == 1 else f"{count(runs[0])} to {count(runs[-1])} timed runs"
    return (
        f"Latency: batch {all_of(str(r.batch_size) for r in records)}, "
        f"{all_of(plural(r.threads, 'thread') for r in records)}, {all_of(r.device for r in records)}, {runtimes}, "
        f"{all_of(plural(r.warmup_runs, 'warm-up run') for r in records)} and {timed} for each file."
    )


def _seeds_table(evidence: Evidence) -> Table:
    rows = evidence.metrics.rows
    size = Unit([row.size_bytes for row in rows], BYTE_UNITS)
    latency = significant_digits(row.latency_p50_ms for row in rows)
    digits = share_digits(evidence.dense.n_test)
    columns = [
        Column("variant", numeric=False),
        Column("seed"),
        Column("accuracy, %"),
        Column("to dense, points"),
        Column(f"file, {size.name}"),
        Column("p50, ms"),
        Column("p95, ms"),
        Column("p99, ms"),
        Column(f"p50, {TIMES} dense"),
        Column("baseline drift, %"),
    ]
    table_rows = [
        [
            Cell(row.variant, row.variant),
            Cell(str(row.seed), row.seed),
            Cell(
                fixed(100 * row.accuracy, digits),
                row.accuracy,
                note=percent_interval(row.accuracy_ci_low, row.accuracy_ci_high, digits),
            ),
            Cell("reference") if row.accuracy_delta is None else Cell(points(row.accuracy_delta), row.accuracy_delta),
            size.cell(row.size_bytes),
            *(Cell(fixed(ms, latency), ms) for ms in (row.latency_p50_ms, row.latency_p95_ms, row.latency_p99_ms)),
            Cell(fixed(row.latency_ratio, 2), row.latency_ratio),
            Cell(fixed(100 * row.latency_drift, 1, signed=True), row.latency_drift),
        ]
        for row in rows
    ]
    note = (
        "Ratios are to the dense model of the same seed, timed in turns. Baseline drift: how much dense itself changed "
        "from the first round to the last; ratios are of rounds side by side, which drift together."
    )
    header = list(Row.model_fields)
    download = csv_download("seeds.csv", header, [list(row.model_dump().values()) for row in rows])
    return Table("seeds", "Each seed on its own", columns, table_rows, note=note, sortable=True, download=download)

"""Bringing together what was measured of every variant and seed: `metrics.csv` and `metrics.json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slimline.config.experiment import ExperimentConfig
from slimline.config.variants import DENSE
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.evaluation.decision import decide
from slimline.evaluation.findings import Aim, Findings
from slimline.evaluation.latency_record import LatencyRecord
from slimline.evaluation.prediction_file import read_predictions
from slimline.evaluation.proof_record import Proof
from slimline.evaluation.provenance_record import Provenance
from slimline.evaluation.record_base import read_record, write_record
from slimline.evaluation.records import FailedRow, Metrics, Row, Status, describe_metrics
from slimline.evaluation.statistics import Classes, top1
from slimline.evaluation.study import Export, Measured, Study
from slimline.evaluation.summary import make_failed_row, make_row, summarise_failed, summarise_variant
from slimline.failed import Failure, failure_in
from slimline.files import write_text


@dataclass(frozen=True)
class RunFiles:
    """The files of one model that are compared."""

    variant: str
    seed: int
    predictions: Path
    latency: Path
    export: Path
    proof: Path


def pair_files(
    pairs: Sequence[tuple[str, int]],
    predictions: Sequence[str],
    latency: Sequence[str],
    export: Sequence[str],
    proof: Sequence[str],
) -> list[RunFiles]:
    """The files of each (variant, seed); all lists are in one order."""
    files = zip(pairs, predictions, latency, export, proof, strict=True)
    return [RunFiles(variant, seed, *map(Path, paths)) for (variant, seed), *paths in files]


def compare(
    experiment: ExperimentConfig,
    runs: Sequence[RunFiles],
    prepared: Path,
    provenance: Provenance,
    metrics_csv: Path,
    metrics_json: Path,
) -> None:
    """Compares all variants with dense and writes the figures, the gate and the verdict.

    Args:
        experiment: the config.
        runs: the files of every variant and seed of the experiment.
        prepared: folder of the prepared dataset that all of them were scored on.
        provenance: where it all comes from.
        metrics_csv: one row per variant and seed; equal figures give equal bytes.
        metrics_json: the same rows, the variants over their seeds, verdict and provenance.

    Raises:
        SlimlineError: a model is missing, there is no dense one, or files do not belong together: other test images,
            another variant or seed than their place says, another batch size or number of threads, a proof of another
            file.
    """
    study = _read_study(experiment, runs, prepared)
    names = experiment.variant_names
    variants = [summarise_variant(study, name) for name in names if not study.failures_of(name)]
    failed_variants = [summarise_failed(study, name) for name in names if study.failures_of(name)]
    lines = _lines(study, {variant.variant: variant.status for variant in variants})
    rows = [line for line in lines if isinstance(line, Row)]
    confidence = experiment.evaluation.confidence
    majority_share = float(np.bincount(study.labels).max() / len(study.labels))
    metrics = Metrics(
        format=1,
        experiment=experiment.experiment,
        task="classification",
        confidence=confidence,
        metrics=describe_metrics(confidence),
        rows=rows,
        failed_rows=[line for line in lines if isinstance(line, FailedRow)],
        variants=variants,
        failed_variants=failed_variants,
        verdict=decide(Findings(variants, rows, majority_share, confidence, failed_variants, _aim(experiment))),
        provenance=provenance,
    )
    write_text(metrics_csv, format_csv(lines))
    write_record(metrics_json, metrics)


def _aim(experiment: ExperimentConfig) -> Aim:
    search = experiment.compress
    return Aim() if search is None else Aim(search.minimize, search.accuracy_drop)


def _lines(study: Study, statuses: Mapping[str, Status]) -> list[Row | FailedRow]:
    """One per variant and seed, in the order of the config."""
    experiment = study.experiment
    pairs = [(variant, seed) for variant in experiment.variant_names for seed in experiment.train.seeds]
    return [
        make_failed_row(study, study.failures[pair])
        if pair in study.failures
        else make_row(study, *pair, status=statuses.get(pair[0], "fail"))
        for pair in pairs
    ]


def format_csv(rows: Sequence[Row | FailedRow]) -> str:
    """The rows as CSV: floats with six significant digits, nothing for what does not apply."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.model_fields)
    for row in rows:
        values = [getattr(row, name, None) for name in Row.model_fields]
        writer.writerow(format(value, ".6g") if isinstance(value, float) else value for value in values)
    return text.getvalue()


def _read_study(experiment: ExperimentConfig, runs: Sequence[RunFiles], prepared: Path) -> Study:
    """Everything that was measured, checked to belong together."""
    expected = {(variant, seed) for variant in experiment.variant_names for seed in experiment.train.seeds}
    given = [(run.variant, run.seed) for run in runs]
    if sorted(given) != sorted(expected):
        raise SlimlineError(
            "The models to compare are not those of the experiment.",
            got=", ".join(f"{variant} seed {seed}" for variant, seed in sorted(given)) or "none",
            expected=", ".join(f"{variant} seed {seed}" for variant, seed in sorted(expected)),
        )
    dataset = PreparedDataset.open(prepared)
    rows = dataset.rows("test")
    sample_ids, labels = dataset.sample_ids(rows), dataset.labels[rows]
    failures = {(run.variant, run.seed): failure for run in runs if (failure := _failure_of(run))}
    _refuse_without_dense(failures)
    made = [run for run in runs if (run.variant, run.seed) not in failures]
    measured = {(run.variant, run.seed): _read_run(run, sample_ids, labels) for run in made}
    _check_conditions(made, measured[DENSE, experiment.train.seeds[0]].latency, measured)
    return Study(experiment, labels, measured, failures)


def _failure_of(run: RunFiles) -> Failure | None:
    """Why a model was not measured; None where it was."""
    found = (failure_in(path) for path in (run.export, run.proof, run.predictions, run.latency))
    return next((failure for failure in found if failure is not None), None)


def _refuse_without_dense(failures: Mapping[tuple[str, int], Failure]) -> None:
    for (variant, seed), failure in failures.items():
        if variant == DENSE:
            raise SlimlineError(
                "Without the dense model there is nothing to compare with.",
                where=f"{variant}, seed {seed}",
                got=failure.reason,
            )


def _read_run(run: RunFiles, sample_ids: list[str], labels: Classes) -> Measured:
    """The files of one model, checked against the test split and against its name."""
    predictions = read_predictions(run.predictions)
    if predictions.sample_ids != sample_ids or not np.array_equal(predictions.labels, labels):
        raise SlimlineError(
            "Predictions are not for the images of the test split, in its order.",
            where=str(run.predictions),
            got=f"{len(predictions.sample_ids)} rows, first {predictions.sample_ids[0]}",
            expected=f"{len(sample_ids)} rows, first {sample_ids[0]}",
            next_step=f"predict again: rm '{run.predictions}' and run snakemake",
        )
    latency = read_record(run.latency, LatencyRecord)
    export = read_record(run.export, Export)
    proof = read_record(run.proof, Proof)
    for path, record in ((run.latency, latency), (run.export, export), (run.proof, proof)):
        if (record.variant, record.seed) != (run.variant, run.seed):
            raise SlimlineError(
                "A result file is about another model than its place says.",
                where=str(path),
                got=f"{record.variant}, seed {record.seed}",
                expected=f"{run.variant}, seed {run.seed}",
            )
    if proof.onnx_sha256 != export.onnx_sha256:
        raise SlimlineError(
            "What was proved is another file than what was exported.",
            where=str(run.proof),
            got=f"SHA-256 {proof.onnx_sha256}",
            expected=f"{export.onnx_sha256}, as in {run.export}",
            next_step=f"prove again: rm '{run.proof}' and run snakemake",
        )
    return Measured(top1(predictions.logits), latency, export, proof)


def _check_conditions(
    runs: Sequence[RunFiles], reference: LatencyRecord, measured: dict[tuple[str, int], Measured]
) -> None:
    """Latencies under different conditions are no comparison."""
    for run in runs:
        latency = measured[run.variant, run.seed].latency
        if (latency.batch_size, latency.threads) != (reference.batch_size, reference.threads):
            raise SlimlineError(
                "Latencies were not measured under the same conditions.",
                where=str(run.latency),
                got=f"batch size {latency.batch_size}, {latency.threads} threads",
                expected=f"batch size {reference.batch_size}, {reference.threads} threads",
                next_step=f"measure again: rm '{run.latency}' and run snakemake",
            )

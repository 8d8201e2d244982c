"""Bringing together what was measured of every variant and seed: `metrics.csv` and `metrics.json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slimline.config.experiment import ExperimentConfig
from slimline.config.variants import DENSE
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.evaluation.decision import Findings, decide
from slimline.evaluation.prediction_file import read_predictions
from slimline.evaluation.record_base import read_record, write_record
from slimline.evaluation.records import LatencyRecord, Metrics, Provenance, Row, describe_metrics
from slimline.evaluation.statistics import Classes, top1
from slimline.evaluation.summary import Export, Measured, Study, make_row, summarise_variant
from slimline.files import write_text


@dataclass(frozen=True)
class RunFiles:
    """The files of one model that are compared."""

    variant: str
    seed: int
    predictions: Path
    latency: Path
    export: Path


def pair_files(
    pairs: Sequence[tuple[str, int]], predictions: Sequence[str], latency: Sequence[str], export: Sequence[str]
) -> list[RunFiles]:
    """The files of each (variant, seed); all lists are in one order."""
    return [
        RunFiles(variant, seed, Path(predicted), Path(timed), Path(exported))
        for (variant, seed), predicted, timed, exported in zip(pairs, predictions, latency, export, strict=True)
    ]


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
        SlimlineError: a model is missing, or files do not belong together: other test images, another variant or seed
            than their place says, another batch size or number of threads.
    """
    study = _read_study(experiment, runs, prepared)
    variants = [summarise_variant(study, variant) for variant in experiment.variant_names]
    rows = [make_row(study, variant, seed) for variant in variants for seed in experiment.train.seeds]
    confidence = experiment.evaluation.confidence
    majority_share = float(np.bincount(study.labels).max() / len(study.labels))
    metrics = Metrics(
        format=1,
        experiment=experiment.experiment,
        task="classification",
        confidence=confidence,
        metrics=describe_metrics(confidence),
        rows=rows,
        variants=variants,
        verdict=decide(Findings(variants, rows, majority_share, confidence)),
        provenance=provenance,
    )
    write_text(metrics_csv, format_csv(rows))
    write_record(metrics_json, metrics)


def format_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV: floats with six significant digits, nothing for what does not apply."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.model_fields)
    for row in rows:
        writer.writerow(
            format(value, ".6g") if isinstance(value, float) else value for value in row.model_dump().values()
        )
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
    measured = {(run.variant, run.seed): _read_run(run, sample_ids, labels) for run in runs}
    _check_conditions(runs, measured[DENSE, experiment.train.seeds[0]].latency, measured)
    return Study(experiment, labels, measured)


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
    for path, record in ((run.latency, latency), (run.export, export)):
        if (record.variant, record.seed) != (run.variant, run.seed):
            raise SlimlineError(
                "A result file is about another model than its place says.",
                where=str(path),
                got=f"{record.variant}, seed {record.seed}",
                expected=f"{run.variant}, seed {run.seed}",
            )
    return Measured(top1(predictions.logits), latency, export)


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

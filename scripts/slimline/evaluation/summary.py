"""From the measurements of each model to rows, variants and their standing at the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, median_high, stdev

import numpy as np
from pydantic import BaseModel, ConfigDict

from slimline.config.evaluation import EvaluationConfig, GateConfig
from slimline.config.experiment import ExperimentConfig
from slimline.config.variants import DENSE
from slimline.evaluation import statistics
from slimline.evaluation.gate import check_accuracy, check_ratios, overall_status
from slimline.evaluation.records import GateCheck, LatencyRecord, Row, Status, VariantRecord
from slimline.evaluation.statistics import Classes, Estimate


class Parity(BaseModel):
    """The part of `export.json` that says how near the shipped file is to the model it was made of."""

    model_config = ConfigDict(frozen=True)

    max_abs: float
    argmax_agreement: float


class Export(BaseModel):
    """The part of `export.json` that is compared; the file belongs to another room and may say more."""

    model_config = ConfigDict(frozen=True)

    variant: str
    seed: int
    parameters: int
    macs: int
    size_bytes: int
    size_gzip_bytes: int
    sparsity: float
    parity: Parity


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that was measured of one model.

    Attributes:
        predicted: class of each test item, or TIED, [n].
        latency: its timing.
        export: its figures from the export.
    """

    predicted: Classes
    latency: LatencyRecord
    export: Export


@dataclass(frozen=True, eq=False)
class Study:
    """An experiment and what was measured in it.

    Attributes:
        experiment: its config.
        labels: true class of each test item, [n].
        measured: by variant and seed, complete.
    """

    experiment: ExperimentConfig
    labels: Classes
    measured: Mapping[tuple[str, int], Measured]

    def seeds_of(self, variant: str) -> list[Measured]:
        """The models of a variant in the order of the config's seeds."""
        return [self.measured[variant, seed] for seed in self.experiment.train.seeds]

    def predicted(self, variant: str) -> Classes:
        """[S, n]."""
        return np.stack([measured.predicted for measured in self.seeds_of(variant)])

    def correct(self, variant: str) -> statistics.Bools:
        """[S, n]."""
        return np.asarray(self.predicted(variant) == self.labels)


def summarise_variant(study: Study, variant: str) -> VariantRecord:
    """A variant over all its seeds, with its interval against dense and the gate."""
    evaluation, models = study.experiment.evaluation, study.seeds_of(variant)
    correct = study.correct(variant)
    accuracies = correct.mean(axis=1).tolist()
    accuracy = statistics.seed_mean_accuracy(correct, evaluation.confidence)
    latency_ratio = median(model.latency.ratio_p50 for model in models)
    size_ratio = median(_size_ratios(study, variant))
    delta, deltas = _against_dense(study, variant, evaluation)
    checks = _check(study, variant, delta, latency_ratio, size_ratio) if delta is not None else []
    status: Status = overall_status(checks) if delta is not None else "reference"
    return VariantRecord(
        variant=variant,
        parent=study.experiment.parent(variant),
        step=study.experiment.step(variant),
        n_seeds=len(models),
        n_test=len(study.labels),
        accuracy_mean=accuracy.value,
        accuracy_ci_low=accuracy.low,
        accuracy_ci_high=accuracy.high,
        accuracy_min=min(accuracies),
        accuracy_max=max(accuracies),
        accuracy_seed_sd=stdev(accuracies) if len(accuracies) > 1 else None,
        accuracy_delta=delta.value if delta is not None else None,
        accuracy_delta_ci_low=delta.low if delta is not None else None,
        accuracy_delta_ci_high=delta.high if delta is not None else None,
        accuracy_delta_min=min(deltas, default=None),
        accuracy_delta_max=max(deltas, default=None),
        parameters=_middle(models, lambda model: model.export.parameters),
        size_bytes=_middle(models, lambda model: model.export.size_bytes),
        size_gzip_bytes=_middle(models, lambda model: model.export.size_gzip_bytes),
        sparsity=median(model.export.sparsity for model in models),
        size_ratio=size_ratio,
        macs=_middle(models, lambda model: model.export.macs),
        latency_p50_ms=median(model.latency.p50_ms for model in models),
        latency_p95_ms=median(model.latency.p95_ms for model in models),
        latency_p99_ms=median(model.latency.p99_ms for model in models),
        latency_ratio=latency_ratio,
        prediction_flips=(
            statistics.flips_share(study.predicted(variant), study.predicted(DENSE)) if variant != DENSE else None
        ),
        tied_share=statistics.tied_share(study.predicted(variant)),
        gate=checks,
        status=status,
    )


def _middle(models: Sequence[Measured], figure: Callable[[Measured], int]) -> int:
    """The median over seeds; with an even number the upper of the two, so that it is a figure that exists."""
    return median_high(figure(model) for model in models)


def _size_ratios(study: Study, variant: str) -> list[float]:
    """Per seed, against dense of the same seed."""
    pairs = zip(study.seeds_of(variant), study.seeds_of(DENSE), strict=True)
    return [model.export.size_bytes / dense.export.size_bytes for model, dense in pairs]


def _against_dense(study: Study, variant: str, evaluation: EvaluationConfig) -> tuple[Estimate | None, list[float]]:
    """Accuracy minus that of dense: over all seeds with its interval, and seed by seed. Nothing for dense itself."""
    if variant == DENSE:
        return None, []
    correct, reference = study.correct(variant), study.correct(DENSE)
    delta = statistics.paired_difference(
        correct, reference, evaluation.confidence, evaluation.bootstrap_resamples, evaluation.bootstrap_seed
    )
    return delta, (correct.mean(axis=1) - reference.mean(axis=1)).tolist()


def _check(study: Study, variant: str, delta: Estimate, latency_ratio: float, size_ratio: float) -> list[GateCheck]:
    """A variant's standing at each declared threshold."""
    gate: GateConfig = study.experiment.gate
    drop = delta.negated()
    accuracy = check_accuracy(
        drop,
        gate.accuracy_drop,
        items_needed=statistics.items_needed(drop, gate.accuracy_drop, len(study.labels)),
        seeds_needed=statistics.seeds_needed(study.correct(variant), study.correct(DENSE), drop, gate.accuracy_drop),
    )
    return [accuracy, *check_ratios(gate, latency_ratio=latency_ratio, size_ratio=size_ratio)]


def make_row(study: Study, summary: VariantRecord, seed: int) -> Row:
    """One line of `metrics.csv`: one model of the variant that `summary` is about."""
    model = study.measured[summary.variant, seed]
    dense = study.measured[DENSE, seed]
    accuracy = float(np.mean(model.predicted == study.labels))
    low, high = statistics.wilson_interval(accuracy, len(study.labels), study.experiment.evaluation.confidence)
    is_dense = summary.variant == DENSE
    return Row(
        experiment=study.experiment.experiment,
        variant=summary.variant,
        parent=summary.parent,
        seed=seed,
        n_test=len(study.labels),
        accuracy=accuracy,
        accuracy_ci_low=low,
        accuracy_ci_high=high,
        parameters=model.export.parameters,
        size_bytes=model.export.size_bytes,
        size_gzip_bytes=model.export.size_gzip_bytes,
        sparsity=model.export.sparsity,
        macs=model.export.macs,
        latency_p50_ms=model.latency.p50_ms,
        latency_p95_ms=model.latency.p95_ms,
        latency_p99_ms=model.latency.p99_ms,
        batch_size=model.latency.batch_size,
        threads=model.latency.threads,
        onnx_parity_max_abs=model.export.parity.max_abs,
        latency_ratio=model.latency.ratio_p50,
        size_ratio=model.export.size_bytes / dense.export.size_bytes,
        status=summary.status,
        accuracy_delta=None if is_dense else accuracy - float(np.mean(dense.predicted == study.labels)),
        prediction_flips=None if is_dense else statistics.flips_share(model.predicted, dense.predicted),
        tied_share=statistics.tied_share(model.predicted),
        onnx_argmax_agreement=model.export.parity.argmax_agreement,
        latency_cpu_p50_ms=model.latency.cpu_p50_ms,
        timed_runs=model.latency.timed_runs,
        latency_drift=model.latency.baseline.drift,
        device=model.latency.device,
    )

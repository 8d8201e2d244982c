"""From the measurements of each model to rows, variants and their standing at the gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median, median_high, stdev
from typing import Any

from slimline.config.evaluation import GateConfig
from slimline.config.variants import DENSE
from slimline.evaluation import statistics
from slimline.evaluation.artifact_status import artifact_status, failed
from slimline.evaluation.gate import check_accuracy, check_ratios, overall_status, without_reference
from slimline.evaluation.proof_record import Problem
from slimline.evaluation.records import FailedRow, FailedVariant, GateCheck, Row, Status, VariantRecord
from slimline.evaluation.statistics import Estimate
from slimline.evaluation.study import Measured, Study
from slimline.failed import Failure


@dataclass(frozen=True)
class Difference:
    """A variant's accuracy minus that of a reference.

    Attributes:
        reference: what it is compared with.
        mean: over all seeds, with its interval.
        of_seeds: seed by seed.
    """

    reference: str
    mean: Estimate
    of_seeds: list[float]


def summarise_variant(study: Study, variant: str) -> VariantRecord:
    """A variant over all its seeds, with its intervals against dense and against its control, and the gate."""
    evaluation, models = study.experiment.evaluation, study.seeds_of(variant)
    correct = study.correct(variant)
    accuracies = correct.mean(axis=1).tolist()
    accuracy = statistics.seed_mean_accuracy(correct, evaluation.confidence)
    latency_ratio = median(model.latency.ratio_p50 for model in models)
    latency_ratio_parent = _median_known(model.latency.ratio_parent_p50 for model in models)
    latency_ratio_fp32 = _median_known(model.latency.ratio_to_own_fp32 for model in models)
    step, problems = study.experiment.step(variant), _problems(models)
    size_ratio = median(_size_ratios(study, variant))
    delta = None if variant == DENSE else _difference(study, variant, DENSE)
    control = study.control_of(variant)
    to_control = None if control is None else _difference(study, variant, control)
    checks, status = _standing(study, variant, delta, to_control, latency_ratio, size_ratio)
    if problems and status != "reference":
        status = "fail"
    return VariantRecord(
        variant=variant,
        parent=study.experiment.parent(variant),
        step=step,
        n_seeds=len(models),
        n_test=len(study.labels),
        accuracy_mean=accuracy.value,
        accuracy_ci_low=accuracy.low,
        accuracy_ci_high=accuracy.high,
        accuracy_min=min(accuracies),
        accuracy_max=max(accuracies),
        accuracy_seed_sd=stdev(accuracies) if len(accuracies) > 1 else None,
        **_figures("accuracy_delta", delta),
        control=control,
        **_figures("accuracy_delta_control", to_control),
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
        latency_ratio_parent=latency_ratio_parent,
        artifact_status=artifact_status(problems, step, latency_ratio_fp32),
        runtime=models[0].export.runtime,
        dtype=models[0].export.dtype,
        latency_ratio_fp32=latency_ratio_fp32,
        latency_ratio_float=_median_known(model.latency.ratio_float_p50 for model in models),
        problems=problems,
        gate=checks,
        status=status,
    )


def _median_known(ratios: Iterable[float | None]) -> float | None:
    """The median over seeds; None where there are no such ratios."""
    known = [ratio for ratio in ratios if ratio is not None]
    return median(known) if known else None


def _problems(models: Sequence[Measured]) -> list[Problem]:
    """Each kind of problem once, as the first seed that has it tells it."""
    by_code: dict[str, Problem] = {}
    for model in models:
        for problem in model.proof.problems:
            where = f"seed {model.proof.seed}: " if len(models) > 1 else ""
            by_code.setdefault(problem.code, Problem(code=problem.code, message=f"{where}{problem.message}"))
    return list(by_code.values())


def _middle(models: Sequence[Measured], figure: Callable[[Measured], int]) -> int:
    """The median over seeds; with an even number the upper of the two, so that it is a figure that exists."""
    return median_high(figure(model) for model in models)


def _size_ratios(study: Study, variant: str) -> list[float]:
    """Per seed, against dense of the same seed."""
    pairs = zip(study.seeds_of(variant), study.seeds_of(DENSE), strict=True)
    return [model.export.size_bytes / dense.export.size_bytes for model, dense in pairs]


def _difference(study: Study, variant: str, reference: str) -> Difference:
    """Seed s of the variant against seed s of the reference."""
    correct, of_reference = study.correct(variant), study.correct(reference)
    evaluation = study.experiment.evaluation
    mean = statistics.paired_difference(
        correct, of_reference, evaluation.confidence, evaluation.bootstrap_resamples, evaluation.bootstrap_seed
    )
    return Difference(reference, mean, (correct.mean(axis=1) - of_reference.mean(axis=1)).tolist())


def _figures(name: str, difference: Difference | None) -> dict[str, Any]:
    """The fields of a record that begin with `name`."""
    if difference is None:
        return dict.fromkeys((name, *(f"{name}_{part}" for part in ("ci_low", "ci_high", "min", "max"))))
    mean, of_seeds = difference.mean, difference.of_seeds
    return {
        name: mean.value,
        f"{name}_ci_low": mean.low,
        f"{name}_ci_high": mean.high,
        f"{name}_min": min(of_seeds),
        f"{name}_max": max(of_seeds),
    }


def _standing(
    study: Study,
    variant: str,
    delta: Difference | None,
    to_control: Difference | None,
    latency_ratio: float,
    size_ratio: float,
) -> tuple[list[GateCheck], Status]:
    """A variant's standing at each declared threshold, and over all; dense and its controls are no candidates."""
    if delta is None or variant in study.experiment.controls.added:
        return [], "reference"
    gate: GateConfig = study.experiment.gate
    control = study.experiment.control_of(variant) if gate.reference == "control" else None
    judged = to_control if control is not None and to_control is not None else delta
    drop, reference = judged.mean.negated(), judged.reference
    correct, of_reference = study.correct(variant), study.correct(reference)
    accuracy = check_accuracy(
        drop,
        gate.accuracy_drop,
        reference,
        items_needed=statistics.items_needed(drop, gate.accuracy_drop, len(study.labels)),
        seeds_needed=statistics.seeds_needed(correct, of_reference, drop, gate.accuracy_drop),
    )
    if control is not None and to_control is None:
        accuracy = without_reference(accuracy, control)
    checks = [accuracy, *check_ratios(gate, latency_ratio=latency_ratio, size_ratio=size_ratio)]
    return checks, overall_status(checks)


def summarise_failed(study: Study, variant: str) -> FailedVariant:
    """A variant of which not every seed could be measured."""
    failures = study.failures_of(variant)
    first = failures[0]
    return FailedVariant(
        variant=variant,
        parent=study.experiment.parent(variant),
        step=study.experiment.step(variant),
        artifact_status=failed(first.reason),
        problem=Problem(code=first.code, message=first.reason),
        failed_seeds=[failure.seed for failure in failures],
    )


def make_failed_row(study: Study, failure: Failure) -> FailedRow:
    """One line of `metrics.csv` for a model that could not be measured."""
    return FailedRow(
        experiment=study.experiment.experiment,
        variant=failure.variant,
        parent=study.experiment.parent(failure.variant),
        seed=failure.seed,
        status="fail",
        artifact_status=failed(failure.reason),
    )


def make_row(study: Study, variant: str, seed: int, status: Status) -> Row:
    """One line of `metrics.csv`: one model of a variant whose standing at the gate is `status`."""
    model = study.measured[variant, seed]
    dense = study.measured[DENSE, seed]
    accuracy = study.accuracy(variant, seed)
    low, high = statistics.wilson_interval(accuracy, len(study.labels), study.experiment.evaluation.confidence)
    is_dense = variant == DENSE
    control = study.control_of(variant)
    return Row(
        experiment=study.experiment.experiment,
        variant=variant,
        parent=study.experiment.parent(variant),
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
        status=status,
        accuracy_delta=None if is_dense else accuracy - study.accuracy(DENSE, seed),
        prediction_flips=None if is_dense else statistics.flips_share(model.predicted, dense.predicted),
        tied_share=statistics.tied_share(model.predicted),
        onnx_argmax_agreement=model.export.parity.argmax_agreement,
        latency_cpu_p50_ms=model.latency.cpu_p50_ms,
        timed_runs=model.latency.timed_runs,
        latency_drift=model.latency.baseline.drift,
        device=model.latency.device,
        latency_ratio_parent=model.latency.ratio_parent_p50,
        opset=model.proof.opset,
        integer_operators=model.proof.integer_operators,
        fused_operators=model.proof.fused_operators,
        artifact_status=artifact_status(
            model.proof.problems, study.experiment.step(variant), model.latency.ratio_to_own_fp32
        ),
        runtime=model.export.runtime,
        dtype=model.export.dtype,
        latency_ratio_float=model.latency.ratio_float_p50,
        control=control,
        accuracy_delta_control=None if control is None else accuracy - study.accuracy(control, seed),
    )

"""What the verdict says besides: what to be careful about, and what nobody has looked at."""

from __future__ import annotations

from collections.abc import Sequence

from slimline.config.variants import DENSE
from slimline.evaluation import wording
from slimline.evaluation.artifact_status import OK, TIMING_ERROR, farthest_repeat, timing_error
from slimline.evaluation.records import Row, VariantRecord
from slimline.evaluation.statistics import exceeds

# A baseline that changed by more than this between its first and last round was not alone on the machine.
DRIFT_WORTH_SAYING = 0.1
NOT_TESTED = (
    "Images that differ from the test split: corruptions, other cameras, other places.",
    "Single classes: the gate looks at the mean over all test images.",
    "Energy and memory while running.",
)


def remarks(variants: Sequence[VariantRecord], rows: Sequence[Row]) -> list[str]:
    """What a reader should know although no threshold looks at it.

    Args:
        variants: those that were measured.
        rows: one per variant and seed.
    """
    error = timing_error(rows)
    return [*(remark for variant in variants for remark in _on(variant, error)), *_on_timing(rows, error)]


def _on(variant: VariantRecord, error: float) -> list[str]:
    found = []
    drops = [check for check in variant.gate if check.criterion == "accuracy_drop"]
    to_dense = all(check.reference == DENSE for check in drops)
    worst = variant.accuracy_delta_min if to_dense else variant.accuracy_delta_control_min
    if variant.status == "pass" and worst is not None and exceeds(-worst, drops[0].limit):
        found.append(
            f"{variant.variant} passes on the mean of {variant.n_seeds} seeds, but its worst seed loses "
            f"{wording.points(-worst)} points: choose the seed to ship with care."
        )
    ratio = variant.latency_ratio_float
    if variant.artifact_status == OK and ratio is not None and ratio > 1 / (1 + error):
        found.append(
            f"{variant.variant} is no faster than {variant.parent} in float in {wording.runtime(variant.runtime)} "
            f"({wording.speed(ratio)}): what it gains over dense is not gained by its {variant.dtype}."
        )
    if variant.tied_share > 0:
        found.append(
            f"{variant.variant}: {wording.percent(variant.tied_share, 2)} of the test images have no single largest "
            "logit and count as wrong; the output may be quantized too coarsely."
        )
    return found


def _on_timing(rows: Sequence[Row], error: float) -> list[str]:
    found = []
    unquiet = [row for row in rows if abs(row.latency_drift) > DRIFT_WORTH_SAYING]
    if unquiet:
        worst = max(unquiet, key=lambda row: abs(row.latency_drift))
        found.append(
            f"The machine was not quiet: in {len(unquiet)} of {len(rows)} timings the baseline drifted by more than "
            f"{DRIFT_WORTH_SAYING * 100:g} %, most in {worst.variant}, seed {worst.seed} "
            f"({worst.latency_drift * 100:+.0f} %). Trust the ratios, not the milliseconds."
        )
    if error > TIMING_ERROR:
        found.append(
            f"Dense timed against itself came out {wording.speed(farthest_repeat(rows))}: differences in speed up to "
            "that are noise."
        )
    devices = sorted({row.device for row in rows})
    if len(devices) > 1:
        found.append(f"Latencies are from different processors ({', '.join(devices)}): compare ratios only.")
    return found


def not_tested(variants: Sequence[VariantRecord], first: Row, confidence: float) -> list[str]:
    """What the figures say nothing about.

    Args:
        variants: those that were measured, `dense` first.
        first: any row: all were timed in the same way.
        confidence: level of the intervals.
    """
    dense = variants[0]
    conditions = f"{first.device}, {first.threads} thread{'s' * (first.threads > 1)}, batch {first.batch_size}"
    training = (
        "How another training run would score: there is one seed, and the intervals are over test images."
        if dense.n_seeds == 1
        else "How further training runs would score: the intervals are over test images, with these "
        f"{dense.n_seeds} seeds as they are."
    )
    level = f"Several variants at once: each interval holds at {confidence * 100:g} % by itself."
    several = [level] if sum(variant.status != "reference" for variant in variants) > 1 else []
    return [*NOT_TESTED, f"Other hardware, threads, batches and runtimes than {conditions}.", training, *several]

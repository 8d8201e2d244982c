"""From the measured variants to one sentence that says what to ship, and the reasons for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from slimline.config.variants import DENSE
from slimline.evaluation import wording
from slimline.evaluation.artifact_status import OK, SLOWER, TIMING_ERROR, may_ship
from slimline.evaluation.records import FailedVariant, GateCheck, Row, VariantRecord, Verdict
from slimline.evaluation.statistics import exceeds

# A baseline that changed by more than this between its first and last round was not alone on the machine.
DRIFT_WORTH_SAYING = 0.1
CRITERION_WORDS = {"accuracy_drop": "accuracy", "latency_ratio": "latency", "size_ratio": "size"}
NOT_TESTED = (
    "Images that differ from the test split: corruptions, other cameras, other places.",
    "Single classes: the gate looks at the mean over all test images.",
    "Energy and memory while running.",
)


@dataclass(frozen=True)
class Findings:
    """What a verdict is made from.

    Attributes:
        variants: those that were measured, `dense` first.
        rows: one per variant and seed.
        majority_share: share of the most frequent class among the test labels: what a constant answer scores.
        confidence: level of the intervals.
        failed: variants that could not be made or measured.
    """

    variants: list[VariantRecord]
    rows: list[Row]
    majority_share: float
    confidence: float
    failed: list[FailedVariant] = field(default_factory=list)


def decide(findings: Findings) -> Verdict:
    """The fastest variant that passed the gate, else dense; nothing where dense fails or only guesses.

    Speed is the latency ratio to dense, which was timed in the same minutes. Two ratios within the error of such a
    timing are equal; then the more accurate variant wins. Never recommended is a variant that is neither faster nor
    smaller than dense, one that is slower than what it was made of, and one whose proof found a problem. Controls that
    the workflow added are there to be compared with, and no candidates.
    """
    dense, *others = findings.variants
    compressed = [variant for variant in others if not variant.is_control]
    passed = [variant for variant in compressed if variant.status == "pass" and may_ship(variant)]
    useful = [variant for variant in passed if _is_faster(variant) or _is_smaller(variant)]
    if dense.artifact_status != OK:
        recommended, headline = None, f"Ship nothing: dense {dense.artifact_status}."
    elif dense.accuracy_ci_low <= findings.majority_share:
        recommended, headline = None, _nothing_works(dense, findings.majority_share)
    elif useful:
        best = _best(useful)
        recommended, headline = best.variant, _ship(best)
    else:
        recommended, headline = dense.variant, _ship_dense(findings, passed)
    reasons = [_reason(variant, recommended, findings.confidence) for variant in compressed]
    reasons += [_control(variant, compressed) for variant in others if variant.is_control]
    reasons += [_failure(variant) for variant in findings.failed]
    return Verdict(
        recommended=recommended,
        headline=headline,
        reasons=[*reasons, *_remarks(findings)],
        not_tested=_not_tested(findings),
    )


def _best(useful: list[VariantRecord]) -> VariantRecord:
    """The most accurate of those whose speed cannot be told from the fastest's; among equals the smallest."""
    fastest = min(variant.latency_ratio for variant in useful)
    as_fast = [variant for variant in useful if variant.latency_ratio <= fastest * (1 + TIMING_ERROR)]
    return min(as_fast, key=lambda variant: (-variant.accuracy_mean, variant.size_ratio, variant.variant))


def _is_faster(variant: VariantRecord) -> bool:
    return variant.latency_ratio < 1 - wording.LEVEL


def _is_smaller(variant: VariantRecord) -> bool:
    return variant.size_ratio < 1 - wording.LEVEL


def _against_dense(variant: VariantRecord) -> str:
    """Such as "against dense 0.28 points less accurate, 3.2x faster, 4.0x smaller"."""
    figures = [_more_accurate(variant.accuracy_delta or 0.0), *_speed_and_size(variant)]
    return f"against dense {', '.join(figures)}"


def _more_accurate(delta: float) -> str:
    """A difference of accuracies in words, such as "0.28 points less accurate"."""
    delta = round(delta, 4)
    return f"{wording.points(abs(delta))} points {'less' if delta < 0 else 'more'} accurate" if delta else "as accurate"


def _speed_and_size(variant: VariantRecord) -> tuple[str, str]:
    return wording.speed(variant.latency_ratio), wording.size(variant.size_ratio)


def _ship(variant: VariantRecord) -> str:
    accuracy = wording.percent(variant.accuracy_mean)
    caveat = "" if _is_faster(variant) else " for its size alone"
    return f"Ship {variant.variant}{caveat}: {accuracy} accurate; {_against_dense(variant)}."


def _ship_dense(findings: Findings, passed: list[VariantRecord]) -> str:
    dense, *others = findings.variants
    compressed = [variant for variant in others if not variant.is_control]
    if not compressed and not findings.failed:
        return f"Ship dense: {wording.percent(dense.accuracy_mean)} accurate; no compressed variant was asked for."
    if passed:
        return "Ship dense: no variant that passed the gate is faster or smaller."
    names_by_cause: dict[str, list[str]] = {}
    for variant in compressed:
        names_by_cause.setdefault(_cause(variant), []).append(variant.variant)
    for failed in findings.failed:
        names_by_cause.setdefault("there is no such model", []).append(failed.variant)
    causes = [f"{cause} ({', '.join(names)})" for cause, names in names_by_cause.items()]
    return f"Ship dense: no variant passed, because {' and '.join(causes)}."


def _nothing_works(dense: VariantRecord, majority_share: float) -> str:
    return (
        f"Ship nothing: dense at {wording.percent(dense.accuracy_mean)} is not shown to be better than always "
        f"answering the most frequent class ({wording.percent(majority_share)})."
    )


def _cause(variant: VariantRecord) -> str:
    """Why a variant did not pass, in a few words."""
    if variant.problems:
        return "the proof failed"
    if variant.status == "pass":
        return SLOWER if variant.artifact_status == SLOWER else "slower than its parent"
    failed = [CRITERION_WORDS[check.criterion] for check in variant.gate if check.status == "fail"]
    return f"{' and '.join(failed)} failed" if failed else "accuracy was inconclusive"


def _reason(variant: VariantRecord, recommended: str | None, confidence: float) -> str:
    """What the gate says of a variant, the figures that decided, and why it was or was not chosen."""
    if variant.problems:
        found = "; ".join(problem.message for problem in variant.problems)
        return f"{variant.variant} failed its proof, so it cannot be recommended: {found}."
    words = {"pass": "passes", "fail": "fails", "inconclusive": "is inconclusive"}[variant.status]
    checks = "; ".join(_check_words(check, variant, confidence) for check in variant.gate)
    checks += _against_control(variant, confidence)
    chosen = ""
    if variant.variant == recommended and _is_faster(variant):
        chosen = " It is the fastest that passed, or as fast as can be told and more accurate."
    elif variant.variant == recommended:
        chosen = f" It is {wording.speed(variant.latency_ratio)}, not faster: recommended for its size alone."
    elif variant.status == "pass" and not may_ship(variant):
        chosen = f" It cannot be recommended: {_slower_than_parent(variant)}."
    elif variant.status == "pass":
        chosen = f" Not chosen: {', '.join(_speed_and_size(variant))} against dense."
    return f"{variant.variant} {words}: {checks}.{chosen}"


def _slower_than_parent(variant: VariantRecord) -> str:
    if variant.artifact_status == SLOWER:
        speed = wording.speed(variant.latency_ratio_fp32 or 1.0)
        return f"{speed} than its own fp32, {variant.parent} in {wording.runtime(variant.runtime)}, timed in turns"
    return f"{wording.speed(variant.latency_ratio_parent or 1.0)} than {variant.parent}, timed in turns"


def _failure(variant: FailedVariant) -> str:
    seeds = ", ".join(map(str, variant.failed_seeds))
    return f"{variant.variant} {variant.artifact_status} (seed{'s' * (len(variant.failed_seeds) > 1)} {seeds})."


def _against_control(variant: VariantRecord, confidence: float) -> str:
    """What it makes of its further training, beside dense with the same; nothing without a control, or if told."""
    delta, low, high = (
        variant.accuracy_delta_control,
        variant.accuracy_delta_control_ci_low,
        variant.accuracy_delta_control_ci_high,
    )
    told = any(check.reference == variant.control for check in variant.gate)
    if told or delta is None or low is None or high is None:
        return ""
    interval = f"{confidence * 100:g} % CI {wording.signed_points(low)} to {wording.signed_points(high)}"
    return f"; against dense trained for as many steps ({variant.control}) {_more_accurate(delta)} ({interval})"


def _control(control: VariantRecord, candidates: list[VariantRecord]) -> str:
    names = ", ".join(variant.variant for variant in candidates if variant.control == control.variant)
    return (
        f"{control.variant} is dense trained on for as many steps as {names} after it: a reference and no candidate; "
        f"against dense {_more_accurate(control.accuracy_delta or 0.0)}."
    )


def _check_words(check: GateCheck, variant: VariantRecord, confidence: float) -> str:
    if check.criterion != "accuracy_drop" or check.ci_low is None or check.ci_high is None:
        sign = "over" if check.status == "fail" else "within"
        return f"{CRITERION_WORDS[check.criterion]} ratio {check.value:.3g}, {sign} the limit {check.limit:g}"
    against = f"against dense trained for as many steps ({check.reference}) " if check.reference != DENSE else ""
    text = (
        f"accuracy drop {against}{wording.points(check.value)} points ({confidence * 100:g} % CI "
        f"{wording.points(check.ci_low)} to {wording.points(check.ci_high)}, limit {wording.points(check.limit)})"
    )
    return f"{text}, {_what_would_settle(check, variant)}" if check.status == "inconclusive" else text


def _what_would_settle(check: GateCheck, variant: VariantRecord) -> str:
    """What it would take to decide, as far as that can be said."""
    if check.items_needed is None:
        return "the drop is at the limit itself, so no number of test images is sure to settle it"
    ways = [f"{check.items_needed:,} test images (now {variant.n_test:,})"]
    if check.seeds_needed is not None:
        ways.append(f"{check.seeds_needed} seeds (now {variant.n_seeds})")
    more_seeds = "; more seeds alone would not" if variant.n_seeds > 1 and check.seeds_needed is None else ""
    return f"about {' or '.join(ways)} would give it an even chance to pass if the drop stays as it is{more_seeds}"


def _remarks(findings: Findings) -> list[str]:
    """What a reader should know although no threshold looks at it."""
    on_variants = [remark for variant in findings.variants for remark in _remarks_on(variant)]
    return [*on_variants, *_remarks_on_timing(findings.rows)]


def _remarks_on(variant: VariantRecord) -> list[str]:
    remarks = []
    drops = [check for check in variant.gate if check.criterion == "accuracy_drop"]
    to_dense = all(check.reference == DENSE for check in drops)
    worst = variant.accuracy_delta_min if to_dense else variant.accuracy_delta_control_min
    if variant.status == "pass" and worst is not None and exceeds(-worst, drops[0].limit):
        remarks.append(
            f"{variant.variant} passes on the mean of {variant.n_seeds} seeds, but its worst seed loses "
            f"{wording.points(-worst)} points: choose the seed to ship with care."
        )
    if variant.tied_share > 0:
        remarks.append(
            f"{variant.variant}: {wording.percent(variant.tied_share, 2)} of the test images have no single largest "
            "logit and count as wrong; the output may be quantized too coarsely."
        )
    return remarks


def _remarks_on_timing(rows: list[Row]) -> list[str]:
    remarks = []
    unquiet = [row for row in rows if abs(row.latency_drift) > DRIFT_WORTH_SAYING]
    if unquiet:
        worst = max(unquiet, key=lambda row: abs(row.latency_drift))
        remarks.append(
            f"The machine was not quiet: in {len(unquiet)} of {len(rows)} timings the baseline drifted by more than "
            f"{DRIFT_WORTH_SAYING * 100:g} %, most in {worst.variant}, seed {worst.seed} "
            f"({worst.latency_drift * 100:+.0f} %). Trust the ratios, not the milliseconds."
        )
    repeats = [row.latency_ratio for row in rows if row.parent is None]
    farthest = max(repeats, key=lambda ratio: abs(math.log(ratio)))
    if abs(farthest - 1) > TIMING_ERROR:
        remarks.append(
            f"Dense timed against itself came out {wording.speed(farthest)}: differences in speed up to that are noise."
        )
    devices = sorted({row.device for row in rows})
    if len(devices) > 1:
        remarks.append(f"Latencies are from different processors ({', '.join(devices)}): compare ratios only.")
    return remarks


def _not_tested(findings: Findings) -> list[str]:
    dense, first = findings.variants[0], findings.rows[0]
    conditions = f"{first.device}, {first.threads} thread{'s' * (first.threads > 1)}, batch {first.batch_size}"
    training = (
        "How another training run would score: there is one seed, and the intervals are over test images."
        if dense.n_seeds == 1
        else "How further training runs would score: the intervals are over test images, with these "
        f"{dense.n_seeds} seeds as they are."
    )
    level = f"Several variants at once: each interval holds at {findings.confidence * 100:g} % by itself."
    several = [level] if sum(variant.status != "reference" for variant in findings.variants) > 1 else []
    return [*NOT_TESTED, f"Other hardware, threads, batches and runtimes than {conditions}.", training, *several]

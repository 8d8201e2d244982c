"""From the measured variants to one sentence that says what to ship, and the reasons for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slimline.config.variants import DENSE
from slimline.evaluation import wording
from slimline.evaluation.artifact_status import OK, SLOWER, may_ship, timing_error
from slimline.evaluation.records import FailedVariant, GateCheck, Row, VariantRecord, Verdict
from slimline.evaluation.remarks import not_tested, remarks
from slimline.evaluation.statistics import exceeds

CRITERION_WORDS = {"accuracy_drop": "accuracy", "latency_ratio": "latency", "size_ratio": "size"}


@dataclass(frozen=True)
class Aim:
    """What a target search was told, and what its outcome is judged by.

    Attributes:
        minimize: what is to be as small as possible.
        accuracy_drop: largest loss of accuracy, as a share; None where nothing was searched.
    """

    minimize: Literal["latency", "size"] = "latency"
    accuracy_drop: float | None = None

    @property
    def limit(self) -> str:
        """The largest loss in words."""
        return f"the {wording.points(self.accuracy_drop or 0.0)} points that `compress` allows"

    def allows(self, variant: VariantRecord) -> bool:
        """Whether the loss itself, against what the gate measures it, is within the limit of the search."""
        losses = [check.value for check in variant.gate if check.criterion == "accuracy_drop"]
        return self.accuracy_drop is None or not any(exceeds(loss, self.accuracy_drop) for loss in losses)


@dataclass(frozen=True)
class Findings:
    """What a verdict is made from.

    Attributes:
        variants: those that were measured, `dense` first.
        rows: one per variant and seed.
        majority_share: share of the most frequent class among the test labels: what a constant answer scores.
        confidence: level of the intervals.
        failed: variants that could not be made or measured.
        aim: that of the search, where there was one.
    """

    variants: list[VariantRecord]
    rows: list[Row]
    majority_share: float
    confidence: float
    failed: list[FailedVariant] = field(default_factory=list)
    aim: Aim = Aim()

    @property
    def timing_error(self) -> float:
        """How far from 1 a latency ratio may be by chance."""
        return timing_error(self.rows)


def decide(findings: Findings) -> Verdict:
    """The fastest variant that passed the gate, else dense; nothing where dense fails or only guesses.

    The smallest, where a search was to find that; and none that loses more than the search was allowed.

    Speed is the latency ratio to dense, which was timed in the same minutes. Two ratios within the error of such a
    timing are equal; then the more accurate variant wins. Never recommended is a variant that is neither faster nor
    smaller than dense, one that is slower than what it was made of, and one whose proof found a problem. Controls that
    the workflow added are there to be compared with, and no candidates.
    """
    dense, *others = findings.variants
    compressed = [variant for variant in others if not variant.is_control]
    passed = [variant for variant in compressed if variant.status == "pass" and may_ship(variant)]
    allowed = [variant for variant in passed if findings.aim.allows(variant)]
    error = findings.timing_error
    useful = [variant for variant in allowed if _is_faster(variant, error) or _is_smaller(variant)]
    if dense.artifact_status != OK:
        recommended, headline = None, f"Ship nothing: dense {dense.artifact_status}."
    elif dense.accuracy_ci_low <= findings.majority_share:
        recommended, headline = None, _nothing_works(dense, findings.majority_share)
    elif useful:
        best = _best(useful, findings)
        recommended, headline = best.variant, _ship(best, error)
    else:
        recommended, headline = dense.variant, _ship_dense(findings, passed, allowed)
    reasons = [_reason(variant, recommended, findings) for variant in compressed]
    reasons += [_control(variant, compressed) for variant in others if variant.is_control]
    reasons += [_failure(variant) for variant in findings.failed]
    return Verdict(
        recommended=recommended,
        headline=headline,
        reasons=[*reasons, *remarks(findings.variants, findings.rows)],
        not_tested=not_tested(findings.variants, findings.rows[0], findings.confidence),
    )


def _best(useful: list[VariantRecord], findings: Findings) -> VariantRecord:
    """The most accurate of those whose speed cannot be told from the fastest's; among equals the smallest.

    Where size is to be minimised, the smallest; among equals the most accurate.
    """
    if findings.aim.minimize == "size":
        return min(useful, key=lambda variant: (variant.size_ratio, -variant.accuracy_mean, variant.variant))
    fastest = min(variant.latency_ratio for variant in useful)
    as_fast = [variant for variant in useful if variant.latency_ratio <= fastest * (1 + findings.timing_error)]
    return min(as_fast, key=lambda variant: (-variant.accuracy_mean, variant.size_ratio, variant.variant))


def _is_faster(variant: VariantRecord, error: float) -> bool:
    """Beyond the error of the timing: two files of one network differ by chance."""
    return variant.latency_ratio * (1 + error) < 1


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


def _ship(variant: VariantRecord, error: float) -> str:
    accuracy = wording.percent(variant.accuracy_mean)
    caveat = "" if _is_faster(variant, error) else " for its size alone"
    return f"Ship {variant.variant}{caveat}: {accuracy} accurate; {_against_dense(variant)}."


def _ship_dense(findings: Findings, passed: list[VariantRecord], allowed: list[VariantRecord]) -> str:
    dense, *others = findings.variants
    compressed = [variant for variant in others if not variant.is_control]
    if not compressed and not findings.failed:
        return f"Ship dense: {wording.percent(dense.accuracy_mean)} accurate; no compressed variant was asked for."
    if passed and not allowed:
        return f"Ship dense: no variant that passed the gate loses at most {findings.aim.limit}."
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


def _reason(variant: VariantRecord, recommended: str | None, findings: Findings) -> str:
    """What the gate says of a variant, the figures that decided, and why it was or was not chosen."""
    if variant.problems:
        found = "; ".join(problem.message for problem in variant.problems)
        return f"{variant.variant} failed its proof, so it cannot be recommended: {found}."
    words = {"pass": "passes", "fail": "fails", "inconclusive": "is inconclusive"}[variant.status]
    checks = "; ".join(_check_words(check, variant, findings.confidence) for check in variant.gate)
    checks += _against_control(variant, findings.confidence)
    chosen = ""
    if variant.variant == recommended:
        chosen = f" It is {_why(variant, findings)}."
    elif variant.status == "pass" and not may_ship(variant):
        chosen = f" It cannot be recommended: {_slower_than_parent(variant)}."
    elif variant.status == "pass" and not findings.aim.allows(variant):
        chosen = f" It cannot be recommended: it loses more than {findings.aim.limit}."
    elif variant.status == "pass":
        chosen = f" Not chosen: {', '.join(_speed_and_size(variant))} against dense."
    return f"{variant.variant} {words}: {checks}.{chosen}"


def _why(variant: VariantRecord, findings: Findings) -> str:
    """Why this one is recommended."""
    if findings.aim.minimize == "size":
        return "the smallest that passed"
    if _is_faster(variant, findings.timing_error):
        return "the fastest that passed, or as fast as can be told and more accurate"
    is_within_error = variant.latency_ratio <= 1 + findings.timing_error
    speed = wording.speed(variant.latency_ratio)
    beside = "within the error of the timing" if is_within_error else "not faster"
    return f"{speed}, {beside}: recommended for its size alone"


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

"""What the verdict says of each variant: how it stands to the gate, and why it was chosen or not."""

from __future__ import annotations

from slimline.config.variants import DENSE
from slimline.evaluation import wording
from slimline.evaluation.artifact_status import SLOWER, may_ship
from slimline.evaluation.findings import Findings
from slimline.evaluation.records import Criterion, FailedVariant, GateCheck, VariantRecord

GUESSES = "not shown to be better than always answering the most frequent class"
CRITERION_WORDS: dict[Criterion, str] = {"accuracy_drop": "accuracy", "latency_ratio": "latency", "size_ratio": "size"}


def against_dense(variant: VariantRecord) -> str:
    """Such as "against dense 0.28 points less accurate, 3.2x faster, 4.0x smaller"."""
    figures = [_more_accurate(variant.accuracy_delta or 0.0), *_speed_and_size(variant)]
    return f"against dense {', '.join(figures)}"


def _more_accurate(delta: float) -> str:
    """A difference of accuracies in words, such as "0.28 points less accurate"."""
    delta = round(delta, 4)
    return f"{wording.points(abs(delta))} points {'less' if delta < 0 else 'more'} accurate" if delta else "as accurate"


def _speed_and_size(variant: VariantRecord) -> tuple[str, str]:
    return wording.speed(variant.latency_ratio), wording.size(variant.size_ratio)


def cause(variant: VariantRecord, findings: Findings) -> str:
    """Why a variant cannot be recommended, in a few words."""
    if variant.problems:
        return "the proof failed"
    if variant.status == "pass" and not may_ship(variant):
        return SLOWER if variant.artifact_status == SLOWER else "slower than its parent"
    if variant.status == "pass" and findings.may_only_guess(variant):
        return GUESSES
    if variant.status == "pass" and (loss := findings.aim.too_large(variant)):
        decimals = wording.decimals_beside(findings.aim.accuracy_drop or 0.0, loss.value)
        lost = wording.points(loss.value, decimals)
        return f"{lost} points lost against {loss.reference}, more than {findings.aim.limit}"
    if variant.status == "pass":
        return _useless(findings)
    failed = [CRITERION_WORDS[check.criterion] for check in variant.gate if check.status == "fail"]
    return f"{' and '.join(failed)} failed" if failed else "accuracy was inconclusive"


def _useless(findings: Findings) -> str:
    return "not smaller than dense" if findings.aim.minimize == "size" else "neither faster nor smaller than dense"


def reason(variant: VariantRecord, recommended: str | None, findings: Findings) -> str:
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
    elif variant.status == "pass" and findings.may_only_guess(variant):
        chosen = f" It cannot be recommended: it is {GUESSES} ({wording.percent(findings.majority_share)})."
    elif variant.status == "pass" and not findings.aim.allows(variant):
        chosen = f" It cannot be recommended: it loses more than {findings.aim.limit}."
    elif variant.status == "pass" and not findings.is_of_use(variant):
        chosen = f" It cannot be recommended: it is {_useless(findings)}."
    elif variant.status == "pass":
        chosen = f" Not chosen: {', '.join(_speed_and_size(variant))} against dense."
    return f"{variant.variant} {words}: {checks}.{chosen}"


def _why(variant: VariantRecord, findings: Findings) -> str:
    """Why this one is recommended."""
    if findings.aim.minimize == "size":
        return "the smallest that may be recommended"
    if findings.is_faster(variant):
        return "the fastest that may be recommended, or as fast as can be told and more accurate"
    is_within_error = variant.latency_ratio <= 1 + findings.timing_error
    speed = wording.speed(variant.latency_ratio)
    beside = "within the error of the timing" if is_within_error else "not faster"
    return f"{speed}, {beside}: recommended for its size alone"


def _slower_than_parent(variant: VariantRecord) -> str:
    if variant.artifact_status == SLOWER:
        speed = wording.speed(variant.latency_ratio_fp32 or 1.0)
        return f"{speed} than its own fp32, {variant.parent} in {wording.runtime(variant.runtime)}, timed in turns"
    return f"{wording.speed(variant.latency_ratio_parent or 1.0)} than {variant.parent}, timed in turns"


def failure(variant: FailedVariant) -> str:
    """Why there is no such variant."""
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


def of_control(control: VariantRecord, candidates: list[VariantRecord]) -> str:
    """What a control is for, and how it did."""
    names = ", ".join(variant.variant for variant in candidates if variant.control == control.variant)
    if control.problems:
        found = "; ".join(problem.message for problem in control.problems)
        return f"{control.variant}, a control, failed its proof, so that nothing is held against it: {found}."
    steps = f" for as many steps as {names} after it" if names else ""
    return (
        f"{control.variant} is dense trained on{steps}: a reference and no candidate; "
        f"against dense {_more_accurate(control.accuracy_delta or 0.0)}."
    )


def _check_words(check: GateCheck, variant: VariantRecord, confidence: float) -> str:
    if check.criterion != "accuracy_drop" or check.ci_low is None or check.ci_high is None:
        sign = "over" if check.status == "fail" else "within"
        value = wording.ratio_beside(check.value, check.limit)
        return f"{CRITERION_WORDS[check.criterion]} ratio {value}, {sign} the limit {check.limit:g}"
    against = f"against dense trained for as many steps ({check.reference}) " if check.reference != DENSE else ""
    decimals = wording.decimals_beside(check.limit, check.value, check.ci_high)
    value, low, high, limit = (
        wording.points(share, decimals) for share in (check.value, check.ci_low, check.ci_high, check.limit)
    )
    text = f"accuracy drop {against}{value} points ({confidence * 100:g} % CI {low} to {high}, limit {limit})"
    if check.missing_reference is not None:
        return f"{text}, but the gate asks for the loss against {check.missing_reference}, which is not there"
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

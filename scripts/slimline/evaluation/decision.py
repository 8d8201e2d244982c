"""From the measured variants to one sentence that says what to ship, and the reasons for it."""

from __future__ import annotations

from slimline.evaluation import reasons, wording
from slimline.evaluation.artifact_status import OK
from slimline.evaluation.findings import Findings
from slimline.evaluation.records import VariantRecord, Verdict
from slimline.evaluation.remarks import not_tested, remarks


def decide(findings: Findings) -> Verdict:
    """The fastest variant that passed the gate, else dense; nothing where dense fails or only guesses.

    The smallest, where a search was to find that; and none that loses more than the search was allowed.

    Speed is the latency ratio to dense, which was timed in the same minutes. Two ratios within the error of such a
    timing are equal; then the more accurate variant wins. Never recommended is a variant that is neither faster nor
    smaller than dense, one that is slower than what it was made of, one that may only guess, and one whose proof found
    a problem. Controls that the workflow added are there to be compared with, and no candidates.
    """
    dense = findings.variants[0]
    useful = [variant for variant in findings.candidates if findings.may_be_recommended(variant)]
    if dense.artifact_status != OK:
        recommended, headline = None, f"Ship nothing: dense {dense.artifact_status}."
    elif findings.may_only_guess(dense):
        recommended, headline = None, _nothing_works(dense, findings.majority_share)
    elif useful:
        best = _best(useful, findings)
        recommended, headline = best.variant, _ship(best, findings)
    else:
        recommended, headline = dense.variant, _ship_dense(findings)
    because = [reasons.reason(variant, recommended, findings) for variant in findings.candidates]
    because += [reasons.of_control(control, findings.candidates) for control in findings.controls]
    because += [reasons.failure(variant) for variant in findings.failed]
    return Verdict(
        recommended=recommended,
        headline=headline,
        reasons=[*because, *remarks(findings.variants, findings.rows)],
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


def _ship(variant: VariantRecord, findings: Findings) -> str:
    accuracy = wording.percent(variant.accuracy_mean)
    caveat = "" if findings.is_faster(variant) else " for its size alone"
    return f"Ship {variant.variant}{caveat}: {accuracy} accurate; {reasons.against_dense(variant)}."


def _ship_dense(findings: Findings) -> str:
    if not findings.candidates and not findings.failed:
        none = "the search found nothing of use" if findings.aim.searched else "no compressed variant was asked for"
        return f"Ship dense: {wording.percent(findings.variants[0].accuracy_mean)} accurate; {none}."
    names_by_cause: dict[str, list[str]] = {}
    for variant in findings.candidates:
        names_by_cause.setdefault(reasons.cause(variant, findings), []).append(variant.variant)
    for failed in findings.failed:
        names_by_cause.setdefault("there is no such model", []).append(failed.variant)
    causes = [f"{cause} ({', '.join(names)})" for cause, names in names_by_cause.items()]
    any_passed = any(variant.status == "pass" for variant in findings.candidates)
    outcome = "no variant that passed can be recommended" if any_passed else "no variant passed"
    return f"Ship dense: {outcome}, because {' and '.join(causes)}."


def _nothing_works(dense: VariantRecord, majority_share: float) -> str:
    return (
        f"Ship nothing: dense at {wording.percent(dense.accuracy_mean)} is {reasons.GUESSES} "
        f"({wording.percent(majority_share)})."
    )

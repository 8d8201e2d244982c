"""The gate: thresholds that the config declares, each met, missed or undecided.

A loss of accuracy is judged as in a non-inferiority trial: "no significant loss" is not "no loss", so a variant passes
only where the whole interval is within the limit.
"""

from __future__ import annotations

from slimline.config.evaluation import GateConfig
from slimline.config.variants import DENSE
from slimline.evaluation.records import CheckStatus, Criterion, GateCheck
from slimline.evaluation.statistics import Estimate, exceeds


def check_accuracy(
    drop: Estimate, limit: float, reference: str, *, items_needed: int | None, seeds_needed: int | None
) -> GateCheck:
    """Pass if the upper bound of the loss is within the limit, fail if the loss itself is not, else inconclusive.

    Args:
        drop: accuracy of the reference minus that of the variant, with its interval.
        limit: largest loss allowed.
        reference: what it is measured against.
        items_needed: what would settle an inconclusive check, from `statistics.items_needed`.
        seeds_needed: likewise.
    """
    status: CheckStatus = "inconclusive"
    if exceeds(drop.value, limit):
        status = "fail"
    elif not exceeds(drop.high, limit):
        status = "pass"
    undecided = status == "inconclusive"
    return GateCheck(
        criterion="accuracy_drop",
        reference=reference,
        limit=limit,
        value=drop.value,
        ci_low=drop.low,
        ci_high=drop.high,
        status=status,
        items_needed=items_needed if undecided else None,
        seeds_needed=seeds_needed if undecided else None,
        missing_reference=None,
    )


def without_reference(check: GateCheck, missing: str) -> GateCheck:
    """A check of accuracy against dense where the gate asks for a control that is not there: it decides nothing."""
    undecided = {"status": "inconclusive", "items_needed": None, "seeds_needed": None, "missing_reference": missing}
    return check.model_copy(update=undecided)


def check_ratio(criterion: Criterion, value: float, limit: float) -> GateCheck:
    """Pass or fail: a ratio to dense against its limit."""
    return GateCheck(
        criterion=criterion,
        reference=DENSE,
        limit=limit,
        value=value,
        ci_low=None,
        ci_high=None,
        status="fail" if exceeds(value, limit) else "pass",
        items_needed=None,
        seeds_needed=None,
        missing_reference=None,
    )


def check_ratios(gate: GateConfig, *, latency_ratio: float, size_ratio: float) -> list[GateCheck]:
    """The checks of those ratios that have a limit."""
    declared: list[tuple[Criterion, float, float | None]] = [
        ("latency_ratio", latency_ratio, gate.latency_ratio),
        ("size_ratio", size_ratio, gate.size_ratio),
    ]
    return [check_ratio(criterion, value, limit) for criterion, value, limit in declared if limit is not None]


def overall_status(checks: list[GateCheck]) -> CheckStatus:
    """The worst of the checks, where a failure is worse than doubt."""
    statuses = {check.status for check in checks}
    if "fail" in statuses:
        return "fail"
    return "inconclusive" if "inconclusive" in statuses else "pass"

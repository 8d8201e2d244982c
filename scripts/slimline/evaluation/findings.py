"""What a verdict is made from, and which of it may be recommended at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slimline.evaluation import wording
from slimline.evaluation.artifact_status import may_ship, timing_error
from slimline.evaluation.records import FailedVariant, GateCheck, Row, VariantRecord
from slimline.evaluation.statistics import exceeds


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
    def searched(self) -> bool:
        """Whether there was a search."""
        return self.accuracy_drop is not None

    @property
    def limit(self) -> str:
        """The largest loss in words."""
        return f"the {wording.points(self.accuracy_drop or 0.0)} points that `compress` allows"

    def allows(self, variant: VariantRecord) -> bool:
        """Whether the loss itself, against what the gate measures it, is within the limit of the search."""
        return self.too_large(variant) is None

    def too_large(self, variant: VariantRecord) -> GateCheck | None:
        """The loss that is over the limit of the search, as the gate measured it."""
        losses = (check for check in variant.gate if check.criterion == "accuracy_drop")
        limit = self.accuracy_drop
        return None if limit is None else next((loss for loss in losses if exceeds(loss.value, limit)), None)


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

    @property
    def candidates(self) -> list[VariantRecord]:
        """What was measured and is neither dense nor a control that the workflow added."""
        return [variant for variant in self.variants[1:] if not variant.is_control]

    @property
    def controls(self) -> list[VariantRecord]:
        """The controls that the workflow added."""
        return [variant for variant in self.variants if variant.is_control]

    def may_be_recommended(self, variant: VariantRecord) -> bool:
        """Whether it passed, is what it is said to be, knows something, within the limit of a search, and of use."""
        passed = variant.status == "pass" and may_ship(variant) and not self.may_only_guess(variant)
        return passed and self.aim.allows(variant) and self.is_of_use(variant)

    def may_only_guess(self, variant: VariantRecord) -> bool:
        """Whether it is not shown to be better than always answering the most frequent class."""
        return variant.accuracy_ci_low <= self.majority_share

    def is_of_use(self, variant: VariantRecord) -> bool:
        """Whether it is faster or smaller than dense; smaller, where a search was for size."""
        smaller = variant.size_ratio < 1 - wording.LEVEL
        return smaller or (self.aim.minimize == "latency" and self.is_faster(variant))

    def is_faster(self, variant: VariantRecord) -> bool:
        """Whether it is faster than dense beyond the error of the timing: two files of one network differ by chance."""
        return variant.latency_ratio * (1 + self.timing_error) < 1

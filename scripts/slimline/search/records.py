"""The files of the target search: its plan, the outcome of each round, and `search.json`."""

from __future__ import annotations

from typing import Literal

from slimline.evaluation.record_base import Record, described


class SearchPlan(Record):
    """`search/plan.json`: which rounds the budget pays for."""

    format: Literal[1] = described("version of this form")
    unit: Literal["core-hours", "GPU-hours"] = described("what hours are of")
    hours_per_epoch: dict[str, float] = described("forecast of an epoch of each structure", "h")
    budget_hours: float | None = described("what the trials may take by forecast; null for no limit", "h")
    forecast_hours: float = described("what all rounds take at most by forecast", "h")
    rounds: list[int] = described("epochs of a trial in each round that is made", "epochs")
    left_out: list[int] = described("epochs of a trial in the rounds that the budget does not pay for", "epochs")


class Point(Record):
    """One file that could ship, measured on the validation split."""

    variant: str = described("the variant of the trial")
    structure: str = described("its network; `dense` for a quantized dense model")
    final: str = described("the variant that is trained in full if this one is chosen")
    accuracy_drop: float = described("accuracy of dense minus that of the file, on the validation split", "share")
    latency_ratio: float = described("p50 of the file over that of dense, timed in turns")
    size_ratio: float = described("size of the file over that of dense")
    usable: bool = described("whether it is what it claims to be and not slower than what it was made of")
    problem: str | None = described("why it is not usable")

    def cost(self, minimize: Literal["latency", "size"]) -> float:
        """What is minimised, as a multiple of dense's."""
        return self.latency_ratio if minimize == "latency" else self.size_ratio


class Round(Record):
    """`search/round-<n>.json`: what a round found."""

    format: Literal[1] = described("version of this form")
    epochs: int = described("epochs of each trial", "epochs")
    dense_accuracy: float = described("accuracy of dense on the validation split", "share")
    hours: float = described("core-hours, or GPU-hours, that the trials took", "h")
    points: list[Point] = described("one per file that was measured")
    failed: dict[str, str] = described("trials that could not be made, with the reason")
    survivors: list[str] = described("structures that go on, best first")


class Search(Record):
    """`search.json`: the outcome of the search."""

    format: Literal[1] = described("version of this form")
    seed: int = described("seed of the models that were tried")
    minimize: Literal["latency", "size"] = described("what is made as small as possible")
    accuracy_drop: float = described("largest accepted loss of accuracy on the validation split", "share")
    plan: SearchPlan = described("its plan")
    rounds: list[Round] = described("its rounds, first to last")
    front: list[str] = described("trials of the last round that none beats in accuracy and cost, cheapest first")
    best: str | None = described("the variant to expect most of; null where nothing can be used")
    within_limit: bool = described("whether the best one was within the limit in its trial")
    finalists: list[str] = described("variants that are trained in full, for all seeds")

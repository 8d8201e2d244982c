"""The files of the target search: its plan, the outcome of each round, and `search.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from slimline.config.variants import DENSE
from slimline.evaluation.record_base import Record, described


class SearchPlan(Record):
    """`search/plan.json`: which rounds the budget pays for."""

    format: Literal[1] = described("Version of this form.")
    unit: Literal["core-hours", "GPU-hours"] = described("What hours are of.")
    hours_per_epoch: dict[str, float] = described("Forecast of an epoch of each structure.", "h")
    budget_hours: float | None = described("What the trials may take by forecast; null for no limit.", "h")
    forecast_hours: float = described("What all rounds take at most by forecast.", "h")
    rounds: list[int] = described("Epochs of a trial in each round that is made.", "epochs")
    left_out: list[int] = described("Epochs of a trial in the rounds that the budget does not pay for.", "epochs")


class Point(Record):
    """One file that could ship, measured on the validation split."""

    variant: str = described("The variant of the trial.")
    structure: str = described("Its network; `dense` for a quantized dense model.")
    final: str = described("The variant that is trained in full if this one is chosen.")
    accuracy_drop: float = described("Accuracy of dense minus that of the file, on the validation split.", "share")
    accuracy_drop_se: float = described("Standard error of that difference, which is paired by images.", "share")
    latency_ratio: float = described("P50 of the file over that of dense, timed in turns.")
    size_ratio: float = described("Size of the file over that of dense.")
    usable: bool = described("Whether it is what it claims to be and not slower than what it was made of.")
    problem: str | None = described("Why it is not usable.")

    def cost(self, minimize: Literal["latency", "size"]) -> float:
        """What is minimised, as a multiple of dense's."""
        return self.latency_ratio if minimize == "latency" else self.size_ratio


class Round(Record):
    """`search/round-<n>.json`: what a round found."""

    format: Literal[1] = described("Version of this form.")
    epochs: int = described("Epochs of each trial.", "epochs")
    dense_accuracy: float = described("Accuracy of dense on the validation split.", "share")
    hours: float = described("Core-hours, or GPU-hours, that the trials took.", "h")
    points: list[Point] = described("One per file that was measured.")
    failed: dict[str, str] = described("Trials that could not be made, with the reason.")
    survivors: list[str] = described("Structures that go on, best first.")

    @property
    def found_a_network(self) -> bool:
        """Whether any network that was trained can be used."""
        return any(point.usable and point.structure != DENSE for point in self.points)


def deciding_round(rounds: Sequence[Round]) -> int:
    """Index of the round that what is chosen is taken from: the last one that found a network, or the last one.

    One timing that another program disturbed must not undo what the rounds before have found.
    """
    found = [number for number, each in enumerate(rounds) if each.found_a_network]
    return found[-1] if found else len(rounds) - 1


class Search(Record):
    """`search.json`: the outcome of the search."""

    format: Literal[1] = described("Version of this form.")
    seed: int = described("Seed of the models that were tried.")
    minimize: Literal["latency", "size"] = described("What is made as small as possible.")
    accuracy_drop: float = described("Largest accepted loss of accuracy on the validation split.", "share")
    plan: SearchPlan = described("Its plan.")
    rounds: list[Round] = described("Its rounds, first to last.")
    front: list[str] = described(
        "Trials that none beats in accuracy and cost, cheapest first; of the last round in which a network was usable."
    )
    best: str | None = described("The variant to expect most of; null where nothing can be used.")
    within_limit: bool = described("Whether the best one was within the limit in its trial.")
    finalists: list[str] = described("Variants that are made for all seeds, and compared.")

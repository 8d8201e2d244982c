"""Which epoch was best, and whether to stop: functions of the epochs' records, so that they resume exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from slimline.config.train import TrainConfig
from slimline.errors import SlimlineError


def check_selection(recipe: TrainConfig, n_validation: int) -> None:
    """Makes sure that there is something to judge epochs by.

    Raises:
        SlimlineError: the recipe asks for a choice, and no image is held out.
    """
    if n_validation == 0 and (recipe.keep == "best" or recipe.early_stopping is not None):
        raise SlimlineError(
            "The recipe judges epochs by the validation split, and there is none.",
            where="train.keep" if recipe.keep == "best" else "train.early_stopping",
            got="dataset.validation: 0",
            expected="a share of the training images that is held out",
            next_step="set dataset.validation to 0.1, or train to the last epoch",
        )


def is_best(records: Sequence[dict[str, Any]], recipe: TrainConfig, first: int = 0) -> bool:
    """Whether the last validated epoch is better than those before it, from epoch `first` on; the first always is."""
    scores = _scores(records, recipe, first)
    return len(scores) == 1 or scores[-1] > max(scores[:-1])


def is_over(records: Sequence[dict[str, Any]], recipe: TrainConfig, first: int = 0) -> bool:
    """Whether `patience` validated epochs have passed since one that was better than the best before by `min_delta`.

    Epochs count from `first` on: those before belong to another round.
    """
    if recipe.early_stopping is None:
        return False
    best, waited = -math.inf, 0
    for score in _scores(records, recipe, first):
        improved = score - best > recipe.early_stopping.min_delta
        best, waited = (score, 0) if improved else (best, waited + 1)
    return waited >= recipe.early_stopping.patience


def _scores(records: Sequence[dict[str, Any]], recipe: TrainConfig, first: int) -> list[float]:
    """One number per validated epoch, the greater the better; the least there is where the figure was not finite."""
    key = recipe.monitor.replace("-", "_")
    sign = -1.0 if recipe.monitor == "validation-loss" else 1.0
    epochs = (record for record in records if record["kind"] == "epoch" and record["epoch"] >= first)
    figures = [record[key] for record in epochs if key in record]
    return [-math.inf if figure is None else sign * figure for figure in figures]

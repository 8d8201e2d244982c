"""What the trials of a search are going to cost, and how many of its rounds a budget allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from slimline.errors import SlimlineError


def kept_after(n_structures: int, number: int, finalists: int) -> int:
    """How many structures take part in round `number`, counted from 0.

    Each round leaves the better half, but as many as are to be chosen in the end, if there are.
    """
    halvings: int = 2**number
    return min(n_structures, max(finalists, math.ceil(n_structures / halvings)))


def round_hours(hours_per_epoch: Mapping[str, float], epochs: int, n_kept: int) -> float:
    """Most hours that a round can take: that of its dearest structures."""
    dearest = sorted(hours_per_epoch.values(), reverse=True)[:n_kept]
    return sum(dearest) * epochs


def forecast_hours(hours_per_epoch: Mapping[str, float], round_epochs: Sequence[int], finalists: int) -> float:
    """Most hours that these rounds take together: in each the dearest structures may be those that are left."""
    n_structures = len(hours_per_epoch)
    return sum(
        round_hours(hours_per_epoch, epochs, kept_after(n_structures, number, finalists))
        for number, epochs in enumerate(round_epochs)
    )


def affordable_rounds(
    hours_per_epoch: Mapping[str, float],
    round_epochs: Sequence[int],
    finalists: int,
    budget_hours: float | None,
    unit: str,
) -> list[int]:
    """Epochs of the rounds that fit the budget, first ones first.

    Args:
        hours_per_epoch: core-hours or GPU-hours of an epoch by structure.
        round_epochs: epochs of a trial in each round.
        finalists: how many structures are to be chosen in the end.
        budget_hours: what all rounds together may take; None for no limit.
        unit: what hours are of, for the error.

    Raises:
        SlimlineError: not even the first round fits.
    """
    rounds = list(round_epochs)
    while budget_hours is not None and rounds and forecast_hours(hours_per_epoch, rounds, finalists) > budget_hours:
        rounds.pop()
    if rounds:
        return rounds
    n_structures = len(hours_per_epoch)
    raise SlimlineError(
        "The budget of the search does not pay for its first round.",
        where="compress.budget_hours",
        got=f"{budget_hours:g} {unit}",
        expected=f"at least {_rounded_up(forecast_hours(hours_per_epoch, round_epochs[:1], finalists)):g} {unit} "
        f"for {n_structures} structure{'s' * (n_structures != 1)}",
        next_step="raise it, or try fewer prune_ratios and student_widths",
    )


def _rounded_up(hours: float) -> float:
    """To two significant digits, so that it is enough."""
    unit = 10.0 ** (math.floor(math.log10(hours)) - 1)
    return math.ceil(hours / unit) * unit

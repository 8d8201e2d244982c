"""Trials of the search: what was measured of each, and which are worth going on with.

A trial is one structure after so many epochs; its points are the network in float and in every quantized form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from slimline.evaluation.artifact_status import TIMING_ERROR
from slimline.evaluation.statistics import exceeds
from slimline.search.records import Point

Aim = Literal["latency", "size"]

# Costs within that share are equal, and the more accurate point wins: a timing has an error, a size has none.
EQUAL_COST: dict[Aim, float] = {"latency": TIMING_ERROR, "size": 0.0}


def pareto(points: Sequence[Point], minimize: Aim) -> list[Point]:
    """The usable points that no other usable one beats in accuracy and cost, cheapest first."""
    front: list[Point] = []
    usable = (point for point in points if point.usable)
    for point in sorted(usable, key=lambda point: (point.cost(minimize), point.accuracy_drop)):
        if not front or point.accuracy_drop < front[-1].accuracy_drop:
            front.append(point)
    return front


def survivors(points: Sequence[Point], n_kept: int, accuracy_drop: float, minimize: Aim) -> list[str]:
    """The structures that go on: front after front of the points, in each the nearest to the limit first.

    Sorting by fronts is how successive halving is done for two aims (Schmucker et al., 2021): short training
    understates the accuracy of small networks, so a limit on it alone would drop them too early.

    Args:
        points: of one round.
        n_kept: how many structures go on, at most.
        accuracy_drop: the limit.
        minimize: what costs.

    Returns:
        Names of structures, best first.
    """
    kept: list[str] = []
    waiting = list(points)
    while waiting and len(kept) < n_kept:
        front = pareto(waiting, minimize)
        if not front:
            break
        for point in sorted(
            front, key=lambda point: (max(0.0, point.accuracy_drop - accuracy_drop), point.cost(minimize))
        ):
            if point.structure not in kept and len(kept) < n_kept:
                kept.append(point.structure)
        waiting = [point for point in waiting if point not in front]
    return kept


def ranked(points: Sequence[Point], accuracy_drop: float, minimize: Aim) -> list[Point]:
    """Usable points, best first.

    By cost those whose drop is within the limit with a standard error added to it (Breiman et al., "Classification and
    regression trees", 1984, choose by such a margin); then, by cost too, those that are within without; then the
    others by their drop. The cheapest of many that are within by their figures alone is likely to be so by luck.
    """
    usable = [point for point in points if point.usable]
    safely = [point for point in usable if not exceeds(point.accuracy_drop + point.accuracy_drop_se, accuracy_drop)]
    barely = [point for point in usable if point not in safely and not exceeds(point.accuracy_drop, accuracy_drop)]
    beyond = [point for point in usable if point not in safely and point not in barely]
    beyond.sort(key=lambda point: point.accuracy_drop)
    return [*_by_cost(safely, minimize), *_by_cost(barely, minimize), *beyond]


def _by_cost(points: Sequence[Point], minimize: Aim) -> list[Point]:
    """Cheapest first; among costs that cannot be told apart the more accurate point."""
    waiting = sorted(points, key=lambda point: point.cost(minimize))
    ordered: list[Point] = []
    while waiting:
        most = waiting[0].cost(minimize) * (1 + EQUAL_COST[minimize])
        as_cheap = [point for point in waiting if point.cost(minimize) <= most]
        best = min(as_cheap, key=lambda point: (point.accuracy_drop, point.cost(minimize)))
        ordered.append(best)
        waiting.remove(best)
    return ordered


def finalists(points: Sequence[Point], n_finalists: int, accuracy_drop: float, minimize: Aim) -> list[Point]:
    """The points whose variants are made for all seeds: every usable form of the structures that have the best points.

    It is structures that cost a training. Short trials understate them all, so that the form that loses least may come
    first where none is within the limit: its other forms are what was searched for.

    Args:
        points: of one round.
        n_finalists: how many structures are trained in full, at most.
        accuracy_drop: the limit.
        minimize: what costs.
    """
    by_best = dict.fromkeys(point.structure for point in ranked(points, accuracy_drop, minimize))
    return [
        point
        for structure in list(by_best)[:n_finalists]
        for point in points
        if point.usable and point.structure == structure
    ]

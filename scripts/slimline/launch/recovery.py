"""What to do when an attempt has ended without a result: try again, with what, or give up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slimline.config.cluster import ClusterConfig
from slimline.launch.receipt import Attempt
from slimline.launch.resources import Resources
from slimline.launch.states import CANCELLED, LEFT, OUT_OF_MEMORY, TIMEOUT

# Attempts in a row that end where the one before ended.
MOST_WITHOUT_PROGRESS = 3
MOST_OUT_OF_MEMORY = 3
# Attempts that were over before the time that they had asked for was enough, although the site would have given more:
# an estimate that was wrong so often is wrong.
MOST_TOO_SHORT = 5
# Attempts as long as the site allows, each of which got further: weeks, where the limit is a day.
MOST_AT_THE_LIMIT = 50
MORE_MEMORY = 1.5
MORE_TIME = 1.5
# Time for a start, and for the last checkpoint before the limit.
TIME_AROUND_MIN = 5


@dataclass(frozen=True)
class Decision:
    """What follows.

    Args:
        resources: what the next attempt asks for; None to give up.
        why: one line for the log, or why nothing more is tried.
    """

    resources: Resources | None
    why: str


def decide(
    attempts: Sequence[Attempt], resources: Resources, cluster: ClusterConfig, remaining_s: float | None
) -> Decision:
    """Decides after the last of `attempts`, which ended without a result and without an error of its own.

    Attempts that were taken away have no bound but progress: a training that gets further each time comes to its end.
    Those that asked for too little memory or time are tried with more, a bounded number of times.

    Args:
        attempts: those of this run, oldest first.
        resources: what the last one asked for.
        cluster: the limits.
        remaining_s: training time left as measured by the last attempt, None if it measured nothing.
    """
    last = attempts[-1]
    if last.state in (CANCELLED, "DEADLINE"):
        return Decision(None, "somebody, or a limit of the site, has ended it on purpose")
    if last.state == OUT_OF_MEMORY:
        return _with_more_memory(attempts, resources, cluster)
    if _without_progress(attempts) >= MOST_WITHOUT_PROGRESS:
        return Decision(None, f"{MOST_WITHOUT_PROGRESS} attempts in a row have got no further")
    if last.state == TIMEOUT:
        return _with_time_for_the_rest(attempts, resources, cluster, remaining_s)
    ended = "it was asked to stop" if last.state == LEFT else f"it ended {last.state} without a result"
    return Decision(resources, f"{ended}; it goes on from its newest checkpoint")


def _with_more_memory(attempts: Sequence[Attempt], resources: Resources, cluster: ClusterConfig) -> Decision:
    memory_mb = min(math.ceil(resources.memory_mb * MORE_MEMORY), cluster.memory_mb_per_node)
    if sum(attempt.state == OUT_OF_MEMORY for attempt in attempts) > MOST_OUT_OF_MEMORY:
        return Decision(None, f"it has run out of memory {MOST_OUT_OF_MEMORY + 1} times")
    if memory_mb <= resources.memory_mb:
        return Decision(None, f"{resources.memory_mb} MB per node is all that the cluster file allows")
    why = f"it ran out of memory with {resources.memory_mb} MB per node; it goes on with {memory_mb} MB"
    return Decision(replace(resources, memory_mb=memory_mb), why)


def _with_time_for_the_rest(
    attempts: Sequence[Attempt], resources: Resources, cluster: ClusterConfig, remaining_s: float | None
) -> Decision:
    limit_min = cluster.time_limit_min
    asked_min = [attempt.time_min for attempt in attempts if attempt.state == TIMEOUT]
    too_short, at_the_limit = (
        sum(asked < limit_min for asked in asked_min),
        sum(asked >= limit_min for asked in asked_min),
    )
    if too_short > MOST_TOO_SHORT:
        return Decision(None, f"{too_short} times the time that it had asked for was not enough")
    if at_the_limit > MOST_AT_THE_LIMIT:
        return Decision(
            None, f"{at_the_limit} attempts of {limit_min} min, all that the cluster file allows, were not enough"
        )
    needed_min = 2 * resources.time_min if remaining_s is None else math.ceil(MORE_TIME * remaining_s / 60)
    time_min = min(needed_min + TIME_AROUND_MIN, limit_min)
    measured = "nothing was measured" if remaining_s is None else f"{remaining_s / 60:.1f} min of training are left"
    why = f"its time limit of {resources.time_min} min is over and {measured}; it goes on with {time_min} min"
    return Decision(replace(resources, time_min=time_min), why)


def _without_progress(attempts: Sequence[Attempt]) -> int:
    """How many of the last attempts ended at the same checkpoint, or all at none."""
    reached = [attempt.reached for attempt in attempts]
    same = 0
    while same < len(reached) and reached[-1 - same] == reached[-1]:
        same += 1
    # The first attempt of several at one checkpoint is the one that got there.
    return same if reached[-1] is None or same == len(reached) else same - 1

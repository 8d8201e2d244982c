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

    The number of attempts has no bound of its own but for memory: a training that gets further each time, be it from
    one time limit to the next, comes to its end.

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
        return _with_time_for_the_rest(resources, cluster, remaining_s)
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


def _with_time_for_the_rest(resources: Resources, cluster: ClusterConfig, remaining_s: float | None) -> Decision:
    needed_min = 2 * resources.time_min if remaining_s is None else math.ceil(MORE_TIME * remaining_s / 60)
    time_min = min(needed_min + TIME_AROUND_MIN, cluster.time_limit_min)
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

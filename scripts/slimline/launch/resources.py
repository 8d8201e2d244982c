"""What one attempt of a job asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Resources:
    """A request for nodes, ranks, memory and time.

    Args:
        nodes: number of machines.
        tasks_per_node: ranks on each.
        cpus_per_task: CPU cores of each rank.
        gpus_per_node: GPUs of each machine.
        memory_mb: memory on each machine.
        time_min: time limit.
    """

    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    gpus_per_node: int
    memory_mb: int
    time_min: int

    @classmethod
    def from_plan(cls, plan: dict[str, Any]) -> Self:
        """The request in the content of a variant's `plan.json`."""
        return cls(**{name: plan[name] for name in cls.__dataclass_fields__})

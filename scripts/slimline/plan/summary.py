"""`plan.json` of an experiment: all requests together. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimline.config.cluster import ClusterConfig
from slimline.files import read_json, write_json

FORMAT = 1


def summarise(experiment: str, cluster: ClusterConfig, seeds: list[int], plans: list[Path], output: Path) -> None:
    """Puts the plans of all variants together, with what they cost over all seeds."""
    contents: list[dict[str, Any]] = [read_json(path) | {"seeds": seeds} for path in plans]
    write_json(
        output,
        {
            "format": FORMAT,
            "experiment": experiment,
            "cluster": cluster.name,
            "executor": cluster.executor,
            "plans": contents,
            "total_cpu_h": round(sum(plan["cost_cpu_h"] for plan in contents) * len(seeds), 4),
            "total_gpu_h": round(sum(plan["cost_gpu_h"] for plan in contents) * len(seeds), 4),
        },
    )

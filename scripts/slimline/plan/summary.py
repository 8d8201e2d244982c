"""`plan.json` of an experiment: all requests together. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimline.config.cluster import ClusterConfig
from slimline.files import read_json, write_json

FORMAT = 1


def four_digits(hours: float) -> float:
    """Hours as a plan says them: those of a small job are small, and not none."""
    return float(f"{hours:.4g}")


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
            "total_cpu_h": four_digits(sum(plan["cost_cpu_h"] for plan in contents) * len(seeds)),
            "total_gpu_h": four_digits(sum(plan["cost_gpu_h"] for plan in contents) * len(seeds)),
        },
    )

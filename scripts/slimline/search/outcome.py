"""What an experiment compares once its search has ended."""

from __future__ import annotations

from pathlib import Path

from slimline.config.experiment import ExperimentConfig
from slimline.files import read_json


def with_outcome(experiment: ExperimentConfig, search: Path | None) -> ExperimentConfig:
    """The experiment with what its search has chosen; as it is where `search`, its `search.json`, is None."""
    return experiment if search is None else experiment.with_finalists(read_json(search)["finalists"])


def compared_pairs(experiment: ExperimentConfig, *, trained: bool = False) -> list[tuple[str, int]]:
    """Every (variant, seed) that is compared, parents first; only those that gradient steps make if `trained`."""
    names = [name for name in experiment.variant_names if not trained or experiment.trains(name)]
    return [(name, seed) for name in names for seed in experiment.train.seeds]

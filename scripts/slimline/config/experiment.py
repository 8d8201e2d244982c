"""One experiment: a dataset, a model, a recipe, variants, seeds, a gate."""

from __future__ import annotations

from pydantic import Field

from slimline.config.base import Config, Name
from slimline.config.dataset import DatasetConfig
from slimline.config.evaluation import EvaluationConfig, GateConfig
from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.config.variants import DENSE, VariantConfig

# A variant is also a target on the command line, beside the workflow's own.
RESERVED = frozenset(
    "all download audit preprocess plan train prune distil quantize export predict latency compare report".split()
) | {DENSE}


class ExperimentConfig(Config):
    """The whole config file."""

    experiment: Name = Field(description="Name of the experiment; its files lie under `results/<name>/`.")
    dataset: DatasetConfig = Field(description="Which data.")
    model: ModelConfig = Field(description="Which architecture.")
    train: TrainConfig = Field(description="The recipe.")
    cluster: str = Field(default="local", description="A file of `config/clusters/`, by name, or a path to one.")
    variants: dict[Name, VariantConfig] = Field(default={}, description="Compressed variants by name.")
    gate: GateConfig = Field(default_factory=GateConfig, description="What a variant must reach to ship.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How variants are measured.")

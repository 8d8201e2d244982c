"""One experiment: a dataset, a model, a recipe, variants, seeds, a gate."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, ValidatorFunctionWrapHandler, field_validator

from slimline.config.base import Config, Name, mistake_at, with_mistakes
from slimline.config.controls import Controls, find_controls
from slimline.config.dataset import DatasetConfig
from slimline.config.evaluation import EvaluationConfig, GateConfig
from slimline.config.model import ModelConfig
from slimline.config.students import model_of, student_mistakes
from slimline.config.suggest import did_you_mean
from slimline.config.train import TrainConfig
from slimline.config.tree import in_order, judged_without_validation, tree_mistakes
from slimline.config.variants import DENSE, Step, VariantConfig
from slimline.errors import SlimlineError


class ExperimentConfig(Config):
    """The whole config file."""

    experiment: Name = Field(description="Name of the experiment; its files lie under `results/<name>/`.")
    dataset: DatasetConfig = Field(description="Which data, how it is split and how it is cleaned.")
    model: ModelConfig = Field(description="The architecture of the dense model.")
    train: TrainConfig = Field(description="The recipe of the dense model, and the default of all later training.")
    cluster: str = Field(
        default="local",
        description="Where training jobs run: a file of `config/clusters/` by its name, or a path to one.",
    )
    variants: dict[Name, VariantConfig] = Field(
        default={}, description="Compressed variants by name: each one step on one parent."
    )
    gate: GateConfig = Field(default_factory=GateConfig, description="What a variant must reach to ship.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How variants are measured.")

    @field_validator("train")
    @classmethod
    def _fits_the_dataset(cls, train: TrainConfig, info: ValidationInfo) -> TrainConfig:
        dataset = info.data.get("dataset")
        if dataset is None:
            return train
        mistakes = []
        if train.epochs < 1:
            mistakes.append(mistake_at(("epochs",), str(train.epochs), "a whole number from 1 to 10000"))
        for key in ("crop_padding", "cutout_px"):
            if (pixels := getattr(train.augmentation, key)) >= dataset.image_side_px:
                expected = f"less than the {dataset.image_side_px} pixels of an image's side"
                mistakes.append(mistake_at(("augmentation", key), str(pixels), expected))
        for key, judges in (("keep", train.keep == "best"), ("early_stopping", train.early_stopping is not None)):
            if judges and dataset.validation == 0:
                got = f"`{key}` without a validation split"
                mistakes.append(mistake_at((key,), got, "`dataset.validation` above 0, so that epochs can be judged"))
        if mistakes:
            raise ValidationError.from_exception_data("train", mistakes)
        return train

    @field_validator("variants", mode="wrap")
    @classmethod
    def _one_tree(
        cls, raw: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> dict[str, VariantConfig]:
        dataset = info.data.get("dataset")
        unjudged = judged_without_validation(raw) if dataset is not None and dataset.validation == 0 else []
        return with_mistakes(lambda: validate(raw), [*tree_mistakes(raw), *unjudged])

    @field_validator("variants")
    @classmethod
    def _students_exist(cls, variants: dict[str, VariantConfig], info: ValidationInfo) -> dict[str, VariantConfig]:
        dense = info.data.get("model")
        mistakes = [] if dense is None else student_mistakes(dense, variants)
        if mistakes:
            raise ValidationError.from_exception_data("variants", mistakes)
        return variants

    @cached_property
    def controls(self) -> Controls:
        """The equal-budget controls; none where the config wants none."""
        return find_controls(self.train, self.variants) if self.evaluation.control else Controls({}, {})

    @cached_property
    def made(self) -> dict[str, VariantConfig]:
        """Everything that is made of dense: the controls that the workflow adds, then the declared variants."""
        return self.controls.added | self.variants

    @property
    def variant_names(self) -> list[str]:
        """`dense`, its controls and all variants, every parent before its children, else as declared."""
        return in_order({name: variant.parent for name, variant in self.made.items()})

    def parent(self, variant: str) -> str | None:
        """What `variant` is made from; None for `dense`."""
        return None if variant == DENSE else self._declared(variant).parent

    def step(self, variant: str) -> Literal["train"] | Step:
        """The step that makes `variant`."""
        return "train" if variant == DENSE else self._declared(variant).step

    def trains(self, variant: str) -> bool:
        """Whether `variant` is made by gradient steps."""
        return variant == DENSE or self._declared(variant).trains

    def model_of(self, variant: str) -> ModelConfig:
        """The model of a variant as it was before anything was pruned from it."""
        return model_of(self.model, self.made, variant)

    def control_of(self, variant: str) -> str | None:
        """The equal-budget control of a variant; None where it has none."""
        return self.controls.of.get(variant)

    def chain(self, variant: str) -> list[str]:
        """From `dense` to `variant`, both included."""
        parent = self.parent(variant)
        return [variant] if parent is None else [*self.chain(parent), variant]

    def by_step(self, step: Literal["train"] | Step) -> list[str]:
        """The variants that `step` makes, in the order of `variant_names`."""
        return [name for name in self.variant_names if self.step(name) == step]

    def resolved(self) -> dict[str, Any]:
        """All keys with their values, defaults included, as plain JSON values; they validate to the same config."""
        return self.model_dump(mode="json", by_alias=True)

    def _declared(self, variant: str) -> VariantConfig:
        if variant not in self.made:
            raise SlimlineError(
                "The config has no such variant.",
                where=f"experiment {self.experiment}",
                got=repr(variant),
                expected=f"one of {', '.join(self.variant_names)}{did_you_mean(variant, self.variant_names)}",
            )
        return self.made[variant]

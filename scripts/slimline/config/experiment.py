"""One experiment: a dataset, a model, a recipe, variants, seeds, a gate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from slimline.config.base import Config, Name, mistake_at, with_mistakes
from slimline.config.compress import CompressConfig, final_variants, trial_variants
from slimline.config.controls import Controls, find_controls
from slimline.config.dataset import DatasetConfig
from slimline.config.evaluation import EvaluationConfig, GateConfig
from slimline.config.model import ModelConfig
from slimline.config.students import model_of, student_mistakes, width_mistakes
from slimline.config.suggest import did_you_mean
from slimline.config.train import TrainConfig
from slimline.config.tree import TRIAL_PREFIX, in_order, judged_without_validation, tree_mistakes
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
    compress: CompressConfig | None = Field(
        default=None, description="The target search: slimline looks for variants that reach what it says."
    )
    gate: GateConfig = Field(
        default_factory=GateConfig, validate_default=True, description="What a variant must reach to ship."
    )
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How variants are measured.")
    _finalists: tuple[str, ...] | None = PrivateAttr(default=None)

    @field_validator("gate")
    @classmethod
    def _lets_pass_what_is_searched(cls, gate: GateConfig, info: ValidationInfo) -> GateConfig:
        compress = info.data.get("compress")
        if compress is not None and compress.accuracy_drop > gate.accuracy_drop:
            expected = (
                f"at least the {compress.accuracy_drop:g} of `compress.accuracy_drop`, or the search finds what the "
                "gate refuses"
            )
            problem = mistake_at(("accuracy_drop",), f"{gate.accuracy_drop:g}", expected)
            raise ValidationError.from_exception_data("gate", [problem])
        return gate

    @field_validator("evaluation")
    @classmethod
    def _has_the_gates_reference(cls, evaluation: EvaluationConfig, info: ValidationInfo) -> EvaluationConfig:
        gate = info.data.get("gate")
        if gate is not None and gate.reference == "control" and not evaluation.control:
            problem = mistake_at(("control",), "`control: false` with `gate.reference: control`", "`control: true`")
            raise ValidationError.from_exception_data("evaluation", [problem])
        return evaluation

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
        if (resizing := train.progressive_resizing) is not None and resizing.start_px >= dataset.image_side_px:
            expected = f"less than the {dataset.image_side_px} pixels of an image's side"
            mistakes.append(mistake_at(("progressive_resizing", "start_px"), str(resizing.start_px), expected))
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

    @field_validator("compress")
    @classmethod
    def _can_be_searched(cls, compress: CompressConfig | None, info: ValidationInfo) -> CompressConfig | None:
        if compress is None:
            return None
        dataset, declared = info.data.get("dataset"), info.data.get("variants") or {}
        mistakes = []
        if dataset is not None and dataset.validation == 0:
            mistakes.append(mistake_at((), "a search without a validation split", "`dataset.validation` above 0"))
        others = final_variants(compress).items()
        if taken := sorted(name for name, variant in others if declared.get(name, variant) != variant):
            got = f"variants that are called as the search calls others of its own: {', '.join(taken)}"
            mistakes.append(mistake_at((), got, "other names for them"))
        if not compress.structures:
            mistakes.append(mistake_at((), "neither `prune_ratios` nor `student_widths`", "at least one of either"))
        dense = info.data.get("model")
        mistakes += [] if dense is None else width_mistakes(dense, compress.student_widths)
        if mistakes:
            raise ValidationError.from_exception_data("compress", mistakes)
        return compress

    @cached_property
    def candidates(self) -> dict[str, VariantConfig]:
        """What is compared with dense: the declared variants and, of those that the search may choose, the chosen."""
        if self.compress is None:
            return self.variants
        found = final_variants(self.compress)
        if self._finalists is not None:
            parents = {name: variant.parent for name, variant in found.items()}
            chosen = {link for name in self._finalists for link in (name, parents[name])}
            found = {name: variant for name, variant in found.items() if name in chosen}
        return self.variants | found

    @cached_property
    def controls(self) -> Controls:
        """The equal-budget controls; those that are declared alone where the config wants none added."""
        # Over all that may be chosen, so that a control keeps its name when the search has ended.
        possible = final_variants(self.compress) if self.compress is not None else {}
        found = find_controls(self.train, self.variants | possible).restricted_to(self.candidates)
        return found if self.evaluation.control else found.declared()

    @cached_property
    def made(self) -> dict[str, VariantConfig]:
        """Everything that may be made of dense: the controls that the workflow adds, candidates, trials of a search."""
        searches = self.compress is not None and self._finalists is None
        trials = trial_variants(self.compress) if self.compress is not None and searches else {}
        return self.controls.added | self.candidates | trials

    def with_finalists(self, finalists: Sequence[str]) -> ExperimentConfig:
        """The experiment once its search has ended: without trials, and with what was chosen.

        Args:
            finalists: names of variants that the search may choose.
        """
        chosen = type(self).model_validate(self.resolved())
        chosen._finalists = tuple(finalists)
        return chosen

    @property
    def variant_names(self) -> list[str]:
        """`dense`, its controls and all variants, every parent before its children, else as declared."""
        return in_order({name: variant.parent for name, variant in self.made.items()})

    @property
    def compared_names(self) -> list[str]:
        """Those of `variant_names` that are no trials of a search."""
        return [name for name in self.variant_names if not name.startswith(TRIAL_PREFIX)]

    def parent(self, variant: str) -> str | None:
        """What `variant` is made from; None for `dense`."""
        return None if variant == DENSE else self._declared(variant).parent

    def step(self, variant: str) -> Literal["train"] | Step:
        """The step that makes `variant`."""
        return "train" if variant == DENSE else self._declared(variant).step

    def trains(self, variant: str) -> bool:
        """Whether `variant` is made by gradient steps."""
        return variant == DENSE or self._declared(variant).trains

    def is_taught(self, variant: str) -> bool:
        """Whether `variant` learns from its parent's answers, or those of all seeds' parents."""
        return variant != DENSE and self._declared(variant).is_taught

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

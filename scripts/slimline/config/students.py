"""Students and teachers: which model each training job trains, and how often its teachers are asked."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from slimline.config.base import mistake_at
from slimline.config.model import ModelConfig
from slimline.config.train import AugmentationConfig
from slimline.config.variants import DENSE, DistilConfig, VariantConfig

LARGEST_CACHE_BYTES = 2**30


def model_of(dense: ModelConfig, variants: Mapping[str, VariantConfig], name: str) -> ModelConfig:
    """The model of a variant as it was before anything was pruned from it.

    Args:
        dense: the experiment's model.
        variants: all variants by name; they form a tree.
        name: `dense`, or one of them.
    """
    if name == DENSE:
        return dense
    variant = variants[name]
    if variant.distil is None:
        return model_of(dense, variants, variant.parent)
    if variant.distil.model is not None:
        return variant.distil.model
    assert variant.distil.width is not None
    parent = model_of(dense, variants, variant.parent)
    # Its initial weights are its own: those that the parent started from do not fit.
    return ModelConfig(name=parent.name, width=parent.width * variant.distil.width, dropout=parent.dropout)


def student_mistakes(dense: ModelConfig, variants: Mapping[str, VariantConfig]) -> list[InitErrorDetails]:
    """Students by `width` whose architecture cannot be made that narrow."""
    mistakes = []
    for name, variant in variants.items():
        if variant.distil is None or variant.distil.width is None:
            continue
        try:
            model_of(dense, variants, name)
        except ValidationError as error:
            mistakes += [
                mistake_at((name, "distil", "width"), line["ctx"]["got"], line["ctx"]["expected"])
                for line in error.errors(include_url=False)
            ]
    return mistakes


def can_be_remembered(step: DistilConfig, augmentation: AugmentationConfig, n_images: int, n_classes: int) -> bool:
    """Whether teachers need to see each training image once only: it is always the same, and nobody looks inside."""
    small = n_images * n_classes * 4 <= LARGEST_CACHE_BYTES
    return small and augmentation.changes_nothing and not step.feature_weight

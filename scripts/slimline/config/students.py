"""Students and teachers: which model each training job trains, and how often its teachers are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from slimline.config.base import mistake_at
from slimline.config.model import ModelConfig
from slimline.config.train import AugmentationConfig
from slimline.config.variants import DENSE, VariantConfig

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
    return _narrower(model_of(dense, variants, variant.parent), variant.distil.width)


def student_mistakes(dense: ModelConfig, variants: Mapping[str, VariantConfig]) -> list[InitErrorDetails]:
    """Students by `width` whose architecture cannot be made that narrow."""
    return [
        mistake
        for name, variant in variants.items()
        if variant.distil is not None and variant.distil.width is not None
        for mistake in _narrowing_mistakes((name, "distil", "width"), partial(model_of, dense, variants, name))
    ]


def width_mistakes(dense: ModelConfig, widths: Sequence[float]) -> list[InitErrorDetails]:
    """Shares of dense's width, as `student_widths` of a search, that its architecture cannot be made of."""
    return [
        mistake
        for number, width in enumerate(widths)
        for mistake in _narrowing_mistakes(("student_widths", number), partial(_narrower, dense, width))
    ]


def _narrower(parent: ModelConfig, share: float) -> ModelConfig:
    # Its initial weights are its own: those that the parent started from do not fit.
    return ModelConfig(name=parent.name, width=parent.width * share, dropout=parent.dropout)


def _narrowing_mistakes(where: tuple[str | int, ...], make: Callable[[], ModelConfig]) -> list[InitErrorDetails]:
    try:
        make()
    except ValidationError as error:
        lines = error.errors(include_url=False)
        return [mistake_at(where, line["ctx"]["got"], line["ctx"]["expected"]) for line in lines]
    return []


def can_be_remembered(feature_weight: float, augmentation: AugmentationConfig, n_images: int, n_classes: int) -> bool:
    """Whether teachers need to see each training image once only: it is always the same, and nobody looks inside."""
    small = n_images * n_classes * 4 <= LARGEST_CACHE_BYTES
    return small and augmentation.changes_nothing and not feature_weight

"""Smaller images in the first part of a training: progressive resizing.

Early on, a network learns what can be seen in small images as well, at a fraction of the work (Tan and Le,
"EfficientNetV2: Smaller Models and Faster Training", ICML 2021; Touvron et al., "Fixing the train-test resolution
discrepancy", NeurIPS 2019, on why the last part has to see whole ones).
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from slimline.config.base import Config

Size = tuple[int, int]  # height and width in pixels


class ProgressiveResizingConfig(Config):
    """Images that are smaller at first, for as many steps with each size, and whole from then on."""

    start_px: Annotated[int, Field(ge=4, le=1024)] = Field(
        description="Shorter side of the first images in pixels; the longer one in proportion."
    )
    until: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.5, description="Share of all steps after which images are whole."
    )
    step_px: Annotated[int, Field(ge=1, le=512)] = Field(
        default=4, description="Pixels by which each size is larger than the one before."
    )


def sizes_at_first(config: ProgressiveResizingConfig | None, whole: Size) -> list[Size]:
    """The sizes before the whole one, smallest first; images keep their proportions to within half a pixel.

    Args:
        config: how small images are at first; None where they are whole all along.
        whole: size of the images as they are.
    """
    if config is None:
        return []
    shorter = min(whole)
    sides = range(config.start_px, shorter, config.step_px)
    return [(_scaled(whole[0], side, shorter), _scaled(whole[1], side, shorter)) for side in sides]


def size_at(step: int, n_steps: int, config: ProgressiveResizingConfig | None, whole: Size) -> Size:
    """Size of the images of a step: each of those at first for as many steps, then the whole one.

    Args:
        step: from 0 on.
        n_steps: of the training, or of a round of it.
        config: see `sizes_at_first`.
        whole: see `sizes_at_first`.
    """
    if config is None or step >= (resized_steps := math.floor(config.until * n_steps)):
        return whole
    sizes = sizes_at_first(config, whole)
    return sizes[step * len(sizes) // resized_steps] if sizes else whole


def share_of_work(config: ProgressiveResizingConfig | None, whole: Size) -> float:
    """Of the time of a training with whole images, what it takes, roughly.

    Operations fall with an image's area, time does not: what is done once a step stays. It is reckoned with the side.
    """
    sizes = sizes_at_first(config, whole)
    if config is None or not sizes:
        return 1.0
    at_first = sum(min(size) for size in sizes) / len(sizes) / min(whole)
    return 1 - config.until * (1 - at_first)


def _scaled(side: int, new_shorter: int, shorter: int) -> int:
    return round(side * new_shorter / shorter)

"""Random changes of training images: batched, on the device where the images lie, a function of each sample.

What happens to an image follows from (seed, epoch, row), whatever batch or rank it is in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from slimline.config.train import AugmentationConfig
from slimline.data.batches import Draw, Floats, Rows, random_floats, random_trials, random_words

# Sizes of what random erasing takes, as in its paper: share of the image's area, and height by width.
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 1 / 0.3)

# Width by height of the parts that random resized crop takes, and how often it tries to find one inside the image.
PART_RATIO = (3 / 4, 4 / 3)
PART_TRIALS = 10


def augment(images: Tensor, config: AugmentationConfig, seed: int, epoch: int, rows: Rows) -> Tensor:
    """Images [n, c, h, w] of any type, each cropped, shifted and mirrored as (seed, epoch, its row) says.

    A shift is a window of the padded image: one indexed copy for the batch. A random part that is scaled up makes the
    images floats.
    """
    if config.random_resized_crop:
        images = enlarged(images, *random_parts(config.random_resized_crop, images.shape[2:], seed, epoch, rows))
    padding = config.crop_padding
    if padding:
        height, width = images.shape[2:]
        choices = np.uint64(2 * padding + 1)
        y, x = (_on(random_words(seed, epoch, rows, draw) % choices, images) for draw in (Draw.CROP_Y, Draw.CROP_X))
        padded = functional.pad(images, (padding, padding, padding, padding))
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [n, c, y, x, h, w], a view
        images = windows[torch.arange(len(rows), device=images.device), :, y, x]
    if config.horizontal_flip:
        mirrored = _on(random_words(seed, epoch, rows, Draw.MIRROR) & np.uint64(1), images).bool()
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images


def erase(
    images: Tensor, config: AugmentationConfig, seed: int, epoch: int, rows: Rows, mean: Sequence[float]
) -> Tensor:
    """Float images [n, c, h, w] with parts set to `mean`, one value per channel, as (seed, epoch, its row) says.

    `cutout_px` takes a square around any pixel, `random_erasing` a rectangle from some of the images, of random
    size and shape; what would be larger than the image is cut off at its sides.
    """
    height, width = images.shape[2:]
    masks = []
    if config.cutout_px:
        y, x = (random_floats(seed, epoch, rows, draw) for draw in (Draw.CUTOUT_Y, Draw.CUTOUT_X))
        top, left = (np.floor(at * side) - config.cutout_px // 2 for at, side in ((y, height), (x, width)))
        masks.append(boxes(images, top, left, top + config.cutout_px, left + config.cutout_px))
    if config.random_erasing:
        chosen, area, ratio, y, x = (random_floats(seed, epoch, rows, Draw.ERASE + n) for n in range(5))
        area = height * width * (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area)
        ratio = ERASED_RATIO[0] * np.exp(math.log(ERASED_RATIO[1] / ERASED_RATIO[0]) * ratio)
        tall, wide = (
            np.minimum(np.rint(np.sqrt(area * ratio)), height),
            np.minimum(np.rint(np.sqrt(area / ratio)), width),
        )
        tall *= chosen < config.random_erasing
        top, left = np.floor(y * (height - tall + 1)), np.floor(x * (width - wide + 1))
        masks.append(boxes(images, top, left, top + tall, left + wide))
    fill = torch.tensor(mean, dtype=images.dtype, device=images.device).view(1, -1, 1, 1) if masks else None
    for mask in masks:
        assert fill is not None
        images = torch.where(mask, fill, images)
    return images


def random_parts(
    least_area: float, size: Sequence[int], seed: int, epoch: int, rows: Rows
) -> tuple[Floats, Floats, Floats, Floats]:
    """Which part of each image is taken, as torchvision's RandomResizedCrop chooses it.

    The share of the area is uniform between `least_area` and 1, the logarithm of width by height is so between 3:4
    and 4:3. What does not fit the image is drawn again, ten times at most; then the whole image is taken.

    Args:
        least_area: least share of the image's area.
        size: height and width of the images in pixels.
        seed: seed of the run.
        epoch: number of the epoch.
        rows: the images' rows, int64 [n].

    Returns:
        Top, left, height and width [n] in whole pixels.
    """
    height, width = size
    area, ratio = (random_trials(seed, epoch, rows, draw, PART_TRIALS) for draw in (Draw.PART_AREA, Draw.PART_RATIO))
    area = height * width * (least_area + (1 - least_area) * area)
    ratio = PART_RATIO[0] * (PART_RATIO[1] / PART_RATIO[0]) ** ratio
    tall, wide = np.rint(np.sqrt(area / ratio)), np.rint(np.sqrt(area * ratio))
    fits = (tall >= 1) & (wide >= 1) & (tall <= height) & (wide <= width)
    first = fits.argmax(0), np.arange(len(rows))
    tall, wide = np.where(fits[first], tall[first], height), np.where(fits[first], wide[first], width)
    y, x = (random_floats(seed, epoch, rows, draw) for draw in (Draw.PART_Y, Draw.PART_X))
    return np.floor(y * (height - tall + 1)), np.floor(x * (width - wide + 1)), tall, wide


def enlarged(images: Tensor, top: Floats, left: Floats, tall: Floats, wide: Floats) -> Tensor:
    """A part of each image, scaled to the image's size: float [n, c, h, w].

    Bilinear. A part is never larger than the image, so that nothing shrinks: antialiasing, which averages what
    shrinks, would change nothing. Pixels beside the part have no influence.

    Args:
        images: [n, c, h, w] of any type.
        top: first line of each part [n].
        left: first column of each part [n].
        tall: lines of each part [n].
        wide: columns of each part [n].
    """
    n, _, height, width = images.shape
    axes = []
    for start, length, size in ((top, tall, height), (left, wide, width)):
        centres = start[:, None] + (np.arange(size) + 0.5) * (length[:, None] / size) - 0.5
        inside = np.clip(centres, start[:, None], (start + length - 1)[:, None])
        axes.append(_on(((2 * inside + 1) / size - 1).astype(np.float32), images))  # as grid_sample counts
    grid = torch.stack([axes[1][:, None, :].expand(n, height, width), axes[0][:, :, None].expand(n, height, width)], -1)
    return functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def boxes(images: Tensor, top: Floats, left: Floats, bottom: Floats, right: Floats) -> Tensor:
    """Which pixels lie in each image's box: bool [n, 1, h, w]; limits [n] in pixels, the later ones excluded."""
    height, width = images.shape[2:]
    lines, columns = np.arange(height), np.arange(width)
    inside_y = (lines >= top[:, None]) & (lines < bottom[:, None])
    inside_x = (columns >= left[:, None]) & (columns < right[:, None])
    return (_on(inside_y, images)[:, :, None] & _on(inside_x, images)[:, None, :])[:, None]


def _on(values: npt.NDArray[Any], images: Tensor) -> Tensor:
    """Values as a tensor beside the images; unsigned words as int64, which indexing wants."""
    return torch.from_numpy(values.astype(np.int64) if values.dtype == np.uint64 else values).to(images.device)

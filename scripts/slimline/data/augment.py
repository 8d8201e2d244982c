"""Random changes of training images: batched, on the device where the images lie, a function of each sample.

What happens to an image follows from (seed, epoch, row), whatever batch or rank it is in. The numbers are drawn on the
host, where a thread can do it beside the loop; all of a batch travel together.
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
from slimline.data.drawn import Drawn

# Sizes of what random erasing takes, as in its paper: share of the image's area, and height by width.
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 1 / 0.3)

# Width by height of the parts that random resized crop takes, and how often it tries to find one inside the image.
PART_RATIO = (3 / 4, 4 / 3)
PART_TRIALS = 10

# Top, left, height and width [n] in whole pixels.
Boxes = tuple[Floats, Floats, Floats, Floats]


def draw_changes(config: AugmentationConfig, size: Sequence[int], seed: int, epoch: int, rows: Rows) -> Drawn:
    """What is going to happen to each image.

    Args:
        config: which changes there are.
        size: height and width of the images in pixels.
        seed: seed of the run.
        epoch: number of the epoch.
        rows: the images' rows, int64 [n].
    """
    drawn: dict[str, npt.NDArray[Any]] = {}
    if config.random_resized_crop:
        parts = random_parts(config.random_resized_crop, size, seed, epoch, rows)
        drawn |= dict(zip(_box_names("part"), parts, strict=True))
    if config.crop_padding:
        choices = np.uint64(2 * config.crop_padding + 1)
        drawn["shift_y"] = random_words(seed, epoch, rows, Draw.CROP_Y) % choices
        drawn["shift_x"] = random_words(seed, epoch, rows, Draw.CROP_X) % choices
    if config.horizontal_flip:
        drawn["mirrored"] = random_words(seed, epoch, rows, Draw.MIRROR) & np.uint64(1)
    if config.cutout_px:
        drawn |= dict(zip(_box_names("cutout"), _cutouts(config.cutout_px, size, seed, epoch, rows), strict=True))
    if config.random_erasing:
        drawn |= dict(zip(_box_names("erased"), _erased(config.random_erasing, size, seed, epoch, rows), strict=True))
    return Drawn.of(drawn)


def augment(images: Tensor, config: AugmentationConfig, changes: Drawn) -> Tensor:
    """Images [n, c, h, w] of any type, each cropped, shifted and mirrored as `draw_changes` says.

    A shift is a window of the padded image: one indexed copy for the batch. A random part that is scaled up makes the
    images floats.
    """
    if config.random_resized_crop:
        images = enlarged(images, *(changes[name] for name in _box_names("part")))
    padding = config.crop_padding
    if padding:
        height, width = images.shape[2:]
        y, x = changes["shift_y"].long(), changes["shift_x"].long()
        padded = functional.pad(images, (padding, padding, padding, padding))
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [n, c, y, x, h, w], a view
        images = windows[torch.arange(len(y), device=images.device), :, y, x]
    if config.horizontal_flip:
        images = torch.where(changes["mirrored"].bool()[:, None, None, None], images.flip(-1), images)
    return images


def erase(images: Tensor, changes: Drawn, fill: Tensor) -> Tensor:
    """Float images [n, c, h, w] with parts set to `fill` [c], as `draw_changes` says.

    `cutout_px` takes a square around any pixel, `random_erasing` a rectangle from some of the images, of random
    size and shape; what would be larger than the image is cut off at its sides.
    """
    for kind in ("cutout", "erased"):
        top, left, height, width = _box_names(kind)
        if top in changes:
            mask = boxes(images, changes[top], changes[left], changes[height], changes[width])
            images = torch.where(mask, fill.view(1, -1, 1, 1), images)
    return images


def random_parts(least_area: float, size: Sequence[int], seed: int, epoch: int, rows: Rows) -> Boxes:
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


def enlarged(images: Tensor, top: Tensor, left: Tensor, tall: Tensor, wide: Tensor) -> Tensor:
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
        first, length = start[:, None], length[:, None]
        centres = first + (torch.arange(size, device=images.device) + 0.5) * (length / size) - 0.5
        inside = centres.clamp(first, first + length - 1)
        axes.append(((2 * inside + 1) / size - 1).float())  # as grid_sample counts
    grid = torch.stack([axes[1][:, None, :].expand(n, height, width), axes[0][:, :, None].expand(n, height, width)], -1)
    return functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def boxes(images: Tensor, top: Tensor, left: Tensor, tall: Tensor, wide: Tensor) -> Tensor:
    """Which pixels lie in each image's box: bool [n, 1, h, w]; places and sizes [n] in whole pixels."""
    height, width = images.shape[2:]
    lines, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside_y = (lines >= top[:, None]) & (lines < (top + tall)[:, None])
    inside_x = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]


def _box_names(kind: str) -> tuple[str, str, str, str]:
    return f"{kind}_top", f"{kind}_left", f"{kind}_height", f"{kind}_width"


def _cutouts(side: int, size: Sequence[int], seed: int, epoch: int, rows: Rows) -> Boxes:
    """A square around any pixel of each image; parts of it may lie outside."""
    centres = (random_floats(seed, epoch, rows, draw) for draw in (Draw.CUTOUT_Y, Draw.CUTOUT_X))
    top, left = (np.floor(at * length) - side // 2 for at, length in zip(centres, size, strict=True))
    return top, left, np.full_like(top, side), np.full_like(left, side)


def _erased(share: float, size: Sequence[int], seed: int, epoch: int, rows: Rows) -> Boxes:
    """A rectangle in `share` of the images, of random size and shape; of no height in the others."""
    height, width = size
    chosen, area, ratio, y, x = (random_floats(seed, epoch, rows, Draw.ERASE + n) for n in range(5))
    area = height * width * (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area)
    ratio = ERASED_RATIO[0] * np.exp(math.log(ERASED_RATIO[1] / ERASED_RATIO[0]) * ratio)
    tall, wide = np.minimum(np.rint(np.sqrt(area * ratio)), height), np.minimum(np.rint(np.sqrt(area / ratio)), width)
    tall *= chosen < share
    return np.floor(y * (height - tall + 1)), np.floor(x * (width - wide + 1)), tall, wide

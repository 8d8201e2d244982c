"""Mixup and cutmix: pairs of training images with their labels, a function of the samples and their batch.

The partner of a sample is another one of the same *global* batch, found through an order that (seed, epoch, row)
gives; how they are mixed follows from (seed, epoch, row) too. So neither depends on how many ranks share the batch:
a rank reads the partners of its share as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from slimline.config.train import AugmentationConfig
from slimline.data.augment import boxes
from slimline.data.batches import Draw, Floats, Rows, random_floats, random_words
from slimline.data.drawn import Drawn


def partners(batch: Rows, seed: int, epoch: int) -> Rows:
    """The partner of each row [n] of a global batch: its successor on a random circle through all of them."""
    circle = np.argsort(random_words(seed, epoch, batch, Draw.PARTNER), kind="stable")
    found = np.empty_like(batch)
    found[circle] = batch[np.roll(circle, -1)]
    return found


def draw_mixing(config: AugmentationConfig, size: Sequence[int], seed: int, epoch: int, rows: Rows) -> Drawn:
    """How each image is going to be mixed with its partner.

    Mixup (Zhang et al., 2018) blends the whole images, cutmix (Yun et al., 2019) puts a rectangle of the partner
    in. The share of an image is Beta(alpha, alpha); with cutmix it is then that of the area.

    Args:
        config: the alphas; with both, each image gets mixup or cutmix at even odds.
        size: height and width of the images in pixels.
        seed: seed of the run.
        epoch: number of the epoch.
        rows: the images' own rows, int64 [n].
    """
    height, width = size
    odds = 1.0 if not config.mixup else 0.5 if config.cutmix else 0.0
    cut = random_floats(seed, epoch, rows, Draw.MIX_KIND) < odds
    share = np.where(cut, *(_beta(alpha, seed, epoch, rows) for alpha in (config.cutmix, config.mixup)))
    top, bottom = _span(share, height, random_floats(seed, epoch, rows, Draw.MIX_Y))
    left, right = _span(share, width, random_floats(seed, epoch, rows, Draw.MIX_X))
    tall, wide = (bottom - top) * cut, right - left
    kept = np.where(cut, 1 - tall * wide / (height * width), share)
    return Drawn.of(
        {"kept": kept, "blend": np.where(cut, 1.0, share), "top": top, "left": left, "height": tall, "width": wide}
    )


def mix(
    images: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor, num_classes: int, mixing: Drawn
) -> tuple[Tensor, Tensor]:
    """Images mixed with their partners as `draw_mixing` says, and what share of each class they show.

    Args:
        images: float [n, c, h, w].
        labels: int64 [n].
        others: the partners' images, likewise.
        other_labels: the partners' labels, likewise.
        num_classes: k.
        mixing: drawn for the images' own rows.

    Returns:
        Images [n, c, h, w] and shares [n, k] that add up to 1 for each image.
    """
    inside = boxes(images, mixing["top"], mixing["left"], mixing["height"], mixing["width"])
    blend = mixing["blend"].to(images.dtype)[:, None, None, None]
    mixed = torch.where(inside, others, blend * images + (1 - blend) * others)
    kept = mixing["kept"].to(images.dtype)[:, None]
    one_hot, other_hot = (functional.one_hot(part, num_classes) for part in (labels, other_labels))
    return mixed, kept * one_hot + (1 - kept) * other_hot


def _beta(alpha: float, seed: int, epoch: int, rows: Rows) -> Floats:
    """Numbers [n] distributed as Beta(alpha, alpha), by the inverse of its distribution function."""
    from scipy.special import betaincinv

    values: Floats = betaincinv(max(alpha, 1e-3), max(alpha, 1e-3), random_floats(seed, epoch, rows, Draw.MIX_SHARE))
    return values


def _span(share: Floats, side: int, centre: Floats) -> tuple[Floats, Floats]:
    """First and last limit [n] in pixels of boxes of relative area 1 - share, cut off at the image's sides."""
    half = np.sqrt(1 - share) * side / 2
    middle = np.floor(centre * side)
    return np.clip(np.rint(middle - half), 0, side), np.clip(np.rint(middle + half), 0, side)

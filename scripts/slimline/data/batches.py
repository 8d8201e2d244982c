"""Which samples each step sees, and how they are changed: pure functions of seed, epoch and sample.

Nothing here has state. The position in the data is the number of the step, the order of an epoch follows from
(seed, epoch), and the change of an image from (seed, epoch, row): a run can stop anywhere and go on exactly,
with any number of ranks and workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slimline.config.train import AugmentationConfig

if TYPE_CHECKING:
    import torch

Rows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def mix64(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection that scatters its input's bits."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def random_words(seed: int, epoch: int, rows: Rows, draw: int) -> Words:
    """One 64-bit random word per row [n], a function of (seed, epoch, row, draw) alone."""
    state = np.zeros(len(rows), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in (np.uint64(seed), np.uint64(epoch), rows.astype(np.uint64), np.uint64(draw)):
            state = mix64(state + part + np.uint64(0x9E3779B97F4A7C15))
    return state


def steps_per_epoch(n_samples: int, batch_size: int) -> int:
    """Steps in an epoch that sees every sample once in batches of at most `batch_size`."""
    return -(-n_samples // batch_size)


def epoch_order(rows: Rows, seed: int, epoch: int) -> Rows:
    """The rows [n] of a split in the order of an epoch: sorted by a random word each."""
    return rows[np.argsort(random_words(seed, epoch, rows, draw=0), kind="stable")]


def share(rows: Rows, parts: int, part: int) -> Rows:
    """Part `part` of `rows` cut into `parts` runs whose lengths differ by at most one."""
    start, stop = len(rows) * part // parts, len(rows) * (part + 1) // parts
    return rows[start:stop]


def samples_digest(rows: Rows) -> int:
    """A number of 64 bits that tells which rows [n], and how often each, whatever their order.

    Digests of the parts of an epoch add up, modulo 2^64, to that of the whole: so ranks and resumed runs can prove
    that they have seen every sample once.
    """
    with np.errstate(over="ignore"):
        return int(mix64(rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)).sum(dtype=np.uint64))


def augment(images: torch.Tensor, config: AugmentationConfig, seed: int, epoch: int, rows: Rows) -> torch.Tensor:
    """Images [n, c, h, w] of any type, each shifted and mirrored as (seed, epoch, its row) says.

    Shift and mirror image are one gather on the padded batch, on the device where the images lie.
    """
    import torch
    from torch.nn import functional

    padding = config.crop_padding
    if not padding and not config.horizontal_flip:
        return images
    n, _, height, width = images.shape
    offsets = np.zeros((2, n), dtype=np.int64)
    if padding:
        choices = np.uint64(2 * padding + 1)
        offsets = np.stack([random_words(seed, epoch, rows, draw) % choices for draw in (1, 2)]).astype(np.int64)
        images = functional.pad(images, (padding, padding, padding, padding))
    mirrored = np.zeros(n, dtype=bool)
    if config.horizontal_flip:
        mirrored = (random_words(seed, epoch, rows, draw=3) & np.uint64(1)).astype(bool)
    columns = np.where(mirrored[:, None], np.arange(width)[::-1], np.arange(width)) + offsets[1][:, None]
    lines = np.arange(height) + offsets[0][:, None]
    device = images.device
    return images[
        torch.arange(n, device=device)[:, None, None, None],
        torch.arange(images.shape[1], device=device)[None, :, None, None],
        torch.from_numpy(lines).to(device)[:, None, :, None],
        torch.from_numpy(columns).to(device)[:, None, None, :],
    ]

"""Progressive resizing: the first steps see smaller images, the last ones whole ones.

What a convolution costs goes with the number of pixels, and the first steps, which learn what is coarse, do not need
all of them (Howard, fast.ai's entry to DAWNBench, 2018; Touvron et al., "Fixing the train-test resolution
discrepancy", 2019, on why training must end at the size that is served).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from slimline.config.train import ProgressiveResizingConfig

# Maps of even size are halved without a remainder, and there are few sizes for kernels to be chosen for.
MULTIPLE_PX = 4


def size_at(step: int, n_steps: int, size: Sequence[int], config: ProgressiveResizingConfig) -> tuple[int, int]:
    """Height and width that images of `size` [h, w] have at a step (from 0), a function of the step alone."""
    progress = min(1.0, step / (config.full_from * n_steps))
    if progress == 1.0:
        return size[0], size[1]
    scale = config.initial_scale + (1.0 - config.initial_scale) * progress
    return _scaled(size[0], scale), _scaled(size[1], scale)


def smallest_size(size: Sequence[int], config: ProgressiveResizingConfig) -> tuple[int, int]:
    """Height and width of the first step's images."""
    return size_at(0, 1, size, config)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [n, c, h, w] scaled down to `size` [h', w'], each pixel a mean over what it covers."""
    if (images.shape[2], images.shape[3]) == size:
        return images
    return functional.interpolate(images, size, mode="bilinear", antialias=True)


def _scaled(side: int, scale: float) -> int:
    return min(side, max(MULTIPLE_PX, int(scale * side) // MULTIPLE_PX * MULTIPLE_PX))

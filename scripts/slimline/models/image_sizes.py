"""Images of other sizes than the one that a model is built for: whether it takes them, and how they are made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from slimline.errors import SlimlineError
from slimline.models.architecture import Architecture
from slimline.models.artifact import build
from slimline.models.registry import Resize


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [n, c, *size] of [n, c, h, w], bilinear with antialiasing; the same ones where that is their size."""
    if images.shape[2:] == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def check_sizes(architecture: Architecture, sizes: Sequence[tuple[int, int]], where: str) -> None:
    """Tries a forward pass with images of each size.

    Args:
        architecture: the model, for images of a size of its own.
        sizes: others, [h, w] in pixels.
        where: the key of the config that says so.

    Raises:
        SlimlineError: it fails, or would save nothing, since the model scales all images to one size.
    """
    if not sizes:
        return
    with torch.random.fork_rng(devices=[]):
        model = build(architecture).eval()
    if any(isinstance(layer, Resize) for layer in model):
        raise _unfit(architecture, where, f"{architecture.name}, which scales all images to one size itself")
    for height, width in sizes:
        try:
            with torch.no_grad():
                model(torch.zeros(1, architecture.channels, height, width))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise _unfit(
                architecture, where, f"{architecture.name} with images of {height}x{width} pixels: {reason}"
            ) from error


def _unfit(architecture: Architecture, where: str, got: str) -> SlimlineError:
    return SlimlineError(
        f"The model {architecture.name} cannot be trained on images of several sizes.",
        where=where,
        got=got,
        expected="a model that takes images of any size, such as resnet18 or mobilenet_v2",
        next_step="leave the key out, or start with larger images",
    )

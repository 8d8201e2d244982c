"""Feature maps of a network: which layers give them, and how to take them from a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from slimline.errors import SlimlineError
from slimline.models.registry import Normalize, Resize

Size = tuple[int, int]  # height and width of a feature map


def last_layers(model: nn.Sequential, image_shape: Sequence[int]) -> dict[Size, str]:
    """The module that gives the last feature map of each size, by size, found by a forward pass of one image.

    A feature map has more than one place, and the proportions of the image to within a pixel: this leaves out pooled
    vectors, and tensors whose last two axes are not height and width.

    Args:
        model: preparation of the pixels, then the network; as `build` makes it.
        image_shape: channels, height and width.
    """
    device = next(model.parameters()).device
    found: dict[Size, str] = {}
    images = torch.zeros(1, *image_shape, device=device)
    mode = model.training
    model.eval()
    with torch.no_grad(), ExitStack() as hooks:
        for layer in model:
            if isinstance(layer, Normalize | Resize):
                images = layer(images)
        height, width = images.shape[2:]
        for name, module in model.named_modules():
            if not name or isinstance(module, Normalize | Resize):
                continue

            def note(module: nn.Module, inputs: object, output: object, name: str = name) -> None:
                if isinstance(output, Tensor) and output.ndim == 4:
                    h, w = output.shape[2:]
                    if h * w > 1 and abs(h * width - w * height) <= max(height, width):
                        found[int(h), int(w)] = name

            hooks.enter_context(_removed(module.register_forward_hook(note)))
        model(torch.zeros(1, *image_shape, device=device))
    model.train(mode)
    return found


def common_sizes(student: Mapping[Size, str], teacher: Mapping[Size, str], where: str) -> list[Size]:
    """The sizes of which both networks have a feature map, largest first.

    Raises:
        SlimlineError: there is none.
    """
    sizes = sorted(set(student) & set(teacher), reverse=True)
    if not sizes:
        raise SlimlineError(
            "Student and teacher have no feature maps of one size.",
            where=where,
            got=f"{_shown(student)} in the student, {_shown(teacher)} in the teacher",
            expected="at least one size that both have",
            next_step="set feature_weight: 0, or take a student that shrinks images as its teacher does",
        )
    return sizes


@contextmanager
def recorded(model: nn.Module, layers: Mapping[Size, str], into: dict[Size, Tensor]) -> Iterator[None]:
    """While this is open, each forward pass puts the activations of these layers into `into`, by size."""
    with ExitStack() as hooks:
        for size, name in layers.items():

            def note(module: nn.Module, inputs: object, output: Tensor, size: Size = size) -> None:
                if tuple(output.shape[2:]) == size:  # a module may be called more than once, on maps of several sizes
                    into[size] = output

            hooks.enter_context(_removed(model.get_submodule(name).register_forward_hook(note)))
        yield
    into.clear()


@contextmanager
def _removed(handle: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _shown(layers: Mapping[Size, str]) -> str:
    return ", ".join(f"{height} x {width}" for height, width in sorted(layers, reverse=True)) or "none"

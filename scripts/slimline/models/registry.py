"""From an architecture to a module: build by name, adapt stem and head, replay what was pruned since."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimline.config.model import ModelConfig
from slimline.config.model_names import SCALABLE_MODELS
from slimline.data.prepared import Stats
from slimline.errors import SlimlineError
from slimline.models.architecture import Architecture
from slimline.models.small import SMALL_MODELS

# Below this, ImageNet stems that divide the size by four at once leave too little to look at.
SMALL_IMAGE_PX = 64

# Families that cannot work below some size, or only at multiples of one: (smallest, multiple) in pixels.
SIZE_LIMITS_PX: dict[str, tuple[int, int]] = {
    "alexnet": (64, 1),
    "convnet7": (8, 1),
    "inception_v3": (80, 1),
    "maxvit_t": (224, 224),
    "vgg": (32, 1),
    "vit_tiny": (4, 4),
    "vit_b_16": (32, 16),
    "vit_l_16": (32, 16),
    "vit_b_32": (64, 32),
    "vit_l_32": (64, 32),
    "vit_h_14": (28, 14),
}
SMALL_KERNEL: dict[str, Any] = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}
SMALL_PATCHES: dict[str, Any] = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
STEM_POOLS = ("maxpool", "maxpool1", "features.pool0")


class Normalize(nn.Module):
    """Pixels 0..255 to zero mean and unit variance per channel; the first layer of every model.

    Being a layer, it ships inside the exported graph, so that no user of the file can forget it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float32 images [n, c, h, w] from uint8 or float pixels [n, c, h, w]."""
        return (images.to(torch.float32) - self.mean) / self.std


class Resize(nn.Module):
    """Bilinear resize to the smallest size that the architecture behind it can take."""

    def __init__(self, size_px: tuple[int, int]) -> None:
        super().__init__()
        self.size_px = size_px

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, c, *size_px]."""
        return functional.interpolate(images, size=self.size_px, mode="bilinear", align_corners=False)


def architecture_for(model: ModelConfig, stats: Stats) -> Architecture:
    """The architecture of a configured model on a prepared dataset, nothing pruned."""
    return Architecture(
        name=model.name,
        channels=stats.channels,
        height=stats.height,
        width_px=stats.width,
        num_classes=stats.num_classes,
        mean=stats.mean,
        std=stats.std,
        class_names=stats.class_names,
        width=model.width,
        dropout=model.dropout,
    )


def build_unpruned(architecture: Architecture) -> nn.Sequential:
    """A freshly initialised model, logits [n, num_classes] from pixels [n, c, h, w] in 0..255.

    Initial weights come from torch's global generator: seed it first.

    Raises:
        SlimlineError: the network cannot be built for, or run on, images of this shape.
    """
    layers: list[nn.Module] = [Normalize(architecture.mean, architecture.std)]
    size_px = _accepted_size(architecture)
    if size_px != (architecture.height, architecture.width_px):
        layers.append(Resize(size_px))
    make = _small if architecture.name in SMALL_MODELS else _torchvision
    with warnings.catch_warnings():
        # Hints to library authors, and layers without elements, which the forward pass below reports better.
        warnings.simplefilter("ignore")
        layers.append(make(architecture, size_px))
    model = nn.Sequential(*layers)
    _try_forward(model, architecture)
    if architecture.width != 1.0 and architecture.name not in SCALABLE_MODELS:
        from slimline.models.narrow import narrow  # a second that other models do not need

        narrow(model, architecture)
    return model


def _small(architecture: Architecture, size_px: tuple[int, int]) -> nn.Module:
    return SMALL_MODELS[architecture.name](
        architecture.channels,
        size_px,
        architecture.num_classes,
        architecture.width,
        architecture.dropout,
    )


def _torchvision(architecture: Architecture, size_px: tuple[int, int]) -> nn.Module:
    from torchvision.models import get_model

    options: dict[str, object] = {"num_classes": architecture.num_classes}
    if architecture.width != 1.0 and architecture.name in SCALABLE_MODELS:
        options["width_mult"] = architecture.width
    if architecture.name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    if architecture.name.startswith("vit_"):
        options["image_size"] = size_px[0]
    network: nn.Module = get_model(architecture.name, weights=None, **options)
    _adapt_stem(network, architecture.channels, small=_is_small(architecture, size_px))
    return network


def _is_small(architecture: Architecture, size_px: tuple[int, int]) -> bool:
    return min(size_px) < SMALL_IMAGE_PX and _limits(architecture.name) is None


def _adapt_stem(network: nn.Module, channels: int, small: bool) -> None:
    """Gives the first convolution `channels` inputs; for small images also keeps it from shrinking them."""
    name, conv = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    geometry: dict[str, Any] = {"kernel_size": conv.kernel_size, "stride": conv.stride, "padding": conv.padding}
    if small:
        patchify = conv.kernel_size == conv.stride != (1, 1)
        geometry = SMALL_PATCHES if patchify else SMALL_KERNEL
        for pool in STEM_POOLS:
            parent, _, leaf = pool.rpartition(".")
            if any(module_name == pool for module_name, _ in network.named_modules()):
                setattr(network.get_submodule(parent), leaf, nn.Identity())
    stem = nn.Conv2d(channels, conv.out_channels, bias=conv.bias is not None, **geometry)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    if stem.bias is not None:
        nn.init.zeros_(stem.bias)
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, stem)


def _limits(name: str) -> tuple[int, int] | None:
    family = "vgg" if name.startswith("vgg") else name
    return SIZE_LIMITS_PX.get(family)


def _accepted_size(architecture: Architecture) -> tuple[int, int]:
    """Height and width in pixels that the network gets: the image's own where it can take them."""
    size_px = (architecture.height, architecture.width_px)
    limits = _limits(architecture.name)
    if limits is None:
        return size_px
    smallest, multiple = limits
    if multiple == 1:
        return max(size_px[0], smallest), max(size_px[1], smallest)
    side = max(-(-max(size_px) // multiple) * multiple, smallest)
    return side, side


def _try_forward(model: nn.Module, architecture: Architecture) -> None:
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *architecture.image_shape))
    except (RuntimeError, ValueError) as error:
        raise SlimlineError(
            f"The model {architecture.name} cannot take images of this size.",
            where="model.name",
            got=f"{architecture.height}x{architecture.width_px} pixels: {str(error).splitlines()[0]}",
            expected="a model that keeps at least one pixel at its last layer",
            next_step="choose another model (resnet18, convnet and resnet8 take any size) or larger images",
        ) from error
    finally:
        model.train(training)

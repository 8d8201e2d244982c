"""What an artifact's `model.json` says: how to build the module that its weights fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1

Removal = tuple[str, bool, tuple[int, ...]]  # module, along output channels?, indexes


@dataclass(frozen=True)
class Architecture:
    """A model by name with everything that its shape depends on.

    Args:
        name: `convnet`, `convnet7`, `resnet8`, `vit_tiny`, or torchvision's name.
        channels: input channels.
        height: image height in pixels.
        width_px: image width in pixels.
        num_classes: number of classes.
        mean: per-channel mean of the training pixels, 0..255.
        std: per-channel standard deviation of the training pixels, 0..255.
        class_names: names in the order of the logits.
        width: factor on the number of channels.
        dropout: dropout before the last layer.
        pruning: channels removed since, one entry per round of pruning, of (module, along output channels?, indexes).
        ranges: smallest and largest value of the input or output of layers, with which the weights were trained to
            be quantized: (`<layer>.input` or `<layer>.output`, smallest, largest).
        sparsity: share of its weights that were set to zero one by one, from 0 to 1. They are there, and cost time.
    """

    name: str
    channels: int
    height: int
    width_px: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    width: float = 1.0
    dropout: float = 0.0
    pruning: tuple[tuple[Removal, ...], ...] = field(default=())
    ranges: tuple[tuple[str, float, float], ...] = ()
    sparsity: float = 0.0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image: (channels, height, width)."""
        return self.channels, self.height, self.width_px

    def to_json(self) -> dict[str, Any]:
        """The content of `model.json`."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Architecture:
        """The inverse of `to_json`."""
        fields = {key: value for key, value in content.items() if key != "format"}
        for key in ("mean", "std", "class_names"):
            fields[key] = tuple(fields[key])
        fields["pruning"] = tuple(
            tuple((name, out, tuple(indexes)) for name, out, indexes in removals) for removals in fields["pruning"]
        )
        fields["ranges"] = tuple((name, low, high) for name, low, high in fields.get("ranges", ()))
        return cls(**fields)

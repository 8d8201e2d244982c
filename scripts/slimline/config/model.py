"""Which architecture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from slimline.config.base import Config, Fraction, mistake
from slimline.config.model_names import MODEL_NAMES, SCALABLE_MODELS, SMALL_MODELS, channels_cannot_go

ModelName = Annotated[
    str, Field(json_schema_extra={"enum": [*sorted(SMALL_MODELS), *sorted(MODEL_NAMES - SMALL_MODELS)]})
]


class ModelConfig(Config):
    """An architecture by name; stem and head are adapted to the dataset."""

    name: ModelName = Field(
        description="`convnet`, `convnet7`, `resnet8`, `vit_tiny`, or a torchvision classification model by its name "
        "there (`resnet18`)."
    )
    width: Annotated[float, Field(gt=0.0, le=8.0)] = Field(
        default=1.0,
        description="Factor on the number of channels. Above 1 only for `convnet`, `convnet7`, `resnet8`, `vit_tiny` "
        "and the MobileNets, which are built so; of torchvision's other models (not Swin, MaxViT, ShuffleNet) the last "
        "channels of every layer are left out.",
    )
    dropout: Fraction = Field(
        default=0.0,
        description="Dropout before the last layer, for `convnet`, `convnet7`, `resnet8` and `vit_tiny` only.",
    )

    weights: str | None = Field(
        default=None,
        description="What to start from: weights of torchvision by name (`IMAGENET1K_V1`), or a file `*.safetensors`; "
        "random where unset. First and last layer are fitted to the dataset.",
    )
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of the file of weights; taken from the file where unset."
    )

    @property
    def weights_file(self) -> str | None:
        """The path in `weights`, where it is one."""
        return self.weights if _is_a_file(self.weights) else None

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in MODEL_NAMES:
            raise ValueError("unknown model")
        return name

    @field_validator("width")
    @classmethod
    def _can_be_scaled(cls, width: float, info: ValidationInfo) -> float:
        name = info.data.get("name")
        if width == 1.0 or name is None or name in SCALABLE_MODELS:
            return width
        reason = channels_cannot_go(name)
        if reason is not None:
            raise mistake(f"{width:g}", f"1.0: `{name}` cannot be narrowed, since {reason}")
        if width > 1.0:
            raise mistake(f"{width:g}", f"at most 1.0: `{name}` has no width option, so channels can only be left out")
        return width

    @field_validator("weights")
    @classmethod
    def _are_to_be_had(cls, weights: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if weights is not None and not _is_a_file(weights) and name in SMALL_MODELS:
            raise mistake(repr(weights), f"a file `*.safetensors`: torchvision has no weights for `{name}`")
        return weights

    @field_validator("weights_sha256")
    @classmethod
    def _has_a_file(cls, digest: str | None, info: ValidationInfo) -> str | None:
        if digest is not None and "weights" in info.data and not _is_a_file(info.data["weights"]):
            raise mistake("a digest without a file", "`weights: <path>.safetensors`, of which it is the digest")
        return digest

    @field_validator("dropout")
    @classmethod
    def _can_drop_out(cls, dropout: float, info: ValidationInfo) -> float:
        name = info.data.get("name")
        if dropout > 0.0 and name is not None and name not in SMALL_MODELS:
            raise mistake(f"{dropout:g}", f"0.0: slimline adds dropout to its small models only, not to `{name}`")
        return dropout


def _is_a_file(weights: str | None) -> bool:
    """Whether weights are named by a path, and not by a name of torchvision's."""
    return weights is not None and weights.endswith(".safetensors")

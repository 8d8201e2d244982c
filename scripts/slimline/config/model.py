"""Which architecture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from slimline.config.base import Config
from slimline.config.model_names import MODEL_NAMES


class ModelConfig(Config):
    """An architecture by name; stem and head are adapted to the dataset."""

    name: str = Field(
        description="`convnet`, `resnet8`, or any torchvision classification model by its name there, such as `resnet18`."
    )
    width: Annotated[float, Field(gt=0.0, le=8.0)] = Field(
        default=1.0,
        description="Factor on the number of channels. The small models take any; of torchvision's, those with "
        "a width option of their own (MobileNet, ResNet, MNASNet).",
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="Dropout before the last layer of the small models."
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MODEL_NAMES:
            raise ValueError("unknown model")
        return name

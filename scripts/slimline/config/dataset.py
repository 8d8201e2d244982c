"""Which data, and how it is split and cleaned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from slimline.config.base import Config, Fraction, PositiveFraction, Seed

DatasetName = Literal["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "image-folder"]

FOLDER_ONLY = ("path", "test", "image_size", "channels")


class DatasetConfig(Config):
    """The dataset of an experiment."""

    name: DatasetName = Field(description="A known dataset, or `image-folder` for your own images.")
    path: str | None = Field(
        default=None,
        description="`image-folder` only: the folder with `train/<class>/` and `test/<class>/`, or with one "
        "folder per class, which is then split by `split_seed`.",
    )
    validation: Fraction = Field(
        default=0.1, description="Share of the training images held out for every choice made while training."
    )
    test: PositiveFraction | None = Field(
        default=None,
        description="`image-folder` without a `test/` folder only: share of the images set aside as test split (0.2).",
    )
    split_seed: Seed = Field(default=0, description="Seed of every split that slimline makes.")
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = Field(
        default=None, description="`image-folder` only: height and width in pixels that images are brought to (64)."
    )
    channels: Literal[1, 3] | None = Field(
        default=None, description="`image-folder` only: 1 converts to grey, 3 to RGB (3)."
    )
    corrupt: Literal["exclude", "stop"] = Field(
        default="exclude", description="What to do when files cannot be decoded: leave them out and say so, or stop."
    )
    leakage: Literal["stop", "drop-train"] = Field(
        default="stop",
        description="What to do when train and test share an identical image: stop, or drop the training copy. "
        "The test split is never changed.",
    )

    @model_validator(mode="after")
    def _folder_options_need_a_folder(self) -> DatasetConfig:
        if self.name == "image-folder":
            if self.path is None:
                raise ValueError("`path` is missing: image-folder needs the folder of your images")
        elif given := [key for key in FOLDER_ONLY if getattr(self, key) is not None]:
            raise ValueError(f"{', '.join(f'`{key}`' for key in given)} can be set for image-folder only")
        return self

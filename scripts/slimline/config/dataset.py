"""Which data, and how it is split and cleaned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from slimline.config.base import Config, Fraction, PositiveFraction, Seed, mistake

DatasetName = Literal["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "image-folder"]

FOLDER = "image-folder"
FOLDER_SIDE_PX = 64
AUTO_PIXELS_GIB = 4  # what lies in memory on most machines: then nothing is gained by decoding
KNOWN_SIDES_PX: dict[DatasetName, int] = {
    "digits": 8,
    "mnist": 28,
    "fashion-mnist": 28,
    "cifar10": 32,
    "cifar100": 32,
}


class DatasetConfig(Config):
    """The dataset of an experiment."""

    name: DatasetName = Field(description="A known dataset, or `image-folder` for your own images.")
    path: str | None = Field(
        default=None,
        validate_default=True,
        description="`image-folder` only: the folder with `train/<class>/` and `test/<class>/`, or with one "
        "folder per class, which is then split by `split_seed`.",
    )
    validation: Fraction = Field(
        default=0.1, description="Share of the training images held out for every choice made while training."
    )
    test: PositiveFraction | None = Field(
        default=None,
        description="`image-folder` without a `test/` folder only: share of the images set aside as test split; "
        "0.2 where unset.",
    )
    split_seed: Seed = Field(default=0, description="Seed of every split that slimline makes.")
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = Field(
        default=None,
        description="`image-folder` only: height and width in pixels that images are brought to; 64 where unset.",
    )
    channels: Literal[1, 3] | None = Field(
        default=None, description="`image-folder` only: 1 converts to grey, 3 to RGB; 3 where unset."
    )
    storage: Literal["auto", "pixels", "jpeg"] = Field(
        default="auto",
        description="How prepared images are kept: `pixels` as they are, or `jpeg` (quality 95), which takes about a "
        "fifth of the disk, loses a little, and is decoded on all cores of a training job. `auto`: `pixels` while they "
        f"take at most {AUTO_PIXELS_GIB} GiB.",
    )
    corrupt: Literal["exclude", "stop"] = Field(
        default="exclude", description="What to do when files cannot be decoded: leave them out and say so, or stop."
    )
    leakage: Literal["stop", "drop-train"] = Field(
        default="stop",
        description="What to do when train and test share an identical image: stop, or drop the training copy. "
        "The test split is never changed.",
    )

    @field_validator("channels", mode="before")
    @classmethod
    def _not_a_bool(cls, channels: Any) -> Any:
        if channels is True:  # equals 1, so that pydantic's Literal lets it through
            raise mistake("`true`", "`1` or `3`")
        return channels

    @field_validator("path", "test", "image_size", "channels")
    @classmethod
    def _for_folders_only(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.data.get("name")
        if name == FOLDER and info.field_name == "path" and value is None:
            raise mistake("nothing", f"the folder of your images, since the dataset is `{FOLDER}`")
        if name not in (None, FOLDER) and value is not None:
            raise mistake(f"{value!r}", f"no such key: it is for `{FOLDER}` only, and the dataset is `{name}`")
        return value

    @property
    def image_side_px(self) -> int:
        """Height and width of every image in pixels."""
        return KNOWN_SIDES_PX.get(self.name) or self.image_size or FOLDER_SIDE_PX

"""Dataset options with their defaults filled in, for every step that names or reads data by them."""

from __future__ import annotations

import os
from pathlib import Path

from slimline.config.dataset import DatasetConfig

DIGITS_TEST_SHARE = 0.25
FOLDER_TEST_SHARE = 0.2
FOLDER_IMAGE_SIZE = 64
FOLDER_CHANNELS = 3


def folder_root(cfg: DatasetConfig) -> Path:
    """Absolute path of an image folder; links stay, so that a link to new data keeps its name."""
    assert cfg.path is not None, "the config model asks for `path` with image-folder"
    return Path(os.path.abspath(Path(cfg.path).expanduser()))  # noqa: PTH100 - resolve() would follow links


def test_share(cfg: DatasetConfig) -> float | None:
    """Share of the images that slimline sets aside as test split; None for a published split.

    An image folder with a `test/` folder does not use it.
    """
    if cfg.name == "digits":
        return DIGITS_TEST_SHARE
    if cfg.name == "image-folder":
        return FOLDER_TEST_SHARE if cfg.test is None else cfg.test
    return None


def image_size(cfg: DatasetConfig) -> int:
    """Height and width in pixels that the images of a folder are brought to."""
    return FOLDER_IMAGE_SIZE if cfg.image_size is None else cfg.image_size


def channels(cfg: DatasetConfig) -> int:
    """Channels that the images of a folder are converted to."""
    return FOLDER_CHANNELS if cfg.channels is None else cfg.channels

"""Names of data folders: a function of the config alone, cheap enough for the Snakefile."""

from __future__ import annotations

import re

from slimline.config.dataset import DatasetConfig
from slimline.data import options
from slimline.data.folder import scan_folder
from slimline.data.sources import DIGITS_SHA256, SOURCES
from slimline.files import sha256_json


def dataset_id(cfg: DatasetConfig) -> str:
    """Name of the dataset's folder under `data/`.

    It holds what the audit depends on: where slimline makes the test split, a different `split_seed`
    (and share) gives a different name, so that two experiments never overwrite each other's split.

    Returns:
        A dataset's name (`digits-split-<seed>` for digits with a seed other than 0), or
        `folder-<name>-<6 hexadecimal digits>` for an image folder.
    """
    if cfg.name == "image-folder":
        root = options.folder_root(cfg)
        digest = sha256_json([str(root), options.test_share(cfg), cfg.split_seed])[:6]
        slug = re.sub(r"[^a-z0-9]+", "-", root.name.lower())[:32].strip("-")
        return f"folder-{slug or 'images'}-{digest}"
    if cfg.name == "digits" and cfg.split_seed != 0:
        return f"digits-split-{cfg.split_seed}"
    return cfg.name


def prepared_id(cfg: DatasetConfig) -> str:
    """Name of the prepared data's folder, which lies in the dataset's folder."""
    choices: dict[str, object] = {
        "validation": cfg.validation,
        "split_seed": cfg.split_seed,
        "corrupt": cfg.corrupt,
        "leakage": cfg.leakage,
    }
    if cfg.name == "image-folder":
        choices |= {"image_size": options.image_size(cfg), "channels": options.channels(cfg)}
    if cfg.storage != "auto":  # what `auto` means follows from the images
        choices["storage"] = cfg.storage
    return f"prepared-{sha256_json(choices)[:8]}"


def source_fingerprint(cfg: DatasetConfig) -> str:
    """Digest that changes when the source changes: pinned checksums, or a folder's names, sizes and times.

    Raises:
        SlimlineError: the image folder is absent or not laid out as expected.
    """
    if cfg.name == "image-folder":
        return sha256_json([[file.name, file.size_bytes, file.mtime_ns] for file in scan_folder(cfg).images])
    if cfg.name == "digits":
        return DIGITS_SHA256
    return sha256_json([file.sha256 for file in SOURCES[cfg.name]])

"""What lies in a user's image folder: layout, image files, and what is passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slimline.config.dataset import DatasetConfig
from slimline.data.options import folder_root
from slimline.errors import SlimlineError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
LAYOUT = "train/<class>/ and test/<class>/, or only train/<class>/, or one folder per class"

Layout = Literal["train-test", "train", "classes"]


@dataclass(frozen=True)
class FolderFile:
    """An image file by its name below the root, with `/`; size 0 and time 0 where it cannot be looked at."""

    name: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class FolderScan:
    """An image folder.

    Attributes:
        layout: `train-test` has both splits, `train` and `classes` leave the test split to slimline.
        images: files with the ending of an image, sorted by name.
        ignored_files: how many other files lie there; hidden ones are not counted.
        unused_folders: folders beside `train/` and `test/`, which are not read.
        empty_classes: class folders without an image file.
    """

    layout: Layout
    images: tuple[FolderFile, ...]
    ignored_files: int
    unused_folders: tuple[str, ...]
    empty_classes: tuple[str, ...]


def scan_folder(cfg: DatasetConfig) -> FolderScan:
    """Lists an image folder without opening any file.

    Raises:
        SlimlineError: there is no such folder, no image in a class folder, or the layout contradicts the config.
    """
    root = folder_root(cfg)
    if not root.is_dir():
        raise SlimlineError("The folder of images is not there.", where="dataset.path", got=str(root), expected=LAYOUT)
    layout, splits, unused = _layout(cfg, root)
    class_folders = [folder for split in splits for folder in _subfolders(split)]
    images: list[FolderFile] = []
    empty: list[str] = []
    n_ignored = sum(_is_file(path) for parent in {root, *splits} for path in _visible(parent))
    for folder in class_folders:
        found: list[FolderFile] = []
        for parent, names in _files_below(folder):
            chosen = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
            n_ignored += len(names) - len(chosen)
            found += _look_at(parent, chosen, root)
        images += found
        if not found:
            empty.append(_name(folder, root))
    if not images:
        raise SlimlineError(
            "There is no image in a class folder.",
            where=f"dataset.path: {root}",
            got=f"{len(class_folders)} class folders, {n_ignored} files that are not images or lie outside them",
            expected=f"{LAYOUT}; files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    return FolderScan(layout, tuple(sorted(images, key=lambda file: file.name)), n_ignored, unused, tuple(empty))


def _layout(cfg: DatasetConfig, root: Path) -> tuple[Layout, list[Path], tuple[str, ...]]:
    """The layout, the folders that hold class folders, and the names of folders that are not used."""
    names = [folder.name for folder in _subfolders(root)]
    if "train" not in names:
        if "test" in names:
            raise SlimlineError(
                "The image folder has a test/ folder but no train/ folder.",
                where=f"dataset.path: {root}",
                expected=LAYOUT,
            )
        return "classes", [root], ()
    if "test" not in names:
        return "train", [root / "train"], tuple(name for name in names if name != "train")
    if cfg.test is not None:
        raise SlimlineError(
            "The image folder brings its own test split, so `dataset.test` cannot set a share.",
            where=f"dataset.path: {root}",
            next_step="remove `test:` from the dataset, or move the images of test/ into train/",
        )
    return "train-test", [root / "train", root / "test"], tuple(name for name in names if name not in ("train", "test"))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _is_file(path: Path) -> bool:
    return not path.is_dir()


def _files_below(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder in and below this one, with the names of its files."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield parent, sorted(name for name in files if not name.startswith("."))


def _look_at(parent: str, names: list[str], root: Path) -> Iterator[FolderFile]:
    """Files of one folder; of strings, since a path object for each of a million files takes a minute."""
    below = _name(Path(parent), root)
    for name in names:
        shown = f"{below}/{_unicode(name)}"
        try:
            status = os.stat(f"{parent}/{name}")  # noqa: PTH116
        except OSError:  # a dangling link, say: the audit names it
            yield FolderFile(shown, 0, 0)
        else:
            yield FolderFile(shown, status.st_size, status.st_mtime_ns)


def _name(path: Path, root: Path) -> str:
    return _unicode(path.relative_to(root).as_posix())


def _unicode(name: str) -> str:
    # JSON and parquet hold Unicode only. An escaped name finds no file later, and the audit says so.
    return os.fsencode(name).decode(errors="backslashreplace")

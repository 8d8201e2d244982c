"""Prepared data: images mapped into memory, labels, splits and statistics. Needs neither torch nor pandas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from slimline.data.shards import DamagedImageError, Images, PixelShards, ShardsError
from slimline.errors import SlimlineError
from slimline.files import read_json

FORMAT = 1

Split = Literal["train", "validation", "test"]
Storage = Literal["pixels", "jpeg"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class ExcludedSample:
    """An image that is not used, and why."""

    sample_id: str
    reason: str


@dataclass(frozen=True)
class Stats:
    """Content of `stats.json`.

    Attributes:
        dataset: name in the config.
        dataset_id: name of the folder under `data/`.
        n_train: images of the training split, without those held out.
        n_validation: training images held out.
        n_test: images of the test split.
        channels: of an image.
        height: of an image, in pixels.
        width: of an image, in pixels.
        num_classes: how many classes there are.
        class_names: names in the order of the labels.
        mean: per channel over the training split, in units of 0..255.
        std: standard deviation, likewise; 1 for a channel that never varies, so that dividing is safe.
        class_counts: images per split and class.
        excluded: images left out.
        split_sha256: per split a digest of its samples' ids, pixels and labels in their order.
        storage: how the images are kept; folders of before there was a choice have pixels.
    """

    dataset: str
    dataset_id: str
    n_train: int
    n_validation: int
    n_test: int
    channels: int
    height: int
    width: int
    num_classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_counts: dict[Split, tuple[int, ...]]
    excluded: tuple[ExcludedSample, ...]
    split_sha256: dict[Split, str]
    storage: Storage = "pixels"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.channels, self.height, self.width


class PreparedDataset:
    """Images of a prepared dataset by row number.

    Attributes:
        folder: where it lies.
        stats: its sizes, classes and statistics.
        labels: int64 [N], the class of each row.
    """

    def __init__(self, folder: Path, stats: Stats, labels: npt.NDArray[np.int64], images: Images) -> None:
        self.folder = folder
        self.stats = stats
        self.labels = labels
        self._images = images

    @classmethod
    def open(cls, folder: Path) -> PreparedDataset:
        """Opens `data/<dataset_id>/prepared-<digest>/`.

        Raises:
            SlimlineError: it is absent, of another format, or its files do not fit together.
        """
        stats = read_stats(folder / "stats.json")
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        n_rows = stats.n_train + stats.n_validation + stats.n_test
        expected = f"{n_rows} images of uint8 {stats.image_shape} as {stats.storage}, as many labels of int64"
        try:
            images = _open_images(folder / "shards", stats)
        except ShardsError as error:
            raise _broken(folder, got=str(error), expected=expected) from None
        if labels.dtype != np.int64 or not n_rows == len(labels) == len(images):
            got = f"{len(images)} images, {len(labels)} labels of {labels.dtype}"
            raise _broken(folder, got=got, expected=expected)
        return cls(folder, stats, labels, images)

    def __len__(self) -> int:
        """Number of rows, over all splits."""
        return len(self.labels)

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """Row numbers of a split, ascending."""
        return np.flatnonzero(self._splits == split)

    def sample_ids(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Names of the samples in these rows."""
        return [self._sample_ids[row] for row in rows.tolist()]

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Images of these rows, in their order; several threads may read at once.

        Args:
            rows: int64 [n], each from 0 to the number of rows less 1.

        Returns:
            uint8 array [n, C, H, W], a copy.

        Raises:
            IndexError: there is no such row.
            SlimlineError: an image on disk is damaged.
        """
        if np.any(rows < 0):
            raise IndexError("row numbers start at 0")
        try:
            return self._images.read(rows)
        except DamagedImageError as error:
            raise SlimlineError(
                "An image of the prepared data is damaged.",
                where=f"{self._sample_ids[error.row]} (row {error.row}) in {self.folder}",
                got=error.reason,
                expected="the bytes that preprocess wrote",
                next_step=f"remove the folder and run snakemake again: rm -r '{self.folder}'",
            ) from error

    @cached_property
    def _splits(self) -> npt.NDArray[np.str_]:
        return np.array(self._index_column("split"))

    @cached_property
    def _sample_ids(self) -> list[str]:
        return self._index_column("sample_id")

    def _index_column(self, name: str) -> list[str]:
        import pyarrow.parquet as pq  # 0.2 s that reading images does not need

        # ParquetFile and Python lists, since read_table() and to_numpy() would import pandas
        with pq.ParquetFile(self.folder / "index.parquet") as file:
            values: list[str] = file.read(columns=[name])[name].to_pylist()
        return values


def _open_images(folder: Path, stats: Stats) -> Images:
    if stats.storage == "pixels":
        return PixelShards(folder, stats.image_shape)
    from slimline.data.jpeg_shards import JpegShards  # Pillow, which reading pixels does not need

    return JpegShards(folder, stats.image_shape)


def read_stats(path: Path) -> Stats:
    """Content of a `stats.json`.

    Raises:
        SlimlineError: it is absent, or not what this version writes.
    """
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise _broken(path.parent, got=f"format {found}", expected=f"format {FORMAT}")
    try:
        return TypeAdapter(Stats).validate_python({key: content[key] for key in content if key != "format"})
    except ValidationError as error:
        raise _broken(path.parent, got=str(error), expected=f"stats.json of format {FORMAT}") from None


def _broken(folder: Path, *, got: str, expected: str) -> SlimlineError:
    return SlimlineError(
        "The prepared data are not what this version of slimline reads.",
        where=str(folder),
        got=got,
        expected=expected,
        next_step=f"remove them and run snakemake again: rm -r '{folder}'",
    )

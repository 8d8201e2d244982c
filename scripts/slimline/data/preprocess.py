"""Step `preprocess`: from checked raw images to shards, labels, an index and statistics."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from slimline.config.dataset import AUTO_PIXELS_GIB, DatasetConfig
from slimline.data.audit_table import AuditRow, read_audit_table
from slimline.data.identity import dataset_id
from slimline.data.images import Pixels, UnreadableImageError, pixel_sha256
from slimline.data.jpeg_shards import decode_jpeg, encode_jpeg, write_jpeg_shards
from slimline.data.moments import Moments
from slimline.data.prepared import FORMAT, SPLITS, ExcludedSample, Split, Stats, Storage
from slimline.data.readers import Reader, open_reader
from slimline.data.screening import screen
from slimline.data.shards import write_shards
from slimline.data.side_by_side import map_in_order
from slimline.data.splits import holdout
from slimline.data.table import write_table
from slimline.errors import SlimlineError
from slimline.files import read_json, replacing, sha256_bytes, write_json

INDEX_SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "sample_id": pa.string(),
        "sha256": pa.string(),
        "label": pa.int64(),
        "split": pa.string(),
    }
)

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexRow:
    """A row of `index.parquet`, without its number."""

    sample_id: str
    sha256: str
    label: int
    split: Split


def preprocess(
    cfg: DatasetConfig,
    raw: Path,
    audit_json: Path,
    audit_parquet: Path,
    labels: Path,
    index: Path,
    stats: Path,
    shards: Path,
    *,
    threads: int = 1,
) -> None:
    """Decides which images are used and in which split, and writes them in one size.

    Rows keep the order of the audit table. The validation split is taken from the training split, stratified by
    class, and identical images stay together.

    Args:
        cfg: the dataset.
        raw: folder that `download` filled.
        audit_json: the audit's report.
        audit_parquet: its table.
        labels: `labels.npy`.
        index: `index.parquet`.
        stats: `stats.json`.
        shards: folder of the images.
        threads: images decoded at once.

    Raises:
        SlimlineError: the config says to stop at what the audit found, or an image changed since.
    """
    report: dict[str, Any] = read_json(audit_json)
    class_names: list[str] = report["class_names"]
    used, excluded = screen(cfg, read_audit_table(audit_parquet), class_names, audit_json)
    _warn(report, excluded)
    rows = _index_rows(cfg, used, class_names)
    reader = open_reader(cfg, raw)
    moments = Moments(reader.shape[0])
    storage = _storage(cfg, len(rows), reader.shape)
    if storage == "pixels":
        images = _images(reader, rows, moments, threads, lambda image: (image, image))
        write_shards(shards, images, len(rows), reader.shape)
    else:
        log.info("%d images of %d x %d pixels are kept as JPEG", len(rows), *reader.shape[1:])
        write_jpeg_shards(shards, _images(reader, rows, moments, threads, _compressed))
    with replacing(labels) as temporary:
        np.save(temporary, np.array([row.label for row in rows], np.int64), allow_pickle=False)
    _write_index(index, rows)
    content = _stats(cfg, reader.shape, class_names, rows, moments, excluded, storage)
    write_json(stats, {"format": FORMAT, **asdict(content)})


def _warn(report: dict[str, Any], excluded: list[ExcludedSample]) -> None:
    for finding in report["findings"]:
        if finding["severity"] == "warning":
            log.warning("%s", finding["message"])
    for sample in excluded:
        log.warning("left out: %s, %s", sample.sample_id, sample.reason)


def _index_rows(cfg: DatasetConfig, used: list[AuditRow], class_names: list[str]) -> list[IndexRow]:
    train = [row for row in used if row.split == "train"]
    digests = [_digest(row) for row in train]
    held = holdout(digests, [row.class_name for row in train], cfg.validation, cfg.split_seed)
    validation = {row.sample_id for row, is_held in zip(train, held, strict=True) if is_held}
    label_of = {name: label for label, name in enumerate(class_names)}

    def split(row: AuditRow) -> Split:
        if row.split == "test":
            return "test"
        return "validation" if row.sample_id in validation else "train"

    return [IndexRow(row.sample_id, _digest(row), label_of[row.class_name], split(row)) for row in used]


def _digest(row: AuditRow) -> str:
    assert row.sha256 is not None, "readable images have a digest"
    return row.sha256


def _storage(cfg: DatasetConfig, n_images: int, shape: tuple[int, int, int]) -> Storage:
    """How `n_images` prepared images of `shape` (channels, height, width) are kept."""
    if cfg.storage != "auto":
        return cfg.storage
    return "pixels" if n_images * math.prod(shape) <= AUTO_PIXELS_GIB << 30 else "jpeg"


def _images(
    reader: Reader, rows: list[IndexRow], moments: Moments, threads: int, kept: Callable[[Pixels], tuple[T, Pixels]]
) -> Iterator[T]:
    """The images of all rows as they are written.

    Args:
        reader: the raw images.
        rows: which.
        moments: what training will see of the training split is added to them.
        threads: images read at once.
        kept: from a prepared image [C, H, W] to what is written of it and the pixels that reading gives back.
    """

    def load(row: IndexRow) -> tuple[T, Pixels]:
        try:
            pixels = reader.decode(row.sample_id)
        except UnreadableImageError as error:
            raise _changed(row, str(error)) from error
        if pixel_sha256(pixels) != row.sha256:
            raise _changed(row, "other pixels than those audited")
        return kept(reader.prepare(pixels))

    loaded = map_in_order(load, rows, threads=threads, what="preprocess")
    for row, (written, seen) in zip(rows, loaded, strict=True):
        if row.split == "train":
            moments.add(seen)
        yield written


def _compressed(image: Pixels) -> tuple[bytes, Pixels]:
    blob = encode_jpeg(image)
    return blob, decode_jpeg(blob)


def _changed(row: IndexRow, got: str) -> SlimlineError:
    return SlimlineError(
        "An image changed after the audit.",
        where=row.sample_id,
        got=got,
        next_step="run snakemake again: it audits anew",
    )


def _write_index(path: Path, rows: list[IndexRow]) -> None:
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(IndexRow)}
    write_table(path, {"row": range(len(rows)), **columns}, INDEX_SCHEMA)


def _stats(
    cfg: DatasetConfig,
    shape: tuple[int, int, int],
    class_names: list[str],
    rows: list[IndexRow],
    moments: Moments,
    excluded: list[ExcludedSample],
    storage: Storage,
) -> Stats:
    of_split: dict[Split, list[IndexRow]] = {split: [row for row in rows if row.split == split] for split in SPLITS}
    counts = {split: Counter(row.label for row in members) for split, members in of_split.items()}
    channels, height, width = shape
    return Stats(
        dataset=cfg.name,
        dataset_id=dataset_id(cfg),
        n_train=len(of_split["train"]),
        n_validation=len(of_split["validation"]),
        n_test=len(of_split["test"]),
        channels=channels,
        height=height,
        width=width,
        num_classes=len(class_names),
        class_names=tuple(class_names),
        mean=moments.mean,
        std=moments.std,
        class_counts={
            split: tuple(count[label] for label in range(len(class_names))) for split, count in counts.items()
        },
        excluded=tuple(excluded),
        split_sha256={split: _split_sha256(members) for split, members in of_split.items()},
        storage=storage,
    )


def _split_sha256(rows: list[IndexRow]) -> str:
    return sha256_bytes("".join(f"{row.sample_id}\t{row.sha256}\t{row.label}\n" for row in rows).encode())

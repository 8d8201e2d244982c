"""Step `audit`: what is in the data, before anything is built on it. It reports; it never stops."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from slimline.config.dataset import DatasetConfig
from slimline.data import options
from slimline.data.audit_table import AuditRow, PublishedSplit, write_audit_table
from slimline.data.duplicates import DuplicateGroup, find_duplicates
from slimline.data.findings import find_all, surplus
from slimline.data.images import UnreadableImageError, pixel_sha256
from slimline.data.readers import Reader, Sample, open_reader
from slimline.data.side_by_side import map_in_order
from slimline.data.splits import holdout
from slimline.files import read_json, write_json

MAX_GROUPS = 100
MAX_MEMBERS = 100

log = logging.getLogger(__name__)


class _Reading(NamedTuple):
    """What decoding one image gave: digest and size in pixels, or the reason why not."""

    sha256: str | None = None
    height: int | None = None
    width: int | None = None
    reason: str | None = None


def audit(
    cfg: DatasetConfig, raw: Path, manifest: Path, audit_json: Path, audit_parquet: Path, *, threads: int = 1
) -> None:
    """Decodes every image once and writes what it found: a report and a table.

    Checks: files that cannot be decoded, identical images within and across splits, images with several labels,
    small, missing and unbalanced classes, files and folders that are not used. Where the dataset has no test
    split of its own, it is made here, since identical images must fall on the same side.

    Args:
        cfg: the dataset.
        raw: folder that `download` filled.
        manifest: `download.json`.
        audit_json: the report.
        audit_parquet: one row per image.
        threads: images decoded at once.
    """
    downloaded: dict[str, Any] = read_json(manifest)
    reader = open_reader(cfg, raw)
    samples, class_names = reader.listing(downloaded)
    readings = _read_all(reader, samples, threads)
    rows = _rows(samples, readings, _splits(cfg, samples, readings))
    report = _report(downloaded, class_names, rows)
    for finding in report["findings"]:
        log.log(logging.INFO if finding["severity"] == "info" else logging.WARNING, "%s", finding["message"])
    write_audit_table(audit_parquet, rows)
    write_json(audit_json, report)


def _read_all(reader: Reader, samples: list[Sample], threads: int) -> list[_Reading]:
    def read(sample: Sample) -> _Reading:
        try:
            pixels = reader.decode(sample.sample_id)
        except UnreadableImageError as error:
            return _Reading(reason=str(error))
        return _Reading(pixel_sha256(pixels), *pixels.shape[:2])

    return list(map_in_order(read, samples, threads=threads, what="audit"))


def _splits(cfg: DatasetConfig, samples: list[Sample], readings: list[_Reading]) -> list[PublishedSplit | None]:
    """Published splits, or those made here; an image that cannot be read gets none."""
    share = options.test_share(cfg)
    if share is None or samples[0].split is not None:
        return [sample.split for sample in samples]
    readable = [
        (reading.sha256, sample.class_name) for sample, reading in zip(samples, readings, strict=True) if reading.sha256
    ]
    digests, classes = zip(*readable, strict=True) if readable else ((), ())
    held = iter(holdout(digests, classes, share, cfg.split_seed))
    return [("test" if next(held) else "train") if reading.sha256 else None for reading in readings]


def _rows(samples: list[Sample], readings: list[_Reading], splits: list[PublishedSplit | None]) -> list[AuditRow]:
    return [
        AuditRow(
            sample_id=sample.sample_id,
            split=split,
            class_name=sample.class_name,
            status="ok" if reading.reason is None else "corrupt",
            **reading._asdict(),
        )
        for sample, reading, split in zip(samples, readings, splits, strict=True)
    ]


def _report(downloaded: dict[str, Any], class_names: list[str], rows: list[AuditRow]) -> dict[str, Any]:
    """Content of `audit.json`."""
    groups = find_duplicates(rows)
    readable = [row for row in rows if row.status == "ok"]
    count = Counter((row.split, row.class_name) for row in readable)
    class_counts = {split: {name: count[split, name] for name in class_names} for split in ("train", "test")}
    sizes = [(row.height, row.width) for row in readable if row.height and row.width]
    return {
        "format": 1,
        "dataset": downloaded["dataset"],
        "n_files": len(rows),
        "n_images": len(readable),
        "class_names": class_names,
        "corrupt": [
            {"sample_id": row.sample_id, "file": row.sample_id, "reason": row.reason}
            for row in rows
            if row.status == "corrupt"
        ],
        "duplicates": {
            "within_train": surplus(groups, "train"),
            "within_test": surplus(groups, "test"),
            "groups": [_group(group) for group in groups[:MAX_GROUPS]],
        },
        "leakage": [
            {
                "sha256": group.sha256,
                "train": [row.sample_id for row in group.train],
                "test": [row.sample_id for row in group.test],
            }
            for group in groups
            if group.leaks
        ],
        "class_counts": class_counts,
        "image_sizes": {
            "min": [min(side) for side in zip(*sizes, strict=True)],
            "max": [max(side) for side in zip(*sizes, strict=True)],
        },
        "findings": [asdict(finding) for finding in find_all(downloaded, rows, groups, class_counts)],
    }


def _group(group: DuplicateGroup) -> dict[str, Any]:
    return {
        "sha256": group.sha256,
        "n": len(group.rows),
        "samples": [row.sample_id for row in group.rows[:MAX_MEMBERS]],
        "classes": group.class_names,
    }

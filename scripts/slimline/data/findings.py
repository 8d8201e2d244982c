"""What a person should know about a dataset, as sentences with a severity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from slimline.data.audit_table import AuditRow, PublishedSplit
from slimline.data.duplicates import DuplicateGroup

SMALL_CLASS = 10  # images
IMBALANCE = 10  # times as many images in the largest class as in the smallest
NAMED = 5  # names in one sentence
SPLITS: tuple[PublishedSplit, ...] = ("train", "test")

ClassCounts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        severity: `error` stops `preprocess` unless the config accepts it, `warning` deserves a look.
        check: which check it comes from.
        message: what was found.
    """

    severity: Literal["error", "warning", "info"]
    check: str
    message: str


def find_all(
    manifest: dict[str, Any], rows: list[AuditRow], groups: list[DuplicateGroup], class_counts: ClassCounts
) -> list[Finding]:
    """All findings, errors first.

    Args:
        manifest: content of `download.json`.
        rows: the audit table.
        groups: equal images among them.
        class_counts: readable images per split and class.
    """
    found = [*_files(manifest, rows), *_duplicates(groups), *_classes(class_counts), *_sizes(rows)]
    return sorted(found, key=lambda finding: ("error", "warning", "info").index(finding.severity))


def _files(manifest: dict[str, Any], rows: list[AuditRow]) -> Iterator[Finding]:
    if corrupt := [row.sample_id for row in rows if row.status == "corrupt"]:
        yield Finding("warning", "corrupt", f"Images that cannot be read: {_named(corrupt)}, of {len(rows)}.")
    if empty := manifest.get("empty_classes"):
        yield Finding("warning", "empty-class", f"Class folders without an image, left out: {_named(empty)}.")
    if unused := manifest.get("unused_folders"):
        yield Finding("warning", "unused-folder", f"Folders beside train/ and test/, not read: {_named(unused)}.")
    if ignored := manifest.get("ignored_files"):
        yield Finding("info", "ignored-files", f"Files that are no images or in no class folder, ignored: {ignored}.")


def _duplicates(groups: list[DuplicateGroup]) -> Iterator[Finding]:
    if leaking := [group for group in groups if group.leaks]:
        pairs = [f"{group.train[0].sample_id} = {group.test[0].sample_id}" for group in leaking]
        yield Finding("error", "leakage", f"Images both in train and in test: {_named(pairs)}.")
    for split in SPLITS:
        if copies := surplus(groups, split):
            yield Finding("warning", "duplicates", f"Further copies of images within the {split} split: {copies}.")
    if several := [group for group in groups if len(group.class_names) > 1]:
        names = [" = ".join(f"{row.sample_id} ({row.class_name})" for row in group.rows[:3]) for group in several]
        yield Finding("warning", "conflicting-labels", f"Images with several labels: {_named(names)}.")


def _classes(class_counts: ClassCounts) -> Iterator[Finding]:
    train, test = class_counts["train"], class_counts["test"]
    if untaught := [name for name, count in train.items() if not count]:
        yield Finding("error", "class-missing-in-train", f"Classes without a training image: {_named(untaught)}.")
    if untested := [name for name, count in test.items() if not count]:
        yield Finding("warning", "class-missing-in-test", f"Classes without a test image: {_named(untested)}.")
    if small := [f"{name} ({count})" for name, count in train.items() if 0 < count < SMALL_CLASS]:
        yield Finding("warning", "small-class", f"Classes of less than {SMALL_CLASS} training images: {_named(small)}.")
    least, most = min(train.values()), max(train.values())
    if most > IMBALANCE * least > 0:
        yield Finding("warning", "imbalance", f"Training images of the largest class: {most}, the smallest: {least}.")


def _sizes(rows: list[AuditRow]) -> Iterator[Finding]:
    sizes = {(row.height, row.width) for row in rows if row.status == "ok"}
    if len(sizes) > 1:
        yield Finding("info", "image-sizes", f"Different image sizes, brought to one: {len(sizes)}.")


def surplus(groups: list[DuplicateGroup], split: PublishedSplit) -> int:
    """How many images of a split repeat an earlier one of the same split."""
    return sum(max(0, len(getattr(group, split)) - 1) for group in groups)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} ({', '.join(names[:NAMED])}{more})"

"""Images that are equal pixel by pixel, within a split and across splits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from slimline.data.audit_table import AuditRow


@dataclass(frozen=True)
class DuplicateGroup:
    """At least two rows whose images decode to the same pixels."""

    sha256: str
    train: tuple[AuditRow, ...]
    test: tuple[AuditRow, ...]

    @property
    def rows(self) -> tuple[AuditRow, ...]:
        """All of them, those of the training split first."""
        return self.train + self.test

    @property
    def leaks(self) -> bool:
        """Whether training and test split share the image."""
        return bool(self.train and self.test)

    @property
    def class_names(self) -> list[str]:
        """The classes under which the image is filed."""
        return sorted({row.class_name for row in self.rows})


def find_duplicates(rows: list[AuditRow]) -> list[DuplicateGroup]:
    """Groups of equal images, in the order of their first row."""
    by_digest: defaultdict[str, list[AuditRow]] = defaultdict(list)
    for row in rows:
        if row.sha256 is not None:
            by_digest[row.sha256].append(row)
    return [
        DuplicateGroup(
            sha256,
            tuple(row for row in equal if row.split == "train"),
            tuple(row for row in equal if row.split == "test"),
        )
        for sha256, equal in by_digest.items()
        if len(equal) > 1
    ]

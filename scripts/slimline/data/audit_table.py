"""`audit.parquet`: one row per image, what the audit found out and all that later steps decide by."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from slimline.data.table import write_table

SCHEMA = pa.schema(
    {
        "sample_id": pa.string(),
        "split": pa.string(),
        "class_name": pa.string(),
        "sha256": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "status": pa.string(),
        "reason": pa.string(),
    }
)


PublishedSplit = Literal["train", "test"]


@dataclass(frozen=True)
class AuditRow:
    """One image.

    Attributes:
        sample_id: its name within the dataset.
        split: None for a corrupt image that no published split holds.
        class_name: its class.
        sha256: digest of its decoded pixels (`images.pixel_sha256`); None if corrupt, like height and width.
        height: in pixels.
        width: in pixels.
        status: whether it can be decoded.
        reason: why not.
    """

    sample_id: str
    split: PublishedSplit | None
    class_name: str
    sha256: str | None
    height: int | None
    width: int | None
    status: Literal["ok", "corrupt"]
    reason: str | None


def write_audit_table(path: Path, rows: list[AuditRow]) -> None:
    """Writes the table; equal rows give an equal file."""
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(AuditRow)}
    write_table(path, columns, SCHEMA)


def read_audit_table(path: Path) -> list[AuditRow]:
    """The rows, in the order in which they were written."""
    with pq.ParquetFile(path) as file:
        return [AuditRow(**row) for row in file.read().to_pylist()]

"""`predictions.parquet`: what one shipped file answered to every test image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from slimline.errors import SlimlineError
from slimline.files import replacing

SCHEMA = pa.schema([("sample_id", pa.string()), ("label", pa.int64()), ("logits", pa.list_(pa.float32()))])


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers of one model, in the order of the test split.

    Attributes:
        sample_ids: n names.
        labels: int64 [n].
        logits: float32 [n, C].
    """

    sample_ids: list[str]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Replaces `path`; equal predictions give equal bytes, since nothing else (no time, no host) is in the file."""
    items, classes = predictions.logits.shape
    offsets = pa.array(np.arange(items + 1, dtype=np.int32) * classes, type=pa.int32())
    logits = pa.ListArray.from_arrays(offsets, pa.array(predictions.logits.ravel(), type=pa.float32()))
    table = pa.Table.from_arrays(
        [pa.array(predictions.sample_ids, type=pa.string()), pa.array(predictions.labels, type=pa.int64()), logits],
        schema=SCHEMA,
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: Path) -> Predictions:
    """The predictions in a file.

    Raises:
        SlimlineError: the file is absent, damaged, of another form, or its rows differ in their number of classes.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise SlimlineError(
            "A predictions file cannot be read.",
            where=str(path),
            got=str(error),
            next_step=f"delete it and run snakemake again: rm '{path}'",
        ) from None
    if not table.schema.equals(SCHEMA):
        raise SlimlineError(
            "A predictions file has other columns.",
            where=str(path),
            got=", ".join(f"{field.name} {field.type}" for field in table.schema),
            expected=", ".join(f"{field.name} {field.type}" for field in SCHEMA),
        )
    lists = table.column("logits").combine_chunks()
    lengths = np.unique(lists.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) != 1:
        raise SlimlineError(
            "The rows of a predictions file do not have one and the same number of logits.",
            where=str(path),
            got=", ".join(map(str, lengths)) or "no rows",
        )
    return Predictions(
        sample_ids=table.column("sample_id").to_pylist(),
        labels=table.column("label").to_numpy(),
        logits=lists.flatten().to_numpy().reshape(len(lists), -1),
    )

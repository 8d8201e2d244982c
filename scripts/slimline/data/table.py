"""Parquet files from Python values.

`pa.array` and `pa.table` look whether a list might be from pandas, and import it for that: a quarter of a second in
every step that writes a table. Nothing here does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slimline.files import replacing


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> None:
    """Replaces `path`; equal values give an equal file.

    Args:
        path: a Parquet file.
        columns: the values of each column [n]; None where there is none.
        schema: the columns in their order, of strings or whole numbers.
    """
    arrays = [_array(columns[field.name], field.type) for field in schema]
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        builder = pa.lib.StringBuilder()
        builder.append_values(values)
        return builder.finish()
    there = np.array([value is not None for value in values], bool)
    numbers = np.array([value or 0 for value in values], kind.to_pandas_dtype())  # a type of numpy's, after all
    bitmap = np.packbits(there, bitorder="little")
    return pa.Array.from_buffers(kind, len(values), [pa.py_buffer(bitmap), pa.py_buffer(numbers)])

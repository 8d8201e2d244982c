import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from slimline.data.table import write_table

SCHEMA = pa.schema({"name": pa.string(), "side": pa.int32(), "row": pa.int64()})


def test_a_table_has_what_was_given(tmp_path):
    columns = {"row": range(3), "name": ["ä", None, ""], "side": [None, -7, 0]}
    write_table(tmp_path / "table.parquet", columns, SCHEMA)
    table = pq.read_table(tmp_path / "table.parquet")
    assert table.schema == SCHEMA
    assert table.to_pydict() == {"name": ["ä", None, ""], "side": [None, -7, 0], "row": [0, 1, 2]}


def test_the_data_steps_do_not_wait_for_pandas(tmp_path):
    code = f"""
import sys
from pathlib import Path
from data_fixtures import Steps, image_folder
from slimline.config.dataset import DatasetConfig
root = image_folder(Path({str(tmp_path)!r}) / "images", 9, 3)
Steps(DatasetConfig(name="image-folder", path=str(root), image_size=8), root.parent / "data").run()
sys.exit("pandas" in sys.modules or "torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0

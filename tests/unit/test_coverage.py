"""The table of what can be compressed: what counts, and what a step without a file says."""

import json
import subprocess
import sys

import pytest

from slimline.coverage.__main__ import Outcome, table, take
from slimline.coverage.steps import OUTCOME, STEPS, data_of_noise
from slimline.data.prepared import PreparedDataset


def test_images_are_of_imagenets_size(tmp_path):
    data = PreparedDataset.open(data_of_noise(tmp_path / "data"))
    assert data.stats.image_shape == (3, 224, 224)
    assert len(data.rows("train")) == 64


def test_what_has_no_file_is_not_counted():
    made, refused = Outcome(12.3, size_bytes=3 * 2**20), Outcome(4.0, reason="division by zero")
    page = table({"a": [made] * 4, "b": [made, refused, made, refused]})
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows[1] == "| a | 3.0 MiB, 12 s | 3.0 MiB, 12 s | 3.0 MiB, 12 s | 3.0 MiB, 12 s |"
    assert "not supported: division by zero" in rows[2]
    assert rows[3] == "| **of 2** | **2** | **1** | **2** | **1** |"


def test_a_step_that_takes_too_long_is_not_supported(tmp_path):
    outcome = take("resnet18", STEPS[0], tmp_path, tmp_path / "resnet18", limit_s=0.01)
    assert str(outcome) == "not supported: it takes more than 0 s"


def test_what_was_not_exported_is_not_quantized(tmp_path):
    assert str(take("resnet18", STEPS[2], tmp_path, tmp_path, 300)) == "not supported: it cannot be exported"


def test_an_error_of_ours_is_no_row(tmp_path):
    """There is no data in this folder."""
    with pytest.raises(RuntimeError, match="resnet18, export"):
        take("resnet18", STEPS[0], tmp_path, tmp_path / "resnet18", 300)


def test_what_a_library_refuses_is_a_reason(tmp_path):
    """Of a file that is no ONNX file nothing can be made."""
    data = data_of_noise(tmp_path / "data")
    (tmp_path / "model/export").mkdir(parents=True)
    for name in ("model.onnx", "export.json", "reference.safetensors"):
        (tmp_path / "model/export" / name).write_text("{}")
    step = "int8-onnxruntime"
    command = [sys.executable, "-m", "slimline.coverage.steps", "model", step, str(data), str(tmp_path / "model")]
    subprocess.run(command, check=True, capture_output=True)
    assert "cannot be quantized" in json.loads((tmp_path / "model" / step / OUTCOME).read_text())["not_supported"]

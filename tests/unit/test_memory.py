"""What rules ask a cluster for."""

import os

import pytest

from slimline.launch.memory import COPIES_SIDE_BY_SIDE, COPIES_TO_CONVERT, COPIES_TO_OPEN, memory_mb


@pytest.fixture
def vgg16(tmp_path):
    """A file of its size, with nothing in it."""
    file = tmp_path / "model.onnx"
    file.touch()
    os.truncate(file, 537_184_782)
    return str(file)


@pytest.mark.parametrize(
    ("n_files", "copies", "measured_mb"),
    [(1, COPIES_TO_OPEN, 1752), (3, COPIES_SIDE_BY_SIDE, 2239), (1, COPIES_TO_CONVERT, 4503)],
)
def test_a_large_model_gets_what_it_was_seen_to_take(vgg16, n_files, copies, measured_mb):
    assert 1.1 * measured_mb < memory_mb([vgg16] * n_files, copies, 2000) < 2 * measured_mb


def test_a_small_one_gets_what_the_rule_needs_anyhow(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"0" * 1000)
    assert memory_mb([str(tmp_path / "model.onnx")], COPIES_TO_CONVERT, 4000) == 4000


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        memory_mb([str(tmp_path / "model.onnx")], COPIES_TO_OPEN, 2000)
    assert caught.value.filename == str(tmp_path / "model.onnx")

"""Scoring a shipped file, and the file that keeps the answers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_fixtures import CLASSES, SHAPE, write_model, write_prepared
from onnx import TensorProto

from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.evaluation.prediction_file import Predictions, read_predictions, write_predictions
from slimline.evaluation.predictions import predict


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared")


@pytest.mark.parametrize(("split", "n_images"), [("test", 10), ("train", 4)])
def test_predictions_are_the_models_logits_on_the_split(tmp_path, prepared, split, n_images):
    weights = np.random.default_rng(1).normal(size=(int(np.prod(SHAPE)), CLASSES)).astype(np.float32)
    output = tmp_path / "predictions.parquet"
    predict(write_model(tmp_path / "m.onnx", weights=weights), prepared, output, split, batch_size=4, threads=1)
    predictions = read_predictions(output)
    dataset = PreparedDataset.open(prepared)
    rows = dataset.rows(split)
    assert len(rows) == n_images  # of the test split two full batches and a rest
    assert predictions.sample_ids == dataset.sample_ids(rows)
    assert predictions.labels.tolist() == dataset.labels[rows].tolist()
    assert predictions.logits.dtype == np.float32
    expected = dataset.read(rows).reshape(len(rows), -1).astype(np.float32) @ weights
    np.testing.assert_allclose(predictions.logits, expected, rtol=1e-5, atol=1e-3)


def test_the_same_run_gives_the_same_bytes(tmp_path, prepared):
    model = write_model(tmp_path / "m.onnx")
    outputs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for output in outputs:
        predict(model, prepared, output, "test", batch_size=3, threads=2)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused_by_name(tmp_path, prepared, bad):
    weights = np.zeros((int(np.prod(SHAPE)), CLASSES))
    weights[0, 0] = bad
    with pytest.raises(SlimlineError, match="NaN or infinity") as error:
        predict(write_model(tmp_path / "m.onnx", weights=weights), prepared, tmp_path / "p.parquet", "test", 4, 1)
    assert "of 10 images, first image-" in str(error.value)
    assert not (tmp_path / "p.parquet").exists()


def test_another_number_of_classes_is_refused(tmp_path, prepared):
    with pytest.raises(SlimlineError, match="another number of classes"):
        predict(write_model(tmp_path / "m.onnx", classes=5), prepared, tmp_path / "p.parquet", "test", 4, 1)


def test_another_image_size_is_refused(tmp_path, prepared):
    with pytest.raises(SlimlineError, match="fails on images of the dataset"):
        predict(write_model(tmp_path / "m.onnx", shape=(1, 5, 5)), prepared, tmp_path / "p.parquet", "test", 4, 1)


@pytest.mark.parametrize("wrong", [{"input_name": "pixels"}, {"input_type": TensorProto.FLOAT}])
def test_another_interface_is_refused(tmp_path, prepared, wrong):
    with pytest.raises(SlimlineError, match="input and output of a shipped one"):
        predict(write_model(tmp_path / "m.onnx", **wrong), prepared, tmp_path / "p.parquet", "test", 4, 1)


def test_a_damaged_model_is_refused(tmp_path, prepared):
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(SlimlineError, match="cannot be read"):
        predict(tmp_path / "m.onnx", prepared, tmp_path / "p.parquet", "test", 4, 1)


def test_an_empty_test_split_is_refused(tmp_path):
    prepared = write_prepared(tmp_path / "empty", n_test=0)
    with pytest.raises(SlimlineError, match="no images"):
        predict(write_model(tmp_path / "m.onnx"), prepared, tmp_path / "p.parquet", "test", 4, 1)


def make_predictions(n=3):
    logits = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
    return Predictions([f"image-{row}" for row in range(n)], np.arange(n, dtype=np.int64), logits)


def test_predictions_come_back_as_written(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(path, make_predictions())
    back = read_predictions(path)
    assert back.sample_ids == ["image-0", "image-1", "image-2"]
    assert back.labels.tolist() == [0, 1, 2]
    assert back.logits.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_the_columns_are_those_of_the_contract(tmp_path):
    write_predictions(tmp_path / "p.parquet", make_predictions())
    schema = pq.read_schema(tmp_path / "p.parquet")
    assert schema.names == ["sample_id", "label", "logits"]
    assert schema.types == [pa.string(), pa.int64(), pa.list_(pa.float32())]


def test_a_damaged_file_is_refused(tmp_path):
    write_predictions(tmp_path / "p.parquet", make_predictions())
    content = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(SlimlineError, match="cannot be read"):
        read_predictions(tmp_path / "p.parquet")


def test_other_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"sample_id": ["a"], "label": [0]}), tmp_path / "p.parquet")
    with pytest.raises(SlimlineError, match="other columns"):
        read_predictions(tmp_path / "p.parquet")


def test_ragged_logits_are_refused(tmp_path):
    logits = pa.array([[0.0, 1.0], [2.0]], type=pa.list_(pa.float32()))
    pq.write_table(pa.table({"sample_id": ["a", "b"], "label": [0, 1], "logits": logits}), tmp_path / "p.parquet")
    with pytest.raises(SlimlineError, match="same number of logits"):
        read_predictions(tmp_path / "p.parquet")

"""Export and quantization of a small model with real images."""

import gzip

import numpy as np
import onnx
import pytest
import torch
from int8_files import assert_integers_compute_as_floats, largest_number
from processors import made_up_processor

from slimline.compression.quantize import calibration_images, quantize
from slimline.compression.quantize_onnxruntime import CalibrationImages
from slimline.config.model import ModelConfig
from slimline.config.variants import QuantizeConfig
from slimline.data.batches import random_sample
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.models import export as export_module
from slimline.models.artifact import build, load_artifact, save_artifact
from slimline.models.export import export
from slimline.models.layers import last_layer
from slimline.models.onnx_file import load_reference, run_onnx
from slimline.models.registry import architecture_for
from slimline.models.sparsity import zero_smallest


@pytest.fixture(scope="module")
def exported(digits, tmp_path_factory):
    """Folder with the artifact, the ONNX file and its description of an untrained network."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    shape = architecture_for(ModelConfig(name="convnet"), PreparedDataset.open(digits).stats)
    save_artifact(folder, build(shape), shape)
    run_export(folder, digits)
    return folder


def run_export(folder, digits):
    export(
        folder, digits, variant="dense", seed=0,
        output=folder / "model.onnx", report=folder / "export.json", reference=folder / "reference.safetensors",
    )  # fmt: skip


def run_quantize(parent, digits, folder, **options):
    quantize(
        parent / "model.onnx", parent / "export.json", parent / "reference.safetensors", digits,
        QuantizeConfig(**options), variant="int8", seed=0, output=folder / "model.onnx", report=folder / "export.json",
    )  # fmt: skip
    return read_json(folder / "export.json")


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_file_computes_what_the_model_computes_at_any_batch_size(exported, digits, batch_size):
    data = PreparedDataset.open(digits)
    images = data.read(data.rows("test")[:batch_size])
    with torch.no_grad():
        expected = load_artifact(exported)[0](torch.from_numpy(images)).numpy()
    assert np.abs(run_onnx(exported / "model.onnx", images) - expected).max() <= 1e-4


def test_the_description_is_true(exported):
    report = read_json(exported / "export.json")
    assert report["parity"]["max_abs"] <= report["parity"]["tolerance"] == 1e-4
    assert report["size_bytes"] == (exported / "model.onnx").stat().st_size
    compressed = gzip.compress((exported / "model.onnx").read_bytes(), 9, mtime=0)
    assert report["size_gzip_bytes"] == len(compressed) < report["size_bytes"]
    assert report["sparsity"] == 0.0
    assert report["quantized_operators"] == 0
    assert report["parameters"] == 53_098


def test_zeros_make_a_file_smaller_once_it_is_compressed(exported, digits, tmp_path):
    model, architecture = load_artifact(exported)
    zero_smallest(model, 0.8)
    save_artifact(tmp_path, model, architecture)
    run_export(tmp_path, digits)
    dense, sparse = (read_json(folder / "export.json") for folder in (exported, tmp_path))
    assert sparse["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert sparse["size_bytes"] == dense["size_bytes"]
    assert sparse["size_gzip_bytes"] < 0.4 * dense["size_gzip_bytes"]


def test_the_file_says_nothing_about_the_machine_that_wrote_it(exported):
    model = onnx.load(exported / "model.onnx")
    assert not model.metadata_props
    assert all(not node.metadata_props and not node.doc_string for node in model.graph.node)
    assert b"site-packages" not in (exported / "model.onnx").read_bytes()


def test_the_images_of_the_proof_are_drawn_by_the_seed_and_not_the_first(exported, digits):
    """In a folder of images the first ones are all of one class, about which any constant answer is right."""
    data = PreparedDataset.open(digits)
    images, _ = load_reference(exported / "reference.safetensors")
    rows = data.rows("train")
    assert np.array_equal(images, data.read(random_sample(rows, 64, 0)))
    assert not np.array_equal(images, data.read(rows[:64]))


def test_large_logits_may_differ_by_more(exported, digits, tmp_path):
    model, architecture = load_artifact(exported)
    with torch.no_grad():
        last_layer(model).weight *= 100.0
        last_layer(model).bias *= 100.0
    save_artifact(tmp_path, model, architecture)
    run_export(tmp_path, digits)
    _, expected = load_reference(tmp_path / "reference.safetensors")
    agreement = read_json(tmp_path / "export.json")["parity"]
    assert expected.std() > 5
    assert agreement["tolerance"] == pytest.approx(1e-4 * expected.std())
    assert agreement["max_abs"] <= agreement["tolerance"]


def test_a_file_that_computes_something_else_is_refused(exported, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "PARITY_TOLERANCE", 0.0)
    for name in ("model.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    with pytest.raises(SlimlineError, match="does not compute what the model computes"):
        run_export(tmp_path, digits)


def test_int8_runs_as_int8_is_smaller_and_agrees(exported, digits, tmp_path):
    report = run_quantize(exported, digits, tmp_path)
    parent = read_json(exported / "export.json")
    assert report["operators"]["QLinearConv"] == 2
    assert report["quantized_operators"] >= 3
    assert report["size_bytes"] < 0.4 * parent["size_bytes"]
    assert report["parity"]["argmax_agreement"] >= 0.9
    assert 0 < report["parity"]["max_abs"] < 1


def test_logits_stay_in_float_so_that_classes_do_not_tie(exported, digits, tmp_path):
    run_quantize(exported, digits, tmp_path)
    data = PreparedDataset.open(digits)
    logits = np.sort(run_onnx(tmp_path / "model.onnx", data.read(data.rows("test"))), axis=1)
    assert (logits[:, -1] == logits[:, -2]).mean() == 0


def test_activations_are_unsigned_and_weights_per_channel(exported, digits, tmp_path):
    run_quantize(exported, digits, tmp_path)
    graph = onnx.load(tmp_path / "model.onnx").graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    zero_points = {
        node.input[2]: constants[node.input[2]].data_type for node in graph.node if node.op_type == "QuantizeLinear"
    }
    assert set(zero_points.values()) == {onnx.TensorProto.UINT8}
    kernels = [
        tensor for tensor in constants.values() if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    scales = [tensor for name, tensor in constants.items() if name.endswith("_scale") and tensor.dims]
    assert len(kernels) == 2
    assert {32, 64} <= {tensor.dims[0] for tensor in scales}


@pytest.mark.parametrize(
    ("reduce_range", "architecture", "instructions", "largest"),
    [
        (None, "x86_64", "avx2 avx512_vnni", 127),
        (None, "x86_64", "avx2", 64),
        (None, "aarch64", "asimd", 127),
        (True, "x86_64", "avx2 avx512_vnni", 64),
        (False, "x86_64", "avx2", 127),
    ],
)
def test_weights_use_as_many_bits_as_the_cpu_can_add(
    exported, digits, tmp_path, monkeypatch, reduce_range, architecture, instructions, largest
):
    made_up_processor(monkeypatch, tmp_path, instructions, architecture=architecture)
    report = run_quantize(exported, digits, tmp_path, reduce_range=reduce_range)
    assert largest_number(tmp_path / "model.onnx") == largest
    assert report["quantization"]["weight_bits"] == (7 if largest == 64 else 8)


def test_with_seven_bits_no_sum_is_cut_off_on_any_cpu(exported, digits, tmp_path):
    """Integer kernels give what the same numbers give in float, operator by operator."""
    run_quantize(exported, digits, tmp_path, reduce_range=True)
    assert_integers_compute_as_floats(tmp_path / "model.onnx", digits)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_ranges_are_taken_by_any_method_from_any_number_of_images(exported, digits, tmp_path, method):
    """The last batch is smaller than the others."""
    report = run_quantize(exported, digits, tmp_path, method=method, calibration_samples=100)
    assert (report["quantization"]["method"], report["quantization"]["calibration_samples"]) == (method, 100)
    assert report["quantized_operators"] >= 3
    assert report["parity"]["argmax_agreement"] >= 0.9


def test_calibration_takes_training_images_alone_and_repeats(digits):
    data = PreparedDataset.open(digits)
    first, again, other = (calibration_images(data, 50, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    train = {image.tobytes() for image in data.read(data.rows("train"))}
    assert all(image.tobytes() in train for image in first)


def test_calibration_reader_gives_every_image_once():
    reader, seen = CalibrationImages(np.arange(130, dtype=np.uint8).reshape(130, 1, 1, 1)), []
    while (batch := reader.get_next()) is not None:
        seen.extend(batch["images"].ravel())
    assert seen == list(range(130))


@pytest.mark.parametrize(("side_px", "sizes"), [(28, [64, 6]), (224, [5] * 14)])
def test_large_images_calibrate_in_small_batches(side_px, sizes):
    images = np.zeros((70, 1, side_px, side_px), np.uint8)
    reader = CalibrationImages(images)
    assert [len(batch["images"]) for batch in iter(reader.get_next, None)] == sizes

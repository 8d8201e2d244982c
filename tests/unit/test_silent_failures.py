"""The known ways in which a compressed file goes wrong without an error: each is planted for real, caught and named.

Files are made by the libraries, with the options that lead there, or by the smallest change of a good file.
"""

import csv
import shutil

import numpy as np
import onnx
import pytest
import torch
from comparison_workspace import Workspace
from evaluation_fixtures import make_experiment
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from slimline.compression import quantize as quantize_module
from slimline.compression.quantize import quantize
from slimline.compression.quantize_onnxruntime import CalibrationImages
from slimline.compression.weight_range import reduces_range
from slimline.config.evaluation import LatencyConfig
from slimline.config.model import ModelConfig
from slimline.config.variants import QuantizeConfig
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError
from slimline.evaluation import prove as prove_module
from slimline.evaluation.latency import References, measure_latency, read_image_shape
from slimline.evaluation.proof_record import Proof
from slimline.evaluation.prove import prove
from slimline.evaluation.record_base import read_record, write_record
from slimline.failed import Failure, mark
from slimline.files import read_json, write_json
from slimline.models.artifact import build, save_artifact
from slimline.models.export import export
from slimline.models.onnx_file import load_reference
from slimline.models.registry import architecture_for
from slimline.models.session import INPUT, OUTPUT


@pytest.fixture(scope="module")
def dense(digits, tmp_path_factory):
    """Folder of an exported network, which nobody has trained."""
    folder = tmp_path_factory.mktemp("dense")
    torch.manual_seed(0)
    shape = architecture_for(ModelConfig(name="convnet"), PreparedDataset.open(digits).stats)
    save_artifact(folder, build(shape), shape)
    export(
        folder, digits, variant="dense", seed=0,
        output=folder / "model.onnx", report=folder / "export.json", reference=folder / "reference.safetensors",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def int8(dense, digits, tmp_path_factory):
    """Folder of that network quantized as slimline does it."""
    folder = tmp_path_factory.mktemp("int8")
    quantize(
        dense / "model.onnx", dense / "export.json", dense / "reference.safetensors", digits, QuantizeConfig(),
        variant="int8", seed=0, output=folder / "model.onnx", report=folder / "export.json",
    )  # fmt: skip
    return folder


@pytest.fixture
def planted(dense, int8, tmp_path):
    """Where a bad file goes, with the claims of a good int8 file."""
    shutil.copy(int8 / "export.json", tmp_path / "export.json")
    return tmp_path / "model.onnx"


def proved(path, dense, *, parent=True):
    """The proof of the file beside its `export.json`."""
    output = path.parent / "proof.json"
    parent_report = dense / "export.json" if parent else None
    reference = dense / "reference.safetensors"
    prove(path, path.parent / "export.json", reference, parent_report, output, variant="int8", seed=0)
    return read_record(output, Proof)


def codes(proof):
    return [problem.code for problem in proof.problems]


def quantize_by_hand(dense, path, *, exclude_last, **options):
    """ONNX Runtime's own static quantization, with the options that a user may give it or leave out."""
    images, _ = load_reference(dense / "reference.safetensors")
    last = onnx.load(dense / "model.onnx").graph.node[-1].name
    quantize_static(
        dense / "model.onnx", path, CalibrationImages(images),
        quant_format=QuantFormat.QDQ, nodes_to_exclude=[last] if exclude_last else [], **options,
    )  # fmt: skip


def test_a_good_file_has_no_problem(int8, dense):
    proof = proved(int8 / "model.onnx", dense)
    assert codes(proof) == []
    assert proof.activation_types == {"uint8": 4}
    assert proof.weight_types == {"int8": 3}
    assert proof.weight_bits == (7 if reduces_range(QuantizeConfig()) else 8)
    assert (proof.integer_operators, proof.logits_from, proof.symbolic_batch) == (3, "Gemm", True)
    assert proof.batch_sizes == [1, 2, 7, 64]


def test_a_good_float_file_has_no_problem(dense):
    proof = proved(dense / "model.onnx", dense, parent=False)
    assert codes(proof) == []
    assert (proof.dtype, proof.opset, proof.integer_operators, proof.weight_bits) == ("fp32", 20, 0, None)
    assert proof.max_abs <= proof.tolerance


def test_signed_activations_which_are_the_default_are_caught(planted, dense):
    quantize_by_hand(dense, planted, exclude_last=True)
    proof = proved(planted, dense)
    assert codes(proof) == ["signed-activations"]
    assert proof.weight_bits == 8
    assert proof.activation_types["int8"] > 0


def test_quantized_logits_are_caught(planted, dense):
    quantize_by_hand(dense, planted, exclude_last=False, activation_type=QuantType.QUInt8, per_channel=True)
    proof = proved(planted, dense)
    assert codes(proof) == ["quantized-logits"]
    assert proof.logits_from == "DequantizeLinear"
    assert "rounded to 8 bits" in proof.problems[0].message


def test_logits_that_tie_are_caught_whatever_rounds_them(planted, int8, dense):
    model = onnx.load(int8 / "model.onnx")
    producer = next(node for node in model.graph.node if node.output[0] == "logits")
    producer.output[0] = "fine"
    model.graph.node.append(helper.make_node("Round", ["fine"], ["logits"]))
    onnx.save(model, planted)
    proof = proved(planted, dense)
    assert "quantized-logits" in codes(proof)
    assert proof.tied_share > 0.5


def cast_for_no_kernel(model, producer):
    producer.output[0] = "fine"
    model.graph.node.extend([
        helper.make_node("Cast", ["fine"], ["half"], to=onnx.TensorProto.BFLOAT16),
        helper.make_node("Relu", ["half"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["logits"], to=onnx.TensorProto.FLOAT),
    ])  # fmt: skip


def read_nothing(model, producer):
    model.graph.node[0].input[0] = "nowhere"


def reshape_to_what_does_not_fit(model, producer):
    producer.output[0] = "fine"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3]), "shape"))
    model.graph.node.append(helper.make_node("Reshape", ["fine", "shape"], ["logits"]))


@pytest.mark.parametrize("spoil", [cast_for_no_kernel, read_nothing, reshape_to_what_does_not_fit])
def test_a_file_that_its_runtime_refuses_ends_its_variant_and_not_the_run(dense, digits, tmp_path, monkeypatch, spoil):
    library = quantize_module.quantize_onnxruntime

    def spoiled(*arguments):
        model, facts = library(*arguments)
        spoil(model, next(node for node in model.graph.node if node.output[0] == "logits"))
        return model, facts

    monkeypatch.setattr(quantize_module, "quantize_onnxruntime", spoiled)
    with pytest.raises(NotSupportedError, match="The quantized file cannot be used") as refused:
        quantize(
            dense / "model.onnx", dense / "export.json", dense / "reference.safetensors", digits,
            QuantizeConfig(calibration_samples=32), variant="int8", seed=0,
            output=tmp_path / "model.onnx", report=tmp_path / "export.json",
        )  # fmt: skip
    assert len(refused.value.reason) > len("The quantized file cannot be used: ")


def test_a_float_file_that_is_said_to_be_bf16_is_caught(planted, dense):
    shutil.copy(dense / "model.onnx", planted)
    claims = planted.parent / "export.json"
    write_json(claims, read_json(claims) | {"dtype": "bf16"})
    assert codes(proved(planted, dense)) == ["runs-in-float", "larger-than-float"]


def test_an_int8_file_without_any_quantized_node_is_caught(planted, dense):
    shutil.copy(dense / "model.onnx", planted)
    proof = proved(planted, dense)
    assert "not-quantized" in codes(proof)
    assert (proof.quantize_nodes, proof.dequantize_nodes) == (0, 0)


def test_a_file_with_quantized_nodes_that_runs_in_float_is_caught(planted, dense):
    """Weights alone in 8 bits: small, and as slow as ever."""
    model = onnx.load(dense / "model.onnx")
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Conv"]:
        weights = numpy_helper.to_array(by_name[node.input[1]])
        scale = np.float32(np.abs(weights).max() / 127)
        name = node.input[1]
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(np.round(weights / scale).astype(np.int8), f"{name}_int8"),
                numpy_helper.from_array(np.asarray(scale), f"{name}_scale"),
            ]
        )
        model.graph.initializer.remove(by_name[name])
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name]))
    onnx.save(model, planted)
    proof = proved(planted, dense)
    assert codes(proof) == ["runs-in-float"]
    assert proof.dequantize_nodes == 2


def test_a_file_larger_than_its_own_fp32_is_caught(planted, dense):
    """Weights that stay in float, with a pair of q/dq nodes behind each."""
    options = {"activation_type": QuantType.QUInt8, "extra_options": {"AddQDQPairToWeight": True}}
    quantize_by_hand(dense, planted, exclude_last=True, **options)
    proof = proved(planted, dense)
    assert "larger-than-float" in codes(proof)
    assert proof.size_bytes > proof.float_size_bytes == (dense / "model.onnx").stat().st_size


def test_a_file_for_one_size_of_batch_is_caught(planted, dense):
    model = onnx.load(dense / "model.onnx")
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, planted)
    with pytest.raises(NotSupportedError, match="cannot be used") as error:
        proved(planted, dense)
    assert error.value.code == "wrong-batch"
    assert "takes batches of 1 images, and fails with 2, 7, 64" in error.value.reason


def test_logits_that_depend_on_the_batch_are_caught(planted, dense):
    """What a normalisation does that was exported as if in training."""
    model = onnx.load(dense / "model.onnx")
    last = model.graph.node[-1]
    last.output[0] = "alone"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], dtype=np.int64), "batch_axis"))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["alone", "batch_axis"], ["of_batch"], keepdims=1),
            helper.make_node("Sub", ["alone", "of_batch"], ["logits"]),
        ]
    )
    onnx.save(model, planted)
    with pytest.raises(NotSupportedError) as error:
        proved(planted, dense)
    assert error.value.code == "wrong-batch"
    assert "depend on the batch" in error.value.reason


def test_a_file_that_answers_by_chance_is_caught(planted, int8, dense):
    model = onnx.load(int8 / "model.onnx")
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm" and node.output[0] == "logits")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == gemm.input[1])
    values = numpy_helper.to_array(weights)
    shuffled = np.random.default_rng(0).permutation(values.ravel()).reshape(values.shape)
    weights.CopyFrom(numpy_helper.from_array(shuffled, weights.name))
    onnx.save(model, planted)
    proof = proved(planted, dense)
    assert codes(proof) == ["parity"]
    assert proof.argmax_agreement < 0.5


def test_a_float_file_that_computes_something_else_is_caught(planted, dense):
    shutil.copy(dense / "model.onnx", planted)
    claim = read_json(dense / "export.json")
    write_json(planted.parent / "export.json", claim | {"parity": claim["parity"] | {"tolerance": 1e-12}})
    assert codes(proved(planted, dense, parent=False)) == ["parity"]


def test_a_file_that_no_runtime_loads_is_caught(planted, dense):
    planted.write_bytes(b"not a model")
    with pytest.raises(NotSupportedError) as error:
        proved(planted, dense)
    assert error.value.code == "not-loaded"


def die_by(signal_name, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho last words >&2\nkill -{signal_name} $$\n")
    python.chmod(0o700)
    monkeypatch.setattr(prove_module.sys, "executable", str(python))


def test_a_runtime_that_dies_of_a_file_is_caught(planted, dense, tmp_path, monkeypatch):
    die_by("SEGV", tmp_path, monkeypatch)
    with pytest.raises(NotSupportedError, match="cannot be used") as error:
        proved(planted, dense)
    assert (error.value.code, error.value.got) == ("crashed", "the runtime dies of the file (SIGSEGV)")


def test_a_process_that_was_killed_from_outside_says_nothing_about_the_file(planted, dense, tmp_path, monkeypatch):
    die_by("KILL", tmp_path, monkeypatch)
    with pytest.raises(RuntimeError, match=r"exit code -9:\nlast words"):
        proved(planted, dense)


def quantized_experiment():
    """The experiment of the comparison's tests with int8 in the place of what ships there."""
    return make_experiment(
        variants={"pruned": {"from": "dense", "quantize": {}}, "pruned-int8": {"from": "dense", "quantize": {}}}
    )


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def compared(workspace):
    """Metrics, and the statuses of the variant that ships where nothing is wrong."""
    metrics = workspace.compare(experiment=quantized_experiment())
    with (workspace.folder / "metrics.csv").open(newline="") as file:
        return metrics, [row["artifact_status"] for row in csv.DictReader(file) if row["variant"] == "pruned"]


def test_where_nothing_is_wrong_the_variant_ships(workspace):
    metrics, statuses = compared(workspace)
    assert metrics.verdict.recommended == "pruned"
    assert statuses == ["ok", "ok"]


PLANTS = {
    "signed-activations": lambda dense, path: quantize_by_hand(dense, path, exclude_last=True),
    "quantized-logits": lambda dense, path: quantize_by_hand(
        dense, path, exclude_last=False, activation_type=QuantType.QUInt8, per_channel=True
    ),
    "not-quantized": lambda dense, path: shutil.copy(dense / "model.onnx", path),
}


@pytest.mark.parametrize("code", PLANTS)
def test_what_has_a_problem_never_ships(code, workspace, planted, dense):
    PLANTS[code](dense, planted)
    proof = proved(planted, dense)
    found = next(problem for problem in proof.problems if problem.code == code)
    place = workspace.folder / "pruned/seed-1/proof.json"
    write_record(place, proof.model_copy(update={"variant": "pruned", "seed": 1, "onnx_sha256": "d" * 64}))
    metrics, statuses = compared(workspace)
    assert metrics.verdict.recommended == "dense"
    assert statuses == ["ok", f"failed: {proof.problems[0].message}"]
    assert any(found.message in reason for reason in metrics.verdict.reasons)
    record = metrics.variants[1]
    assert (record.variant, record.status) == ("pruned", "fail")
    assert code in [problem.code for problem in record.problems]


def compute_every_image_often(good, path, times):
    """An int8 file with the answers of a good one, which does all of its work `times` times over."""
    model = onnx.load(good)
    for node in model.graph.node:
        node.input[:] = ["copies" if name == INPUT else name for name in node.input]
        node.output[:] = ["answers" if name == OUTPUT else name for name in node.output]
    constants = {"times": [times, 1, 1, 1], "0": [0]}
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    model.graph.node.insert(0, helper.make_node("Tile", [INPUT, "times"], ["copies"]))
    model.graph.node.append(helper.make_node("Shape", [INPUT], ["n"], start=0, end=1))
    model.graph.node.append(helper.make_node("Slice", ["answers", "0", "n", "0"], [OUTPUT]))
    onnx.save(model, path)


def test_a_slower_int8_file_is_timed_and_never_ships(workspace, planted, int8, dense, digits):
    """All that can be seen in the file is right; only the clock tells."""
    compute_every_image_often(int8 / "model.onnx", planted, times=50)
    proof = proved(planted, dense)
    assert codes(proof) == []
    references = References(dense / "model.onnx", "dense", dense / "model.onnx", "int8")
    settings = LatencyConfig(warmup_runs=2, timed_runs=105)
    shape = read_image_shape(digits / "stats.json")
    for run in workspace.runs:
        if run.variant == "pruned":
            measure_latency(planted, references, settings, shape, run.latency, run.variant, run.seed)
    metrics, statuses = compared(workspace)
    assert metrics.verdict.recommended == "dense"
    assert statuses == ["slower than its own fp32"] * 2
    assert metrics.variants[1].status == "pass"
    assert "slower than its own fp32, dense in ONNX Runtime" in metrics.verdict.reasons[0]


def against_fp32(ratio):
    """Times of a quantized file whose parent is an fp32 file in the same runtime."""
    parent = {"variant": "dense", "p50_ms": 1.0, "drift": 0.0, "precision": "f32", "ratio_p50": ratio}
    return {"ratio_parent_p50": ratio, "floats": [parent], "ratio_float_p50": ratio}


def test_what_is_slower_than_its_own_fp32_never_ships(workspace):
    for run in workspace.runs:
        if run.variant == "pruned":
            write_json(run.latency, read_json(run.latency) | against_fp32(1.3))
    metrics, statuses = compared(workspace)
    assert metrics.verdict.recommended == "dense"
    assert statuses == ["slower than its own fp32"] * 2
    assert metrics.variants[1].status == "pass"
    assert (
        "It cannot be recommended: 1.30x slower than its own fp32, dense in ONNX Runtime" in metrics.verdict.reasons[0]
    )


def test_what_is_slower_within_the_error_of_the_timing_ships(workspace):
    for run in workspace.runs:
        if run.variant == "pruned":
            write_json(run.latency, read_json(run.latency) | against_fp32(1.04))
    metrics, statuses = compared(workspace)
    assert metrics.verdict.recommended == "pruned"
    assert statuses == ["ok", "ok"]


def test_what_could_not_be_used_has_a_row_with_the_reason_and_no_figures(workspace):
    failure = Failure("pruned", 1, "prove", "wrong-batch", "The exported file cannot be used: it takes batches of 1")
    run = next(run for run in workspace.runs if (run.variant, run.seed) == ("pruned", 1))
    mark([run.proof, run.predictions, run.latency], failure)
    metrics, statuses = compared(workspace)
    assert metrics.verdict.recommended == "dense"
    assert statuses == ["ok", f"failed: {failure.reason}"]
    (failed,) = metrics.failed_variants
    assert (failed.variant, failed.problem.code, failed.failed_seeds) == ("pruned", "wrong-batch", [1])
    assert f"pruned failed: {failure.reason} (seed 1)." in metrics.verdict.reasons
    with (workspace.folder / "metrics.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if (row["variant"], row["seed"]) == ("pruned", "1"))
    assert {name for name, value in row.items() if value} == {
        *("experiment", "variant", "parent", "seed", "status", "artifact_status")
    }

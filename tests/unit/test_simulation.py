"""Fake quantization: the numbers, their gradients, and that the int8 file computes what was trained."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn
from training_fixtures import history, same, stopping_after, train, training_spec, with_recipe

from slimline.compression import quantize_aware
from slimline.compression.graph import ranges_of_values, set_ranges
from slimline.compression.quantize import quantize
from slimline.compression.simulation import (
    FrozenBatchNorm2d,
    SimulatedConv2d,
    rounded_values,
    rounded_weights,
    simulate,
    take_away,
)
from slimline.compression.weight_range import FULL, REDUCED, largest_weight
from slimline.config.model import ModelConfig
from slimline.config.variants import QuantizeConfig
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError
from slimline.files import read_json
from slimline.models.architecture import Architecture
from slimline.models.artifact import build, load_artifact, save_artifact
from slimline.models.export import export
from slimline.models.layers import last_layer
from slimline.models.onnx_file import run_onnx
from slimline.models.registry import architecture_for
from slimline.training.spec import TrainingSpec
from slimline.training.stop import StoppedError


def layer_with_range(low, high):
    layer = SimulatedConv2d(1, 1, 1)
    for part, value in (("low", low), ("high", high), ("batches", 1)):
        layer.register_buffer(f"input_{part}", torch.tensor(value))
    return layer.eval()


def test_values_are_rounded_to_256_levels_of_which_zero_is_one():
    layer = layer_with_range(-1.0, 4.1)
    rounded = rounded_values(layer, "input", torch.linspace(-2, 6, 5000))
    levels = rounded.unique()
    assert len(levels) == 256
    assert 0.0 in levels
    np.testing.assert_allclose(torch.diff(levels), 5.1 / 255, rtol=1e-4)
    np.testing.assert_allclose([levels.min(), levels.max()], [-1.0, 4.1], atol=5.1 / 255)


def test_gradients_pass_where_values_are_in_range_and_only_there():
    layer = layer_with_range(-1.0, 4.1)
    values = torch.tensor([-3.0, -0.5, 0.0, 3.9, 7.0], requires_grad=True)
    (rounded_values(layer, "input", values) * torch.arange(1.0, 6.0)).sum().backward()
    assert values.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]


@pytest.mark.parametrize("largest", [FULL, *REDUCED.values()])
def test_weights_are_rounded_per_output_channel_and_take_whole_gradients(largest):
    weight = torch.randn(4, 3, 3, 3) * torch.tensor([1e-3, 1.0, 50.0, 0.0]).view(4, 1, 1, 1)
    weight.requires_grad_()
    rounded = rounded_weights(weight, largest)
    steps = weight.detach().abs().amax((1, 2, 3)) / largest
    for channel in range(3):
        numbers = rounded[channel].detach() / steps[channel]
        np.testing.assert_allclose(numbers, numbers.round(), atol=1e-3)
        assert largest - 1 < numbers.abs().max().round() <= largest + 0.5
    assert not rounded[3].any()
    factors = torch.randn_like(weight)
    (rounded * factors).sum().backward()
    assert torch.equal(weight.grad, factors)


def test_a_gradient_is_that_of_the_layer_with_the_rounded_numbers():
    """The straight-through estimator in one sentence, checked against torch's own gradient."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(3 * 16, 2))
    simulate(model, FULL)
    images = torch.randn(4, 2, 6, 6)
    layer(images).square().sum().backward()
    inputs, weights = rounded_values(layer.eval(), "input", images), rounded_weights(layer.weight, FULL).detach()
    weights.requires_grad_()
    nn.functional.conv2d(inputs, weights, layer.bias).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weights.grad)


def test_ranges_follow_batches_in_training_only():
    layer = layer_with_range(0.0, 0.0)
    layer.input_batches.zero_()
    layer.train()
    rounded_values(layer, "input", torch.tensor([1.0, 2.0]))
    assert (layer.input_low.item(), layer.input_high.item()) == (0.0, 2.0)  # zero belongs to every range
    rounded_values(layer, "input", torch.tensor([-1.0, 4.0]))
    assert layer.input_low.item() == pytest.approx(-0.01)
    assert layer.input_high.item() == pytest.approx(2.02)
    rounded_values(layer, "input", torch.zeros(0))  # a rank without images
    layer.eval()
    rounded_values(layer, "input", torch.tensor([100.0]))
    assert layer.input_high.item() == pytest.approx(2.02)


def test_rounding_then_folding_is_folding_then_rounding():
    """Why batch normalisation need not be folded in training."""
    weight, factors = torch.randn(5, 4, 3, 3), torch.tensor([2.0, -0.3, 1e-4, 7.0, -1.0]).view(5, 1, 1, 1)
    torch.testing.assert_close(rounded_weights(weight * factors, FULL), rounded_weights(weight, FULL) * factors)


def architecture(name):
    return Architecture(
        name=name, channels=3, height=16, width_px=16, num_classes=5, mean=(100.0,) * 3, std=(60.0,) * 3,
        class_names=tuple("abcde"),
    )  # fmt: skip


def test_what_is_simulated_can_be_taken_away_and_the_last_layer_never_is():
    torch.manual_seed(0)
    model = build(architecture("resnet8"))
    plain = [(name, type(module)) for name, module in model.named_modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    simulate(model, FULL)
    assert model.state_dict().keys() > weights.keys()
    assert type(last_layer(model)) is nn.Linear
    n_layers = sum(isinstance(module, SimulatedConv2d) for module in model.modules())
    assert n_layers > 5
    model.train()(torch.rand(2, 3, 16, 16) * 255)
    ranges = take_away(model)
    assert [(name, type(module)) for name, module in model.named_modules()] == plain
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    inputs = [name for name in ranges if name.endswith(".input")]
    outputs = [name for name in ranges if name.endswith(".output")]
    assert len(inputs) == n_layers
    assert outputs  # where residual branches are added
    assert all(low <= 0 <= high and high > low for low, high in ranges.values())


def test_batch_normalisation_keeps_the_statistics_of_the_parent():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 4, 2))
    simulate(model, FULL)
    assert type(model[1]) is FrozenBatchNorm2d
    before = model[1].running_mean.clone()
    model.train()(torch.randn(8, 1, 2, 2)).sum().backward()
    assert torch.equal(model[1].running_mean, before)
    assert model[1].weight.grad is not None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["convnet", "resnet8"])
def test_the_int8_file_computes_what_was_trained(digits, tmp_path, runtime, name):
    """Ranges and weights of the file are those of the simulation, so that little more than rounding is between them."""
    torch.manual_seed(0)
    config = QuantizeConfig(runtime=runtime, epochs=1, calibration_samples=64)
    data = PreparedDataset.open(digits)
    shape = architecture_for(ModelConfig(name=name), data.stats)
    model = build(shape)
    images = torch.from_numpy(data.read(data.rows("train")[:96]))
    labels = torch.from_numpy(data.labels[data.rows("train")[:96]])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(30):
        if step == 20:
            simulate(model, largest_weight(config))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        simulated = model.eval()(images).numpy()
    ranges = take_away(model)
    with torch.no_grad():
        in_float = model(images).numpy()
    save_artifact(tmp_path, model, replace(shape, ranges=tuple((key, *range_) for key, range_ in ranges.items())))
    assert {name: (low, high) for name, low, high in load_artifact(tmp_path)[1].ranges} == ranges
    export(
        tmp_path, digits, variant="qat", seed=0, output=tmp_path / "float.onnx", report=tmp_path / "float.json",
        reference=tmp_path / "reference.safetensors",
    )  # fmt: skip
    quantize(
        tmp_path / "float.onnx", tmp_path / "float.json", tmp_path / "reference.safetensors", digits,
        config, variant="qat", seed=0,
        output=tmp_path / "model.onnx", report=tmp_path / "export.json", trained=tmp_path / "model.json",
    )  # fmt: skip
    report = read_json(tmp_path / "export.json")
    assert report["quantization"]["trained_ranges"] >= len(ranges) - 2
    deployed = run_onnx(tmp_path / "model.onnx", images.numpy())
    assert (deployed.argmax(1) == simulated.argmax(1)).mean() > 0.98
    assert np.abs(deployed - simulated).mean() < 0.6 * np.abs(in_float - simulated).mean()


def test_ranges_that_find_no_layer_are_refused_and_not_forgotten():
    """The export folds the weights of products of tokens under names of its own."""
    product = helper.make_node("MatMul", ["tokens", "val_14"], ["mixed"])
    model = helper.make_model(helper.make_graph([product], "attention", [], []))
    with pytest.raises(NotSupportedError, match="do not find their layers"):
        ranges_of_values(model, {"mlp.0.input": (0.0, 1.0), "mlp.0.output": (0.0, 1.0)})
    product.input[1] = "mlp.0.weight"
    model = helper.make_model(helper.make_graph([product], "named", [], []))
    assert ranges_of_values(model, {"mlp.0.input": (0.0, 1.0)}) == {"tokens": (0.0, 1.0)}


def test_a_range_of_zeros_alone_leaves_the_scale_that_is_there():
    nodes = [helper.make_node("QuantizeLinear", [name, f"{name}.scale", "zero"], [f"{name}.8"]) for name in ("a", "b")]
    constants = [numpy_helper.from_array(np.float32(0.5), f"{name}.scale") for name in ("a", "b")]
    zero = numpy_helper.from_array(np.uint8(0), "zero")
    model = helper.make_model(helper.make_graph(nodes, "two", [], [], [*constants, zero]))
    assert set_ranges(model, {"a": (0.0, 0.0), "b": (0.0, 2.55)}) == 1
    found = {tensor.name: float(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    assert found == {"a.scale": 0.5, "b.scale": pytest.approx(0.01), "zero": 0.0}


@pytest.mark.parametrize(
    ("name", "refused"),
    [("vit_tiny", True), ("convnext_tiny", True), ("resnet8", False), ("mobilenet_v3_small", False)],
)
def test_what_no_range_would_find_is_refused_before_it_is_trained(digits, name, refused):
    stats = replace(PreparedDataset.open(digits).stats, height=64, width=64)
    architecture = architecture_for(ModelConfig(name=name), stats)
    model = build(architecture)
    error = pytest.raises(NotSupportedError, match="cannot be trained to be quantized") if refused else nullcontext()
    with error:
        quantize_aware.refuse_tokens(model, architecture)


def quantize_aware_spec(digits, monkeypatch, folder, **changes):
    """Two epochs on a parent that was trained for one."""
    dense = with_recipe(training_spec(digits, monkeypatch), epochs=1)
    train(dense, folder)
    spec = replace(dense, entry="slimline.compression.quantize_aware:run", model=None, parent=folder / "result")
    return with_recipe(replace(spec, step=QuantizeConfig(epochs=2)), epochs=2, learning_rate=1e-3, **changes)


def run_job(spec, folder):
    folder.mkdir(exist_ok=True)
    quantize_aware.run(spec, folder)
    model, shape = load_artifact(folder / "result")
    return model.state_dict(), shape


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9, "keep": "best"}], ids=["plain", "average"])
def test_a_job_resumes_to_the_same_bits_and_leaves_a_float_model(digits, monkeypatch, tmp_path, changes):
    spec = quantize_aware_spec(digits, monkeypatch, tmp_path / "dense", **changes)
    weights, shape = run_job(spec, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        stopping_after(patch, 25)
        with pytest.raises(StoppedError):
            run_job(spec, tmp_path / "broken")
    again, shape_again = run_job(spec, tmp_path / "broken")
    assert same(weights, again)
    assert shape_again == shape
    layers = {"1.features.0", "1.features.4", "1.classifier.1"}
    assert {name for name, _, _ in shape.ranges} == {f"{layer}.input" for layer in layers}
    parent = load_artifact(tmp_path / "dense/result")[0].state_dict()
    assert weights.keys() == parent.keys()
    assert torch.equal(weights["1.features.1.running_mean"], parent["1.features.1.running_mean"])
    assert not torch.equal(weights["1.features.0.weight"], parent["1.features.0.weight"])
    before, after = (history(tmp_path / name)[-1]["validation_accuracy"] for name in ("dense", "unbroken"))
    assert after > before


def test_a_spec_with_quantization_survives_its_file(digits, monkeypatch, tmp_path):
    spec = quantize_aware_spec(digits, monkeypatch, tmp_path / "dense")
    spec.write(tmp_path)
    assert TrainingSpec.read(tmp_path) == spec

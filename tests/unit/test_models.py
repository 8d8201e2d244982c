import json
from dataclasses import replace

import pytest
import torch

from slimline.errors import SlimlineError
from slimline.models.architecture import Architecture
from slimline.models.artifact import build, load_artifact, save_artifact
from slimline.models.count import count_macs, count_parameters
from slimline.models.registry import Normalize


def architecture(name, channels=1, size=28, classes=10, **options):
    mean, std = (70.0,) * channels, (80.0,) * channels
    return Architecture(name, channels, size, size, classes, mean, std, tuple(map(str, range(classes))), **options)


FAMILIES = [
    "convnet", "convnet7", "resnet8", "resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0",
    "squeezenet1_1", "shufflenet_v2_x0_5", "regnet_y_400mf", "mnasnet0_5", "googlenet", "alexnet", "vit_tiny",
    "vit_b_32", "swin_t",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (4, 32)])
def test_every_family_takes_small_images_of_any_channels(name, channels, size):
    model = build(architecture(name, channels, size, classes=7))
    images = torch.randint(0, 256, (3, channels, size, size), dtype=torch.uint8)
    assert model.eval()(images).shape == (3, 7)


def test_a_size_that_leaves_nothing_is_one_clear_error():
    with pytest.raises(SlimlineError) as caught:
        build(architecture("convnet", size=3))
    assert "3x3 pixels" in str(caught.value)


def test_small_images_keep_their_resolution_through_the_stem_and_large_ones_do_not():
    small, large = (build(architecture("resnet18", 3, size))[-1] for size in (32, 224))
    assert (small.conv1.stride, type(small.maxpool).__name__) == ((1, 1), "Identity")
    assert (large.conv1.stride, type(large.maxpool).__name__) == ((2, 2), "MaxPool2d")


def test_normalize_is_the_formula_on_bytes():
    pixels = torch.tensor([0, 70, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    expected = torch.tensor([-70 / 80, 0.0, 185 / 80])
    assert torch.allclose(Normalize((70.0,), (80.0,))(pixels).flatten(), expected)


def test_macs_and_parameters_equal_the_count_by_hand():
    shape = architecture("convnet", size=8)
    convolutions = 8 * 8 * 32 * 9 + 4 * 4 * 64 * 32 * 9
    linears = 256 * 128 + 128 * 10
    model = build(shape)
    assert count_macs(model, shape.image_shape) == convolutions + linears
    assert count_parameters(model) == 32 * 9 + 2 * 32 + 64 * 32 * 9 + 2 * 64 + 256 * 128 + 128 + 128 * 10 + 10


def test_architecture_survives_json():
    first, second = (("1.features.0", True, (1, 2)), ("1.features.4", False, (0,))), (("1.features.4", True, (3,)),)
    shape = replace(architecture("convnet"), pruning=(first, second))
    assert Architecture.from_json(json.loads(json.dumps(shape.to_json()))) == shape


def test_damaged_weights_name_the_file(tmp_path):
    shape = architecture("convnet")
    save_artifact(tmp_path, build(shape), shape)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SlimlineError, match=r"weights\.safetensors"):
        load_artifact(tmp_path)

"""Progressive resizing: sizes are a function of the step, and only what trains sees small images."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_fixtures import history, train, training_spec, with_recipe

from slimline.config.model import ModelConfig
from slimline.config.train import ProgressiveResizingConfig
from slimline.errors import SlimlineError
from slimline.models.architecture import Architecture
from slimline.models.registry import Normalize
from slimline.plan.plan import check_resizing
from slimline.training.live_kernels import fit_kernels
from slimline.training.resizing import MULTIPLE_PX, resized, size_at, smallest_size

scales = st.floats(0.25, 0.99)
shares = st.floats(0.01, 1.0)
sides = st.integers(MULTIPLE_PX, 512)


@given(scales, shares, sides, sides, st.integers(1, 400))
def test_images_grow_to_the_whole_and_stay_so(initial_scale, full_from, height, width, n_steps):
    config = ProgressiveResizingConfig(initial_scale=initial_scale, full_from=full_from)
    sizes = [size_at(step, n_steps, (height, width), config) for step in range(n_steps)]
    assert sizes[0] == smallest_size((height, width), config)
    for axis, side in enumerate((height, width)):
        along = [size[axis] for size in sizes]
        assert along == sorted(along)
        assert MULTIPLE_PX <= along[0] <= max(MULTIPLE_PX, initial_scale * side)
        assert all(px == side or px % MULTIPLE_PX == 0 for px in along)
        assert all(px == side for step, px in enumerate(along) if step >= full_from * n_steps)


def test_the_sizes_of_an_example():
    config = ProgressiveResizingConfig(initial_scale=0.5, full_from=0.75)
    assert [size_at(step, 8, (28, 32), config) for step in range(8)] == [
        (12, 16), (16, 16), (16, 20), (20, 24), (20, 24), (24, 28), (28, 32), (28, 32)
    ]  # fmt: skip


def test_a_pixel_is_the_mean_of_what_it_covers():
    stripes = torch.zeros(1, 1, 8, 8)
    stripes[..., ::2] = 200.0
    small = resized(stripes, (4, 4))
    assert small.shape == (1, 1, 4, 4)
    assert small[..., 1:-1].sub(100).abs().max() < 30, "every second column alone would be 200 or 0"
    assert resized(stripes, (8, 8)) is stripes


@pytest.fixture
def spec(digits, monkeypatch):
    return replace(training_spec(digits, monkeypatch), model=ModelConfig(name="resnet8", width=0.5))


def test_training_sees_small_images_first_and_validation_whole_ones(spec, tmp_path, monkeypatch):
    seen = {True: [], False: []}
    original = Normalize.forward

    def forward(self, images):
        seen[self.training].append(tuple(images.shape[2:]))
        return original(self, images)

    monkeypatch.setattr(Normalize, "forward", forward)
    train(with_recipe(spec, progressive_resizing={"initial_scale": 0.5, "full_from": 0.5}), tmp_path / "a")
    steps = history(tmp_path / "a")[-1]["step"]
    config = ProgressiveResizingConfig(initial_scale=0.5, full_from=0.5)
    assert seen[True] == [size_at(step, steps, (8, 8), config) for step in range(steps)]
    assert set(seen[True]) == {(4, 4), (8, 8)}
    assert set(seen[False]) == {(8, 8)}


def architecture(name, side_px):
    classes = tuple("0123456789")
    return Architecture(name, 3, side_px, side_px, len(classes), (0.0,) * 3, (1.0,) * 3, classes)


@pytest.mark.parametrize(
    ("name", "side_px", "reason"),
    [
        ("convnet", 32, "mat1 and mat2 shapes"),
        ("vit_tiny", 32, "32"),
        ("vgg11", 28, "computes as much"),  # a layer of its own scales what it gets to 32 pixels
    ],
)
def test_a_model_of_one_size_is_refused_before_it_is_queued(name, side_px, reason):
    with pytest.raises(SlimlineError, match="does not train on smaller images") as caught:
        check_resizing("dense", architecture(name, side_px), ProgressiveResizingConfig())
    screen = str(caught.value)
    assert reason in screen
    assert "train.progressive_resizing, variant dense" in screen
    assert name in screen


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "convnet7"])
def test_convolutional_networks_with_global_pooling_take_any_size(name):
    check_resizing("dense", architecture(name, 32), ProgressiveResizingConfig())


def test_kernels_are_whole_where_maps_have_several_sizes():
    layer = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1))
    assert fit_kernels(layer, (2, 1, 1), by_matrices=False, one_size=False) == 0
    assert fit_kernels(layer, (2, 1, 1), by_matrices=False) == 1

"""Kernels without the taps that meet padding alone: the same numbers by less work."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet18

from slimline.training.live_kernels import Live, LiveConv2d, fit_kernels, live_taps


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "live"),
    [
        (1, 3, 1, 1, Live(1, 2, 0)),  # one pixel: the middle tap
        (2, 3, 2, 1, Live(1, 3, 0)),  # two pixels, one output: never the first
        (2, 3, 1, 1, Live(0, 3, 1)),
        (2, 5, 1, 2, Live(1, 4, 1)),
        (3, 7, 1, 3, Live(1, 6, 2)),
        (8, 3, 1, 1, Live(0, 3, 1)),
        (4, 4, 4, 0, Live(0, 4, 0)),
    ],
)
def test_the_taps_that_meet_pixels(size, kernel, stride, padding, live):
    assert live_taps([size], kernel, stride, padding) == live


@pytest.mark.parametrize(
    ("sizes", "kernel", "stride", "padding", "live"),
    [
        ([2, 1], 3, 2, 1, Live(0, 3, 1)),  # without the first tap and its padding, one pixel would give no output
        ([3, 1], 7, 1, 3, Live(1, 6, 2)),
        ([1, 1], 3, 1, 1, Live(1, 2, 0)),
        ([3, 1], 3, 1, 1, Live(0, 3, 1)),
    ],
)
def test_with_images_of_several_sizes_taps_are_left_out_that_meet_pixels_at_none(sizes, kernel, stride, padding, live):
    assert live_taps(sizes, kernel, stride, padding) == live


def test_networks_give_the_same_at_every_size_that_they_are_made_for():
    torch.manual_seed(0)
    plain = resnet18(num_classes=10).double().eval()
    live = copy.deepcopy(plain)
    sizes = [(40, 64), (16, 26), (28, 45)]
    assert fit_kernels(live, (3, 64, 102), by_matrices=False, smaller=sizes) == 0, "two pixels are left of the largest"
    assert fit_kernels(live, (3, 32, 32), by_matrices=False, smaller=[(16, 16)]) >= 3
    for side in (16, 32):
        images = torch.randn(2, 3, side, side, dtype=torch.float64)
        torch.testing.assert_close(live(images), plain(images))


def plain_and_live(layer, shape):
    """The same layer twice, and how many of it leave taps out."""
    twin = copy.deepcopy(layer)
    return nn.Sequential(layer), nn.Sequential(twin), fit_kernels(nn.Sequential(twin), shape, by_matrices=False)


def numbers(network, images):
    """Outputs, and the gradients by name."""
    network.zero_grad()
    outputs = network(images)
    outputs.square().sum().backward()
    return outputs.detach(), {name: parameter.grad for name, parameter in network.named_parameters()}


@given(
    height=st.integers(1, 6), width=st.integers(1, 6), kernel=st.integers(1, 7), stride=st.integers(1, 3),
    padding=st.integers(0, 3), depthwise=st.booleans(),
)  # fmt: skip
def test_a_convolution_gives_the_same_numbers(height, width, kernel, stride, padding, depthwise):
    padding = min(padding, kernel // 2)
    if min(height, width) + 2 * padding < kernel:
        return
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4, kernel, stride, padding, groups=4 if depthwise else 1).double()
    plain, live, _ = plain_and_live(layer, (4, height, width))
    images = torch.randn(3, 4, height, width, dtype=torch.float64)
    (theirs, their_gradients), (ours, our_gradients) = numbers(plain, images), numbers(live, images)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradients, their_gradients)


def test_gradients_of_taps_that_are_left_out_are_zero_and_lie_as_the_weight_does():
    layer = nn.Conv2d(8, 8, 3, padding=1).to(memory_format=torch.channels_last)
    _, live, found = plain_and_live(layer, (8, 1, 1))
    assert found == 1
    _, gradients = numbers(live, torch.randn(4, 8, 1, 1))
    gradient = gradients["0.weight"]
    assert gradient.stride() == layer.weight.stride()
    outside = torch.ones(3, 3, dtype=torch.bool)
    outside[1, 1] = False
    assert not gradient[:, :, outside].any()
    assert gradient[:, :, 1, 1].all()


@pytest.mark.parametrize(("make", "least"), [(resnet18, 4), (mobilenet_v3_small, 5)])
def test_networks_made_for_larger_images_learn_the_same(make, least):
    torch.manual_seed(0)
    plain = make(num_classes=10).double()
    live = copy.deepcopy(plain)
    assert fit_kernels(live, (3, 32, 32), by_matrices=False) >= least
    assert live.training
    assert live.state_dict().keys() == plain.state_dict().keys()
    for network in (plain, live):
        for module in network.modules():  # random numbers of their own
            module.p = 0.0 if isinstance(module, nn.Dropout) else getattr(module, "p", None)
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    (theirs, their_gradients), (ours, our_gradients) = numbers(plain, images), numbers(live, images)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradients, their_gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=2, dilation=2),
    ],
)  # fmt: skip
def test_what_is_no_plain_convolution_stays(layer):
    assert fit_kernels(nn.Sequential(layer), (2, 2, 2), by_matrices=True) == 0


def test_a_layer_that_sees_maps_of_several_sizes_stays():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    network = nn.Sequential(layer, nn.MaxPool2d(2), layer)
    assert fit_kernels(network, (2, 2, 2), by_matrices=False) == 0


def test_modes_and_statistics_stay():
    network = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    network[1].eval()
    before = copy.deepcopy(network.state_dict())
    assert fit_kernels(network, (2, 1, 1), by_matrices=False) == 1
    assert isinstance(network[0], LiveConv2d)
    assert [module.training for module in network] == [True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())

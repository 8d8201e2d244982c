"""Convolutions as products of matrices: the numbers of a convolution, to rounding."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from slimline.training.live_kernels import LiveConv2d, fit_kernels
from slimline.training.matrix_kernels import (
    Convolution,
    LibraryConvolution,
    MatrixConv2d,
    MatrixGradientConv2d,
    faster_kind,
)


@given(
    height=st.integers(1, 6), width=st.integers(1, 6), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)  # fmt: skip
def test_outputs_and_gradients_are_those_of_a_convolution(height, width, kernel, stride, padding):
    if height + 2 * padding[0] < kernel[0] or width + 2 * padding[1] < kernel[1]:
        return
    torch.manual_seed(0)
    images = torch.randn(3, 2, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2, *kernel, dtype=torch.float64, requires_grad=True)
    theirs = functional.conv2d(images, weight, None, stride, padding)
    given_back = torch.randn_like(theirs)
    their_gradients = torch.autograd.grad(theirs, (images, weight), given_back)
    for function in (Convolution, LibraryConvolution):
        ours = function.apply(images, weight, stride, padding)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(torch.autograd.grad(ours, (images, weight), given_back), their_gradients)


def conv(channels, **settings):
    return nn.Conv2d(channels, channels, 3, padding=1, **settings)


@pytest.mark.parametrize(
    ("layer", "size", "kind"),
    [
        (conv(512), (4, 4), MatrixConv2d),
        (conv(256), (4, 4), MatrixConv2d),
        (conv(256), (5, 5), MatrixGradientConv2d),  # so many pixels that the library does not wait for weights
        (conv(128), (4, 4), MatrixGradientConv2d),  # so few weights that it does not either
        (conv(64), (7, 7), None),
        (conv(1024), (8, 8), None),  # so many pixels that copies of them take the time
        (conv(512, stride=2), (14, 14), MatrixConv2d),  # 7 x 7 of them come out
        (nn.Conv2d(512, 512, 1), (4, 4), None),  # a product of matrices as it is
        (conv(512, groups=512), (4, 4), None),
        (nn.Conv2d(1, 64, 3), (28, 28), MatrixConv2d),  # grey images
        (nn.Conv2d(1, 64, 7), (28, 28), None),
        (nn.Conv2d(1, 32, 3), (28, 28), None),
        (nn.Conv2d(3, 64, 3), (32, 32), None),
    ],
)
def test_layers_of_many_weights_and_few_pixels_gain(layer, size, kind):
    assert faster_kind(layer, size) is kind


def outputs_and_gradients(network, images):
    """In bf16 by autocast."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images)
    outputs.float().square().mean().backward()
    return outputs.detach(), [parameter.grad for parameter in network.parameters()]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("side", "kind"), [(2, MatrixConv2d), (4, MatrixGradientConv2d)])
def test_under_autocast_the_numbers_are_those_of_the_library_to_rounding(bias, side, kind):
    torch.manual_seed(0)
    plain = nn.Sequential(conv(128, bias=bias)).to(memory_format=torch.channels_last)
    ours = copy.deepcopy(plain)
    assert fit_kernels(ours, (128, side, side), by_matrices=True) == 1
    assert type(ours[0]) is kind
    images = torch.randn(8, 128, side, side).contiguous(memory_format=torch.channels_last)
    theirs, their_gradients = outputs_and_gradients(plain, images)
    outputs, gradients = outputs_and_gradients(ours, images)
    assert outputs.dtype == theirs.dtype == torch.bfloat16
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(outputs, theirs, rtol=2e-2, atol=1e-3)
    for gradient, their_gradient in zip(gradients, their_gradients, strict=True):
        assert gradient.stride() == their_gradient.stride()  # the optimizer wants weights and gradients laid out alike
        torch.testing.assert_close(gradient, their_gradient, rtol=2e-2, atol=2e-2 * their_gradient.abs().max().item())


def test_in_fp32_it_is_the_library_that_computes():
    torch.manual_seed(0)
    plain = nn.Sequential(conv(128))
    ours = copy.deepcopy(plain)
    fit_kernels(ours, (128, 2, 2), by_matrices=True)
    images = torch.randn(2, 128, 2, 2)
    assert torch.equal(plain(images), ours(images))


def test_resnet18_on_small_images_uses_both_ways_and_keeps_its_weights():
    network = resnet18(num_classes=10)
    before = copy.deepcopy(network.state_dict())
    fit_kernels(network, (3, 64, 64), by_matrices=True)
    kinds = {name: type(module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    assert kinds["layer3.0.conv2"] is MatrixConv2d  # 4 x 4 pixels
    assert kinds["layer2.0.conv2"] is nn.Conv2d  # 8 x 8
    assert kinds["layer1.0.conv1"] is nn.Conv2d  # 16 x 16
    assert kinds["layer3.0.downsample.0"] is nn.Conv2d  # 1 x 1 kernels
    assert LiveConv2d not in kinds.values()  # 2 x 2 in the last layers: every tap meets some pixel
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)

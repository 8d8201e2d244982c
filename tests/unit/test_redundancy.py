"""Channels in the order in which the layers that read them can do without."""

import copy

import pytest
import torch
from test_pruning import architecture, logits, mended_with
from torch import nn

from slimline.compression import redundancy
from slimline.compression.channels import find_groups
from slimline.compression.redundancy import by_redundancy
from slimline.compression.structured import WithImages, prune, sizes
from slimline.config.pruning import PruneConfig
from slimline.models.artifact import build
from slimline.models.modes import hooked


def norms(group):
    """The importance by weights' norms, of the layer that writes the channels."""
    return group[0].dep.target.module.weight.flatten(1).norm(dim=1)


def ranked(model, shape, images):
    return {group.name: group for group in by_redundancy(model, find_groups(model, shape, norms), [images])}


def images_of(shape, n=32):
    return torch.rand(n, *shape.image_shape, generator=torch.Generator().manual_seed(1)) * 255


@pytest.fixture
def convnet():
    torch.manual_seed(0)
    shape = architecture("convnet", size=16)
    return build(shape).eval(), shape, images_of(shape)


def layers_of(model, groups):
    """The group of the first convolution, that convolution, and the layer that reads it."""
    group = groups["1.features.0"]
    return group, model.get_submodule(group.name), next(use.layer for use in group.uses if use.reads)


def test_what_another_channel_says_too_goes_first_however_large_it_is(convnet, monkeypatch):
    monkeypatch.setattr(redundancy, "RIDGE", 1e-9)
    model, shape, images = convnet
    _, writer, reader = layers_of(model, ranked(*convnet))
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        for parameter in (writer.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
            parameter[5] = parameter[3]
        reader.weight[:, [3, 5]] *= 10
    group, *_ = layers_of(model, ranked(model, shape, images))
    assert {3, 5} & set(group.weakest(1))
    rest = set(range(group.channels)) - set(group.weakest(1))
    assert {3, 5} & rest, "one of the two is enough, and is needed"


def test_scores_add_up_to_the_error_that_least_squares_leave(convnet, monkeypatch):
    """Of a layer that sees one pixel at a time, against a regression of its outputs on the channels that stay."""
    monkeypatch.setattr(redundancy, "RIDGE", 1e-12)
    model, shape, images = convnet
    _, _, reader = layers_of(model, ranked(*convnet))
    reader.kernel_size, reader.padding = (1, 1), (0, 0)
    reader.weight = nn.Parameter(reader.weight[:, :, 1:2, 1:2].clone())
    groups, read = find_groups(model, shape, norms), []
    with hooked([reader.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))]):
        group, *_ = layers_of(model, {group.name: group for group in by_redundancy(model, groups, [images])})
    inputs = torch.cat(read).movedim(1, -1).flatten(0, -2).double()
    outputs = inputs @ reader.weight.detach().flatten(1).t().double()
    for n in (1, group.channels // 2, group.channels - 1):
        stay = sorted(set(range(group.channels)) - set(group.weakest(n)))
        best = inputs[:, stay] @ torch.linalg.lstsq(inputs[:, stay], outputs).solution
        error = float((outputs - best).square().sum() / outputs.square().sum())
        assert float(group.importance[group.weakest(n)].sum()) == pytest.approx(error, rel=1e-3, abs=1e-9)
    assert float(group.importance.sum()) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("name", ["convnet", "resnet8", "mobilenet_v3_small", "vit_tiny", "squeezenet1_1", "alexnet"])
def test_what_is_left_can_be_mended_better(name):
    torch.manual_seed(0)
    shape = architecture(name, size=64 if name == "alexnet" else 32)
    model, images = build(shape).eval(), images_of(shape)
    expected, distances, left = logits(model, images), [], []
    for importance in ("magnitude-l2", "redundancy"):
        pruned = copy.deepcopy(model)
        config = PruneConfig(ratio=0.5, importance=importance)

        def rank(network, groups):
            return by_redundancy(network, groups, images.split(8))

        def mend(*networks_and_outputs):
            return mended_with(images, *networks_and_outputs)

        after, _ = prune(pruned, shape, config, images=WithImages(rank=rank, mend=mend))
        left.append(sizes(pruned, after))
        distances.append((logits(pruned, images) - expected).square().mean().item())
    assert left[0] == left[1]
    assert distances[1] < distances[0]


def test_blocks_lose_the_same_places():
    torch.manual_seed(0)
    shape = architecture("regnet_y_400mf", size=32)
    blocked = [group for group in ranked(build(shape).eval(), shape, images_of(shape, 4)).values() if group.blocks > 1]
    read_as_a_whole = [
        group for group in blocked if any(use.reads and getattr(use.layer, "groups", 1) == 1 for use in group.uses)
    ]
    assert read_as_a_whole
    for group in read_as_a_whole:
        by_block = group.importance.view(group.blocks, -1)
        assert torch.equal(by_block, by_block[:1].expand_as(by_block))


def test_wide_groups_lose_several_channels_at_a_time_and_the_widest_keep_their_order(convnet, monkeypatch):
    model, shape, images = convnet
    one_by_one, *_ = layers_of(model, ranked(*convnet))
    monkeypatch.setattr(redundancy, "MOST_STEPS", 4)
    at_once, *_ = layers_of(model, ranked(*convnet))
    first = at_once.channels // 4
    # Those of the first step are the weakest before anything is gone; so is the first alone.
    assert one_by_one.weakest(1)[0] in at_once.weakest(first)
    assert float(at_once.importance[at_once.weakest(first)].sum()) < 1
    monkeypatch.setattr(redundancy, "MOST_CHANNELS", 1)
    untouched = ranked(model, shape, images)
    before = {group.name: group for group in find_groups(model, shape, norms)}
    assert all(torch.equal(group.importance, before[name].importance) for name, group in untouched.items())


def test_the_network_stays_as_it_is(convnet):
    model, shape, images = convnet
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    by_redundancy(model, find_groups(model, shape, norms), [images])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())

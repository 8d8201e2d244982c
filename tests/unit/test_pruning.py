"""Which channels go: groups, costs, allocations, families of networks."""

import copy
import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from slimline.compression.allocation import MacModel, by_damage, by_importance, cheapest, uniform
from slimline.compression.channels import ChannelGroup, find_groups, remove, without
from slimline.compression.reconstruction import reconstruct
from slimline.compression.structured import Goal, WithImages, prune
from slimline.config.pruning import PruneConfig, ratio_after
from slimline.errors import SlimlineError
from slimline.models.architecture import Architecture
from slimline.models.artifact import build, load_artifact, save_artifact
from slimline.models.count import count_macs, count_parameters
from slimline.models.dependency import example_images
from slimline.models.sparsity import prunable_weights, zero_smallest
from slimline.training.batch_norm import recalibrate


def architecture(name, size=28, channels=1, **options):
    return Architecture(name, channels, size, size, 10, (70.0,) * channels, (80.0,) * channels, (), **options)


def ones(group):
    """All channels equally important."""
    return torch.ones(len(group[0].idxs))


def pixels(shape, n=4):
    return torch.randint(0, 256, (n, *shape.image_shape), dtype=torch.uint8)


@pytest.mark.parametrize("name", ["convnet", "resnet8", "mobilenet_v3_small", "squeezenet1_1", "vit_tiny"])
def test_a_pruned_model_is_smaller_and_rebuilds_from_its_two_files(name, tmp_path):
    torch.manual_seed(0)
    shape = architecture(name, size=32)
    model = build(shape)
    before = count_parameters(model)
    once, _ = prune(model, shape, PruneConfig(ratio=0.25))
    twice, _ = prune(model, once, PruneConfig(ratio=0.25))
    assert count_parameters(model) < 0.75 * before
    save_artifact(tmp_path, model, twice)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "weights.safetensors"}
    again, loaded = load_artifact(tmp_path)
    assert loaded == twice
    images = pixels(shape)
    assert torch.equal(model.eval()(images), again(images))


def test_a_grouped_convolution_that_became_depthwise_rebuilds_too(tmp_path):
    """Down to one channel per group, it goes with other layers in the next round."""
    torch.manual_seed(0)
    shape, config = architecture("regnet_y_400mf", size=32), PruneConfig(ratio=0.9, round_to=1)
    model, at_first = build(shape), None
    for number in (1, 2, 3):
        shape, note = prune(model, shape, config, Goal(ratio_after(0.9, number, 3), at_first))
        at_first = at_first or {layer: counts["channels"] for layer, counts in note["layers"].items()}
    assert len(shape.pruning) == 3
    save_artifact(tmp_path, model, shape)
    images = pixels(shape)
    assert torch.equal(model.eval()(images), load_artifact(tmp_path)[0](images))


def test_layers_that_come_apart_at_one_channel_are_recorded_under_their_new_names():
    torch.manual_seed(0)
    shape, config = architecture("mobilenet_v3_small", size=32), PruneConfig(ratio=0.95, round_to=1, iterations=5)
    model, at_first = build(shape), None
    for number in range(1, 6):
        shape, note = prune(model, shape, config, Goal(ratio_after(0.95, number, 5), at_first))
        at_first = at_first or {layer: counts["channels"] for layer, counts in note["layers"].items()}
    assert set(note["layers"]) - set(at_first)
    assert all(1 <= layer["kept"] <= layer["channels"] for layer in note["layers"].values())


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_layers_narrower_than_a_unit_stay_and_the_others_lose_their_share(allocation):
    torch.manual_seed(0)
    shape = architecture("resnet8")
    model = build(shape)
    whole = count_macs(model, shape.image_shape)
    _, note = prune(model, shape, PruneConfig(ratio=0.5, round_to=32, allocation=allocation))
    assert {(layer["channels"], layer["kept"]) for layer in note["layers"].values()} == {(16, 16), (32, 32), (64, 32)}
    assert note["after"]["macs"] == count_macs(model, shape.image_shape) < whole


def test_channels_stay_multiples_of_round_to():
    shape = architecture("convnet")
    model = build(shape)
    prune(model, shape, PruneConfig(ratio=0.4, round_to=8))
    widths = {module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)}
    assert widths == {16, 40}, "0.6 of 32 is nearer to 16, 0.6 of 64 to 40"


def test_groups_of_a_convolution_and_heads_lose_as_many_each():
    shape = architecture("grouped", size=8)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=4), nn.Conv2d(32, 16, 3),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    prune(model, shape, PruneConfig(ratio=0.5))
    assert model[3].weight.shape == (16, 4, 3, 3)
    shape = architecture("vit_tiny", size=8, width=0.5)
    model = build(shape)
    prune(model, shape, PruneConfig(ratio=0.5))
    assert {(a.num_heads, a.head_dim) for a in model.modules() if isinstance(a, nn.MultiheadAttention)} == {(4, 12)}


def test_the_least_important_channels_go():
    shape = architecture("convnet", size=8)
    model = build(shape)
    first = model[1].features[0]
    weak = [1, 5, 8, 9, 12, *range(13, 21), 22, 30, 31]
    with torch.no_grad():
        first.weight[weak] *= 1e-3
        model[1].features[4].weight[:, weak] *= 1e-3
        model[1].features[1].weight[weak] *= 1e-3
    pruned, _ = prune(model, shape, PruneConfig(ratio=0.5))
    (only_round,) = pruned.pruning
    removed = {name: indexes for name, out, indexes in only_round if out}
    assert sorted(removed["1.features.0"]) == sorted(weak)


def test_random_channels_are_those_of_the_seed():
    shape, config = architecture("convnet", size=8), PruneConfig(importance="random")
    removed = [prune(build(shape), shape, config, Goal(0.5, seed=seed))[0].pruning for seed in (0, 0, 1)]
    assert removed[0] == removed[1] != removed[2]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("shufflenet_v2_x0_5", "shuffle channels"),
        ("swin_t", "cannot be followed in bounded time"),
        ("maxvit_t", "cannot be followed in bounded time"),
    ],
)
def test_networks_that_cannot_be_pruned_say_so(name, reason):
    shape = architecture(name, size=32)
    with pytest.raises(SlimlineError, match=reason):
        prune(nn.Identity(), shape, PruneConfig())


def test_nothing_to_remove_is_an_error_not_a_copy():
    shape = architecture("convnet", width=0.25)
    with pytest.raises(SlimlineError, match="cannot be pruned"):
        prune(build(shape), shape, PruneConfig(ratio=0.05, round_to=64))


@pytest.mark.parametrize(("name", "ratio", "rounds"), [("resnet8", 0.5, 8), ("convnet", 0.3, 8), ("convnet7", 0.5, 12)])
def test_a_round_whose_goal_is_reached_already_changes_nothing(name, ratio, rounds):
    """Rounds before it have gone on to the nearest multiple, beyond their own goal."""
    torch.manual_seed(0)
    shape = architecture(name)
    model, config, channels, at_first = (
        build(shape),
        PruneConfig(ratio=ratio, iterations=rounds, epochs=rounds),
        [],
        None,
    )
    for number in range(1, rounds + 1):
        goal = Goal(ratio_after(ratio, number, rounds), at_first)
        shape, note = prune(model, shape, config, goal)
        at_first = at_first or {layer: counts["channels"] for layer, counts in note["layers"].items()}
        channels.append({layer: counts["kept"] for layer, counts in note["layers"].items()})
        assert note["after"]["parameters"] == count_parameters(model)
    assert any(one == next_one for one, next_one in itertools.pairwise(channels))
    alone = build(architecture(name))
    _, note = prune(alone, architecture(name), config)
    assert channels[-1] == {layer: counts["kept"] for layer, counts in note["layers"].items()}


@pytest.mark.parametrize(
    "name", ["convnet", "resnet8", "mobilenet_v3_small", "vit_tiny", "squeezenet1_1", "densenet121"]
)
def test_what_is_left_comes_nearer_to_the_parent_by_reconstruction(name):
    torch.manual_seed(0)
    shape = architecture(name, size=32)
    model, images = build(shape).eval(), torch.rand(32, *shape.image_shape) * 255
    expected, distances = logits(model, images), []
    for is_mended in (False, True):
        pruned = copy.deepcopy(model)
        mend = partial(mended_with, images) if is_mended else None
        prune(pruned, shape, PruneConfig(ratio=0.5), images=WithImages(mend=mend))
        distances.append((logits(pruned, images) - expected).square().mean().item())
    assert distances[1] < 0.5 * distances[0]


def logits(model, images):
    with torch.no_grad():
        return model.eval()(images)


def mended_with(images, model, parent, kept):
    return {"layers": reconstruct(model, parent, kept, images, seed=0)}


@pytest.mark.parametrize("name", ["convnet", "resnet8", "mobilenet_v3_small", "vit_tiny", "squeezenet1_1"])
def test_macs_are_known_before_anything_is_removed(name):
    shape = architecture(name, size=32)
    model = build(shape)
    groups = find_groups(model, shape, ones)
    macs = MacModel(model, example_images(shape), groups)
    assert macs.total({group.name: group.channels for group in groups}) == count_macs(model, shape.image_shape)
    kept = uniform(groups, {group.name: group.channels for group in groups}, 0.5, 8)
    remove(model, shape, groups, kept)
    assert macs.total(kept) == pytest.approx(count_macs(model, shape.image_shape))


@pytest.mark.parametrize("name", ["convnet", "resnet8", "mobilenet_v3_small"])
def test_left_out_is_the_same_as_removed(name):
    """So a scan measures what removing does."""
    torch.manual_seed(0)
    shape = architecture(name, size=32)
    model = build(shape)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    images = pixels(shape, n=16)
    recalibrate(model, [images])  # so that signals reach the end
    groups = find_groups(model, shape, ones)
    group = groups[len(groups) // 2]
    kept = {each.name: each.channels for each in groups} | {group.name: group.channels // 2}
    whole = model.eval()(images)
    with without(group, group.channels - kept[group.name]), torch.no_grad():
        left_out = model(images)
    assert torch.equal(model(images), whole)
    assert not torch.allclose(left_out, whole, atol=1e-4)
    remove(model, shape, groups, kept)
    assert torch.allclose(model(images), left_out, atol=1e-5)


def two_groups():
    """Two layers of 64 channels in a row; the second group's channels save half as many MACs."""
    shape = architecture("convnet7", width=1.0)
    model = build(shape)
    groups = find_groups(model, shape, ones)
    return model, shape, groups, {group.name: group.channels for group in groups}


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("price", ["importance", "damage"])
def test_all_allocations_reach_the_macs_of_the_uniform_one(ratio, price):
    model, shape, groups, at_first = two_groups()
    macs = MacModel(model, example_images(shape), groups)
    scan = {group.name: {0.25: 0.1 * place, 0.5: 0.3 * place} for place, group in enumerate(groups)}
    kept = cheapest(groups, at_first, ratio, 8, macs, by_importance if price == "importance" else by_damage(scan))
    budget, whole = macs.total(uniform(groups, at_first, ratio, 8)), macs.total(at_first)
    assert budget - 0.1 * whole < macs.total(kept) <= budget
    assert all(channels % 8 == 0 and channels >= 8 for channels in kept.values())


@pytest.mark.parametrize("ratio", [0.75, 0.9])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_all_allocations_reach_the_same_macs_in_any_number_of_rounds(ratio, rounds):
    def unequal(group):
        """Wide layers matter least, so that they lose more than their share in the first round."""
        return torch.linspace(0.1, 1.9, len(group[0].idxs)) / len(group[0].idxs) ** 2

    shape = architecture("convnet7")
    left = {}
    for allocation in ("uniform", "global"):
        model, at_first, macs_at_first = build(shape), None, None
        for number in range(1, rounds + 1):
            groups = find_groups(model, shape, unequal)
            at_first = at_first or {group.name: group.channels for group in groups}
            macs = MacModel(model, example_images(shape), groups)
            macs_at_first = macs_at_first or macs.total(at_first)
            goal = ratio_after(ratio, number, rounds)
            kept = (
                uniform(groups, at_first, goal, 8)
                if allocation == "uniform"
                else cheapest(groups, at_first, goal, 8, macs, by_importance)
            )
            remove(model, shape, groups, kept)
        left[allocation] = macs.total(kept) / macs_at_first
    assert 0.85 * left["uniform"] < left["global"] <= left["uniform"]


@pytest.mark.parametrize(("ratio", "channels", "kept"), [(0.8, 80, 16), (0.8, 320, 64), (0.9, 160, 16), (0.95, 160, 8)])
def test_no_unit_is_lost_to_the_rounding_of_floats(ratio, channels, kept):
    group = ChannelGroup("layer", torch.ones(channels), 1, ())
    assert uniform([group], {"layer": channels}, ratio, 8) == {"layer": kept}


def test_layers_that_hurt_are_spared():
    model, shape, groups, at_first = two_groups()
    macs = MacModel(model, example_images(shape), groups)
    scan = {group.name: {0.25: 0.01, 0.5: 0.02, 0.75: 0.03} for group in groups}
    tender = groups[2].name
    scan[tender] = {0.25: 5.0, 0.5: 9.0, 0.75: 12.0}
    kept = cheapest(groups, at_first, 0.5, 8, macs, by_damage(scan))
    assert kept[tender] == at_first[tender]
    assert min(kept[name] / at_first[name] for name in kept if name != tender) < 0.5


def test_no_layer_vanishes_however_unimportant():
    shape = architecture("convnet7")
    model = build(shape)

    def worthless_in_one(group):
        return ones(group) * (1e-6 if len(group[0].idxs) == 64 else 1.0)

    groups = find_groups(model, shape, worthless_in_one)
    at_first = {group.name: group.channels for group in groups}
    macs = MacModel(model, example_images(shape), groups)
    kept = cheapest(groups, at_first, 0.5, 1, macs, by_importance)
    assert min(kept[name] / at_first[name] for name in kept) >= 0.1
    assert any(kept[name] < 0.2 * at_first[name] for name in kept)


def test_damage_between_and_beyond_what_was_measured():
    group = ChannelGroup("layer", torch.ones(100), 1, ())
    price = by_damage({"layer": {0.25: 1.0, 0.5: 0.5, 0.75: 3.0}})  # a loss that falls again is taken for level
    assert price(group, 100, 90) == pytest.approx(0.4)
    assert price(group, 75, 50) == pytest.approx(0.0)
    assert price(group, 50, 25) == pytest.approx(2.0)
    assert price(group, 25, 15) == pytest.approx(0.4)


def test_recalibrated_statistics_are_those_of_the_images():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))
    with torch.no_grad():
        model(100 + torch.randn(8, 1, 4, 4))
    images = torch.randn(64, 1, 4, 4)
    assert recalibrate(model, images.split(16))
    features = model[0](images)
    assert torch.allclose(model[1].running_mean, features.mean((0, 2, 3)), atol=1e-6)
    batches = torch.stack([part.var((0, 2, 3)) for part in features.split(16)])
    assert torch.allclose(model[1].running_var, batches.mean(0), atol=1e-6)
    assert (model[1].momentum, model[1].training) == (0.1, False)
    assert not recalibrate(nn.Sequential(nn.Linear(2, 2)), [])


def test_the_smallest_weights_of_the_whole_network_become_zero():
    torch.manual_seed(0)
    model = build(architecture("convnet", size=8))
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    assert zero_smallest(model, 0.7) == pytest.approx(0.7, abs=1e-4)
    after = prunable_weights(model)
    limit = min(weight[weight != 0].abs().min() for weight in after.values())
    for name, weight in after.items():
        assert torch.equal(weight, before[name] * (before[name].abs() >= limit))
    assert zero_smallest(model, 0.3) == pytest.approx(0.7, abs=1e-4)


def test_sparsity_survives_the_artifact(tmp_path):
    shape = replace(architecture("convnet"), sparsity=0.5)
    save_artifact(tmp_path, build(shape), shape)
    assert load_artifact(tmp_path)[1] == shape


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18"])
def test_any_network_can_be_narrowed_and_starts_with_the_variance_of_its_library(name, tmp_path):
    torch.manual_seed(0)
    shape = architecture(name, size=32, channels=3)
    narrow = replace(shape, width=0.5)
    whole, model = build(shape), build(narrow)
    assert count_parameters(model) / count_parameters(whole) == pytest.approx(0.25, abs=0.02)
    convs = {name: conv for name, conv in model.named_modules() if isinstance(conv, nn.Conv2d)}
    assert next(iter(convs.values())).out_channels == 32
    for conv_name, conv in convs.items():
        inputs, outputs = conv.weight[0].numel(), conv.weight[:, 0].numel()
        # The stem for small images is our own, as a ResNet begins.
        variance = 2 / (outputs if name == "resnet18" or conv is next(iter(convs.values())) else inputs)
        if conv_name == "1.classifier.1":  # of a fixed variance
            variance = 0.01**2
        # Eight channels are a small sample.
        assert float(conv.weight.detach().std()) == pytest.approx(variance**0.5, rel=0.15), conv_name
    save_artifact(tmp_path, model, narrow)
    images = pixels(shape)
    assert torch.equal(load_artifact(tmp_path)[0](images), model.eval()(images))


def test_a_width_that_leaves_everything_is_an_error():
    with pytest.raises(SlimlineError, match="no layer has a channel to spare"):
        build(architecture("squeezenet1_1", size=32, width=0.99))

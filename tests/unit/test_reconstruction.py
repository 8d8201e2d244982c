"""Weights fitted to what a layer gave before channels were removed."""

import copy

import torch
from torch import nn

from slimline.compression import reconstruction
from slimline.compression.reconstruction import reconstruct


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3, stride=2, padding=1, bias=False), nn.ReLU(),
        nn.Conv2d(4, 5, (3, 1), padding=(2, 0), dilation=(2, 1)), nn.Flatten(), nn.Linear(5 * 4 * 4, 3),
    )  # fmt: skip


def images(n=64):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def without_outputs(model, name, stay, reader):
    """The network without some outputs of a convolution, which batch normalisation and a convolution read."""
    pruned = copy.deepcopy(model)
    layer, norm, following = (pruned.get_submodule(place) for place in (name, str(int(name) + 1), reader))
    layer.weight, layer.bias = nn.Parameter(layer.weight[stay]), nn.Parameter(layer.bias[stay])
    layer.out_channels = len(stay)
    for key in ("weight", "bias"):
        setattr(norm, key, nn.Parameter(getattr(norm, key)[stay]))
    for key in ("running_mean", "running_var"):
        setattr(norm, key, getattr(norm, key)[stay])
    following.weight, following.in_channels = nn.Parameter(following.weight[:, stay]), len(stay)
    return pruned


def test_channels_that_are_sums_of_others_are_made_up_for_exactly():
    """The fourth channel is the third, so a network without it can compute the same."""
    model = network()
    with torch.no_grad():
        model[0].weight[3], model[0].bias[3] = model[0].weight[2], model[0].bias[2]
    stay = [0, 1, 2, 4, 5]
    pruned = without_outputs(model, "0", stay, "3")
    model.eval(), pruned.eval()
    before = copy.deepcopy(pruned.state_dict())
    assert not torch.allclose(pruned(images()), model(images()), atol=0.01)
    fitted = reconstruct(pruned, model, {"0": stay}, images(), seed=0)
    assert fitted == ["3", "5", "7"], "what computes before anything is missing stays"
    assert torch.equal(pruned[0].weight, before["0.weight"])
    torch.testing.assert_close(pruned(images()), model(images()), atol=0.01, rtol=0)


def test_each_layer_comes_as_near_to_its_former_outputs_as_least_squares_allow(monkeypatch):
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-9)
    monkeypatch.setattr(reconstruction, "PLACES_PER_INPUT", 10**6)
    model, stay = network(), [0, 2, 5]
    pruned = without_outputs(model, "0", stay, "3")
    many = images(400)
    reconstruct(pruned, model, {"0": stay}, many, seed=0)
    model.eval(), pruned.eval()
    with torch.no_grad():
        read = pruned[:3](many)
        patches = nn.functional.unfold(read, 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
        wanted = model[:4](many).flatten(2).transpose(1, 2).flatten(0, 1)
        best = torch.linalg.lstsq(patches, wanted).solution
        torch.testing.assert_close(pruned[3].weight.flatten(1), best.t(), atol=1e-3, rtol=1e-3)
        read = pruned[:5](many)
        patches = nn.functional.unfold(read, (3, 1), padding=(2, 0), dilation=(2, 1)).transpose(1, 2).flatten(0, 1)
        patches = torch.cat((patches, torch.ones(len(patches), 1)), 1)
        wanted = model[:6](many).flatten(2).transpose(1, 2).flatten(0, 1)
        best = torch.linalg.lstsq(patches, wanted).solution
        torch.testing.assert_close(pruned[5].weight.flatten(1), best[:-1].t(), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(pruned[5].bias, best[-1], atol=1e-3, rtol=1e-3)


def test_only_outputs_that_stay_are_fitted_and_the_seed_decides_where():
    """Of the second convolution two outputs stay; the place of each is that which it had."""
    model = network()
    pruned = copy.deepcopy(model)
    stay = [3, 1]
    pruned[3].weight = nn.Parameter(pruned[3].weight[stay])
    pruned[5].weight, pruned[5].in_channels = nn.Parameter(pruned[5].weight[:, stay]), 2
    again = copy.deepcopy(pruned)
    assert reconstruct(pruned, model, {"3": stay}, images(), seed=0) == ["5", "7"]
    reconstruct(again, model, {"3": stay}, images(), seed=0)
    assert all(map(torch.equal, pruned.state_dict().values(), again.state_dict().values()))


def test_modes_stay_and_layers_that_no_single_fit_serves_are_left_alone():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.shared = nn.Linear(4, 3), nn.Linear(3, 3)
            self.grouped, self.last = nn.Conv2d(1, 2, 1), nn.Linear(3, 2)
            self.frozen = nn.BatchNorm1d(3).eval()

        def forward(self, images):
            features = self.frozen(self.shared(self.shared(self.first(images.flatten(1)))))
            return self.last(features)

    model = Twice()
    pruned = copy.deepcopy(model)
    pruned.first.weight, pruned.first.bias = nn.Parameter(model.first.weight[:2]), nn.Parameter(model.first.bias[:2])
    pruned.shared.weight = nn.Parameter(torch.randn(2, 2))
    pruned.shared.bias = nn.Parameter(torch.zeros(2))
    pruned.frozen = nn.BatchNorm1d(2).eval()
    pruned.last.weight = nn.Parameter(model.last.weight[:, :2])
    shared = pruned.shared.weight.clone()
    assert reconstruct(pruned, model, {"first": [0, 1]}, torch.randn(32, 1, 2, 2), seed=0) == ["last"]
    assert torch.equal(pruned.shared.weight, shared)
    assert [module.training for module in (pruned, pruned.frozen, pruned.last)] == [True, False, True]


def test_inputs_that_are_all_zero_leave_a_layer_as_it_is():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    pruned = copy.deepcopy(model)
    pruned[0].weight, pruned[0].bias = nn.Parameter(model[0].weight[:2]), nn.Parameter(model[0].bias[:2])
    pruned[2].weight = nn.Parameter(model[2].weight[:, :2])
    assert reconstruct(pruned, model, {"0": [0, 1]}, torch.randn(8, 4), seed=0) == []
    assert torch.equal(pruned[2].weight, model[2].weight[:, :2])


def test_sums_do_not_depend_on_how_many_places_are_looked_at_at_once(monkeypatch):
    model, stay, found = network().double(), [0, 2, 5], []
    for chunk in (7, 4096):
        monkeypatch.setattr(reconstruction, "CHUNK", chunk)
        found.append(without_outputs(model, "0", stay, "3"))
        reconstruct(found[-1], model, {"0": stay}, images().double(), seed=0)
    torch.testing.assert_close(found[0].state_dict(), found[1].state_dict())

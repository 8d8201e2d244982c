"""What is left of a pruned network learns to give what it gave before, layer by layer, by least squares.

A layer that reads fewer channels gives other outputs. The best that it can do on a sample of images is a linear
regression of its former outputs on what it reads now (He, Zhang and Sun, "Channel pruning for accelerating very deep
neural networks", ICCV 2017). Layers are fitted in the order in which they compute, each to what those before it really
give by then, so that errors do not add up. One forward pass of each network is enough: a layer is fitted the moment
its inputs are there, before it computes its own outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimline.models.modes import evaluating, hooked
from slimline.training.matrix_kernels import n_outputs

# Places in a layer's outputs that are looked at, for each input of one of them; and how many at once.
PLACES_PER_INPUT, CHUNK = 16, 4096
# Layers with more inputs stay as they are: all products of two inputs would not fit the memory.
MOST_INPUTS = 4608
# How hard weights are held where they are, as a share of the mean square of an input.
RIDGE = 1e-3

Layer = nn.Conv2d | nn.Linear
Kept = Mapping[str, Sequence[int]]  # outputs that stay, by the name of the layer


class Target(NamedTuple):
    """What a layer gave before.

    Args:
        places: in its outputs, [m]: images times pixels (or tokens), counted through.
        outputs: what it gave there, [m, o] of the outputs that stay.
    """

    places: Tensor
    outputs: Tensor


def reconstruct(
    model: nn.Module,
    parent: nn.Module,
    kept: Kept,
    images: Tensor,
    seed: int,
    beat: Callable[[], None] = lambda: None,
) -> list[str]:
    """Fits the weights of a pruned network to its parent's activations, in place.

    Grouped convolutions stay as they are, and what computes before anything is missing.

    Args:
        model: the pruned network.
        parent: the network before, on the same device.
        kept: which of its outputs each layer kept; one that is not named kept all.
        images: training images [n, c, h, w] in 0..255.
        seed: decides which places count.
        beat: called at each layer, since large networks take minutes.

    Returns:
        Names of the layers that were fitted, in that order.
    """
    fitted: list[str] = []
    with torch.no_grad(), evaluating(model), evaluating(parent):
        names = _behind_the_cut(model, parent, images[:1])
        targets = _targets(model, parent, names, kept, images, seed, beat)
        layers = dict(model.named_modules())

        def fit(name: str) -> Callable[[Any, tuple[Tensor, ...]], None]:
            def before_it_computes(layer: Layer, inputs: tuple[Tensor, ...]) -> None:
                beat()
                if _fit(layer, inputs[0], targets.pop(name)):
                    fitted.append(name)

            return before_it_computes

        with hooked([layers[name].register_forward_pre_hook(fit(name)) for name in names]):
            model(images)
    return fitted


def _behind_the_cut(model: nn.Module, parent: nn.Module, image: Tensor) -> list[str]:
    """Layers that can be fitted, in the order in which they compute, from the first one on that reads less than before.

    Those that are called more than once are none: no single fit would do.
    """
    calls: list[str] = []
    ours, theirs = dict(model.named_modules()), dict(parent.named_modules())
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name, layer in ours.items()
        if isinstance(layer, Layer)
    ]
    with hooked(hooks):
        model(image)
    first = next((n for n, name in enumerate(calls) if _inputs(ours[name]) < _inputs(theirs[name])), len(calls))
    return [
        name
        for name in calls[first:]
        if calls.count(name) == 1 and _can_be_fitted(ours[name]) and _inputs(ours[name]) <= MOST_INPUTS
    ]


def _can_be_fitted(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear)


def _inputs(layer: nn.Module) -> int:
    assert isinstance(layer, Layer)
    return layer.weight[0].numel()


def _targets(
    model: nn.Module,
    parent: nn.Module,
    names: Sequence[str],
    kept: Kept,
    images: Tensor,
    seed: int,
    beat: Callable[[], None],
) -> dict[str, Target]:
    """What the parent's layers give for the images, at places drawn for each."""
    targets: dict[str, Target] = {}
    ours, theirs = dict(model.named_modules()), dict(parent.named_modules())
    generator = torch.Generator().manual_seed(seed)

    def note(name: str) -> Callable[[Any, Any, Tensor], None]:
        def after(layer: nn.Module, inputs: object, outputs: Tensor) -> None:
            beat()
            rows = outputs.movedim(1, -1).flatten(0, -2) if isinstance(layer, nn.Conv2d) else outputs.flatten(0, -2)
            n_places = PLACES_PER_INPUT * _inputs(ours[name])
            places = torch.randperm(len(rows), generator=generator)[:n_places].to(rows.device)
            stay = kept.get(name, range(rows.shape[1]))
            targets[name] = Target(places, rows[places][:, list(stay)])

        return after

    with hooked([theirs[name].register_forward_hook(note(name)) for name in names]):
        parent(images)
    return targets


def _fit(layer: Layer, inputs: Tensor, target: Target) -> bool:
    """Moves a layer's weights to where they give the target for these inputs; whether there was anything to fit."""
    weights = layer.weight.flatten(1)
    if layer.bias is not None:
        weights = torch.cat((weights, layer.bias[:, None]), dim=1)
    n_inputs = weights.shape[1]
    gram, products = (weights.new_zeros(n, n_inputs, dtype=torch.float64) for n in (n_inputs, len(weights)))
    chunks = (torch.split(part, CHUNK) for part in target)
    for places, outputs in zip(*chunks, strict=True):
        read = _read(layer, inputs, places)
        gram += read.t() @ read
        products += (outputs - read @ weights.t()).t() @ read
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    factor, has_failed = torch.linalg.cholesky_ex(gram)
    if has_failed:  # all inputs are zero
        return False
    change = torch.cholesky_solve(products.t(), factor).t().to(weights.dtype)
    inputs_of_one = layer.weight[0].numel()
    layer.weight.add_(change[:, :inputs_of_one].reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.add_(change[:, inputs_of_one])
    return True


def _read(layer: Layer, inputs: Tensor, places: Tensor) -> Tensor:
    """What a layer reads for its outputs at these places, [m, k]; with a bias, a last input that is always 1."""
    read = _patches(layer, inputs, places) if isinstance(layer, nn.Conv2d) else inputs.flatten(0, -2)[places]
    return read if layer.bias is None else torch.cat((read, read.new_ones(len(read), 1)), dim=1)


def _patches(layer: nn.Conv2d, images: Tensor, places: Tensor) -> Tensor:
    """What the kernel sees at each place [m, i * kh * kw] of images [n, i, h, w]."""
    rows, columns = (int(padding) for padding in layer.padding)
    padded = functional.pad(images, (columns, columns, rows, rows))
    height, width = (
        n_outputs(images.shape[2 + axis], _reach(layer, axis), layer.stride[axis], int(layer.padding[axis]))
        for axis in (0, 1)
    )
    image, channel, row, column = padded.stride()
    seen = padded.as_strided(
        (len(images), height, width, images.shape[1], *layer.kernel_size),
        (
            image,
            row * layer.stride[0],
            column * layer.stride[1],
            channel,
            row * layer.dilation[0],
            column * layer.dilation[1],
        ),
    )
    return seen[places // (height * width), places // width % height, places % width].flatten(1)


def _reach(layer: nn.Conv2d, axis: int) -> int:
    """Pixels from the first tap of a kernel to the last, both counted."""
    return layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1

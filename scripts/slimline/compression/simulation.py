"""Layers that compute in float what the int8 file will compute (Jacob et al., CVPR 2018).

Weights are rounded to signed 8 bits, or 7, with one scale per output channel, activations to unsigned 8 bits with one
scale and zero point per tensor, from a moving average of the smallest and largest value of each batch. Rounding passes
gradients on where the value is in range and none where it is not (straight-through estimator, Bengio et al., 2013).

Batch normalisation keeps the parent's statistics: so it is the constant factor per channel that the exporter folds
into the weights before it. Folding need not be simulated: with a scale of its own for each output channel, rounding a
kernel and then multiplying it by a constant is the same as the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from slimline.models.layers import last_layer

# Share of a batch's smallest and largest value in their moving averages.
MOMENTUM = 0.01
UINT8 = 255  # largest value
# Which values of a layer are rounded: those that come in, or those that go out.
INPUT, OUTPUT = "input", "output"
PARTS = ("low", "high", "batches")

# "<layer>.input" or "<layer>.output" -> smallest and largest value
Ranges = dict[str, tuple[float, float]]


class SimulatedConv2d(nn.Conv2d):
    """A convolution of rounded values with rounded weights."""

    largest_weight: float

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that torch gives it)
        """Feature maps [n, c, h, w]."""
        weights = rounded_weights(self.weight, self.largest_weight)
        maps: Tensor = self._conv_forward(rounded_values(self, INPUT, input), weights, self.bias)
        return maps


class SimulatedLinear(nn.Linear):
    """A matrix product of rounded values with rounded weights."""

    largest_weight: float

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Values [..., features]."""
        return functional.linear(
            rounded_values(self, INPUT, input), rounded_weights(self.weight, self.largest_weight), self.bias
        )


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the running statistics, in training too; what goes out is rounded where it is added."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Feature maps [n, c, h, w]."""
        values = functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )
        return rounded_values(self, OUTPUT, values) if hasattr(self, f"{OUTPUT}_low") else values


SIMULATED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: SimulatedConv2d,
    nn.Linear: SimulatedLinear,
    nn.BatchNorm2d: FrozenBatchNorm2d,
}


def simulate(model: nn.Module, largest_weight: float) -> None:
    """Makes every convolution and linear layer but the last compute with rounded numbers, in place.

    Parameters keep their names. Ranges are buffers, so that they are saved and restored like running statistics.
    Attention's own products stay in float.

    Args:
        model: a float model.
        largest_weight: what the largest weight of a channel is scaled to, before it is rounded.
    """
    last = last_layer(model)
    added = set(_added_to_others(model))
    for module in model.modules():
        kind = SIMULATED.get(type(module))
        if kind is None or module is last:
            continue
        module.__class__ = kind
        if kind is not FrozenBatchNorm2d:
            _add_range(module, INPUT)
            module.largest_weight = largest_weight  # type: ignore[assignment]
        elif module in added:
            _add_range(module, OUTPUT)


def take_away(model: nn.Module) -> Ranges:
    """The inverse of `simulate`, in place: an ordinary float model with the trained weights.

    Returns:
        The ranges that it was trained with. That of the output of batch normalisation has the name of the
        convolution that it is folded into.
    """
    ordinary = {simulated: kind for kind, simulated in SIMULATED.items()}
    ranges, before = {}, ""
    for name, module in model.named_modules():
        kind = ordinary.get(type(module))
        if kind is None:
            continue
        before = name if kind is not nn.BatchNorm2d else before
        for side in (INPUT, OUTPUT):
            if hasattr(module, f"{side}_low"):
                ranges[f"{before}.{side}"] = tuple(float(getattr(module, f"{side}_{part}")) for part in PARTS[:2])
                for part in PARTS:
                    delattr(module, f"{side}_{part}")
        if kind is not nn.BatchNorm2d:
            del module.largest_weight
        module.__class__ = kind
    return ranges  # type: ignore[return-value]


def rounded_weights(weight: Tensor, largest: float) -> Tensor:
    """`weight` [out, ...] scaled to -largest .. largest and rounded, one scale for each output channel."""
    with torch.no_grad():
        scale = weight.detach().float().abs().flatten(1).amax(1).clamp_min(1e-12) / largest
    zero_point = torch.zeros_like(scale, dtype=torch.int32)
    most = math.ceil(largest)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, -most, most)


def rounded_values(layer: nn.Module, side: str, values: Tensor) -> Tensor:
    """`values` rounded to unsigned 8 bits in the layer's range, which follows them in training."""
    low, high, batches = (getattr(layer, f"{side}_{part}") for part in PARTS)
    if layer.training and values.numel():
        with torch.no_grad():
            smallest, largest = torch.aminmax(values.detach().float())
            # Zero must be a value: padding is made of it.
            share = torch.where(batches == 0, 1.0, MOMENTUM)
            low.lerp_(smallest.clamp_max(0), share)
            high.lerp_(largest.clamp_min(0), share)
            batches += 1
    scale = ((high - low) / UINT8).clamp_min(1e-12)
    zero_point = (-low / scale).round().clamp(0, UINT8).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values.float(), scale, zero_point, 0, UINT8)


def _add_range(module: nn.Module, side: str) -> None:
    device = next(module.parameters()).device
    for part in PARTS:
        dtype = torch.int64 if part == "batches" else torch.float32
        module.register_buffer(f"{side}_{part}", torch.zeros((), dtype=dtype, device=device))


def _added_to_others(model: nn.Module) -> Iterator[nn.Module]:
    """Batch normalisations whose output is added to another branch, as at the end of a residual block.

    The runtime rounds what it adds. Elsewhere an activation function follows, and is rounded instead.
    """
    try:
        graph = fx.symbolic_trace(model).graph
    except Exception:  # control flow that depends on values: such models have no graph
        return
    for node in graph.nodes:
        if getattr(node.target, "__name__", node.target) in ("add", "iadd", "add_"):
            for term in node.all_input_nodes:
                if term.op == "call_module":
                    yield model.get_submodule(str(term.target))

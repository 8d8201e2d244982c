"""What quantization needs to know of an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from slimline.errors import NotSupportedError
from slimline.models.session import OUTPUT

# What hands on quantized values as they are.
PASSING = ("Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
# What hands on a part of them, whose range may be smaller.
TAKING_PARTS = ("Gather", "Slice", "Split")
WORKING = ("Gemm", "MatMul", "Conv", "ConvTranspose")

# "<layer>.input" or "<layer>.output", or the name of a value -> smallest and largest value
Ranges = dict[str, tuple[float, float]]


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value, by the value's name."""
    return {name: node for node in model.graph.node for name in node.output}


def last_layer(model: onnx.ModelProto) -> str:
    """Name of the node that gives the logits, followed back over nodes that only reshape."""
    makers = producers(model)
    node = makers[OUTPUT]
    while node.op_type not in WORKING:
        node = next(makers[name] for name in node.input if name in makers)
    return str(node.name)


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether any value is quantized."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def float_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions and matrix products whose inputs are not quantized."""
    makers = producers(model)

    def comes_quantized(name: str) -> bool:
        if name not in makers:
            return False
        node = makers[name]
        if node.op_type == "Concat":
            return all(map(comes_quantized, node.input))
        if node.op_type in (*PASSING, *TAKING_PARTS):
            return comes_quantized(node.input[0])
        return node.op_type == "DequantizeLinear"

    return [node.name for node in _working(model) if not all(map(comes_quantized, node.input[:2]))]


def float_but_last(model: onnx.ModelProto) -> list[str]:
    """Those of them that are not meant to be: all but the layer that gives the logits."""
    last = last_layer(model)
    return [name for name in float_layers(model) if name != last]


def ranges_of_values(model: onnx.ModelProto, ranges: Ranges) -> Ranges:
    """The ranges that layers were trained with, by the names of the values in a graph.

    A layer's node is the one that takes `<layer>.weight`; operators that only hand on share the range.

    Raises:
        NotSupportedError: most layers have no such node: products of tokens, whose weights the export transposes.
    """
    makers, found = producers(model), {}
    layers = {name.rpartition(".")[0] for name in ranges}
    nodes = [(node.input[1].removesuffix(".weight"), node) for node in _working(model)]
    present = layers & {layer for layer, _ in nodes}
    if 2 * len(present) < len(layers):
        raise NotSupportedError(
            "The ranges that were trained do not find their layers in the file.",
            where="`quantize` of a variant with epochs",
            got=f"{len(present)} of {len(layers)} layers in the file under their names",
            expected="a network of convolutions",
            next_step="quantize this model without epochs",
        )
    for layer, node in nodes:
        if f"{layer}.output" in ranges:
            found[node.output[0]] = ranges[f"{layer}.output"]
        name, known = node.input[0], ranges.get(f"{layer}.input")
        while known is not None:
            found[name] = known
            if name not in makers or makers[name].op_type not in PASSING:
                break
            name = makers[name].input[0]
    return found


def set_ranges(model: onnx.ModelProto, ranges: Ranges) -> int:
    """Gives the activations of a quantized graph their scale and zero point from ranges by name, in place.

    Returns:
        How many values were given theirs.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = 0
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in ranges:
            continue
        low, high = ranges[node.input[0]]
        if low == high:  # nothing but zeros ever came: any scale will do
            continue
        scale, zero_point = (constants[name] for name in node.input[1:3])
        limits = np.iinfo(numpy_helper.to_array(zero_point).dtype)
        step = np.float32((high - low) / 255)
        offset = np.clip(np.round(limits.min - low / step), limits.min, limits.max)
        scale.CopyFrom(numpy_helper.from_array(np.full(scale.dims, step, np.float32), scale.name))
        zeros = np.full(zero_point.dims, offset, limits.dtype)
        zero_point.CopyFrom(numpy_helper.from_array(zeros, zero_point.name))
        found += 1
    return found


def _working(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    return (node for node in model.graph.node if node.op_type in WORKING)

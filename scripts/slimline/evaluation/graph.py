"""What stands in an ONNX file: counted, not believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from slimline.models.session import OUTPUT
from slimline.models.target import Target

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
PRODUCTS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
# Operators that hand values on as they are, so that the type of what comes out is that of what goes in.
CARRIERS = (
    "Cast", "Concat", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
)  # fmt: skip
# Largest number of int8 weights of 7 bits: twice its product with the largest of uint8 fits 16 bits.
LARGEST_OF_7_BITS = 64


@dataclass(frozen=True)
class Graph:
    """A file's graph.

    Attributes:
        runtime: the runtime that the file says it is for.
        opset: version of the operators of ONNX itself.
        symbolic_batch: whether the first dimension of input and output is left open.
        quantize_nodes: number of QuantizeLinear.
        dequantize_nodes: number of DequantizeLinear.
        activation_types: products (convolutions, matrix products) by the integer type of their input.
        weight_types: products by the integer type of their weights.
        weight_bits: how many bits the largest int8 weight of a product takes, 7 or 8; None where none is int8.
        logits_from: operator that gives the logits, looked for behind those that only hand values on.
    """

    runtime: str
    opset: int
    symbolic_batch: bool
    quantize_nodes: int
    dequantize_nodes: int
    activation_types: dict[str, int]
    weight_types: dict[str, int]
    weight_bits: int | None
    logits_from: str


def read_graph(path: Path) -> Graph:
    """The facts in a file, without running it."""
    model = onnx.load(path)
    graph = model.graph
    counts = Counter(node.op_type for node in graph.node)
    producers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    types = {name: tensor.data_type for name, tensor in constants.items()}
    products = [node for node in graph.node if node.op_type in PRODUCTS]
    batches = [item.type.tensor_type.shape.dim[:1] for item in (*graph.input, *graph.output)]
    return Graph(
        runtime=Target.read(path).runtime,
        opset=next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        symbolic_batch=all(dims and not dims[0].HasField("dim_value") for dims in batches),
        quantize_nodes=counts[QUANTIZE],
        dequantize_nodes=counts[DEQUANTIZE],
        activation_types=_count(_integer_type(node.input[0], producers, types) for node in products),
        weight_types=_count(_integer_type(node.input[1], producers, types) for node in products),
        weight_bits=_weight_bits(products, producers, constants),
        logits_from=_source(OUTPUT, producers).op_type,
    )


def _count(names: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(name for name in names if name).items()))


def _source(name: str, producers: dict[str, onnx.NodeProto]) -> onnx.NodeProto:
    """The node behind a value, past those that only hand it on."""
    node = producers[name]
    while node.op_type in CARRIERS and node.input[0] in producers:
        node = producers[node.input[0]]
    return node


def _dequantizer(name: str, producers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The node that a value is dequantized by; None where it is a float all along."""
    node = _source(name, producers) if name in producers else None
    return node if node is not None and node.op_type == DEQUANTIZE else None


def _integer_type(name: str, producers: dict[str, onnx.NodeProto], types: dict[str, int]) -> str | None:
    """Integer type that a value is dequantized from, such as "uint8"; None where it is a float all along."""
    node = _dequantizer(name, producers)
    if node is None:
        return None
    zero_point = node.input[2] if len(node.input) > 2 else ""
    # Without a zero point the type is that of the quantized value; it is uint8 where nothing says another.
    kind = types.get(zero_point) or types.get(node.input[0]) or TensorProto.UINT8
    return str(TensorProto.DataType.Name(kind)).lower()


def _weight_bits(
    products: Iterable[onnx.NodeProto], producers: dict[str, onnx.NodeProto], constants: dict[str, onnx.TensorProto]
) -> int | None:
    nodes = [node for product in products if (node := _dequantizer(product.input[1], producers)) is not None]
    weights = [constants[node.input[0]] for node in nodes if node.input[0] in constants]
    largest = [
        int(np.abs(numpy_helper.to_array(tensor).astype(np.int64)).max())
        for tensor in weights
        if tensor.data_type == TensorProto.INT8
    ]
    if not largest:
        return None
    return 7 if max(largest) <= LARGEST_OF_7_BITS else 8

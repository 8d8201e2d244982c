"""A float graph with its weights in bfloat16: half the file, run in bf16 by OpenVINO on CPUs that can."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slimline.models.openvino_session import refuse_without_bf16


def halve(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """`model` with every weight of two dimensions or more as bfloat16 behind a `Cast`; the runtime folds that away.

    Biases, means and the like stay as they are: they are small, and added to sums that are kept in float.

    Args:
        model: the float graph, changed in place.
        where: what errors name.

    Raises:
        NotSupportedError: this CPU has no bf16, so that the file could be neither checked nor timed.
    """
    refuse_without_bf16(where)
    graph, casts = model.graph, []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or _is_per_channel(tensor):
            continue
        name, stored = tensor.name, f"{tensor.name}_bf16"
        casts.append(helper.make_node("Cast", [stored], [name], name=f"cast_{name}", to=TensorProto.FLOAT))
        graph.initializer[index].CopyFrom(_as_bfloat16(tensor, stored))
    for position, cast in enumerate(casts):  # a graph lists nodes after what they need
        graph.node.insert(position, cast)
    return model


def _is_per_channel(tensor: TensorProto) -> bool:
    """Whether it has one value per channel, such as the mean [1, c, 1, 1] of pixels."""
    return sum(1 for size in tensor.dims if size > 1) < 2


def _as_bfloat16(tensor: TensorProto, name: str) -> TensorProto:
    """Rounded to the nearest, ties to even: the upper half of each float's bits. All values are finite."""
    bits = np.ascontiguousarray(numpy_helper.to_array(tensor)).view(np.uint32)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return helper.make_tensor(name, TensorProto.BFLOAT16, tensor.dims, upper.tobytes(), raw=True)

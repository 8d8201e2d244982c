"""Which layers of a graph compute on quantized values, followed through what only hands them on."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slimline.compression.graph import float_layers
from slimline.evaluation.graph import read_graph
from slimline.models.session import INPUT, OUTPUT

# What stands between the quantized value `x` of 4 channels and the layer that takes `in`.
HANDS_ON = {
    "through an activation": (
        [helper.make_node("Identity", ["x"], ["z"]), helper.make_node("Relu", ["z"], ["in"])],
        False,
    ),
    "reshape": ([helper.make_node("Reshape", ["x", "shape"], ["in"])], True),
    "halves": (
        [
            helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
            helper.make_node("Concat", ["b", "a"], ["in"], axis=1),
        ],
        True,
    ),
    "half float": (
        [
            helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Concat", ["a", "c"], ["in"], axis=1),
        ],
        False,
    ),
}


def graph_with(between):
    constants = {
        "scale": np.float32(0.1), "zero": np.uint8(0), "weight_scale": np.float32(0.1), "weight_zero": np.int8(0),
        "weight": np.ones((2, 4, 1, 1), np.int8), "shape": np.array([0, 4, 3, 3]),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", [INPUT, "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        *between,
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"]),
        helper.make_node("Conv", ["in", "w"], [OUTPUT], name="layer"),
    ]
    shapes = {INPUT: ["n", 4, 3, 3], OUTPUT: ["n", 2, 3, 3]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", [values[INPUT]], [values[OUTPUT]], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize(("between", "quantized"), HANDS_ON.values(), ids=HANDS_ON)
def test_a_layer_takes_integers_where_all_that_it_takes_was_quantized(between, quantized):
    assert float_layers(graph_with(between)) == ([] if quantized else ["layer"])


@pytest.mark.parametrize("name", ["reshape", "halves"])
def test_the_type_of_activations_is_found_behind_what_hands_them_on(tmp_path, name):
    onnx.save(graph_with(HANDS_ON[name][0]), tmp_path / "model.onnx")
    assert read_graph(tmp_path / "model.onnx").activation_types == {"uint8": 1}

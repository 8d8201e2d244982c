"""What is in an int8 file, and what its kernels make of it."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

from slimline.data.prepared import PreparedDataset
from slimline.models.onnx_file import run_onnx


def largest_number(file):
    """The largest absolute value of the int8 kernels in a file."""
    constants = [tensor for tensor in onnx.load(file).graph.initializer if len(tensor.dims) == 4]
    arrays = [numpy_helper.to_array(tensor).astype(int) for tensor in constants if tensor.data_type == TensorProto.INT8]
    return max(np.abs(array).max() for array in arrays)


def assert_integers_compute_as_floats(file, digits):
    """That the file's own runtime gives what its numbers give in float, operator by operator: no sum is cut off."""
    data = PreparedDataset.open(digits)
    images = data.read(data.rows("test")[:64])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    in_float = plain.run(None, {plain.get_inputs()[0].name: images})[0]
    difference = np.abs(run_onnx(file, images) - in_float)
    assert difference.mean() < 0.01 * in_float.std()

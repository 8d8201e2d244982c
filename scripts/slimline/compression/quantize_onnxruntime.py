"""Static int8 quantization for ONNX Runtime, by its own tool.

Its defaults are left where they lose: signed activations run at less than half the speed of unsigned ones, one scale
for all channels of a weight loses accuracy, and quantized logits tie.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from slimline.compression.graph import Ranges, float_but_last, last_layer, ranges_of_values
from slimline.compression.weight_range import reduces_range
from slimline.config.variants import QuantizeConfig
from slimline.models.session import INPUT

# Large images come in smaller batches: while it calibrates, the runtime keeps most activations of a batch, which for a
# transformer and 64 images of 224 pixels are more than 20 GB.
CALIBRATION_BATCH, CALIBRATION_PIXELS = 64, 2**18
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]
    """Feeds uint8 images [n, c, h, w] to the calibrator in batches."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        height, width = images.shape[2:]
        size = max(1, min(CALIBRATION_BATCH, CALIBRATION_PIXELS // (height * width)))
        self._batches = [images[start : start + size] for start in range(0, len(images), size)]
        self._next = iter(self._batches)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Goes to these batches, the last one excluded."""
        self._next = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """The next batch by input name, None after the last."""
        batch = next(self._next, None)
        return None if batch is None else {INPUT: batch}


def quantize_onnxruntime(
    parent: Path, images: npt.NDArray[np.uint8], config: QuantizeConfig, ranges: Ranges
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The int8 graph of a float one.

    Args:
        parent: the float ONNX file.
        images: uint8 [n, c, h, w] that give the ranges of the activations.
        config: how ranges are taken, and how many bits weights use.
        ranges: those that layers were trained with, by name; they go before those of the images.

    Returns:
        The graph; layers that are float in it besides the last one, and how many values have a trained range.
    """
    with TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
        quant_pre_process(parent, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        trained = ranges_of_values(model, ranges)
        quantize_static(
            prepared,
            quantized,
            CalibrationImages(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=METHODS[config.method],
            reduce_range=reduces_range(config),
            nodes_to_exclude=[last_layer(model)],
            extra_options={
                "TensorQuantOverrides": {name: [_override(*range_)] for name, range_ in trained.items()},
                # Batch by batch, whatever the method: histograms take batches of one size at a time only, and without
                # it all activations of all images would be kept.
                "CalibStridedMinMax": 1,
            },
        )
        result = onnx.load(quantized)
    return result, {"float_layers": float_but_last(result), "trained_ranges": len(trained)}


def _override(low: float, high: float) -> dict[str, Any]:
    return {"quant_type": QuantType.QUInt8, "rmin": np.float32(low), "rmax": np.float32(high)}

"""Static int8 quantization of an exported graph with ONNX Runtime.

Weights are signed and per channel, activations unsigned: the pairing for which CPUs have instructions (signed
activations run at less than half the speed). The last layer stays in float: rounding its outputs would tie the
first two classes of many samples, which accuracy alone does not show.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
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

from slimline.config.variants import QuantizeConfig
from slimline.data.batches import random_words
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError
from slimline.failed import library_limits
from slimline.files import read_json
from slimline.models.onnx_file import INPUT, OUTPUT, load_reference, parity, save_lean, write_description

CALIBRATION_BATCH = 64
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]
    """Feeds uint8 images [n, c, h, w] to the calibrator in batches."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._batches: Iterator[npt.NDArray[np.uint8]] = iter(
            images[start : start + CALIBRATION_BATCH] for start in range(0, len(images), CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """The next batch by input name, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def quantize(
    parent: Path, parent_report: Path, reference: Path, prepared: Path, config: QuantizeConfig,
    *, variant: str, seed: int, output: Path, report: Path,
) -> None:  # fmt: skip
    """Quantizes the parent's ONNX file, calibrated on training images only, and proves that it runs as int8.

    Args:
        parent: the parent's `model.onnx`.
        parent_report: the parent's `export.json`.
        reference: images and PyTorch's logits of the parent.
        prepared: folder of the prepared data.
        config: how many images calibrate, and how.
        variant: what `export.json` names.
        seed: likewise; also chooses the calibration images.
        output: the quantized ONNX file.
        report: its `export.json`.

    Raises:
        NotSupportedError: the library cannot quantize the graph, or no operator of the result runs as int8.
    """
    data = PreparedDataset.open(prepared)
    with TemporaryDirectory(dir=output.parent, prefix=".quantize-") as scratch:
        prepared_graph, quantized = Path(scratch, "prepared.onnx"), Path(scratch, "quantized.onnx")
        images = calibration_images(data, config.calibration_samples, seed)
        with library_limits(
            "ONNX Runtime cannot quantize the graph.",
            where=str(parent),
            next_step="leave this variant out for this model",
        ):
            quant_pre_process(parent, prepared_graph, skip_symbolic_shape=True)
            quantize_static(
                prepared_graph,
                quantized,
                CalibrationImages(images),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                calibrate_method=METHODS[config.method],
                nodes_to_exclude=[_last_layer(onnx.load(prepared_graph))],
            )
        save_lean(onnx.load(quantized), output)
    images, expected = load_reference(reference)
    origin = read_json(parent_report)
    write_description(
        report, output, variant=variant, seed=seed, dtype=config.dtype,
        parameters=origin["parameters"], macs=origin["macs"], agreement=parity(output, images, expected, None),
    )  # fmt: skip
    _refuse_float(read_json(report), output)


def calibration_images(data: PreparedDataset, n_samples: int, seed: int) -> npt.NDArray[np.uint8]:
    """At most `n_samples` training images [n, c, h, w], chosen by the seed."""
    rows = data.rows("train")
    chosen = np.sort(rows[np.argsort(random_words(seed, 0, rows, draw=5), kind="stable")][:n_samples])
    return data.read(chosen)


def _last_layer(model: onnx.ModelProto) -> str:
    """Name of the node that gives the logits, followed back over nodes that only reshape."""
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers[OUTPUT]
    while node.op_type not in ("Gemm", "MatMul", "Conv"):
        node = next(producers[name] for name in node.input if name in producers)
    return str(node.name)


def _refuse_float(description: dict[str, Any], output: Path) -> None:
    if description["quantized_operators"]:
        logging.getLogger("slimline").info("%d int8 operators in %s", description["quantized_operators"], output)
        return
    raise NotSupportedError(
        "Quantization left nothing that runs as int8.",
        where=str(output),
        got=f"operators {description['operators']}",
        expected="convolutions or matrix products in int8",
        next_step="leave this variant out for this model",
        code="runs-in-float",
    )

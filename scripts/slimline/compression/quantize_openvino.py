"""Static int8 quantization for OpenVINO, by NNCF on the ONNX graph; with accuracy control where it is asked for."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from slimline.compression.graph import Ranges, float_but_last, is_quantized, last_layer, ranges_of_values, set_ranges
from slimline.compression.weight_range import reduces_range
from slimline.config.variants import QuantizeConfig
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError, SlimlineError
from slimline.evaluation.statistics import exceeds
from slimline.models.openvino_library import load_nncf
from slimline.models.session import INPUT, open_session
from slimline.models.target import Target

VALIDATION_BATCH = 64
# Share of the values on either side that `percentile` leaves out, that of ONNX Runtime's method of the same name.
OUTLIERS = 1e-5
TARGET = Target("openvino", "f32")

Batch = dict[str, npt.NDArray[Any]]


def quantize_openvino(
    parent: Path, images: npt.NDArray[np.uint8], config: QuantizeConfig, data: PreparedDataset, ranges: Ranges
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The int8 graph of a float one.

    Biases are corrected for the mean error of each layer (Nagel et al., ICCV 2019), by NNCF's default.

    Args:
        parent: the float ONNX file.
        images: uint8 [n, c, h, w] that give the ranges of the activations.
        config: how.
        data: accuracy control measures on its validation split.
        ranges: those that layers were trained with, by name; they go before those of the images, and biases that were
            trained with them are not corrected.

    Returns:
        The graph; layers that are float in it besides the last one, how many values have a trained range, and what
        accuracy control did.

    Raises:
        SlimlineError: accuracy control is asked for and there is no validation split.
        NotSupportedError: the drop stays too large.
    """
    nncf = load_nncf()
    with TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(parent, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
    options = _options(nncf, model, config.method, len(images))
    advanced = _advanced(nncf, config.method, trained=bool(ranges), reduced=reduces_range(config))
    calibration = nncf.Dataset([{INPUT: images[index : index + 1]} for index in range(len(images))])
    if config.accuracy_drop is None:
        with _silence():
            quantized = nncf.quantize(model, calibration, **options, advanced_parameters=advanced)
        trained = set_ranges(quantized, ranges_of_values(model, ranges))
        return quantized, {"float_layers": float_but_last(quantized), "trained_ranges": trained}
    options["advanced_quantization_parameters"] = advanced
    return _with_accuracy_control(nncf, model, calibration, options, config.accuracy_drop, ValidationBatches(data))


def _options(nncf: Any, model: onnx.ModelProto, method: str, n_samples: int) -> dict[str, Any]:
    transformer = any(node.op_type == "Softmax" for node in model.graph.node)
    return {
        "preset": nncf.QuantizationPreset.MIXED,  # weights symmetric, activations not: unsigned after a ReLU
        "target_device": nncf.TargetDevice.CPU,
        "subset_size": n_samples,
        "model_type": nncf.ModelType.TRANSFORMER if transformer else None,
        "ignored_scope": nncf.IgnoredScope(names=[last_layer(model)]),
    }


def _advanced(nncf: Any, method: str, *, trained: bool, reduced: bool) -> Any:
    """NNCF's further options; weights that were `trained` to be quantized are rounded as they were then.

    Else biases are corrected, by its default. With a `reduced` range all weights have 7 bits; else those of the first
    layer alone, by its default, or none.
    """
    from nncf.quantization.advanced_parameters import OverflowFix
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    if method == "minmax":
        low = StatisticsCollectorParameters(StatisticsType.MIN, AggregatorType.MIN)
        high = StatisticsCollectorParameters(StatisticsType.MAX, AggregatorType.MAX)
    else:  # of each image, averaged over the images
        low = high = StatisticsCollectorParameters(
            StatisticsType.QUANTILE, AggregatorType.MEAN, quantile_outlier_prob=OUTLIERS
        )
    return nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParameters(min=low, max=high),
        disable_bias_correction=trained,
        overflow_fix=OverflowFix.ENABLE if reduced else OverflowFix.DISABLE if trained else None,
    )


def _with_accuracy_control(
    nncf: Any, model: onnx.ModelProto, calibration: Any, options: dict[str, Any], drop: float,
    batches: ValidationBatches,
) -> tuple[onnx.ModelProto, dict[str, Any]]:  # fmt: skip
    judge = Judge(len(batches))
    with _silence():
        quantized = nncf.quantize_with_accuracy_control(
            model,
            calibration,
            nncf.Dataset(batches),
            judge,
            max_drop=drop,
            drop_type=nncf.DropType.ABSOLUTE,
            **options,
        )
    before, after = judge.first[False], judge(quantized, batches)[0]
    if exceeds(before - after, drop) or not is_quantized(quantized):
        raise NotSupportedError(
            "Accuracy control found no int8 model that is accurate enough.",
            where="quantize.accuracy_drop",
            got=f"validation accuracy {judge.first[True]:.4f} in int8, {before:.4f} in float; no layers that help",
            expected=f"a drop of at most {drop}",
            next_step="allow a larger drop, or train with quantization (`epochs`)",
            code="accuracy-drop",
        )
    remaining = float_but_last(quantized)
    return quantized, {
        "float_layers": remaining,
        "trained_ranges": 0,
        "accuracy_control": {
            "accuracy_drop": drop,
            "validation_samples": len(batches.rows),
            "validation_accuracy_float": before,
            "validation_accuracy_int8": judge.first[True],
            "validation_accuracy": after,
            "reverted_layers": [name for name in remaining if name not in judge.float_layers],
        },
    }


class Judge:
    """Accuracy of graphs on labelled batches, in the runtime that the file is for; NNCF's validation function.

    Args:
        n_batches: all there are; NNCF calls it with some of them too, to rank layers.

    Attributes:
        first: accuracy on all batches of the first graph that was not quantized, and of the first that was.
        float_layers: layers of the latter that are not quantized, before any is reverted.
    """

    def __init__(self, n_batches: int) -> None:
        self.n_batches = n_batches
        self.first: dict[bool, float] = {}
        self.float_layers: list[str] = []

    def __call__(self, model: onnx.ModelProto, batches: Iterable[Batch]) -> tuple[float, list[float]]:
        """Accuracy over all batches, and of each of them."""
        with TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            onnx.save(model, path)
            session = open_session(path, threads=1, target=TARGET)
            right = [session.run(batch[INPUT]).argmax(1) == batch["labels"] for batch in batches]
        accuracy = float(np.concatenate(right).mean())
        kind = is_quantized(model)
        if kind not in self.first and len(right) == self.n_batches:
            self.first[kind] = accuracy
            self.float_layers = float_but_last(model)
        return accuracy, [float(each.mean()) for each in right]


class ValidationBatches(Sequence[Batch]):
    """Images [n, c, h, w] and labels [n] of the validation split, read when they are asked for."""

    def __init__(self, data: PreparedDataset) -> None:
        self.data, self.rows = data, data.rows("validation")
        if not len(self.rows):
            raise SlimlineError(
                "Accuracy control has no images to measure on.",
                where="quantize.accuracy_drop",
                got="dataset.validation: 0",
                expected="a share of the training images that is held out",
                next_step="set dataset.validation to 0.1, or leave accuracy_drop out",
            )

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.rows) // VALIDATION_BATCH)

    def __getitem__(self, index: Any) -> Any:
        """One batch."""
        rows = self.rows[index * VALIDATION_BATCH : (index + 1) * VALIDATION_BATCH]
        if not len(rows):
            raise IndexError(index)
        return {INPUT: self.data.read(rows), "labels": self.data.labels[rows]}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """NNCF draws progress bars on standard output, and passes on warnings of what it is built on."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

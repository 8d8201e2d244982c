"""A float graph becomes one of int8 or bf16, for the runtime that the variant names.

In both runtimes weights are signed and per channel, activations unsigned where they have no sign: the pairing for
which CPUs have instructions. The last layer stays in float: rounding its outputs would tie the first two classes of
many samples, which accuracy alone does not show.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from slimline.compression.bf16 import halve
from slimline.compression.graph import Ranges
from slimline.compression.quantize_onnxruntime import quantize_onnxruntime
from slimline.compression.weight_range import reduces_range
from slimline.config.variants import QuantizeConfig
from slimline.data.batches import random_words
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError, SlimlineError
from slimline.failed import is_of_the_machine, library_limits
from slimline.files import read_json
from slimline.models.architecture import Architecture
from slimline.models.onnx_file import load_reference, parity, save_lean, write_description
from slimline.models.target import Target


def quantize(
    parent: Path, parent_report: Path, reference: Path, prepared: Path, config: QuantizeConfig,
    *, variant: str, seed: int, output: Path, report: Path, trained: Path | None = None,
) -> None:  # fmt: skip
    """Quantizes a float ONNX file, calibrated on training images only, and proves that it runs as it claims.

    Args:
        parent: the float `model.onnx`.
        parent_report: its `export.json`.
        reference: images and PyTorch's logits of the float model.
        prepared: folder of the prepared data.
        config: type of numbers, runtime, how many images calibrate, and how.
        variant: what `export.json` names.
        seed: likewise; also chooses the calibration images.
        output: the quantized ONNX file.
        report: its `export.json`.
        trained: `model.json` of the float model, where it was trained to be quantized.

    Raises:
        NotSupportedError: the library cannot quantize the graph; the runtime cannot load or run what it made; no
            operator of that runs as int8; it is larger than the parent; the CPU has no bf16; accuracy control found no
            way to keep the accuracy.
    """
    target = Target(config.target_runtime, "bf16" if config.dtype == "bf16" else "f32")
    ranges = (
        {name: (low, high) for name, low, high in Architecture.from_json(read_json(trained)).ranges} if trained else {}
    )
    model, how = _quantized(parent, PreparedDataset.open(prepared), config, seed, ranges)
    images, expected = load_reference(reference)
    origin = read_json(parent_report)
    with _usable(output):
        save_lean(model, output, target)
        write_description(
            report, output, variant=variant, seed=seed, dtype=config.dtype,
            parameters=origin["parameters"], macs=origin["macs"], agreement=parity(output, images, expected, None),
            quantization=how,
        )  # fmt: skip
    _refuse_larger(parent, output)
    if config.dtype == "int8":
        _refuse_float(read_json(report), output)


def _quantized(
    parent: Path, data: PreparedDataset, config: QuantizeConfig, seed: int, ranges: Ranges
) -> tuple[onnx.ModelProto, dict[str, Any] | None]:
    """The graph, and what `export.json` says of how it was made."""
    if config.dtype == "bf16":
        return halve(onnx.load(parent), str(parent)), None
    images = calibration_images(data, config.calibration_samples, seed)
    with library_limits(
        f"The graph cannot be quantized for {config.target_runtime}.",
        where=str(parent),
        next_step="leave this variant out for this model",
    ):
        if config.target_runtime == "onnxruntime":
            model, facts = quantize_onnxruntime(parent, images, config, ranges)
        else:
            from slimline.compression.quantize_openvino import quantize_openvino  # its libraries take a second to load

            model, facts = quantize_openvino(parent, images, config, data, ranges)
    how = {"method": config.method, "calibration_split": "train", "calibration_samples": len(images), "seed": seed}
    return model, how | {"weight_bits": 7 if reduces_range(config) else 8} | facts


def calibration_images(data: PreparedDataset, n_samples: int, seed: int) -> npt.NDArray[np.uint8]:
    """At most `n_samples` training images [n, c, h, w], chosen by the seed."""
    rows = data.rows("train")
    chosen = np.sort(rows[np.argsort(random_words(seed, 0, rows, draw=5), kind="stable")][:n_samples])
    return data.read(chosen)


@contextmanager
def _usable(output: Path) -> Iterator[None]:
    """What cannot be checked, loaded or run is the library's work: it ends this variant and not the run."""
    what, where, next_step = "The quantized file cannot be used.", str(output), "leave this variant out for this model"
    with library_limits(what, where=where, next_step=next_step):
        try:
            yield
        except NotSupportedError:
            raise
        except SlimlineError as error:  # a runtime that refused the file, in our words
            if error.__cause__ is None or is_of_the_machine(error.__cause__):
                raise
            got = f"{error.what} {error.got}"
            raise NotSupportedError(what, where=where, got=got, next_step=next_step, code="not-loaded") from error


def _refuse_larger(parent: Path, output: Path) -> None:
    """Weights that stay in float beside their quantized copies are a silent failure of converters."""
    before, after = parent.stat().st_size, output.stat().st_size
    if after >= before:
        raise NotSupportedError(
            "Quantization did not make the file smaller.",
            where=str(output),
            got=f"{after:,} bytes, {before:,} before",
            expected="fewer bytes",
            next_step="leave this variant out for this model",
            code="larger-than-float",
        )


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

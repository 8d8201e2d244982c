"""From an artifact to the ONNX file that ships, with proof that both compute the same."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from slimline.data.batches import random_sample
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError
from slimline.models.architecture import Architecture
from slimline.models.artifact import load_artifact
from slimline.models.count import count_macs, count_parameters
from slimline.models.onnx_file import parity, save_lean, save_reference, write_description
from slimline.models.session import INPUT, OUTPUT

OPSET = 20
PARITY_SAMPLES = 64
# Of a logit; floats are rounded in proportion, so that it grows with the spread of logits that are large.
PARITY_TOLERANCE = 1e-4


def export(
    artifact: Path, prepared: Path, *, variant: str, seed: int, output: Path, report: Path, reference: Path
) -> None:
    """Exports an artifact to ONNX with a dynamic batch and compares it with PyTorch on real images.

    Args:
        artifact: folder of `model.json` and `weights.safetensors`.
        prepared: folder of the prepared data; parity is checked on its training images.
        variant: what `export.json` names.
        seed: likewise; also chooses the images.
        output: the ONNX file: input `images` uint8 [batch, c, h, w], output `logits` float32 [batch, k].
        report: `export.json`.
        reference: where the images and PyTorch's logits are kept for files made from this one.

    Raises:
        NotSupportedError: the network cannot be exported, or the file computes something else.
    """
    model, architecture = load_artifact(artifact)
    data = PreparedDataset.open(prepared)
    # Of all classes: in a folder of images, the first ones are of one class alone.
    images = data.read(random_sample(data.rows("train"), PARITY_SAMPLES, seed))
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).numpy()
    save_lean(_to_onnx(model, architecture), output)
    tolerance = PARITY_TOLERANCE * max(1.0, float(expected.std()))
    agreement = parity(output, images, expected, tolerance)
    if agreement.max_abs > tolerance:
        raise NotSupportedError(
            "The exported file does not compute what the model computes.",
            where=str(output),
            got=f"logits differ by up to {agreement.max_abs:.2g} on {agreement.n_samples} images",
            expected=f"at most {tolerance:.2g}",
            next_step=f"report this with the model's name ({architecture.name}) and the versions of torch and onnx",
            code="parity",
        )
    save_reference(reference, images, expected)
    write_description(
        report, output, variant=variant, seed=seed, dtype="fp32",
        parameters=count_parameters(model), macs=count_macs(model, architecture.image_shape), agreement=agreement,
    )  # fmt: skip


def _to_onnx(model: nn.Module, architecture: Architecture) -> onnx.ModelProto:
    images = torch.zeros(2, *architecture.image_shape, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=65_536)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        # The exporter reports its progress on standard output whatever its options say.
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model, (images,), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes=({0: batch},),
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        raise NotSupportedError(
            f"The model {architecture.name} cannot be exported to ONNX.",
            where="model.name",
            got=str(error).strip().splitlines()[0],
            next_step="choose another model",
        ) from error
    assert program is not None
    return program.model_proto

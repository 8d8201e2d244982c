"""ONNX files: written lean, described by what is really in them. No torch here."""

from __future__ import annotations

import gzip
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from safetensors.numpy import load_file, save_file

from slimline.files import replacing, sha256_file, write_json
from slimline.models.session import open_session
from slimline.models.target import Target

FORMAT = 1


@dataclass(frozen=True)
class Parity:
    """How far a file's logits are from a reference.

    Args:
        reference: what it is compared with.
        n_samples: images compared.
        max_abs: largest absolute difference of any logit.
        tolerance: largest `max_abs` allowed; None where a difference is meant.
        argmax_agreement: share of images with the same predicted class.
    """

    reference: str
    n_samples: int
    max_abs: float
    tolerance: float | None
    argmax_agreement: float


def save_lean(model: onnx.ModelProto, path: Path, target: Target | None = None) -> None:
    """Writes one file without what exporters leave behind: paths, stack traces, names of their passes.

    It would be a tenth of a small model's size, and differ from machine to machine.

    Args:
        model: changed in place.
        path: the file.
        target: the runtime that it is meant for, and the precision; ONNX Runtime in f32 where None.
    """
    del model.metadata_props[:]
    (target or Target()).write(model)
    model.doc_string = ""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    for function in model.functions:
        function.doc_string = ""
    del graph.value_info[:]
    _keep_used_opsets(model)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def _keep_used_opsets(model: onnx.ModelProto) -> None:
    """Tools declare every set of operators that they know."""
    used = {node.domain for node in model.graph.node} | {function.domain for function in model.functions}
    used |= {node.domain for function in model.functions for node in function.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or not entry.domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def run_onnx(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Logits [n, k] of uint8 images [n, c, h, w], on one CPU thread of the runtime that the file names."""
    return open_session(path, threads=1).run(images)


def parity(
    path: Path, images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32], tolerance: float | None
) -> Parity:
    """Compares a file with the logits [n, k] that PyTorch gives for the same uint8 images [n, c, h, w]."""
    logits = run_onnx(path, images)
    return Parity(
        reference="PyTorch fp32",
        n_samples=len(images),
        max_abs=float(np.abs(logits - expected).max()),
        tolerance=tolerance,
        argmax_agreement=float((logits.argmax(1) == expected.argmax(1)).mean()),
    )


def size_gzip_bytes(path: Path) -> int:
    """Size of a file once it is compressed as `gzip -9` does it: where zeros among the weights tell."""
    return len(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0))


def sparsity(path: Path) -> float:
    """Share of zeros among the weights of a file, from 0 to 1: its constants of two or more dimensions."""
    weights = [onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer if len(each.dims) > 1]
    n_weights = sum(weight.size for weight in weights)
    return sum(weight.size - int(np.count_nonzero(weight)) for weight in weights) / max(1, n_weights)


def write_description(
    path: Path, model: Path, *, variant: str, seed: int, dtype: str, parameters: int, macs: int, agreement: Parity,
    quantization: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Writes `export.json`: the facts of one ONNX file, read from the file itself; and how it was quantized."""
    session = open_session(model, threads=1)
    execution = session.execution()
    opset = next(entry.version for entry in onnx.load(model).opset_import if not entry.domain)
    content: dict[str, Any] = {
        "format": FORMAT,
        "variant": variant,
        "seed": seed,
        "dtype": dtype,
        "runtime": session.target.runtime,
        "runtime_version": session.version,
        "opset": opset,
        "parameters": parameters,
        "macs": macs,
        "size_bytes": model.stat().st_size,
        "size_gzip_bytes": size_gzip_bytes(model),
        "sparsity": sparsity(model),
        "onnx_sha256": sha256_file(model),
        "parity": asdict(agreement),
        "operators": execution.operators,
        "quantized_operators": execution.integer_operators,
        "quantization": quantization,
    }
    write_json(path, content)


def save_reference(path: Path, images: npt.NDArray[np.uint8], logits: npt.NDArray[np.float32]) -> None:
    """Keeps the images and PyTorch's logits that later files of the same chain are compared with."""
    with replacing(path) as temporary:
        save_file({"images": images, "logits": logits}, temporary)


def load_reference(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The images [n, c, h, w] and logits [n, k] that `save_reference` kept."""
    content = load_file(path)
    return content["images"], content["logits"]

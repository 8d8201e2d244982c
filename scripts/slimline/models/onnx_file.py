"""ONNX files: written lean, described by what is really in them. No torch here."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

from slimline.files import replacing, sha256_file, write_json

FORMAT = 1
INPUT, OUTPUT = "images", "logits"
INTEGER_OPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QGemm", "QLinearAdd")


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


def save_lean(model: onnx.ModelProto, path: Path) -> None:
    """Writes one file without what exporters leave behind: paths, stack traces, names of their passes.

    It would be a tenth of a small model's size, and differ from machine to machine.
    """
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    for function in model.functions:
        function.doc_string = ""
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def run_onnx(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Logits [n, k] of uint8 images [n, c, h, w], on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    logits: npt.NDArray[np.float32] = session.run([OUTPUT], {INPUT: images})[0]
    return logits


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


def executed_operators(path: Path, scratch: Path) -> dict[str, int]:
    """Operators that the runtime executes after its own fusions, by name: what int8 really runs as int8.

    Args:
        path: the model.
        scratch: where the optimised graph may be written; removed afterwards.
    """
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(scratch)
    options.log_severity_level = 3  # that the file fits this machine alone is known: it is only counted
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(scratch).graph.node)
    scratch.unlink()
    return dict(sorted(counts.items()))


def size_gzip_bytes(path: Path) -> int:
    """Size of a file once it is compressed as `gzip -9` does it: where zeros among the weights tell."""
    return len(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0))


def sparsity(path: Path) -> float:
    """Share of zeros among the weights of a file, from 0 to 1: its constants of two or more dimensions."""
    weights = [onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer if len(each.dims) > 1]
    n_weights = sum(weight.size for weight in weights)
    return sum(weight.size - int(np.count_nonzero(weight)) for weight in weights) / max(1, n_weights)


def write_description(
    path: Path, model: Path, *, variant: str, seed: int, dtype: str, parameters: int, macs: int, agreement: Parity
) -> None:
    """Writes `export.json`: the facts of one ONNX file, read from the file itself."""
    operators = executed_operators(model, path.with_suffix(".optimised.onnx"))
    opset = next(entry.version for entry in onnx.load(model).opset_import if not entry.domain)
    content: dict[str, Any] = {
        "format": FORMAT,
        "variant": variant,
        "seed": seed,
        "dtype": dtype,
        "opset": opset,
        "parameters": parameters,
        "macs": macs,
        "size_bytes": model.stat().st_size,
        "size_gzip_bytes": size_gzip_bytes(model),
        "sparsity": sparsity(model),
        "onnx_sha256": sha256_file(model),
        "parity": asdict(agreement),
        "operators": operators,
        "quantized_operators": sum(operators.get(name, 0) for name in INTEGER_OPERATORS),
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

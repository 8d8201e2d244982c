"""`proof.json`: what was established of one shipped file in a fresh process, and what is wrong with it."""

from __future__ import annotations

from typing import Literal

from slimline.evaluation.record_base import Record, described

ProblemCode = Literal[
    "not-loaded",
    "crashed",
    "does-not-run",
    "wrong-batch",
    "not-finite",
    "parity",
    "not-quantized",
    "runs-in-float",
    "signed-activations",
    "quantized-logits",
    "larger-than-float",
]


class Problem(Record):
    """Something that keeps a file from being recommended."""

    code: str = described("Its short name, always the same.")
    message: str = described("What was found, in one line.")


class Facts(Record):
    """What a fresh process finds out about a file."""

    runtime: str = described("Runtime that executes the file.")
    opset: int = described("Version of ONNX's operators in the file.")
    symbolic_batch: bool = described("Whether the file leaves the number of images open.")
    onnx_sha256: str = described("SHA-256 of the file.")
    size_bytes: int = described("Size of the file.", "bytes")
    quantize_nodes: int = described("QuantizeLinear nodes in the file.", "count")
    dequantize_nodes: int = described("DequantizeLinear nodes in the file.", "count")
    activation_types: dict[str, int] = described(
        "Convolutions and matrix products by the integer type of their input.", "count"
    )
    weight_types: dict[str, int] = described(
        "Convolutions and matrix products by the integer type of their weights.", "count"
    )
    weight_bits: int | None = described(
        "How many bits the largest int8 weight takes: 7 are right on every CPU, 8 on those with VNNI; null where none "
        "is int8.",
        "bits",
    )
    logits_from: str = described("Operator that gives the logits.")
    operators: dict[str, int] = described("Operators that the runtime executes after its own optimisation.", "count")
    integer_operators: int = described("Those of them that compute in integers.", "count")
    fused_operators: int = described("Those of them that do the work of several of the file's.", "count")
    n_images: int = described("Real training images that the file was run on.", "count")
    batch_sizes: list[int] = described("Sizes of batch in which it was run on them.", "images")
    batch_difference: float = described(
        "Largest difference of a logit between these sizes, over the spread of the logits.", "ratio"
    )
    max_abs: float = described("Largest difference of a logit to that of the PyTorch fp32 model.", "logits")
    relative_error: float = described(
        "Root mean square of these differences over that of PyTorch's logits, both without their mean over classes.",
        "ratio",
    )
    argmax_agreement: float = described("Share of the images that both classify alike.", "share")
    tied_share: float = described("Share of the images whose largest logit occurs more than once.", "share")


class Proof(Facts):
    """`proof.json`: the facts, what they are held against, and the problems."""

    format: Literal[1] = described("Version of this form.")
    variant: str = described("Variant.")
    seed: int = described("Seed of the model.")
    dtype: str = described("Type that the file is said to compute in, from `export.json`.")
    tolerance: float | None = described(
        "Largest `max_abs` allowed; null where the file is meant to differ, as a quantized one does.", "logits"
    )
    float_size_bytes: int | None = described(
        "Size of the file that a quantized one was made of; null for others.", "bytes"
    )
    problems: list[Problem] = described("What keeps the file from being recommended; empty where all is well.")

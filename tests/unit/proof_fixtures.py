"""Proofs, and variants that there are not."""

from slimline.evaluation.proof_record import Problem, Proof
from slimline.evaluation.record_base import write_record
from slimline.evaluation.records import FailedVariant


def make_proof(variant="dense", seed=0, **changes):
    """A proof in which all is well."""
    values = {
        "format": 1,
        "variant": variant,
        "seed": seed,
        "dtype": "fp32",
        "tolerance": 1e-4,
        "float_size_bytes": None,
        "problems": [],
        "runtime": "onnxruntime",
        "opset": 18,
        "symbolic_batch": True,
        "onnx_sha256": "d" * 64,
        "size_bytes": 1000,
        "quantize_nodes": 0,
        "dequantize_nodes": 0,
        "activation_types": {},
        "weight_types": {},
        "weight_bits": None,
        "logits_from": "Gemm",
        "operators": {"Gemm": 1},
        "integer_operators": 0,
        "fused_operators": 0,
        "n_images": 64,
        "batch_sizes": [1, 2, 7, 64],
        "batch_difference": 1e-7,
        "max_abs": 1e-6,
        "relative_error": 1e-6,
        "argmax_agreement": 1.0,
        "tied_share": 0.0,
    }
    return Proof(**values | changes)


def write_proof(path, **values):
    write_record(path, make_proof(**values))
    return path


def make_failed(variant="unmade", **changes):
    reason = "convnet cannot be pruned this way"
    values = {
        "variant": variant,
        "parent": "dense",
        "step": "prune",
        "artifact_status": f"failed: {reason}",
        "problem": Problem(code="not-supported", message=reason),
        "failed_seeds": [0, 1],
    }
    return FailedVariant(**values | changes)

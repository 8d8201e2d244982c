"""What the facts of a shipped file must be: one check per known way to go wrong without an error.

The reasons for the limits, and what was seen of each failure, are in docs/explanation/proof.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimline.evaluation import wording
from slimline.evaluation.proof_record import Facts, Problem, ProblemCode

# Logits of one image in batches of different sizes, over the spread of the logits. Floats may be added in another
# order; a value that is rounded to the other side by that moves a logit by more.
BATCH_TOLERANCE = {"fp32": 1e-3, "int8": 0.02}
BATCH_TOLERANCE_ELSE = 0.1
# A file that answers by chance is below the first and above the second; coarse rounding of close logits is not.
LEAST_AGREEMENT = 0.5
LARGEST_ERROR = 0.5
# Floats tie by chance in one image at most; quantized logits do in one of six.
LARGEST_TIED_SHARE = 0.02
INTEGER_DTYPES = ("int8",)


def problem(code: ProblemCode, message: str) -> Problem:
    """A problem by its name."""
    return Problem(code=code, message=message)


def batch_tolerance(dtype: str) -> float:
    """Largest `batch_difference` allowed."""
    return BATCH_TOLERANCE.get(dtype, BATCH_TOLERANCE_ELSE)


def find_problems(facts: Facts, dtype: str, tolerance: float | None, float_size_bytes: int | None) -> list[Problem]:
    """All that is wrong with a file that can be run.

    Args:
        facts: what was established.
        dtype: type that it is said to compute in.
        tolerance: largest difference to PyTorch's logits; None where a difference is meant.
        float_size_bytes: size of the file that a quantized one was made of; None for others.
    """
    problems = [*_answers(facts, dtype, tolerance)]
    if dtype in INTEGER_DTYPES:
        problems += _integers(facts, dtype)
    elif dtype == "bf16" and not any(name.endswith(" bf16") for name in facts.operators):
        problems.append(problem("runs-in-float", f"{facts.runtime} executes no operator in bf16"))
    if float_size_bytes is not None and facts.size_bytes >= float_size_bytes:
        message = (
            f"the {dtype} file has {wording.file_size(facts.size_bytes)}, its own fp32 file "
            f"{wording.file_size(float_size_bytes)}"
        )
        problems.append(problem("larger-than-float", message))
    return problems


def _answers(facts: Facts, dtype: str, tolerance: float | None) -> Iterator[Problem]:
    if facts.batch_difference > batch_tolerance(dtype):
        yield problem(
            "wrong-batch",
            f"the logits of an image depend on the batch that it comes in: they differ by "
            f"{facts.batch_difference:.2g} times their spread between batches of {_sizes(facts.batch_sizes)}",
        )
    if tolerance is not None and facts.max_abs > tolerance:
        message = f"logits differ from PyTorch's by up to {facts.max_abs:.2g}, more than {tolerance:g}"
        yield problem("parity", message)
    elif facts.argmax_agreement < LEAST_AGREEMENT and facts.relative_error > LARGEST_ERROR:
        yield problem(
            "parity",
            f"only {wording.percent(facts.argmax_agreement)} of {facts.n_images} images get the class that PyTorch "
            "gives them",
        )
    if facts.logits_from == "DequantizeLinear":
        tied = wording.percent(facts.tied_share)
        message = f"the logits are rounded to 8 bits, so that classes can tie ({tied} of {facts.n_images} images do)"
        yield problem("quantized-logits", message)
    elif facts.tied_share > LARGEST_TIED_SHARE:
        message = f"in {wording.percent(facts.tied_share)} of {facts.n_images} images the first two classes tie"
        yield problem("quantized-logits", message)


def _integers(facts: Facts, dtype: str) -> Iterator[Problem]:
    if facts.quantize_nodes + facts.dequantize_nodes == 0:
        yield problem("not-quantized", f"the file is said to be {dtype} and has no q/dq node")
    elif facts.integer_operators == 0:
        nodes = facts.quantize_nodes + facts.dequantize_nodes
        message = f"{facts.runtime} executes no operator in integers, though the file has {nodes} q/dq nodes"
        yield problem("runs-in-float", message)
    signed = facts.activation_types.get("int8", 0)
    # OpenVINO has instructions for both; ONNX Runtime's for signed activations run at less than half the speed.
    if signed and facts.runtime == "onnxruntime":
        message = f"{signed} operators have signed 8-bit activations, for which CPUs are slow; unsigned was meant"
        yield problem("signed-activations", message)


def _sizes(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))

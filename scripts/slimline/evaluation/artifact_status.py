"""Whether a shipped file may be recommended at all, in the words of the column `artifact_status`."""

from __future__ import annotations

from collections.abc import Sequence

from slimline.evaluation.proof_record import Problem
from slimline.evaluation.records import Row, Step, VariantRecord

OK = "ok"
SLOWER = "slower than its own fp32"
# Two processes of one file should take equally long; that far from 1 is a ratio's own error.
TIMING_ERROR = 0.05


def failed(reason: str) -> str:
    """The status of what could not be made, or is not what it is said to be."""
    return f"failed: {reason}"


def artifact_status(problems: Sequence[Problem], step: Step, latency_ratio_fp32: float | None) -> str:
    """The status of a file, or of a variant over its seeds.

    Args:
        problems: what its proof found.
        step: the step that made it.
        latency_ratio_fp32: how long it takes over what its parent takes in fp32 in the same runtime; None for those
            that are not quantized.
    """
    if problems:
        return failed(problems[0].message)
    return SLOWER if step == "quantize" and is_slower(latency_ratio_fp32) else OK


def is_slower(latency_ratio: float | None) -> bool:
    """Whether a ratio says slower, beyond its own error."""
    return latency_ratio is not None and latency_ratio > 1 + TIMING_ERROR


def farthest_repeat(rows: Sequence[Row]) -> float:
    """The latency ratio of dense to itself in the seed where that is farthest from 1."""
    repeats = [row.latency_ratio for row in rows if row.parent is None]
    return max(repeats, key=_times_apart)


def timing_error(rows: Sequence[Row]) -> float:
    """How far from 1 a latency ratio of this run may be by chance: what dense against itself has shown, if more."""
    return max(TIMING_ERROR, _times_apart(farthest_repeat(rows)) - 1)


def _times_apart(ratio: float) -> float:
    """How many times the lesser the greater is."""
    return max(ratio, 1 / ratio)


def may_ship(variant: VariantRecord) -> bool:
    """Whether a variant is what it is said to be, and no slower than what it was made of."""
    return variant.artifact_status == OK and not is_slower(variant.latency_ratio_parent)

"""`latency.json`: how long one shipped file takes, and what it was timed in turns with."""

from __future__ import annotations

from typing import Literal

from slimline.evaluation.record_base import Record, described


class Baseline(Record):
    """A model of the same seed, timed in turns with the artifact."""

    variant: str = described("Its variant.")
    p50_ms: float = described("Median wall time of a run of it.", "ms")
    drift: float = described(
        "How the machine changed meanwhile: median of its last round over that of its first, minus 1.",
        "share",
    )


class FloatBaseline(Baseline):
    """The float file behind a quantized one, in the runtime of the quantized one, timed in turns with it."""

    precision: str = described("Precision in which the runtime was told to compute: `f32` or `bf16`.")
    ratio_p50: float = described("As `ratio_p50` of the artifact, against this.", "ratio")


class LatencyRecord(Record):
    """`latency.json`: how long one artifact takes, and under which conditions."""

    format: Literal[1] = described("Version of this form.")
    variant: str = described("Variant.")
    seed: int = described("Seed of the model.")
    runtime: str = described("Runtime that executes the graph.")
    precision: str = described("Precision that it was told for all that is not quantized: `f32` or `bf16`.")
    runtime_version: str = described("Its version.")
    provider: str = described("Its execution provider.")
    device: str = described("Processor's name.")
    threads: int = described("Threads of the runtime.", "count")
    batch_size: int = described("Images per run.", "count")
    warmup_runs: int = described("Runs before the clock started, in each process.", "count")
    timed_runs: int = described(
        "Runs of the artifact that were timed; fewer than configured, but never under 100, where a run takes long.",
        "count",
    )
    p50_ms: float = described("Median wall time of a run.", "ms")
    p95_ms: float = described("95th percentile of the wall times.", "ms")
    p99_ms: float = described("99th percentile of the wall times.", "ms")
    mean_ms: float = described("Mean wall time.", "ms")
    cpu_p50_ms: float = described(
        "Median CPU time of a run over all threads; well over `p50_ms` x `threads` is impossible, "
        "well under it means that the process waited.",
        "ms",
    )
    other_cores: float = described("Cores that were busy with other work during the measurement, on average.", "cores")
    baseline: Baseline = described("The dense model of the same seed, timed in the same minutes.")
    ratio_p50: float = described(
        "Median over the rounds of the artifact's median over the baseline's just before and after. For `dense` two "
        "processes of one file: how far it is from 1 is the measurement's own error.",
        "ratio",
    )
    parent: Baseline | None = described(
        "The variant that the artifact was made of, timed in the same minutes; null for `dense`."
    )
    ratio_parent_p50: float | None = described("As `ratio_p50`, against the parent; null for `dense`.", "ratio")
    floats: list[FloatBaseline] = described(
        "Quantized artifacts: the parent in the artifact's own runtime, in each float precision of this CPU that the "
        "artifact is not in itself. Empty for others."
    )
    ratio_float_p50: float | None = described("As `ratio_p50`, against the fastest of them; null without any.", "ratio")

    @property
    def ratio_to_own_fp32(self) -> float | None:
        """How long a quantized file takes over its parent in fp32 in the same runtime; None for others."""
        return next((each.ratio_p50 for each in self.floats if each.precision == "f32"), None)

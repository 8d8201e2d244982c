"""The typed files of the comparison: `metrics.json` and the rows of `metrics.csv`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from slimline.evaluation.proof_record import Problem
from slimline.evaluation.provenance_record import Provenance
from slimline.evaluation.record_base import Record, described, read_record

Status = Literal["reference", "pass", "fail", "inconclusive"]
CheckStatus = Literal["pass", "fail", "inconclusive"]
Criterion = Literal["accuracy_drop", "latency_ratio", "size_ratio"]
Step = Literal["train", "prune", "distil", "finetune", "quantize"]


class Row(Record):
    """One line of `metrics.csv`: one variant of one seed. The order of the fields is the order of the columns."""

    experiment: str = described("Name of the experiment.")
    variant: str = described("Variant.")
    parent: str | None = described("Variant that it was made of; empty for `dense`.")
    seed: int = described("Seed of the model.")
    n_test: int = described("Test images scored.", "count")
    accuracy: float = described(
        "Share of test images whose one largest logit is that of the label; ties are counted as wrong.",
        "share",
        label="Accuracy",
        higher_is_better=True,
        ci="Wilson score",
    )
    accuracy_ci_low: float = described("Lower bound of the Wilson score interval.", "share")
    accuracy_ci_high: float = described("Upper bound of the Wilson score interval.", "share")
    parameters: int = described("Parameters of the model.", "count", label="Parameters")
    size_bytes: int = described("Size of `model.onnx`.", "bytes", label="File size")
    macs: int = described("Multiply-accumulate operations for one image.", "count", label="MACs")
    latency_p50_ms: float = described("Median wall time of a run.", "ms", label="Latency p50")
    latency_p95_ms: float = described("95th percentile of the wall times.", "ms", label="Latency p95")
    latency_p99_ms: float = described("99th percentile of the wall times.", "ms", label="Latency p99")
    batch_size: int = described("Images per timed run.", "count")
    threads: int = described("Threads of the runtime.", "count")
    onnx_parity_max_abs: float = described(
        "Largest difference between a logit of `model.onnx` and of the PyTorch fp32 model.",
        "logits",
        label="ONNX parity",
    )
    latency_ratio: float = described(
        "Median wall time over that of the dense model of the same seed, timed in turns.",
        "ratio",
        label="Latency against dense",
    )
    size_ratio: float = described(
        "File size over that of the dense model of the same seed.", "ratio", label="Size against dense"
    )
    status: Status = described("What the gate says of the variant over all seeds.")
    accuracy_delta: float | None = described(
        "Accuracy minus that of the dense model of the same seed; empty for `dense`.",
        "share",
        label="Accuracy against dense",
        higher_is_better=True,
        ci="percentile bootstrap over test images and pseudo-images, paired",
    )
    prediction_flips: float | None = described(
        "Share of test images that the dense model of the same seed classifies otherwise; empty for `dense`.",
        "share",
        label="Prediction flips",
    )
    tied_share: float = described(
        "Share of test images whose largest logit occurs more than once: a coarsely quantized output.",
        "share",
        label="Ties",
    )
    onnx_argmax_agreement: float = described(
        "Share of the parity images that `model.onnx` and the PyTorch fp32 model classify alike.",
        "share",
        label="ONNX agreement",
        higher_is_better=True,
    )
    latency_cpu_p50_ms: float = described("Median CPU time of a run over all threads.", "ms", label="CPU time p50")
    timed_runs: int = described("Runs that were timed.", "count")
    latency_drift: float = described("Drift of the baseline while the variant was timed; see `latency.json`.", "share")
    device: str = described("Processor that the variant was timed on.")
    latency_ratio_parent: float | None = described(
        "Median wall time over that of the variant that it was made of, timed in turns; empty for `dense`.",
        "ratio",
        label="Latency against its parent",
    )
    opset: int = described("Version of ONNX's operators in `model.onnx`.")
    integer_operators: int = described(
        "Operators that the runtime executes in integers.", "count", label="Integer operators", higher_is_better=True
    )
    fused_operators: int = described(
        "Executed operators that do the work of several.", "count", label="Fused operators", higher_is_better=True
    )
    artifact_status: str = described("`ok`, `slower than its own fp32`, or `failed: ` and the reason, at this seed.")
    control: str | None = described(
        "Equal-budget control: dense trained on for as many steps as the variant; empty where there is none."
    )
    accuracy_delta_control: float | None = described(
        "Accuracy minus that of the control of the same seed; empty where there is none.",
        "share",
        label="Accuracy against the control",
        higher_is_better=True,
        ci="percentile bootstrap over test images and pseudo-images, paired",
    )
    runtime: str = described("Runtime that `model.onnx` is made for, and was scored and timed in.")
    dtype: str = described("Type of weights and activations: `fp32`, `int8` or `bf16`.")
    latency_ratio_float: float | None = described(
        "Quantized models: median wall time over that of the parent in the same runtime, in the fastest float "
        "precision of the CPU, timed in turns; empty for others.",
        "ratio",
        label="Latency against float in its runtime",
    )
    size_gzip_bytes: int = described(
        "Size of `model.onnx` after `gzip -9`: what zeros among the weights save, and only then.",
        "bytes",
        label="Compressed size",
    )
    sparsity: float = described(
        "Share of zeros among the weights. They make no file smaller unless it is compressed, and nothing faster.",
        "share",
        label="Sparsity",
        higher_is_better=True,
    )


class FailedRow(Record):
    """One line of `metrics.csv` for a model that there is not: its other columns are empty."""

    experiment: str = described("Name of the experiment.")
    variant: str = described("Variant.")
    parent: str | None = described("Variant that it was to be made of.")
    seed: int = described("Seed of the model.")
    status: Literal["fail"] = described("What does not exist does not pass.")
    artifact_status: str = described("`failed: ` and the reason.")


class GateCheck(Record):
    """One declared threshold and how a variant stands to it."""

    criterion: Criterion = described("What is compared with the limit.")
    reference: str = described("Variant that it is measured against: `dense`, or the equal-budget control.")
    limit: float = described("Largest value allowed, from the config.", "as `value`")
    value: float = described(
        "Value of the variant: a loss of accuracy (share) or a ratio to the reference.", "share or ratio"
    )
    ci_low: float | None = described("Lower bound of the value's interval; null for ratios.", "share")
    ci_high: float | None = described("Upper bound of the value's interval; null for ratios.", "share")
    status: CheckStatus = described("`pass`, `fail` or `inconclusive`.")
    items_needed: int | None = described(
        "`inconclusive` only: about how many test images would bring the upper bound to the limit if the loss stays "
        "as it is; null where no number would.",
        "count",
    )
    seeds_needed: int | None = described(
        "`inconclusive` only: likewise for seeds; null where more seeds alone would not do, or with one seed.", "count"
    )
    missing_reference: str | None = described(
        "Control that the gate asks for and of which there is no sound file for every seed: the figures are then "
        "against `dense` and decide nothing; null where none is missing."
    )


class VariantRecord(Record):
    """A variant over all its seeds. Sizes and latencies are medians over the seeds."""

    variant: str = described("Variant.")
    parent: str | None = described("Variant that it was made of; null for `dense`.")
    step: Step = described("Step that made it.")
    n_seeds: int = described("Models, one per seed.", "count")
    n_test: int = described("Test images.", "count")
    accuracy_mean: float = described("Mean accuracy over the seeds.", "share")
    accuracy_ci_low: float = described("Lower bound of its interval over test images.", "share")
    accuracy_ci_high: float = described("Upper bound of its interval over test images.", "share")
    accuracy_min: float = described("Accuracy of the worst seed.", "share")
    accuracy_max: float = described("Accuracy of the best seed.", "share")
    accuracy_seed_sd: float | None = described("Standard deviation between seeds; null with one seed.", "share")
    accuracy_delta: float | None = described("Mean accuracy minus that of `dense`; null for `dense`.", "share")
    accuracy_delta_ci_low: float | None = described("Lower bound of the paired interval.", "share")
    accuracy_delta_ci_high: float | None = described("Upper bound of the paired interval.", "share")
    accuracy_delta_min: float | None = described("Difference to `dense` in the seed where it is worst.", "share")
    accuracy_delta_max: float | None = described("Difference to `dense` in the seed where it is best.", "share")
    control: str | None = described(
        "Equal-budget control: dense trained on for as many steps as the variant; null where there is none."
    )
    accuracy_delta_control: float | None = described("Mean accuracy minus that of the control.", "share")
    accuracy_delta_control_ci_low: float | None = described("Lower bound of the paired interval.", "share")
    accuracy_delta_control_ci_high: float | None = described("Upper bound of the paired interval.", "share")
    accuracy_delta_control_min: float | None = described("Difference to the control in the worst seed.", "share")
    accuracy_delta_control_max: float | None = described("Difference to the control in the best seed.", "share")
    parameters: int = described("Parameters.", "count")
    size_bytes: int = described("Size of `model.onnx`.", "bytes")
    size_gzip_bytes: int = described("Size of `model.onnx` after `gzip -9`.", "bytes")
    sparsity: float = described(
        "Share of zeros among the weights. They make no file smaller unless it is compressed, and nothing faster.",
        "share",
    )
    size_ratio: float = described("Median over seeds of the size ratio to `dense` of the same seed.", "ratio")
    macs: int = described("Multiply-accumulate operations for one image.", "count")
    latency_p50_ms: float = described("Median wall time of a run.", "ms")
    latency_p95_ms: float = described("95th percentile of the wall times.", "ms")
    latency_p99_ms: float = described("99th percentile of the wall times.", "ms")
    latency_ratio: float = described("Median over seeds of the latency ratio to `dense` of the same seed.", "ratio")
    prediction_flips: float | None = described("Mean over seeds of the share of changed answers.", "share")
    tied_share: float = described("Mean over seeds of the share of ties.", "share")
    latency_ratio_parent: float | None = described(
        "Median over seeds of the latency ratio to its parent of the same seed; null for `dense`.", "ratio"
    )
    artifact_status: str = described(
        "`ok`, `slower than its own fp32`, or `failed: ` and the reason, where a seed failed. Only what is "
        "`ok` and not slower than its parent is ever recommended."
    )
    runtime: str = described("Runtime that the file is made for, and was scored and timed in.")
    dtype: str = described("Type of weights and activations: `fp32`, `int8` or `bf16`.")
    latency_ratio_fp32: float | None = described(
        "Quantized variants: median over seeds of the latency ratio to the parent in the same runtime, in fp32; null "
        "for others.",
        "ratio",
    )
    latency_ratio_float: float | None = described(
        "Quantized variants: median over seeds of the latency ratio to the parent in the same runtime, in the fastest "
        "float precision of the CPU; null for others.",
        "ratio",
    )
    problems: list[Problem] = described("What the proofs of its files found, over all seeds; empty where all is well.")
    gate: list[GateCheck] = described("The declared thresholds; empty for `dense` and its controls.")
    status: Status = described(
        "`fail` if a check fails or the artifact did, else `inconclusive` if a check is, else `pass`; `dense` "
        "and its controls: `reference`, whatever their proofs say."
    )

    @property
    def is_control(self) -> bool:
        """Whether it is there to be compared with, and no candidate."""
        return self.status == "reference" and self.parent is not None


class FailedVariant(Record):
    """A variant that could not be made or measured for every seed, and so has no figures."""

    variant: str = described("Variant.")
    parent: str | None = described("Variant that it was to be made of.")
    step: Step = described("Step that was to make it.")
    artifact_status: str = described("`failed: ` and the reason.")
    problem: Problem = described("The reason with its short name.")
    failed_seeds: list[int] = described("Seeds of which there is no model that could be measured.")


class MetricDescription(Record):
    """What a reader of a number has to know."""

    label: str = described("Short name.")
    unit: str = described("Unit.")
    higher_is_better: bool = described("Direction.")
    ci: str | None = described("How its interval is made; null where it has none.")


class Verdict(Record):
    """What to ship, and why."""

    recommended: str | None = described(
        "Variant to ship; null where even `dense` failed its proof or is not shown to be better than guessing."
    )
    headline: str = described("One sentence.")
    reasons: list[str] = described("One sentence per thing that led to it or that a reader should know.")
    not_tested: list[str] = described("What this run did not measure.")


class Metrics(Record):
    """`metrics.json`: everything that the report says about variants."""

    format: Literal[1] = described("Version of this form.")
    experiment: str = described("Name of the experiment.")
    task: Literal["classification"] = described("Task.")
    confidence: float = described("Level of every interval.", "share")
    metrics: dict[str, MetricDescription] = described("Name of a field to label, unit, direction and interval.")
    rows: list[Row] = described("One per variant and seed that was measured, as in `metrics.csv`.")
    failed_rows: list[FailedRow] = described("One per variant and seed that could not be.")
    variants: list[VariantRecord] = described("One per variant that was measured for every seed, `dense` first.")
    failed_variants: list[FailedVariant] = described("One per other variant.")
    verdict: Verdict = described("What to ship, and why.")
    provenance: Provenance = described("Where it all comes from.")


def read_metrics(path: Path) -> Metrics:
    """The metrics in a file.

    Raises:
        SlimlineError: the file is absent, not JSON, or of another form.
    """
    return read_record(path, Metrics)


def describe_metrics(confidence: float) -> dict[str, MetricDescription]:
    """Every metric of a row with its label, unit, direction and interval; `confidence` is the level, such as 0.95."""
    described = {}
    for name, field in Row.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "label" in extra:
            method = extra["ci"]
            described[name] = MetricDescription(
                label=str(extra["label"]),
                unit=str(extra["unit"]),
                higher_is_better=bool(extra["higher_is_better"]),
                ci=f"{method}, {confidence * 100:g} %" if method else None,
            )
    return described

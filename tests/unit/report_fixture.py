"""Experiments made up for the report's tests: files as every step would leave them, with invented numbers.

The figures of `metrics.json` are computed from the invented predictions by the room that computes them in earnest, so
that the files agree with each other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slimline.config.experiment import ExperimentConfig
from slimline.evaluation.decision import decide
from slimline.evaluation.findings import Findings
from slimline.evaluation.latency_record import Baseline, FloatBaseline, LatencyRecord
from slimline.evaluation.prediction_file import Predictions, write_predictions
from slimline.evaluation.proof import find_problems
from slimline.evaluation.proof_record import Facts, Proof
from slimline.evaluation.provenance_record import DataFile, DataProvenance, Provenance
from slimline.evaluation.record_base import write_record
from slimline.evaluation.records import Metrics, describe_metrics
from slimline.evaluation.statistics import top1
from slimline.evaluation.study import Export, Measured, Study
from slimline.evaluation.summary import make_failed_row, make_row, summarise_failed, summarise_variant
from slimline.failed import Failure, mark
from slimline.files import sha256_json, write_json, write_text
from slimline.reporting.inputs import ReportInputs, RunFiles

SOURCE = "https://example.org/digits.csv.gz"
CPU = "AMD EPYC 9354 32-Core Processor"
LAYERS = {"features.0": {"channels": 32, "kept": 16}, "features.4": {"channels": 64, "kept": 24}}
PRUNING = {"ratio": 0.5, "layers": LAYERS, "reconstruction": {"samples": 1024, "layers": ["features.4"]}}


@dataclass(frozen=True)
class Invented:
    """What is made up of one variant: noise on its logits, and its size, work and speed."""

    noise: float
    parameters: int
    macs: int
    size_bytes: int
    p50_ms: float
    quantized: bool = False
    coarse: bool = False
    sparsity: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """A made-up experiment."""

    name: str = "digits"
    dataset: str = "digits"
    class_names: Sequence[str] = tuple("0123456789")
    n_train: int = 1297
    n_validation: int = 140
    n_test: int = 360
    image: tuple[int, int, int] = (1, 8, 8)
    seeds: Sequence[int] = (0, 1, 2)
    epochs: int = 20
    strength: float = 5.2
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    invented: Mapping[str, Invented] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=lambda: {"accuracy_drop": 0.01, "latency_ratio": 0.9})
    findings: Sequence[tuple[str, str, str]] = ()
    excluded: Sequence[tuple[str, str]] = ()
    git: tuple[str | None, bool | None] = ("3f2a9c1d7e5b4860a1c2d3e4f5061728394a5b6c", False)
    command: str = "snakemake --cores 2"
    troubled: bool = False
    unmade: Sequence[tuple[str, int]] = ()
    control: bool = False


DENSE = Invented(0.0, 38_666, 402_944, 162_310, 0.0831)

FIVE = Scenario(
    variants={
        "pruned": {"from": "dense", "prune": {"ratio": 0.5}},
        "int8": {"from": "dense", "quantize": {}},
        "pruned-int8": {"from": "pruned", "quantize": {}},
        "student": {"from": "dense", "distil": {"model": {"name": "convnet", "width": 0.5}}},
    },
    invented={
        "dense": DENSE,
        "pruned": Invented(0.45, 10_234, 112_640, 48_201, 0.0412),
        "int8": Invented(0.12, 38_666, 402_944, 49_870, 0.0604, quantized=True),
        "pruned-int8": Invented(0.55, 10_234, 112_640, 21_344, 0.0387, quantized=True),
        "student": Invented(0.75, 9_930, 105_880, 46_930, 0.0379),
    },
    findings=[("info", "image-sizes", "All images have 8 x 8 pixels.")],
)

HUNDRED = Scenario(
    name="cifar100-resnet",
    dataset="cifar100",
    class_names=[f"species_{index:02d}" for index in range(100)],
    n_train=45_000,
    n_validation=5_000,
    n_test=2_000,
    image=(3, 32, 32),
    strength=3.6,
    epochs=60,
    variants=FIVE.variants,
    invented={
        "dense": Invented(0.0, 11_220_132, 557_000_000, 44_900_000, 9.8),
        "pruned": Invented(0.5, 2_830_112, 141_000_000, 11_400_000, 3.1),
        "int8": Invented(0.1, 11_220_132, 557_000_000, 11_350_000, 4.2, quantized=True),
        "pruned-int8": Invented(0.52, 2_830_112, 141_000_000, 2_930_000, 1.4, quantized=True),
        "student": Invented(0.7, 2_790_000, 139_000_000, 11_200_000, 3.0),
    },
    gate={"accuracy_drop": 0.02, "latency_ratio": 0.5, "size_ratio": 0.5},
    findings=[("warning", "imbalance", "The largest class has 471 training images, the smallest 431.")],
)

HOSTILE_CLASS = "<script>alert('class')</script>"
HOSTILE_FILE = 'train/"quoted" & <b>bold</b>.png'
ALONE = Scenario(
    name="own-images",
    dataset="image-folder",
    class_names=[
        HOSTILE_CLASS,
        "b & w",
        'say "cheese"',
        "a name that is far longer than any column would like it to be",
    ],
    n_train=400,
    n_validation=0,
    n_test=120,
    image=(3, 64, 64),
    seeds=(7,),
    epochs=1,
    strength=3.0,
    invented={"dense": DENSE},
    gate={"accuracy_drop": 0.01},
    findings=[
        ("error", "leakage", f"1 images are in train and in test: {HOSTILE_FILE}."),
        ("warning", "corrupt", "35 of 555 images cannot be read."),
    ],
    excluded=[(HOSTILE_FILE, "leaks into test")]
    + [(f"train/cats/broken-{index:03d}.jpg", "cannot be decoded: truncated file") for index in range(34)],
    git=(None, None),
    command="snakemake --config note='<img src=x onerror=alert(1)>'",
)

FAILING = Scenario(
    name="digits-broken",
    variants={
        "pruned": {"from": "dense", "prune": {"ratio": 0.9}},
        "int8": {"from": "dense", "quantize": {}},
        "int8-chance": {"from": "dense", "quantize": {"method": "entropy"}},
    },
    invented={
        "dense": DENSE,
        "pruned": Invented(1.4, 2_234, 22_640, 12_201, 0.0312, sparsity=0.8),
        "int8": Invented(0.1, 38_666, 402_944, 49_870, 0.1104, quantized=True, coarse=True),
        "int8-chance": Invented(60.0, 38_666, 402_944, 49_870, 0.0604),
    },
    git=("3f2a9c1d7e5b4860a1c2d3e4f5061728394a5b6c", True),
    troubled=True,
)

UNMADE = Scenario(
    name="digits-unmade",
    variants=FIVE.variants | {"int4": {"from": "dense", "quantize": {}}},
    invented=FIVE.invented | {"int4": FIVE.invented["int8"]},
    # One variant with its child, and one seed of another.
    unmade=[(variant, seed) for variant in ("pruned", "pruned-int8") for seed in (0, 1, 2)] + [("int4", 1)],
)
REASON = "The model convnet cannot be pruned this way: ZeroDivisionError: division by zero"

# A control, and a gate that holds variants against it.
CONTROLLED = Scenario(
    name="controlled",
    variants={
        "pruned": {"from": "dense", "prune": {"ratio": 0.5, "epochs": 4}},
        "student": {"from": "dense", "distil": {"width": 0.5, "epochs": 8}},
        "student-tuned": {"from": "student", "finetune": {"epochs": 4}},
        "int8": {"from": "dense", "quantize": {}},
    },
    invented={
        "dense": DENSE,
        "control-4": Invented(0.2, 38_666, 402_944, 162_310, 0.0829),
        "control-8": Invented(0.25, 38_666, 402_944, 162_310, 0.0835),
        "control-12": Invented(0.25, 38_666, 402_944, 162_310, 0.0830),
        "pruned": Invented(0.45, 10_234, 112_640, 48_201, 0.0412),
        "student": Invented(0.75, 9_930, 105_880, 46_930, 0.0379),
        "student-tuned": Invented(0.3, 9_930, 105_880, 46_930, 0.0381),
        "int8": Invented(0.12, 38_666, 402_944, 49_870, 0.0604, quantized=True),
    },
    gate={"accuracy_drop": 0.02, "reference": "control"},
    control=True,
)

SCENARIOS = {
    "five": FIVE,
    "hundred": HUNDRED,
    "alone": ALONE,
    "failing": FAILING,
    "unmade": UNMADE,
    "controlled": CONTROLLED,
}


def experiment_of(scenario: Scenario) -> ExperimentConfig:
    """The config that would lead to the scenario."""
    dataset: dict[str, Any] = {"name": scenario.dataset}
    if scenario.dataset == "image-folder":
        dataset |= {"path": "images", "validation": 0.0}
    return ExperimentConfig.model_validate(
        {
            "experiment": scenario.name,
            "dataset": dataset,
            "model": {"name": "convnet"},
            "train": {"epochs": scenario.epochs, "seeds": list(scenario.seeds)},
            "variants": {name: dict(value) for name, value in scenario.variants.items()},
            "gate": dict(scenario.gate),
            "evaluation": {"bootstrap_resamples": 1000, "control": scenario.control},
        }
    )


def write_experiment(root: Path, scenario: Scenario) -> ReportInputs:
    """Writes all files that a report reads, under `root`."""
    experiment = experiment_of(scenario)
    rng = np.random.default_rng(11)
    labels = np.sort(rng.integers(0, len(scenario.class_names), scenario.n_test)).astype(np.int64)
    logits = _logits(experiment, scenario, labels, rng)
    runs: list[RunFiles] = []
    measured, failures = {}, {}
    for variant in experiment.variant_names:
        for seed in scenario.seeds:
            run = _run_files(root, experiment, variant, seed)
            runs.append(run)
            if (variant, seed) in scenario.unmade:
                failures[variant, seed] = _mark_run(run)
                continue
            parent = experiment.parent(variant)
            measured[variant, seed] = _write_run(run, scenario, parent, labels, logits[variant, seed], rng)
            if run.history is not None and run.job is not None:
                _write_history(run.history, scenario, variant, rng)
                _write_job(run.job, scenario, variant, rng)
    inputs = ReportInputs(
        metrics=root / "metrics.json",
        plan=root / "plan.json",
        stats=root / "stats.json",
        audit=root / "audit.json",
        manifest=root / "download.json",
        runs=tuple(runs),
    )
    write_record(inputs.metrics, _metrics(experiment, scenario, labels, measured, failures))
    write_json(inputs.plan, _plan(experiment, scenario))
    write_json(inputs.stats, _stats(scenario, labels))
    write_json(inputs.audit, _audit(scenario))
    sources = [source | {"source": SOURCE} for source in _sources()]
    write_json(inputs.manifest, {"format": 1, "dataset": scenario.dataset, "files": sources})
    return inputs


def _run_files(root: Path, experiment: ExperimentConfig, variant: str, seed: int) -> RunFiles:
    folder = root / variant / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    trained = experiment.step(variant) != "quantize"
    return RunFiles(
        variant,
        seed,
        predictions=folder / "predictions.parquet",
        latency=folder / "latency.json",
        export=folder / "export.json",
        proof=folder / "proof.json",
        history=folder / "history.jsonl" if trained else None,
        job=folder / "job.json" if trained else None,
    )


def _logits(experiment: ExperimentConfig, scenario: Scenario, labels, rng) -> dict[tuple[str, int], Any]:
    """Items differ by what all models find hard, seeds by a little, variants by their noise on their parent's."""
    shape = (scenario.n_test, len(scenario.class_names))
    common = rng.normal(size=shape)
    common[np.arange(scenario.n_test), labels] += scenario.strength
    logits: dict[tuple[str, int], Any] = {}
    for variant in experiment.variant_names:
        parent, invented = experiment.parent(variant), scenario.invented[variant]
        for seed in scenario.seeds:
            base = common + 0.55 * rng.normal(size=shape) if parent is None else logits[parent, seed]
            noisy = base + invented.noise * rng.normal(size=shape)
            logits[variant, seed] = np.round(noisy * 0.5) if invented.coarse else noisy
    return logits


def _mark_run(run: RunFiles) -> Failure:
    """What a rule whose step cannot be done leaves behind."""
    failure = Failure(run.variant, run.seed, "prune", "not-supported", REASON)
    paths = (run.predictions, run.latency, run.export, run.proof, run.history, run.job)
    mark([path for path in paths if path is not None], failure)
    return failure


def _write_run(run: RunFiles, scenario: Scenario, parent: str | None, labels, logits, rng) -> Measured:
    invented = scenario.invented[run.variant]
    sample_ids = [f"test/{index:05d}" for index in range(scenario.n_test)]
    predictions = Predictions(sample_ids, labels, logits.astype(np.float32))
    write_predictions(run.predictions, predictions)
    dense_ms = scenario.invented["dense"].p50_ms * (1 + 0.01 * rng.normal())
    p50_ms = invented.p50_ms * (1 + 0.015 * rng.normal())
    parent_ms = None if parent is None or not invented.quantized else _parent_ms(scenario, parent)
    floats = [
        FloatBaseline(variant=parent, p50_ms=parent_ms, drift=0.0, precision="f32", ratio_p50=p50_ms / parent_ms)
        for _ in ([] if parent_ms is None else [None])
    ]
    latency = LatencyRecord(
        format=1,
        variant=run.variant,
        seed=run.seed,
        runtime="onnxruntime",
        precision="f32",
        runtime_version="1.23.2",
        provider="CPUExecutionProvider",
        device=CPU,
        threads=1,
        batch_size=1,
        warmup_runs=20,
        timed_runs=1000,
        p50_ms=p50_ms,
        p95_ms=1.14 * p50_ms,
        p99_ms=1.41 * p50_ms,
        mean_ms=1.03 * p50_ms,
        cpu_p50_ms=0.99 * p50_ms,
        other_cores=1.6 if scenario.troubled else 0.02,
        baseline=Baseline(variant="dense", p50_ms=dense_ms, drift=0.16 if scenario.troubled else 0.01 * rng.normal()),
        ratio_p50=p50_ms / dense_ms,
        parent=None if parent is None else Baseline(variant=parent, p50_ms=_parent_ms(scenario, parent), drift=0.0),
        ratio_parent_p50=None if parent is None else p50_ms / _parent_ms(scenario, parent),
        floats=floats,
        ratio_float_p50=floats[0].ratio_p50 if floats else None,
    )
    write_record(run.latency, latency)
    export = _export(run, invented)
    write_json(run.export, export)
    proof = _proof(run, invented, scenario.invented[parent or "dense"].size_bytes, export)
    write_record(run.proof, proof)
    return Measured(top1(predictions.logits), latency, Export.model_validate(export), proof)


def _parent_ms(scenario: Scenario, parent: str) -> float:
    return scenario.invented[parent].p50_ms


def _proof(run: RunFiles, invented: Invented, parent_size_bytes: int, export: dict[str, Any]) -> Proof:
    facts = Facts(
        runtime="onnxruntime",
        opset=export["opset"],
        symbolic_batch=True,
        onnx_sha256=export["onnx_sha256"],
        size_bytes=invented.size_bytes,
        quantize_nodes=5 if invented.quantized else 0,
        dequantize_nodes=9 if invented.quantized else 0,
        activation_types={"uint8": 4} if invented.quantized else {},
        weight_types={"int8": 4} if invented.quantized else {},
        weight_bits=(8 if invented.coarse else 7) if invented.quantized else None,
        logits_from="DequantizeLinear" if invented.coarse else "Gemm",
        operators=export["operators"],
        integer_operators=export["quantized_operators"],
        fused_operators=4,
        n_images=64,
        batch_sizes=[1, 2, 7, 64],
        batch_difference=1.2e-6,
        max_abs=export["parity"]["max_abs"],
        relative_error=0.05 if invented.quantized else 1e-7,
        argmax_agreement=export["parity"]["argmax_agreement"],
        tied_share=0.17 if invented.coarse else 0.0,
    )
    is_int8 = export["dtype"] == "int8"
    against = export["dtype"], export["parity"]["tolerance"], parent_size_bytes if is_int8 else None
    return Proof(
        **facts.model_dump(),
        format=1,
        variant=run.variant,
        seed=run.seed,
        dtype=against[0],
        tolerance=against[1],
        float_size_bytes=against[2],
        problems=find_problems(facts, *against),
    )


def _export(run: RunFiles, invented: Invented) -> dict[str, Any]:
    return {
        "format": 1,
        "variant": run.variant,
        "seed": run.seed,
        "opset": 20,
        "parameters": invented.parameters,
        "macs": invented.macs,
        "size_bytes": invented.size_bytes,
        "size_gzip_bytes": round(invented.size_bytes * (0.9 - 0.7 * invented.sparsity)),
        "sparsity": invented.sparsity,
        "onnx_sha256": sha256_json([run.variant, run.seed]),
        "parity": {
            "reference": "pytorch fp32",
            "n_samples": 256,
            "max_abs": 0.31 if invented.quantized else 2.1e-6,
            "tolerance": None if invented.quantized else 1e-4,
            "argmax_agreement": 0.994 if invented.quantized else 1.0,
        },
        "operators": {"Conv": 4, "Gemm": 1},
        "quantized_operators": 4 if invented.quantized else 0,
        "dtype": "int8" if run.history is None else "fp32",  # what it is said to be
        "runtime": "onnxruntime",
    }


def _write_history(path: Path, scenario: Scenario, variant: str, rng) -> None:
    n_epochs = scenario.epochs if variant != "pruned" else max(1, scenario.epochs // 4)
    start = 0.35 if variant == "pruned" else 2.2
    events: list[dict[str, Any]] = []
    for epoch in range(n_epochs):
        if scenario.troubled and epoch == n_epochs // 2:
            events.append({"kind": "resume", "epoch": epoch, "step": 11 * epoch})
        loss = start * float(np.exp(-4 * (epoch + 1) / n_epochs)) + 0.03 + 0.01 * abs(float(rng.normal()))
        validation = scenario.n_validation > 0
        events.append(
            {
                "kind": "epoch",
                "epoch": epoch,
                "step": 11 * (epoch + 1),
                "samples": scenario.n_train * (epoch + 1),
                "learning_rate": 1e-3,
                "train_loss": loss,
                "train_accuracy": float(np.exp(-loss / 2)),
                "validation_loss": loss + 0.06 + 0.02 * float(rng.normal()) if validation else None,
                "validation_accuracy": min(1.0, float(np.exp(-loss / 2)) - 0.01 * float(rng.random()))
                if validation
                else None,
                "images_per_s": 21_000.0,
                "data_wait_share": 0.02,
                "seconds": 0.06,
            }
        )
    write_text(path, "".join(json.dumps(event) + "\n" for event in events))


def _write_job(path: Path, scenario: Scenario, variant: str, rng) -> None:
    seconds = (5.0 if variant == "pruned" else 18.0) + float(rng.random())
    attempts = [
        {
            "job_id": "4712",
            "state": "COMPLETED",
            "started_utc": "2025-06-01T10:02:00+00:00",
            "ended_utc": f"2025-06-01T10:02:{int(seconds) + 3:02d}+00:00",
            "reason": None,
        }
    ]
    if scenario.troubled:
        lost = {"job_id": "4711", "state": "LOST", "reason": "not there any more"}
        attempts.insert(
            0, lost | {"started_utc": "2025-06-01T10:00:00+00:00", "ended_utc": "2025-06-01T10:01:30+00:00"}
        )
    content = {
        "format": 1,
        "experiment": scenario.name,
        "variant": variant,
        "seed": 0,
        "executor": "local",
        "job_ids": [attempt["job_id"] for attempt in attempts],
        "attempts": attempts,
        "stages": [{"epoch": 0, "step": 0, "ranks": 4}] * scenario.troubled + [{"epoch": 3, "step": 7, "ranks": 1}],
        "rounds": [PRUNING] if "prune" in scenario.variants.get(variant, {}) else [],
        "ranks": 1,
        "threads_per_rank": 1,
        "precision": "fp32",
        "device": "cpu",
        "seconds": seconds,
        "images_per_s": 21_000.0 + 500 * float(rng.random()),
        "peak_memory_mb": 980.0 if scenario.troubled else 412.0 + 5 * float(rng.random()),
        "planned": {"memory_mb": 1024, "time_min": 5},
        "slimline_version": "0.1.0",
        "torch_version": "2.11.0",
    }
    write_json(path, content)


def _metrics(experiment: ExperimentConfig, scenario: Scenario, labels, measured, failures) -> Metrics:
    study = Study(experiment, labels, measured, failures)
    failed = dict.fromkeys(variant for variant, _ in failures)
    variants = [summarise_variant(study, variant) for variant in experiment.variant_names if variant not in failed]
    failed_variants = [summarise_failed(study, variant) for variant in failed]
    statuses = {variant.variant: variant.status for variant in variants}
    rows = [make_row(study, *pair, status=statuses.get(pair[0], "fail")) for pair in measured]
    confidence = experiment.evaluation.confidence
    majority_share = float(np.bincount(labels).max() / len(labels))
    return Metrics(
        format=1,
        experiment=scenario.name,
        task="classification",
        confidence=confidence,
        metrics=describe_metrics(confidence),
        rows=rows,
        failed_rows=[make_failed_row(study, failure) for failure in failures.values()],
        variants=variants,
        failed_variants=failed_variants,
        verdict=decide(Findings(variants, rows, majority_share, confidence, failed_variants)),
        provenance=_provenance(experiment, scenario),
    )


def _provenance(experiment: ExperimentConfig, scenario: Scenario) -> Provenance:
    sha, dirty = scenario.git
    return Provenance(
        git_sha=sha,
        git_dirty=dirty,
        command=scenario.command,
        created_utc="2025-06-01T10:15:00+00:00",
        versions={"slimline": "0.1.0", "torch": "2.11.0", "onnxruntime": "1.23.2", "numpy": "2.4.6"},
        python="3.11.7",
        platform="Linux-6.1-x86_64",
        device=CPU,
        data=DataProvenance(
            dataset=scenario.dataset,
            files=[DataFile(**source) for source in _sources()],
            split_sha256={split: sha256_json([scenario.name, split]) for split in ("train", "validation", "test")},
        ),
        seeds=list(scenario.seeds),
        lock_sha256=sha256_json("lock"),
        config=experiment.resolved(),
    )


def _sources() -> list[dict[str, Any]]:
    return [{"file": "digits.csv.gz", "sha256": sha256_json("digits"), "size_bytes": 57_523}]


def _plan(experiment: ExperimentConfig, scenario: Scenario) -> dict[str, Any]:
    trained = [name for name in experiment.variant_names if experiment.step(name) != "quantize"]
    plans = [
        {
            "format": 1,
            "variant": variant,
            "step": experiment.step(variant),
            "parallelism": "single",
            "nodes": 1,
            "tasks_per_node": 1,
            "cpus_per_task": 1,
            "gpus_per_node": 0,
            "micro_batch": 128,
            "accumulation": 1,
            "precision": "fp32",
            "memory_mb": 1024,
            "time_min": 5,
            "parameters": scenario.invented[variant].parameters,
            "macs": scenario.invented[variant].macs,
            "cost_cpu_h": 0.0061,
            "cost_gpu_h": 0.0,
            "rejected": [{"option": "2 ranks", "reason": "batches of 64 leave a core waiting"}],
            "basis": {},
            "seeds": list(scenario.seeds),
        }
        for variant in trained
    ]
    total = 0.0061 * len(plans) * len(scenario.seeds)
    return {
        "format": 1,
        "experiment": scenario.name,
        "cluster": "local",
        "executor": "local",
        "plans": plans,
        "total_cpu_h": total,
        "total_gpu_h": 0.0,
    }


def _stats(scenario: Scenario, labels) -> dict[str, Any]:
    n_classes = len(scenario.class_names)
    spread = np.array([1 + 0.08 * np.sin(index) for index in range(n_classes)])

    def shares(total: int) -> list[int]:
        counts = np.floor(total * spread / spread.sum()).astype(int)
        counts[0] += total - counts.sum()
        return counts.tolist()

    channels, height, width = scenario.image
    return {
        "format": 1,
        "dataset": scenario.dataset,
        "dataset_id": scenario.name,
        "n_train": scenario.n_train,
        "n_validation": scenario.n_validation,
        "n_test": scenario.n_test,
        "channels": channels,
        "height": height,
        "width": width,
        "num_classes": n_classes,
        "class_names": list(scenario.class_names),
        "mean": [77.9] * channels,
        "std": [95.9] * channels,
        "class_counts": {
            "train": shares(scenario.n_train),
            "validation": shares(scenario.n_validation),
            "test": np.bincount(labels, minlength=n_classes).tolist(),
        },
        "excluded": [{"sample_id": sample, "reason": reason} for sample, reason in scenario.excluded],
        "split_sha256": {split: sha256_json([scenario.name, split]) for split in ("train", "validation", "test")},
    }


def _audit(scenario: Scenario) -> dict[str, Any]:
    n_images = scenario.n_train + scenario.n_validation + scenario.n_test
    return {
        "format": 1,
        "dataset": scenario.dataset,
        "n_files": n_images + len(scenario.excluded),
        "n_images": n_images,
        "corrupt": [
            {"sample_id": sample, "file": sample, "reason": reason}
            for sample, reason in scenario.excluded
            if "decoded" in reason
        ],
        "duplicates": {"within_train": 2, "within_test": 0, "groups": []},
        "leakage": [
            {"sha256": sha256_json(sample), "train": [sample], "test": ["test/x.png"]}
            for sample, reason in scenario.excluded
            if "leaks" in reason
        ],
        "class_counts": {},
        "image_sizes": {"min": [8, 8], "max": [8, 8]},
        "findings": [{"severity": s, "check": check, "message": message} for s, check, message in scenario.findings],
    }


def main(folder: Path) -> None:
    """Writes every scenario's page, to look at: `python tests/unit/report_fixture.py build/reports`."""
    from slimline.reporting.page import write_report

    for name, scenario in SCENARIOS.items():
        write_report(write_experiment(folder / name, scenario), folder / f"{name}.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

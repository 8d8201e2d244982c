"""Small models, a small prepared dataset and records, shared by the tests of evaluation."""

import hashlib
import json

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from slimline.config.experiment import ExperimentConfig
from slimline.evaluation.latency_record import Baseline, LatencyRecord
from slimline.evaluation.provenance_record import DataProvenance, Provenance
from slimline.evaluation.record_base import write_record
from slimline.evaluation.records import GateCheck, Metrics, Row, VariantRecord, Verdict, describe_metrics

SHAPE = (1, 4, 4)
CLASSES = 3


def write_model(path, *, classes=CLASSES, shape=SHAPE, weights=None, input_name="images", input_type=TensorProto.UINT8):
    """A linear classifier on raw pixels: cast, flatten, Gemm."""
    features = int(np.prod(shape))
    if weights is None:
        weights = np.random.default_rng(0).normal(size=(features, classes))
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [input_name], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["cast"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info(input_name, input_type, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(np.asarray(weights, dtype=np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)
    return path


def write_prepared(folder, *, n_train=4, n_test=10, shape=SHAPE, classes=CLASSES, seed=0):
    """A prepared dataset as the contract between the rooms has it."""
    n = n_train + n_test
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int64) % classes
    splits = ["train"] * n_train + ["test"] * n_test
    (folder / "shards").mkdir(parents=True)
    np.save(folder / "shards" / "images-00000.npy", images)
    np.save(folder / "labels.npy", labels)
    index = {
        "row": np.arange(n, dtype=np.int32),
        "sample_id": [f"image-{row}" for row in range(n)],
        "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
        "label": labels,
        "split": splits,
    }
    pq.write_table(pa.table(index), folder / "index.parquet")
    counts = {
        split: np.bincount(labels[[s == split for s in splits]], minlength=classes).tolist()
        for split in ("train", "validation", "test")
    }
    stats = {
        "format": 1,
        "dataset": "tiny",
        "dataset_id": "tiny",
        "n_train": n_train,
        "n_validation": 0,
        "n_test": n_test,
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "num_classes": classes,
        "class_names": [str(label) for label in range(classes)],
        "mean": [127.5] * shape[0],
        "std": [73.9] * shape[0],
        "class_counts": counts,
        "excluded": [],
        "split_sha256": {"train": "a" * 64, "validation": "b" * 64, "test": "c" * 64},
    }
    (folder / "stats.json").write_text(json.dumps(stats))
    return folder


def make_experiment(**changes):
    """Two variants of dense and one of a variant, two seeds."""
    config = {
        "experiment": "tiny",
        "dataset": {"name": "digits"},
        "model": {"name": "convnet"},
        "train": {"epochs": 1, "seeds": [0, 1]},
        "variants": {
            "pruned": {"from": "dense", "prune": {}},
            "pruned-int8": {"from": "pruned", "quantize": {}},
        },
        "gate": {"accuracy_drop": 0.1},
        "evaluation": {"bootstrap_resamples": 1000, "control": False},
    }
    return ExperimentConfig.model_validate(config | changes)


def make_latency(variant="dense", seed=0, **changes):
    values = {
        "format": 1,
        "variant": variant,
        "seed": seed,
        "runtime": "onnxruntime",
        "precision": "f32",
        "runtime_version": "1.0",
        "provider": "CPUExecutionProvider",
        "device": "Test CPU",
        "threads": 1,
        "batch_size": 1,
        "warmup_runs": 20,
        "timed_runs": 1000,
        "p50_ms": 1.0,
        "p95_ms": 1.5,
        "p99_ms": 2.0,
        "mean_ms": 1.1,
        "cpu_p50_ms": 0.9,
        "other_cores": 0.05,
        "baseline": Baseline(variant="dense", p50_ms=2.0, drift=0.01),
        "ratio_p50": 0.5,
        "parent": None if variant == "dense" else Baseline(variant="dense", p50_ms=2.0, drift=0.01),
        "ratio_parent_p50": None if variant == "dense" else 0.5,
        "floats": [],
        "ratio_float_p50": None,
    }
    return LatencyRecord(**values | changes)


def write_latency(path, **values):
    write_record(path, make_latency(**values))
    return path


def write_export(path, *, variant="dense", seed=0, size_bytes=1000, parameters=100, macs=200):
    parity = {"reference": "pytorch fp32", "n_samples": 8, "max_abs": 1e-6, "tolerance": 1e-4, "argmax_agreement": 1.0}
    value = {
        "format": 1,
        "variant": variant,
        "seed": seed,
        "opset": 18,
        "parameters": parameters,
        "macs": macs,
        "size_bytes": size_bytes,
        "size_gzip_bytes": size_bytes // 2,
        "sparsity": 0.0,
        "onnx_sha256": "d" * 64,
        "parity": parity,
        "operators": {"Gemm": 1},
        "quantized_operators": 0,
        "dtype": "fp32",
        "runtime": "onnxruntime",
    }
    path.write_text(json.dumps(value))
    return path


def make_check(status="pass", **changes):
    values = {
        "criterion": "accuracy_drop",
        "reference": "dense",
        "limit": 0.01,
        "value": {"pass": 0.002, "fail": 0.03, "inconclusive": 0.006}[status],
        "ci_low": 0.001,
        "ci_high": {"pass": 0.008, "fail": 0.05, "inconclusive": 0.02}[status],
        "status": status,
        "items_needed": 4000 if status == "inconclusive" else None,
        "seeds_needed": None,
        "missing_reference": None,
    }
    return GateCheck(**values | changes)


def make_variant(variant="int8", status="pass", **changes):
    values = {
        "variant": variant,
        "parent": "dense",
        "step": "quantize",
        "n_seeds": 3,
        "n_test": 1000,
        "accuracy_mean": 0.95,
        "accuracy_ci_low": 0.94,
        "accuracy_ci_high": 0.96,
        "accuracy_min": 0.94,
        "accuracy_max": 0.96,
        "accuracy_seed_sd": 0.01,
        "accuracy_delta": -0.002,
        "accuracy_delta_ci_low": -0.008,
        "accuracy_delta_ci_high": 0.001,
        "accuracy_delta_min": -0.004,
        "accuracy_delta_max": 0.001,
        "control": None,
        "accuracy_delta_control": None,
        "accuracy_delta_control_ci_low": None,
        "accuracy_delta_control_ci_high": None,
        "accuracy_delta_control_min": None,
        "accuracy_delta_control_max": None,
        "parameters": 1000,
        "size_bytes": 62_100,
        "size_gzip_bytes": 57_000,
        "sparsity": 0.0,
        "size_ratio": 0.25,
        "macs": 2000,
        "latency_p50_ms": 0.1,
        "latency_p95_ms": 0.2,
        "latency_p99_ms": 0.3,
        "latency_ratio": 0.5,
        "prediction_flips": 0.01,
        "tied_share": 0.0,
        "latency_ratio_parent": 0.5,
        "artifact_status": "ok",
        "runtime": "onnxruntime",
        "dtype": "int8",
        "latency_ratio_fp32": 0.5,
        "latency_ratio_float": 0.5,
        "problems": [],
        "gate": [make_check(status)] if status != "reference" else [],
        "status": status,
    }
    return VariantRecord(**values | changes)


def make_dense(**changes):
    nothing = {
        "parent": None,
        "step": "train",
        "accuracy_delta": None,
        "accuracy_delta_ci_low": None,
        "accuracy_delta_ci_high": None,
        "accuracy_delta_min": None,
        "accuracy_delta_max": None,
        "prediction_flips": None,
        "size_ratio": 1.0,
        "latency_ratio": 1.0,
        "latency_ratio_parent": None,
        "dtype": "fp32",
        "latency_ratio_fp32": None,
        "latency_ratio_float": None,
        "latency_p50_ms": 0.2,
        "size_bytes": 248_400,
    }
    return make_variant("dense", "reference", **nothing | changes)


def make_row(**changes):
    values = {
        "experiment": "tiny",
        "variant": "dense",
        "parent": None,
        "seed": 0,
        "n_test": 1000,
        "accuracy": 0.95,
        "accuracy_ci_low": 0.94,
        "accuracy_ci_high": 0.96,
        "parameters": 1000,
        "size_bytes": 62_100,
        "size_gzip_bytes": 57_000,
        "sparsity": 0.0,
        "macs": 2000,
        "latency_p50_ms": 0.1,
        "latency_p95_ms": 0.2,
        "latency_p99_ms": 0.3,
        "batch_size": 1,
        "threads": 1,
        "onnx_parity_max_abs": 1.1920929e-07,
        "latency_ratio": 1.0,
        "size_ratio": 1.0,
        "status": "reference",
        "accuracy_delta": None,
        "prediction_flips": None,
        "tied_share": 0.0,
        "onnx_argmax_agreement": 1.0,
        "latency_cpu_p50_ms": 0.1,
        "timed_runs": 1000,
        "latency_drift": 0.01,
        "device": "Test CPU",
        "latency_ratio_parent": None,
        "opset": 18,
        "integer_operators": 0,
        "fused_operators": 0,
        "artifact_status": "ok",
        "control": None,
        "accuracy_delta_control": None,
        "runtime": "onnxruntime",
        "dtype": "fp32",
        "latency_ratio_float": None,
    }
    return Row(**values | changes)


def make_provenance():
    return Provenance(
        git_sha=None,
        git_dirty=None,
        command="snakemake",
        created_utc="2026-01-01T00:00:00+00:00",
        versions={"slimline": "0.1.0"},
        python="3.11",
        platform="test",
        device="Test CPU",
        data=DataProvenance(dataset="tiny", files=[], split_sha256={"test": "c" * 64}),
        seeds=[0, 1],
        lock_sha256=None,
        config={},
    )


def make_metrics(variants, *, recommended="int8", headline="Ship int8.", failed=()):
    return Metrics(
        format=1,
        experiment="tiny",
        task="classification",
        confidence=0.95,
        metrics=describe_metrics(0.95),
        rows=[make_row()],
        failed_rows=[],
        variants=variants,
        failed_variants=list(failed),
        verdict=Verdict(recommended=recommended, headline=headline, reasons=[], not_tested=[]),
        provenance=make_provenance(),
    )

"""Compressed by slimline, and by hand with the libraries it stands on: who is more accurate at equal latency?

One ResNet-18 (first layer for small images), trained for three epochs on a fifth of Fashion-MNIST's training images (a
folder of PNG files), is the start of all. From it slimline makes a pruned network in int8 for ONNX Runtime, and dense
in int8 for OpenVINO; `compression/by_hand.py` makes the same with Torch-Pruning and ONNX Runtime, and with NNCF. All
files are scored on the test split in the runtime that they are for, and timed in turns, one image at a time, on one
thread. Run with `make bench`; it takes about half an hour on two cores without bf16.
"""

import os
from dataclasses import dataclass
from statistics import median

import numpy as np
import pytest
import torch
from benchmarks.clusters import two_cores
from benchmarks.compression import by_hand
from PIL import Image
from pipeline.clones import clone_into
from unit.data_fixtures import Steps

from slimline.config.dataset import DatasetConfig
from slimline.data.batches import random_sample
from slimline.data.prepared import PreparedDataset
from slimline.evaluation.latency import ROUNDS, Worker
from slimline.evaluation.statistics import paired_difference, top1
from slimline.files import read_json
from slimline.models.artifact import load_artifact
from slimline.models.session import open_session
from slimline.models.target import Target

RATIO, EPOCHS, LEARNING_RATE, CALIBRATION, SEED = 0.5, 2, 0.02, 512, 0
RUNS = 20  # in a round
TRAIN_IMAGES = 12_000
CONFIG = {
    "model": {"name": "resnet18"},
    "train": {
        "epochs": 3, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5.0e-4,
        "augmentation": {"horizontal_flip": True}, "seeds": [SEED],
    },
    "variants": {
        "pruned": {"from": "dense", "prune": {"ratio": RATIO, "epochs": EPOCHS, "learning_rate": LEARNING_RATE}},
        "pruned-int8": {"from": "pruned", "quantize": {"calibration_samples": CALIBRATION}},
        "int8-openvino": {"from": "dense", "quantize": {"runtime": "openvino", "calibration_samples": CALIBRATION}},
    },
    "evaluation": {"control": False},
}  # fmt: skip
# Ours, theirs: files of the same kind, for the same runtime.
PAIRS = {"Torch-Pruning and ONNX Runtime": ("pruned-int8", "by-hand"), "NNCF": ("int8-openvino", "nncf")}
# Two files that take so nearly the same time take the same.
EQUAL_LATENCY = 1.05


@dataclass(frozen=True)
class Figures:
    """Of one file: which test images it has right, bool [n]; median latency of each round, ms [ROUNDS]; its size."""

    correct: np.ndarray
    latency_ms: list[float]
    size_bytes: int

    def __str__(self):
        p50_ms = median(self.latency_ms)
        return f"{self.correct.mean():.4f} accurate, {p50_ms:.3f} ms, {self.size_bytes / 1e6:.2f} MB"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Some of the training images, and all test images, in folders `train/<class>` and `test/<class>`."""
    folder, whole = tmp_path_factory.mktemp("images"), DatasetConfig(name="fashion-mnist", leakage="drop-train")
    steps = Steps(whole, tmp_path_factory.mktemp("whole"), threads=2)
    data = PreparedDataset.open(steps.run(mirror=os.environ.get("SLIMLINE_MIRROR")))
    for split, rows in ("train", random_sample(data.rows("train"), TRAIN_IMAGES, SEED)), ("test", data.rows("test")):
        for row, pixels in zip(rows, data.read(rows), strict=True):
            path = folder / split / str(data.labels[row]) / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0]).save(path)
    return folder


@pytest.fixture(scope="module")
def experiment(images, tmp_path_factory):
    """The folder of results of slimline's own run, and the prepared data."""
    clone = clone_into(tmp_path_factory.mktemp("ours") / "clone")
    dataset = {"name": "image-folder", "path": str(images), "image_size": 28, "channels": 1, "validation": 0.05}
    config = clone.write_config("side", **CONFIG, dataset=dataset, cluster=two_cores(clone))
    targets = [f"results/side/{name}/seed-{SEED}/proof.json" for name in ("dense", *CONFIG["variants"])]
    clone.snakemake(*targets, "--cores", 2, *config)
    (stats,) = clone.folder.glob("data/*/*/stats.json")
    return clone.folder / "results/side", PreparedDataset.open(stats.parent)


@pytest.fixture(scope="module")
def files(experiment, tmp_path_factory):
    """Every file with the runtime that it is for, by its name."""
    results, data = experiment
    rows, folder = data.rows("train"), tmp_path_factory.mktemp("theirs")
    images, labels = torch.from_numpy(data.read(rows)), torch.from_numpy(data.labels[rows])
    precision = read_json(results / f"pruned/seed-{SEED}/job.json")["precision"]
    training = by_hand.Training(images, labels, EPOCHS, LEARNING_RATE, SEED, precision)
    calibration = images[np.random.default_rng(SEED).permutation(len(images))[:CALIBRATION]].numpy()
    torch.manual_seed(SEED)
    dense, _ = load_artifact(results / f"dense/seed-{SEED}")
    theirs = by_hand.quantize_with_nncf(results / f"dense/seed-{SEED}/model.onnx", calibration, folder / "nncf.onnx")
    pruned = by_hand.export(by_hand.prune(dense, RATIO, training), images[:2], folder / "pruned.onnx")
    return {
        "by-hand": (by_hand.quantize_with_onnxruntime(pruned, calibration, folder / "by-hand.onnx"), "onnxruntime"),
        "nncf": (theirs, "openvino"),
        "pruned-int8": (results / f"pruned-int8/seed-{SEED}/model.onnx", "onnxruntime"),
        "int8-openvino": (results / f"int8-openvino/seed-{SEED}/model.onnx", "openvino"),
    }


@pytest.fixture(scope="module")
def figures(experiment, files):
    """Accuracy and latency of each file; those of a pair are timed in turns."""
    _, data = experiment
    rows = data.rows("test")
    images, labels = data.read(rows), data.labels[rows]
    found = {}
    for pair in PAIRS.values():
        workers = [Worker(files[name][0], Target(files[name][1]), 1, (1, *images.shape[1:])) for name in pair]
        with workers[0], workers[1]:
            for worker in workers:
                worker.start()
                worker.time(RUNS)
            rounds = [[float(np.median(worker.time(RUNS).wall_ms)) for worker in workers] for _ in range(ROUNDS)]
        for name, latency_ms in zip(pair, zip(*rounds, strict=True), strict=True):
            path = files[name][0]
            answers = by_hand.logits(open_session(path, 2, Target(files[name][1])), images)
            found[name] = Figures(top1(answers) == labels, list(latency_ms), path.stat().st_size)
            print(f"\n{name}: {found[name]}")
    return found


@pytest.mark.parametrize("peer", PAIRS)
def test_ours_is_as_accurate_at_equal_latency_as(peer, figures):
    ours, theirs = (figures[name] for name in PAIRS[peer])
    ratio = median(a / b for a, b in zip(ours.latency_ms, theirs.latency_ms, strict=True))
    difference = paired_difference(ours.correct[None], theirs.correct[None], 0.95, 10_000, SEED)
    print(
        f"\nagainst {peer}: {ratio:.3f} times its latency, accuracy {100 * difference.value:+.2f} points "
        f"({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
    )
    assert ratio <= EQUAL_LATENCY
    assert difference.high >= 0, "less accurate than can be by chance"

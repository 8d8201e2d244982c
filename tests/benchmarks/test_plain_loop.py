"""The trainer against the loop that people write first: a dataset of torchvision, ToTensor, a DataLoader.

Same network, batch of 64, AdamW at the same rate; images of Fashion-MNIST's shape, in its file format. Once in the
plain loop's fp32, and once with what slimline does where nothing else is said: bf16 where the CPU has it. Each side is
timed after its first batches, so that starting workers costs nothing here; both are validated on the same images.
Epochs in turns, medians. Run with `make bench`.
"""

import struct
import time
from statistics import median

import numpy as np
import pytest
import torch
from benchmarks.training_data import made_up_data
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.data.prepared import PreparedDataset
from slimline.models.artifact import build
from slimline.models.registry import architecture_for
from slimline.models.small import ConvNet
from slimline.plan.allocation import choose
from slimline.plan.footprint import footprint
from slimline.training.distributed import World
from slimline.training.loop import Trainer
from slimline.training.losses import cross_entropy
from slimline.training.settings import RunSettings
from slimline.training.spec import Allocation, TrainingSpec
from slimline.training.stop import StopRequest

CLUSTER = ClusterConfig(name="bench", executor="local", cpus_per_node=2, cpus_per_task=2, memory_mb_per_node=8000)
LEARNING_RATE = 1e-3
BATCH, STEPS, WARMUP_STEPS = 64, 80, 10
N_VALIDATION = 2000
REPETITIONS = 3
# By what is trained in: least ratio of images per second.
LEAST_SPEEDUP = {"fp32": 1.3, "default": 2.0}
MOST_ACCURACY_LOST = 0.01


@pytest.fixture
def data(tmp_path):
    return PreparedDataset.open(made_up_data(tmp_path / "data", BATCH * STEPS, (1, 28, 28), n_validation=N_VALIDATION))


@pytest.fixture
def torchvision_root(data, tmp_path):
    """The same images in the files that torchvision reads."""
    folder = tmp_path / "FashionMNIST/raw"
    folder.mkdir(parents=True)
    for name, split in (("train", "train"), ("t10k", "validation")):
        images, labels = data.read(data.rows(split)), data.labels[data.rows(split)].astype(np.uint8)
        header = struct.pack(">IIII", 0x803, len(images), 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())
    return tmp_path


class Clock(StopRequest):
    """Asked by the trainer after each step: notes the time."""

    def __init__(self):
        super().__init__()
        self.times_s = []

    @property
    def requested(self):
        self.times_s.append(time.perf_counter())
        return False


def images_per_s(times_s):
    return BATCH * (len(times_s) - 1 - WARMUP_STEPS) / (times_s[-1] - times_s[WARMUP_STEPS])


def plain_loop(root, workers):
    """Images per second, and accuracy on the validation images."""
    loader = DataLoader(FashionMNIST(root, transform=ToTensor()), BATCH, shuffle=True, num_workers=workers)
    torch.manual_seed(0)
    model = ConvNet(1, (28, 28), 10)
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    times_s, running_loss = [], 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        times_s.append(time.perf_counter())
    model.eval()
    with torch.no_grad():
        held_out = DataLoader(FashionMNIST(root, train=False, transform=ToTensor()), 500)
        correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in held_out)
    return images_per_s(times_s), correct / N_VALIDATION


def trainer(data, folder, precision):
    """Images per second, and accuracy on the validation images."""
    folder.mkdir()
    RunSettings(checkpoint_interval_s=1e9).write(folder)
    recipe = TrainConfig(
        epochs=1, batch_size=BATCH, learning_rate=LEARNING_RATE, schedule="constant", warmup=0.0, precision=precision
    )
    model_config = ModelConfig(name="convnet")
    architecture = architecture_for(model_config, data.stats)
    plan = choose(footprint(architecture), recipe, BATCH * STEPS, CLUSTER)
    spec = TrainingSpec(
        experiment="bench", variant="dense", seed=0, entry="", prepared=data.folder, recipe=recipe,
        allocation=Allocation.from_plan(plan), inputs={}, code="", model=model_config,
    )  # fmt: skip
    torch.manual_seed(0)
    clock = Clock()
    job = Trainer(build(architecture), spec, cross_entropy(0.0), World(0, 1, torch.device("cpu")), folder, clock)
    job.fit()
    return images_per_s(clock.times_s[:STEPS]), job.history.records[-1]["validation_accuracy"]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # four are what people ask for, on any machine
@pytest.mark.parametrize("kind", ["fp32", "default"])
@pytest.mark.parametrize("workers", [0, 4])
def test_the_trainer_is_faster_than_the_plain_loop(data, torchvision_root, tmp_path, workers, kind):
    precision = "auto" if kind == "default" else kind
    threads = torch.get_num_threads()
    torch.set_num_threads(CLUSTER.cpus_per_task)
    try:
        rounds = [
            plain_loop(torchvision_root, workers) + trainer(data, tmp_path / str(number), precision)
            for number in range(REPETITIONS)
        ]
    finally:
        torch.set_num_threads(threads)
    plain, plain_accuracy, ours, accuracy = (median(column) for column in zip(*rounds, strict=True))
    print(
        f"\nconvnet, {workers} workers, {CLUSTER.cpus_per_task} threads: plain loop {plain:.0f} images/s, accuracy "
        f"{plain_accuracy:.3f}; trainer ({kind}) {ours:.0f}, {accuracy:.3f}: {ours / plain:.2f} times as fast "
        f"(at least {LEAST_SPEEDUP[kind]})"
    )
    assert ours >= LEAST_SPEEDUP[kind] * plain
    assert accuracy >= plain_accuracy - MOST_ACCURACY_LOST

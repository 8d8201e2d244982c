"""The trainer against the loop that people write first: a dataset of torchvision, ToTensor, a DataLoader.

Same network, batch of 64, fp32, AdamW; images of Fashion-MNIST's shape, in its file format. Each side is timed after
its first batches, so that starting workers costs nothing here. Epochs in turns, medians. Run with `make bench`.
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

from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.data.prepared import PreparedDataset
from slimline.models.artifact import build
from slimline.models.registry import architecture_for
from slimline.models.small import ConvNet
from slimline.training.distributed import World
from slimline.training.loop import Trainer
from slimline.training.losses import cross_entropy
from slimline.training.settings import RunSettings
from slimline.training.spec import Allocation, TrainingSpec
from slimline.training.stop import StopRequest

THREADS = 2
BATCH, STEPS, WARMUP_STEPS = 64, 80, 10
REPETITIONS = 3
LEAST_SPEEDUP = 1.3


@pytest.fixture
def data(tmp_path):
    return PreparedDataset.open(made_up_data(tmp_path / "data", BATCH * STEPS, (1, 28, 28)))


@pytest.fixture
def torchvision_root(data, tmp_path):
    """The same images in the files that torchvision reads."""
    folder = tmp_path / "FashionMNIST/raw"
    folder.mkdir(parents=True)
    images, labels = data.read(data.rows("train")), data.labels.astype(np.uint8)
    for split in ("train", "t10k"):
        header = struct.pack(">IIII", 0x803, len(images), 28, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())
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
    loader = DataLoader(FashionMNIST(root, transform=ToTensor()), BATCH, shuffle=True, num_workers=workers)
    torch.manual_seed(0)
    model = ConvNet(1, (28, 28), 10)
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=1e-3)
    times_s, running_loss = [], 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        times_s.append(time.perf_counter())
    return images_per_s(times_s)


def trainer(data, folder):
    folder.mkdir()
    RunSettings(checkpoint_interval_s=1e9).write(folder)
    spec = TrainingSpec(
        experiment="bench", variant="dense", seed=0, entry="", prepared=data.folder,
        recipe=TrainConfig(epochs=1, batch_size=BATCH),
        allocation=Allocation(1, 1, THREADS, "cpu", "fp32", BATCH, 1), inputs={}, code="",
        model=ModelConfig(name="convnet"),
    )  # fmt: skip
    torch.manual_seed(0)
    model = build(architecture_for(spec.model, data.stats))
    clock = Clock()
    Trainer(model, spec, cross_entropy(0.0), World(0, 1, torch.device("cpu")), folder, clock).fit()
    return images_per_s(clock.times_s)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # four are what people ask for, on any machine
@pytest.mark.parametrize("workers", [0, 4])
def test_the_trainer_is_faster_than_the_plain_loop(data, torchvision_root, tmp_path, workers):
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        rounds = [(plain_loop(torchvision_root, workers), trainer(data, tmp_path / str(n))) for n in range(REPETITIONS)]
    finally:
        torch.set_num_threads(threads)
    plain, ours = (median(column) for column in zip(*rounds, strict=True))
    print(
        f"\n{workers} workers, {THREADS} threads: plain loop {plain:.0f} images/s, trainer {ours:.0f}: "
        f"{ours / plain:.2f} times as fast (at least {LEAST_SPEEDUP})"
    )
    assert ours >= LEAST_SPEEDUP * plain

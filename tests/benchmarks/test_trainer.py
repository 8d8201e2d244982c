"""The trainer against a bare loop over tensors in memory: same model, batch, precision and optimizer.

Both run in this process, step by step in turns, so that whatever else the machine does falls on both; medians count.
Run with `make bench`.
"""

import time
from statistics import median

import pytest
import torch
from benchmarks.training_data import made_up_data
from torch.nn import functional

from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.data.prepared import PreparedDataset
from slimline.models.artifact import build
from slimline.models.registry import architecture_for
from slimline.training.distributed import World
from slimline.training.loop import Trainer
from slimline.training.losses import cross_entropy
from slimline.training.matrix_kernels import multiplies_matrices_fast
from slimline.training.settings import RunSettings
from slimline.training.spec import Allocation, TrainingSpec
from slimline.training.stop import StopRequest

THREADS = 2
WARMUP_STEPS = 2
SHAPE = (1, 28, 28)
CROP_AND_FLIP = {"crop_padding": 2, "horizontal_flip": True}
# (model, batch, steps), augmentation -> least ratio to the bare loop, which augments nothing
CASES = [
    ("convnet", 64, 150, {}, 0.97),
    ("convnet", 64, 150, CROP_AND_FLIP, 0.90),
    ("resnet18", 128, 8, {}, 0.97),
    ("resnet18", 128, 8, CROP_AND_FLIP, 0.90),
]
# The bare loop convolves by the library where the trainer multiplies matrices.
LEAST_WITH_AMX = 1.2


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def model_for(name, data):
    torch.manual_seed(0)
    return build(architecture_for(ModelConfig(name=name), data.stats))


def bare_steps(name, batch_size, data, precision):
    """The loop that does nothing but train; each item is one step."""
    images = torch.from_numpy(data.read(data.rows("train"))).float().contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(data.labels)
    model = model_for(name, data).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for batch in torch.randperm(len(images)).split(batch_size):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        yield


class Turns(StopRequest):
    """Asked once by the trainer after each of its steps: that is when the bare loop takes one of its own."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.ours_s, self.bare_s = [], []
        self.resumed_s = time.perf_counter()

    @property
    def requested(self):
        now_s = time.perf_counter()
        self.ours_s.append(now_s - self.resumed_s)
        next(self.steps, None)
        self.resumed_s = time.perf_counter()
        self.bare_s.append(self.resumed_s - now_s)
        return False


def ratio_to_bare_loop(name, batch_size, steps, augmentation, precision, folder):
    """Speed of the trainer over that of the bare loop."""
    data = PreparedDataset.open(made_up_data(folder / "data", batch_size * steps, SHAPE))
    RunSettings(checkpoint_interval_s=1e9).write(folder)
    spec = TrainingSpec(
        experiment="bench", variant="dense", seed=0, entry="", prepared=data.folder,
        recipe=TrainConfig(epochs=1, batch_size=batch_size, augmentation=augmentation),
        allocation=Allocation(1, 1, THREADS, "cpu", precision, batch_size, 1), inputs={}, code="",
        model=ModelConfig(name=name),
    )  # fmt: skip
    turns = Turns(bare_steps(name, batch_size, data, precision))
    world = World(0, 1, torch.device("cpu"))
    Trainer(model_for(name, data), spec, cross_entropy(0.0), world, folder, turns).fit()
    ours_s, bare_s = median(turns.ours_s[WARMUP_STEPS:]), median(turns.bare_s[WARMUP_STEPS:])
    print(
        f"\n{name}, batch {batch_size}, {'crop + flip' if augmentation else 'no augmentation'}, {precision}, {THREADS} "
        f"threads: bare loop {batch_size / bare_s:.0f} images/s, trainer {batch_size / ours_s:.0f}, "
        f"ratio {bare_s / ours_s:.3f}"
    )
    return bare_s / ours_s


@pytest.mark.parametrize(("name", "batch_size", "steps", "augmentation", "least"), CASES)
def test_the_trainer_is_nearly_as_fast_as_a_bare_loop(name, batch_size, steps, augmentation, least, tmp_path):
    assert ratio_to_bare_loop(name, batch_size, steps, augmentation, "fp32", tmp_path) >= least


@pytest.mark.skipif(not multiplies_matrices_fast(), reason="elsewhere both convolve by the library")
def test_on_processors_with_amx_it_is_faster_in_bf16(tmp_path):
    assert ratio_to_bare_loop("resnet18", 128, 10, {}, "bf16", tmp_path) >= LEAST_WITH_AMX

"""The trainer against a bare loop over tensors in memory: same model, batch, precision and optimizer.

Ratios of images per second: both run in turns in this process, medians count. Run with `make bench`.
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
from slimline.training.settings import RunSettings
from slimline.training.spec import Allocation, TrainingSpec
from slimline.training.stop import StopRequest

THREADS = 2
REPETITIONS = 5
CPU = torch.device("cpu")
# (model, batch, steps of an epoch, augmentation) -> least ratio to the bare loop, which augments nothing
CASES = {
    ("convnet", 64, 60): (({}, 0.97), ({"crop_padding": 2, "horizontal_flip": True}, 0.90)),
    ("resnet18", 128, 2): (({}, 0.97), ({"crop_padding": 2, "horizontal_flip": True}, 0.90)),
}


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def model_for(name, data):
    torch.manual_seed(0)
    return build(architecture_for(ModelConfig(name=name), data.stats))


def bare_epoch(name, batch_size, data):
    """Seconds of an epoch of the loop that does nothing but train."""
    images = torch.from_numpy(data.read(data.rows("train"))).float().contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(data.labels)
    model = model_for(name, data).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    started_s = time.perf_counter()
    for batch in torch.randperm(len(images)).split(batch_size):
        optimizer.zero_grad()
        functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    return time.perf_counter() - started_s


def trainer_epoch(name, batch_size, data, augmentation, folder):
    """Seconds of an epoch of the trainer, with all that it does besides."""
    folder.mkdir()
    RunSettings(checkpoint_interval_s=1e9).write(folder)
    recipe = TrainConfig(epochs=1, batch_size=batch_size, augmentation=augmentation)
    spec = TrainingSpec(
        experiment="bench", variant="dense", seed=0, entry="", recipe=recipe, prepared=data.folder,
        allocation=Allocation(1, 1, THREADS, "cpu", "fp32", batch_size, 1), inputs={}, code="",
        model=ModelConfig(name=name),
    )  # fmt: skip
    trainer = Trainer(model_for(name, data), spec, cross_entropy(0.0), World(0, 1, CPU), folder, StopRequest())
    started_s = time.perf_counter()
    trainer.fit()
    return time.perf_counter() - started_s


@pytest.mark.parametrize(("case", "targets"), CASES.items(), ids=lambda value: value[0] if len(value) == 3 else "")
def test_the_trainer_is_nearly_as_fast_as_a_bare_loop(case, targets, tmp_path):
    name, batch_size, steps = case
    data = PreparedDataset.open(made_up_data(tmp_path / "data", batch_size * steps, (1, 28, 28)))
    bare_s = []
    ours_s = [[] for _ in targets]
    for repetition in range(REPETITIONS + 1):
        bare_s.append(bare_epoch(name, batch_size, data))
        for number, (augmentation, _) in enumerate(targets):
            folder = tmp_path / f"{repetition}-{number}"
            ours_s[number].append(trainer_epoch(name, batch_size, data, augmentation, folder))
    # the first round warms up
    limit = median(bare_s[1:])
    print(f"\n{name}, batch {batch_size}, fp32, {THREADS} threads, torch {torch.__version__}, median of {REPETITIONS}")
    print(f"  {'bare loop':28}{len(data) / limit:10.0f} images/s")
    for (augmentation, least), seconds in zip(targets, ours_s, strict=True):
        ratio = median(bare / ours for bare, ours in zip(bare_s[1:], seconds[1:], strict=True))
        label = f"trainer, {'crop + flip' if augmentation else 'no augmentation'}"
        print(f"  {label:28}{len(data) / median(seconds[1:]):10.0f} images/s, ratio {ratio:.3f} (at least {least})")
        assert ratio >= least

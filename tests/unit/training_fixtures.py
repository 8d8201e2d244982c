"""A small training job on the digits, and ways to run and to interrupt it."""

import json
import math
import signal
from dataclasses import replace

import torch

from slimline.config.model import ModelConfig
from slimline.config.train import AugmentationConfig, TrainConfig
from slimline.models.artifact import load_artifact
from slimline.training import job
from slimline.training.loop import Trainer
from slimline.training.spec import Allocation, TrainingSpec


def training_spec(digits, monkeypatch):
    """Three epochs of 19 steps with augmentation and dropout, on one rank."""
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    recipe = TrainConfig(
        epochs=3,
        batch_size=64,
        learning_rate=1e-2,
        augmentation=AugmentationConfig(crop_padding=1, horizontal_flip=True),
    )
    return TrainingSpec(
        experiment="test",
        variant="dense",
        seed=7,
        entry="slimline.training.job:run",
        recipe=recipe,
        prepared=digits,
        allocation=Allocation(1, 1, 1, "cpu", "fp32", 64, 1),
        inputs={},
        code="",
        model=ModelConfig(name="convnet", width=0.5, dropout=0.2),
    )


def with_recipe(spec, **changes):
    """The job with other values in its recipe, checked as those of a config."""
    return replace(spec, recipe=TrainConfig.model_validate(spec.recipe.model_dump() | changes))


def train(spec, folder):
    """The state of the model that the job ships."""
    folder.mkdir(exist_ok=True)
    job.run(spec, folder)
    return load_artifact(folder / "result")[0].state_dict()


def history(folder, kind="epoch"):
    """Records of one kind in the history of a finished job."""
    lines = (folder / "result/history.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def stopping_after(monkeypatch, n_steps):
    """Makes the next run see a stop request at the boundary after `n_steps` steps."""
    original, done = Trainer._train_step, []

    def step(self, *args):
        original(self, *args)
        done.append(None)
        self.stop.number = signal.SIGTERM if len(done) == n_steps else 0

    monkeypatch.setattr(Trainer, "_train_step", step)


def spoil_weights_once(monkeypatch, n_steps):
    """Makes a weight not a number after `n_steps` steps, once: what comes back from a checkpoint is whole."""
    original, done = Trainer._train_step, []

    def step(self, *args):
        if len(done) == n_steps:
            with torch.no_grad():
                next(iter(self.model.parameters())).fill_(math.nan)
        original(self, *args)
        done.append(None)

    monkeypatch.setattr(Trainer, "_train_step", step)


def same(first, second):
    """Whether two states are equal to the bit."""
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())

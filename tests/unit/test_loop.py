"""The trainer on real digits: it learns, it repeats itself to the bit, it goes on exactly where it stopped."""

import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_fixtures import history, same, stopping_after, train, training_spec

from slimline.config.model import ModelConfig
from slimline.data.batches import samples_digest
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError
from slimline.files import read_json
from slimline.training import parts
from slimline.training.evaluate import EVALUATION_BATCH, EVALUATION_PIXELS, batch_size
from slimline.training.loop import Trainer
from slimline.training.settings import RunSettings
from slimline.training.spec import TrainingSpec, checkpoint_name
from slimline.training.stop import StoppedError


@pytest.fixture
def spec(digits, monkeypatch):
    return training_spec(digits, monkeypatch)


def test_it_learns_and_says_so(spec, tmp_path):
    train(spec, tmp_path / "a")
    epochs = history(tmp_path / "a")
    assert [record["epoch"] for record in epochs] == [0, 1, 2]
    assert epochs[-1]["validation_accuracy"] > 0.6 > epochs[0]["train_accuracy"]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] / 2
    assert read_json(tmp_path / "a/result/summary.json")["images_per_s"] > 0
    expected = samples_digest(PreparedDataset.open(spec.prepared).rows("train"))
    assert {record["samples_digest"] for record in epochs} == {f"{expected:016x}"}


@pytest.mark.parametrize("change", ["miss", "twice"])
def test_a_sample_that_is_missed_or_seen_twice_is_noticed(spec, tmp_path, monkeypatch, change):
    original = parts.epoch_order

    def wrong(rows, seed, epoch):
        order = original(rows, seed, epoch)
        return order[1:] if change == "miss" else np.concatenate([order[:1], order[:-1]])

    monkeypatch.setattr(parts, "epoch_order", wrong)
    with pytest.raises(AssertionError, match="every sample once"):
        train(spec, tmp_path / "a")


def test_stopped_during_validation_it_goes_on_to_the_same_bits(spec, tmp_path, monkeypatch):
    unbroken = train(spec, tmp_path / "a")
    original = Trainer._evaluate

    def evaluate(self, rows):
        self.stop.number = signal.SIGTERM if self.progress.epoch == 1 else 0
        return original(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_evaluate", evaluate)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "b")
    assert same(unbroken, train(spec, tmp_path / "b"))


def test_the_same_spec_gives_the_same_bits_and_another_seed_does_not(spec, tmp_path):
    first = train(spec, tmp_path / "a")
    assert same(first, train(spec, tmp_path / "b"))
    assert not same(first, train(replace(spec, seed=8), tmp_path / "c"))


@pytest.mark.parametrize("n_steps", [1, 19, 30, 38])  # first step, end of an epoch, middle of one, end of the next
def test_stopped_anywhere_it_goes_on_to_the_same_bits(spec, tmp_path, monkeypatch, n_steps):
    unbroken = train(spec, tmp_path / "a")
    with monkeypatch.context() as patch:
        stopping_after(patch, n_steps)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "b")
    assert same(unbroken, train(spec, tmp_path / "b"))
    assert len(history(tmp_path / "b", "resume")) == 1
    for key in ("train_loss", "validation_loss", "train_accuracy"):
        assert [r[key] for r in history(tmp_path / "b")] == [r[key] for r in history(tmp_path / "a")]


def test_killed_in_the_middle_of_an_epoch_it_goes_on_from_the_last_checkpoint(spec, tmp_path, monkeypatch):
    unbroken = train(spec, tmp_path / "a")
    (tmp_path / "b").mkdir()
    RunSettings(checkpoint_interval_s=0.0).write(tmp_path / "b")  # after every step
    original, done = Trainer._train_step, []

    def step(self, *args):
        if len(done) == 25:
            raise KeyboardInterrupt  # the process ends here, without a chance to save
        original(self, *args)
        done.append(None)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", step)
        with pytest.raises(KeyboardInterrupt):
            train(spec, tmp_path / "b")
    assert (tmp_path / "b/checkpoints" / checkpoint_name(1, 6)).is_dir()
    assert same(unbroken, train(spec, tmp_path / "b"))


def test_accumulated_gradients_give_what_one_batch_gives(spec, tmp_path):
    # batch normalisation and dropout see each part alone: compare a model without them
    plain = replace(spec, model=ModelConfig(name="squeezenet1_1"), recipe=spec.recipe.model_copy(update={"epochs": 1}))
    plain = replace(plain, recipe=plain.recipe.model_copy(update={"optimizer": "sgd", "learning_rate": 1e-3}))
    parts = replace(plain, allocation=replace(plain.allocation, micro_batch=16, accumulation=4))
    whole = _without_dropout(train, plain, tmp_path / "a")
    summed = _without_dropout(train, parts, tmp_path / "b")
    for name, tensor in whole.items():
        assert torch.allclose(tensor, summed[name], atol=1e-5), name


def _without_dropout(run, spec, folder):
    original = torch.nn.Dropout.forward
    torch.nn.Dropout.forward = lambda self, images: images
    try:
        return run(spec, folder)
    finally:
        torch.nn.Dropout.forward = original


def test_a_loss_that_is_not_finite_is_named(spec, tmp_path):
    wild = replace(spec, recipe=spec.recipe.model_copy(update={"optimizer": "sgd", "learning_rate": 100.0}))
    with pytest.raises(NotSupportedError, match="not a finite number") as caught:
        train(replace(wild, model=ModelConfig(name="squeezenet1_1")), tmp_path / "a")
    assert caught.value.code == "diverged"
    assert "lower learning_rate" in str(caught.value)
    report = read_json(tmp_path / "a/not_finite.json")
    assert re.search(r"epoch \d+, step \d+$", report["where"])
    assert 60 < len(report["sample_ids"]) <= 64
    assert report["sample_ids"][0] in str(caught.value)


def test_spec_survives_the_file(spec, tmp_path):
    spec.write(tmp_path)
    assert TrainingSpec.read(tmp_path) == spec
    more_seeds = spec.recipe.model_copy(update={"seeds": [7, 8]})
    assert replace(spec, recipe=more_seeds).digest == spec.digest
    assert TrainingSpec.read(tmp_path).digest == spec.digest
    assert replace(spec, seed=8).digest != spec.digest


@pytest.mark.parametrize(
    ("side", "images"), [(8, EVALUATION_BATCH), (90, EVALUATION_BATCH), (224, EVALUATION_PIXELS // 224**2), (10_000, 1)]
)
def test_validation_takes_fewer_large_images_at_once(side, images):
    assert batch_size(side, side) == images

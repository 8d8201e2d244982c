"""Pruning jobs on the digits: rounds, resumes, recalibration, zeros."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from training_fixtures import history, same, stopping_after, training_spec, with_recipe

from slimline.compression import prune as prune_job
from slimline.compression.teachers import Ensemble
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig, ratio_after
from slimline.errors import NotSupportedError
from slimline.models.artifact import load_artifact, save_artifact
from slimline.models.count import count_macs, count_parameters
from slimline.models.sparsity import prunable_weights, zero_smallest
from slimline.training import job
from slimline.training.loop import Trainer
from slimline.training.settings import RunSettings
from slimline.training.stop import StoppedError

STEPS = 19  # of an epoch


@pytest.fixture(scope="module")
def parent(digits, tmp_path_factory):
    """A small trained model with batch normalisation."""
    with pytest.MonkeyPatch.context() as patch:
        spec = training_spec(digits, patch)
        spec = replace(with_recipe(spec, epochs=2), model=ModelConfig(name="resnet8"))
        folder = tmp_path_factory.mktemp("parent")
        job.run(spec, folder)
    return folder / "result"


@pytest.fixture
def spec(digits, parent, monkeypatch):
    """A pruning of it without any training."""
    return pruning(training_spec(digits, monkeypatch), parent, epochs=0)


def pruning(spec, parent, **settings):
    """The job that prunes `parent` so."""
    config = PruneConfig.model_validate(settings)
    entry = "slimline.compression.prune:run"
    spec = replace(spec, variant="pruned", entry=entry, model=None, parent=parent, step=config)
    return with_recipe(spec, epochs=config.epochs)


def run(spec, folder):
    """The model that the job leaves, its architecture and its summary."""
    folder.mkdir(exist_ok=True)
    prune_job.run(spec, folder)
    summary = json.loads((folder / "result/summary.json").read_text())
    return *load_artifact(folder / "result"), summary


def test_each_round_removes_the_same_share_of_what_is_left():
    ratios = [ratio_after(0.75, number, 2) for number in (1, 2)]
    assert ratios == pytest.approx([0.5, 0.75])


@pytest.mark.parametrize("key", ["recalibration_samples", "reconstruction_samples"])
def test_without_epochs_either_repair_alone_helps(spec, parent, tmp_path, key):
    found = {}
    others = {"recalibration_samples": 0, "reconstruction_samples": 0}
    for samples in (0, 1024):
        folder = tmp_path / str(samples)
        run(pruning(spec, parent, epochs=0, **(others | {key: samples})), folder)
        assert not history(folder)
        (found[samples],) = history(folder, "round")
    assert found[0]["macs"] == found[1024]["macs"]
    assert found[1024]["validation_loss"] < found[0]["validation_loss"]


def test_channels_go_by_what_can_be_made_up_for_unless_said_otherwise(spec, parent, tmp_path):
    kept = {}
    for importance in (None, "redundancy", "magnitude-l2"):
        folder = tmp_path / str(importance)
        model, *_ = run(pruning(spec, parent, epochs=0, importance=importance), folder)
        kept[importance] = model.state_dict()
    assert same(kept[None], kept["redundancy"])
    assert not same(kept[None], kept["magnitude-l2"])


def test_the_record_says_what_was_fitted_and_the_parent_stays_as_it_is(spec, parent, tmp_path):
    before = load_artifact(parent)[0].state_dict()
    _, _, summary = run(pruning(spec, parent, epochs=0, reconstruction_samples=300), tmp_path / "a")
    (only,) = summary["rounds"]
    assert only["reconstruction"]["samples"] == 300
    layers = [
        name for name, module in load_artifact(parent)[0].named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    assert set(only["reconstruction"]["layers"]) == set(layers[1:]), "all but the first, which reads the images"
    assert same(before, load_artifact(parent)[0].state_dict())
    _, _, summary = run(pruning(spec, parent, epochs=0, reconstruction_samples=0), tmp_path / "b")
    assert "reconstruction" not in summary["rounds"][0]


@pytest.mark.parametrize("allocation", ["uniform", "global", "sensitivity"])
def test_rounds_reach_the_ratio_and_say_how(spec, parent, tmp_path, allocation):
    spec = pruning(spec, parent, ratio=0.5, allocation=allocation, iterations=2, epochs=2, recalibration_samples=64)
    model, architecture, summary = run(spec, tmp_path)
    rounds = summary["rounds"]
    assert [note["ratio"] for note in rounds] == pytest.approx([1 - 0.5**0.5, 0.5])
    assert rounds[0]["after"] == rounds[1]["before"]
    assert rounds[1]["after"]["macs"] == count_macs(model, architecture.image_shape)
    dense, _ = load_artifact(parent)
    for note in rounds:
        for name, layer in note["layers"].items():
            assert layer["channels"] == dense.get_submodule(name).weight.shape[0]
    for name, layer in rounds[-1]["layers"].items():
        assert layer["kept"] == model.get_submodule(name).weight.shape[0]
    assert bool(rounds[0]["sensitivity"]) == (allocation == "sensitivity")
    assert [record["epoch"] for record in history(tmp_path)] == [0, 1]
    assert [record["round"] for record in history(tmp_path, "round")] == [1, 2]
    # The schedule of the learning rate starts anew with every round.
    rates = [record["learning_rate"] for record in history(tmp_path)]
    assert rates[0] == rates[1]


CUTS = {  # where the run is stopped, of which granularity, and what else the recipe says
    "within the first round": (5, "channels", {}),
    "at the end of a round": (STEPS, "channels", {}),
    "average of the weights": (STEPS + 1, "channels", {"ema_decay": 0.9}),
    "best epoch": (2 * STEPS + 3, "channels", {"keep": "best"}),
    "single weights": (2 * STEPS + 3, "weights", {"ema_decay": 0.9}),
    "with a teacher": (2 * STEPS + 3, "channels", {"teacher_weight": 0.9}),
}


@pytest.mark.parametrize(("n_steps", "granularity", "changes"), CUTS.values(), ids=CUTS)
def test_a_resumed_pruning_ends_with_the_same_bits(spec, parent, tmp_path, monkeypatch, n_steps, granularity, changes):
    taught = {key: changes[key] for key in changes if key in PruneConfig.model_fields}
    spec = pruning(spec, parent, ratio=0.6, granularity=granularity, iterations=3, epochs=3, **taught)
    spec = with_recipe(spec, **{key: changes[key] for key in changes if key not in taught})
    whole, architecture, summary = run(spec, tmp_path / "whole")
    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        stopping_after(patch, n_steps)
        with pytest.raises(StoppedError):
            run(spec, cut)
    resumed, again, told = run(spec, cut)
    assert again == architecture
    assert told["rounds"] == summary["rounds"]
    assert same(whole.state_dict(), resumed.state_dict())
    losses = [[record["train_loss"] for record in history(folder)] for folder in (tmp_path / "whole", cut)]
    assert losses[0] == losses[1]
    assert len(history(cut, "round")) == 3


def test_the_parent_as_it_was_teaches(spec, parent, tmp_path, monkeypatch):
    asked, original = [], Ensemble.__call__

    def answer(self, batch):
        asked.append([count_parameters(model) for model in self.models])
        return original(self, batch)

    monkeypatch.setattr(Ensemble, "__call__", answer)
    whole, losses = count_parameters(load_artifact(parent)[0]), {}
    for weight in (0.0, 0.9):
        asked.clear()
        folder = tmp_path / str(weight)
        run(pruning(spec, parent, ratio=0.6, iterations=2, epochs=2, teacher_weight=weight), folder)
        losses[weight] = [record["train_loss"] for record in history(folder)]
        assert asked == ([[whole]] * 2 * STEPS if weight else [])
    assert losses[0.9] != losses[0.0]


def test_a_kill_between_two_rounds_loses_nothing(spec, parent, tmp_path, monkeypatch):
    spec = pruning(spec, parent, iterations=2, epochs=2)
    whole, *_ = run(spec, tmp_path / "whole")
    cut = tmp_path / "cut"
    original = Trainer.end_round

    def killed(self):
        original(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "end_round", killed)
        with pytest.raises(KeyboardInterrupt):
            run(spec, cut)
    # A job with another number of ranks goes on from there as well: what was cut stands in the checkpoint.
    other = tmp_path / "other"
    other.mkdir()
    RunSettings(earlier=(str(cut),)).write(other)
    resumed, *_ = run(spec, other)
    assert same(whole.state_dict(), resumed.state_dict())
    assert len(history(other)) == 2


def test_single_weights_stay_zero_through_training(spec, parent, tmp_path):
    spec = pruning(spec, parent, granularity="weights", ratio=0.8, iterations=2, epochs=2)
    model, architecture, summary = run(spec, tmp_path)
    weights = torch.cat([weight.flatten() for weight in prunable_weights(model).values()])
    assert architecture.sparsity == pytest.approx(0.8, abs=1e-4)
    assert int((weights == 0).sum()) / len(weights) == architecture.sparsity
    assert not torch.signbit(weights[weights == 0]).any()  # zeros of two kinds would compress less
    assert summary["rounds"][0]["after"]["sparsity"] == pytest.approx(1 - 0.2**0.5, abs=1e-4)
    assert architecture.pruning == ()


def test_zeros_of_the_parent_stay_when_channels_go(spec, parent, tmp_path):
    run(pruning(spec, parent, epochs=0, granularity="weights", ratio=0.8), tmp_path / "sparse")
    _, architecture, summary = run(pruning(spec, tmp_path / "sparse/result", epochs=0, ratio=0.3), tmp_path / "small")
    assert architecture.sparsity > 0.6
    assert "reconstruction" not in summary["rounds"][0]


def test_single_weights_that_are_zero_already_are_no_pruning(spec, parent, tmp_path):
    sparse, architecture = load_artifact(parent)
    zero_smallest(sparse, 0.8)
    save_artifact(tmp_path / "sparse", sparse, architecture)
    (tmp_path / "job").mkdir()
    with pytest.raises(NotSupportedError, match="No weight was to go") as refused:
        run(pruning(spec, tmp_path / "sparse", granularity="weights", ratio=0.5, epochs=1), tmp_path / "job")
    assert "80% are zero already" in " ".join(str(refused.value).split())

"""What a run writes about itself, on real digits."""

import json
import math
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_fixtures import history, spoil_weights_once, stopping_after, train, training_spec, with_recipe

from slimline.errors import SlimlineError
from slimline.reporting.records import read_history
from slimline.training import steplog, tracking
from slimline.training.checkpoint import Progress
from slimline.training.distributed import World
from slimline.training.loop import Trainer
from slimline.training.schedule import learning_rate_at
from slimline.training.stop import StoppedError
from slimline.training.tally import Tally


@pytest.fixture
def spec(digits, monkeypatch):
    return training_spec(digits, monkeypatch)


def scalars(folder):
    """Names with their (step, value) pairs in TensorBoard's files."""
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(event.step, event.value) for event in board.Scalars(name)] for name in board.Tags()["scalars"]}


def test_steps_are_logged_at_the_interval_and_the_report_passes_them_by(spec, tmp_path):
    train(with_recipe(spec, log_every_steps=7), tmp_path / "a")
    steps = history(tmp_path / "a", "step")
    assert [record["step"] for record in steps] == [7, 14, 21, 28, 35, 42, 49, 56]
    for record in steps:
        assert math.isfinite(record["loss"])
        assert record["gradient_norm"] > 0
        assert record["learning_rate"] > 0
        assert record["images_per_s"] > 0
        assert 0 <= record["data_wait_share"] < 1
        assert record["memory_mb"] > 10
    assert len(read_history(tmp_path / "a/result/history.jsonl").epochs) == 3


def test_an_interval_longer_than_an_epoch_goes_on_into_the_next(spec, tmp_path):
    train(with_recipe(spec, log_every_steps=25), tmp_path / "a")
    assert [(record["epoch"], record["step"]) for record in history(tmp_path / "a", "step")] == [(1, 25), (2, 50)]


def test_validation_is_no_part_of_the_speed_of_steps(spec, tmp_path, monkeypatch):
    clock = SimpleNamespace(now_s=0.0, perf_counter=lambda: clock.now_s)
    monkeypatch.setattr(steplog, "time", clock)
    original_step, original_evaluate = Trainer._train_step, Trainer._evaluate

    def step(self, *args):
        original_step(self, *args)
        clock.now_s += 2.0

    def evaluate(self, rows):
        clock.now_s += 1000.0
        self.feed.waited_s += 900.0
        return original_evaluate(self, rows)

    monkeypatch.setattr(Trainer, "_train_step", step)
    monkeypatch.setattr(Trainer, "_evaluate", evaluate)
    train(with_recipe(spec, log_every_steps=15), tmp_path / "a")
    steps = history(tmp_path / "a", "step")
    assert [record["step"] for record in steps] == [15, 30, 45]
    assert [record["images_per_s"] for record in steps] == pytest.approx([32.0] * 3, rel=0.02)
    assert max(record["data_wait_share"] for record in steps) < 1


def test_the_learning_rate_is_told_without_the_multiplier_of_a_group(spec, tmp_path, monkeypatch):
    """Also by a run that goes on from the end of an epoch's steps, without a step of its own in it."""
    spec = with_recipe(spec, epochs=2, learning_rate_multipliers={"*": 10.0}, log_every_steps=10)
    original = Trainer._evaluate

    def evaluate(self, rows):
        self.stop.number = signal.SIGTERM
        return original(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_evaluate", evaluate)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "a")
    train(spec, tmp_path / "a")
    told = [(record["step"], record["learning_rate"]) for kind in ("step", "epoch")
            for record in history(tmp_path / "a", kind)]  # fmt: skip
    assert [step for step, _ in told] == [10, 20, 30, 19, 38]
    assert [rate for _, rate in told] == [learning_rate_at(step - 1, 38, spec.recipe) for step, _ in told]


def test_step_records_are_the_same_after_a_resume(spec, tmp_path, monkeypatch):
    spec = with_recipe(spec, log_every_steps=5)
    train(spec, tmp_path / "a")
    with monkeypatch.context() as patch:
        stopping_after(patch, 23)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "b")
    train(spec, tmp_path / "b")
    for key in ("step", "loss", "gradient_norm", "learning_rate"):
        first, second = ([record[key] for record in history(tmp_path / name, "step")] for name in "ab")
        assert first == second


def test_tensorboard_has_what_the_history_has_once_though_the_run_was_resumed(spec, tmp_path, monkeypatch):
    spec = with_recipe(spec, log_every_steps=5)
    with monkeypatch.context() as patch:
        stopping_after(patch, 23)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "a")
    train(spec, tmp_path / "a")
    curves = scalars(tmp_path / "a")
    for kind, key in (("step", "loss"), ("step", "gradient_norm"), ("epoch", "validation_accuracy")):
        expected = [(record["step"], pytest.approx(record[key])) for record in history(tmp_path / "a", kind)]
        assert curves[f"{kind}/{key}"] == expected
    assert not any(name.endswith(("samples_digest", "/epoch")) for name in curves)


def test_weights_and_biases_gets_the_whole_run_once_and_offline(spec, tmp_path, monkeypatch):
    calls, logged, there = [], [], []
    run = SimpleNamespace(
        log=logged.append,
        define_metric=lambda *args, **kwargs: None,
        finish=lambda: there.extend(path.name for path in (tmp_path / "a").iterdir()),
    )
    fake = SimpleNamespace(init=lambda **options: calls.append(options) or run)
    (tmp_path / "a/wandb/of-a-process-that-was-killed").mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: object())
    train(with_recipe(spec, epochs=2, tracking={"wandb": "digits"}), tmp_path / "a")
    (call,) = calls
    assert (call["project"], call["mode"], call["name"]) == ("digits", "offline", "test-dense-seed7")
    assert "history.jsonl" in there
    assert not {"result", "wandb"} & set(there), "the result tells others that all is done"
    assert [entry["epoch/train_loss"] for entry in logged] == [r["train_loss"] for r in history(tmp_path / "a")]


def test_without_the_package_nothing_is_trained(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SlimlineError, match="not installed"):
        train(with_recipe(spec, tracking={"wandb": "digits"}), tmp_path / "a")
    assert not list((tmp_path / "a").iterdir())


def test_the_profiler_leaves_a_trace_of_the_steps_asked_for(spec, tmp_path):
    train(with_recipe(spec, epochs=1, profile_steps=3), tmp_path / "a")
    trace = json.loads((tmp_path / "a/profile/trace.json").read_text())
    steps = {event["name"] for event in trace["traceEvents"] if event.get("name", "").startswith("ProfilerStep")}
    assert steps == {"ProfilerStep#10", "ProfilerStep#11", "ProfilerStep#12"}


def test_a_heartbeat_has_no_loss_where_it_is_not_a_number():
    tally = Tally(Progress(), World(0, 1, torch.device("cpu")))
    tally.see(np.arange(4), torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    tally.add(loss=float("nan"), seconds=2.0)
    assert tally.pace(images_to_go=8) == {"loss": None, "images_per_s": 2.0, "eta_s": 4.0}


def test_use_of_a_gpu_is_operations_done_over_those_that_all_could_do(monkeypatch):
    """A layer of 3 x 5 multiply-accumulates on each of 4 x 4 pixels; 200 images in 4 s on each of two GPUs."""
    clock = SimpleNamespace(now_s=0.0, perf_counter=lambda: clock.now_s)
    monkeypatch.setattr(steplog, "time", clock)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 3 * 2**20)
    model, gpu = torch.nn.Conv2d(3, 5, 1, bias=False), torch.device("cuda")
    speed = steplog.Speed(model, (3, 4, 4), gpu, half=True, ranks=2)
    speed.go(1.0)
    speed.add(200, (4, 4))
    clock.now_s = 4.0
    figures = speed.lap(2.0)
    assert (figures["images_per_s"], figures["data_wait_share"], figures["memory_mb"]) == (100.0, 0.25, 3.0)
    # forward and twice that backward, two operations for one multiply-accumulate
    assert figures["mfu"] == pytest.approx(100.0 * 6 * (3 * 5 * 16) / (2 * 989e12))
    speed.add(200, (2, 4))
    clock.now_s = 8.0
    half = speed.lap(2.0)
    assert half["images_per_s"] == 100.0
    assert half["mfu"] == pytest.approx(figures["mfu"] / 2), "of half the pixels"
    assert "mfu" not in steplog.Speed(model, (3, 4, 4), gpu, half=False, ranks=2).lap(0.0)


@pytest.mark.parametrize("end", ["fault", "stop"])
def test_the_profiler_ends_with_the_steps_however_they_end(spec, tmp_path, monkeypatch, end):
    spec = with_recipe(spec, epochs=1, profile_steps=5)
    if end == "fault":
        spoil_weights_once(monkeypatch, 11)
        train(spec, tmp_path / "a")
    else:
        stopping_after(monkeypatch, 11)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "a")
    assert (tmp_path / "a/profile/trace.json").exists()
    assert not torch.autograd.profiler._is_profiler_enabled

"""What checkpoints cost: ResNet-18 at 28x28 with AdamW, 134 MB of state, one every 30 s.

Saved every few steps instead, and timed step by step in one process: what the steps from one save to the next took
beyond as many quiet ones is the price of a save. Run with `make bench`.
"""

import time
from statistics import median

import pytest
import torch
from benchmarks.training_data import made_up_data

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
BATCH, STEPS_BETWEEN, SAVES = 128, 6, 4
INTERVAL_S = 30.0
LIMIT = 0.03


class Clock(StopRequest):
    """Asked by the trainer after each step, before it saves: notes the time."""

    def __init__(self):
        super().__init__()
        self.times_s = []

    @property
    def requested(self):
        self.times_s.append(time.perf_counter())
        return False


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_checkpoint_every_30_s_costs_little(mode, tmp_path, monkeypatch):
    steps = STEPS_BETWEEN * (SAVES + 1)
    data = PreparedDataset.open(made_up_data(tmp_path / "data", BATCH * steps, (1, 28, 28)))
    spec = TrainingSpec(
        experiment="bench", variant="dense", seed=0, entry="", prepared=data.folder,
        recipe=TrainConfig(epochs=1, batch_size=BATCH),
        allocation=Allocation(1, 1, THREADS, "cpu", "fp32", BATCH, 1), inputs={}, code="",
        model=ModelConfig(name="resnet18"),
    )  # fmt: skip
    RunSettings(checkpoint=mode).write(tmp_path)
    monkeypatch.setattr(Trainer, "_save_is_due", lambda trainer: trainer.progress.step % STEPS_BETWEEN == 0)
    model, clock = build(architecture_for(spec.model, data.stats)), Clock()
    Trainer(model, spec, cross_entropy(0.0), World(0, 1, torch.device("cpu")), tmp_path, clock).fit()

    taken_s = [after - before for before, after in zip(clock.times_s, clock.times_s[1:], strict=False)]
    # The first save comes after step `STEPS_BETWEEN`; the last steps before a save are quiet ones.
    rounds = [taken_s[first : first + STEPS_BETWEEN] for first in range(STEPS_BETWEEN - 1, steps - 1, STEPS_BETWEEN)]
    quiet_s = median(seconds for of_round in rounds for seconds in of_round[-2:])
    price_s = median(sum(of_round) for of_round in rounds) - STEPS_BETWEEN * quiet_s
    print(
        f"\n{mode}: a save costs {price_s:.2f} s, {price_s / INTERVAL_S:.1%} of {INTERVAL_S:.0f} s "
        f"(at most {LIMIT:.0%}); a step takes {quiet_s:.2f} s"
    )
    assert price_s <= LIMIT * INTERVAL_S

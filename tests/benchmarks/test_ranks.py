"""One rank with two threads against two ranks with one: the same cores, the same batch.

Real ranks with messages by gloo; images per second by the trainer's own lines, one per step, medians. Run with
`make bench`.
"""

import json
from statistics import median

import pytest
from benchmarks.training_data import made_up_data
from unit.rank_pool import RankPool

from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.training.settings import RunSettings
from slimline.training.spec import Allocation, TrainingSpec

CORES = 2
WARMUP_STEPS = 2
# model, batch, steps -> least ratio of two ranks to one
CASES = [("convnet", 256, 40, 0.8), ("resnet18", 128, 8, 0.8)]


@pytest.fixture(scope="module")
def pool():
    ranks = RankPool(CORES)
    yield ranks
    ranks.close()


def images_per_s(pool, data, name, batch_size, ranks, folder):
    spec = TrainingSpec(
        experiment="bench", variant="dense", seed=0, entry="slimline.training.job:run", prepared=data, code="",
        inputs={}, recipe=TrainConfig(epochs=1, batch_size=batch_size, log_every_steps=1), model=ModelConfig(name=name),
        allocation=Allocation(1, ranks, CORES // ranks, "cpu", "fp32", batch_size // ranks, 1),
    )  # fmt: skip
    folder.mkdir()
    RunSettings(checkpoint_interval_s=1e9).write(folder)
    pool.train(spec, folder)
    records = map(json.loads, (folder / "result/history.jsonl").read_text().splitlines())
    return median([record["images_per_s"] for record in records if record["kind"] == "step"][WARMUP_STEPS:])


@pytest.mark.parametrize(("name", "batch_size", "steps", "least"), CASES)
def test_two_ranks_are_about_as_fast_as_two_threads(pool, name, batch_size, steps, least, tmp_path):
    data = made_up_data(tmp_path / "data", batch_size * steps, (1, 28, 28))
    one, two = (images_per_s(pool, data, name, batch_size, ranks, tmp_path / f"{ranks}") for ranks in (1, 2))
    print(
        f"\n{name}, batch {batch_size}, {CORES} cores: 1 rank x 2 threads {one:.0f} images/s, 2 ranks x 1 thread "
        f"{two:.0f}, ratio {two / one:.2f} (at least {least})"
    )
    assert two >= least * one

"""One training by 4, then 2 ranks, then one process, each in a folder of its own, against an unbroken one."""

from dataclasses import replace

import pytest
from rank_pool import STOP_FILE, RankPool, simplify_models
from training_fixtures import history, train, training_spec, with_recipe

from slimline.config.model import ModelConfig
from slimline.data.batches import samples_digest
from slimline.data.prepared import PreparedDataset
from slimline.files import read_json, write_text
from slimline.training.settings import RunSettings
from slimline.training.spec import CHECKPOINTS_FOLDER, Allocation, checkpoint_name, checkpoint_names


@pytest.fixture(scope="module")
def pool():
    ranks = RankPool(4)
    yield ranks
    ranks.close()


MODELS = [ModelConfig(name="vit_tiny", width=0.25), ModelConfig(name="resnet8", width=0.5)]


@pytest.fixture(params=MODELS, ids=lambda model: model.name)
def spec(request, digits, monkeypatch):
    """Three epochs of 19 steps; normalisation over all ranks and no corners, so that rounding stays rounding."""
    simplify_models(monkeypatch)
    spec = replace(training_spec(digits, monkeypatch), model=request.param)
    return with_recipe(spec, learning_rate=2e-3, augmentation={"crop_padding": 1}, sync_batch_norm=True)


def with_ranks(spec, ranks):
    """The same training by `ranks` replicas; the global batch stays."""
    return replace(spec, allocation=Allocation(1, ranks, 1, "cpu", "fp32", 64 // ranks, 1))


def stop_after(folder, steps, *earlier):
    """Has the ranks stop after some steps of their own; they may go on from `earlier` jobs."""
    folder.mkdir()
    RunSettings(earlier=[str(job) for job in earlier]).write(folder)
    write_text(folder / STOP_FILE, str(steps))


def test_resumed_by_other_ranks_it_sees_the_same_samples_and_ends_with_the_same_accuracy(pool, spec, tmp_path):
    train(spec, tmp_path / "unbroken")
    four, two, one = (tmp_path / name for name in ("four", "two", "one"))
    stop_after(four, 12)
    assert not pool.train(with_ranks(spec, 4), four)
    before = sorted(path.read_bytes() for path in (four / CHECKPOINTS_FOLDER).glob("*/*"))
    stop_after(two, 20, four)
    assert not pool.train(with_ranks(spec, 2), two)
    assert checkpoint_names(two / CHECKPOINTS_FOLDER) == [checkpoint_name(1, 32 - 19)]
    assert sorted(path.read_bytes() for path in (four / CHECKPOINTS_FOLDER).glob("*/*")) == before
    one.mkdir()
    RunSettings(earlier=[str(four), str(two)]).write(one)
    train(spec, one)

    resumes = [(r["epoch"], r["step"], r["ranks_before"]) for r in history(one, "resume")]
    assert resumes == [(0, 12, 4), (1, 13, 2)]
    stages = read_json(one / "result/summary.json")["stages"]
    assert [(stage["epoch"], stage["step"], stage["ranks"]) for stage in stages] == [(0, 0, 4), (0, 12, 2), (1, 13, 1)]
    expected = f"{samples_digest(PreparedDataset.open(spec.prepared).rows('train')):016x}"
    assert [record["samples_digest"] for record in history(one)] == [expected] * 3
    ours, theirs = history(one)[-1], history(tmp_path / "unbroken")[-1]
    assert abs(ours["validation_accuracy"] - theirs["validation_accuracy"]) <= 1e-3
    assert abs(ours["train_loss"] - theirs["train_loss"]) <= 1e-3
    assert theirs["validation_accuracy"] > 0.4  # it has learned: chance is 0.1

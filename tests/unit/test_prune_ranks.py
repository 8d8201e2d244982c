"""Pruning by several ranks: they decide alike, and keep zeros where they share weights."""

from dataclasses import replace

import pytest
from rank_pool import STOP_FILE, VIT_LAYERS, RankPool
from training_fixtures import history, same, training_spec, with_recipe

from slimline.compression import prune as prune_job
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig
from slimline.files import read_json, write_text
from slimline.models import vit
from slimline.models.artifact import load_artifact
from slimline.models.sparsity import prunable_weights
from slimline.training import job
from slimline.training.spec import Allocation

ALLOCATIONS = {
    "ddp": Allocation(1, 2, 1, "cpu", "fp32", 32, 1, "ddp"),
    "fsdp": Allocation(1, 2, 1, "cpu", "fp32", 32, 1, "fsdp", shard_ranks=2),
    "tp": Allocation(1, 2, 1, "cpu", "fp32", 64, 1, "tp", tensor_ranks=2),
}


@pytest.fixture(scope="module")
def pool():
    ranks = RankPool(2)
    yield ranks
    ranks.close()


@pytest.fixture(scope="module")
def base(digits, tmp_path_factory):
    """A job that prunes a small transformer in two rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vit, "LAYERS", VIT_LAYERS)
        spec = with_recipe(training_spec(digits, patch), epochs=1, learning_rate=2e-3)
        folder = tmp_path_factory.mktemp("parent")
        job.run(replace(spec, model=ModelConfig(name="vit_tiny", width=0.25)), folder)
        entry = "slimline.compression.prune:run"
        yield with_recipe(replace(spec, entry=entry, model=None, parent=folder / "result"), epochs=2)


def test_ranks_decide_as_one_process_does(pool, base, tmp_path):
    config = PruneConfig(allocation="sensitivity", iterations=2, epochs=2)
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    prune_job.run(replace(base, step=config), one)
    assert pool.train(replace(base, step=config, allocation=ALLOCATIONS["ddp"]), two)
    first, second = (read_json(folder / "result/summary.json")["rounds"][0] for folder in (one, two))
    assert first == second
    assert len(history(two, "round")) == 2
    load_artifact(two / "result")


@pytest.mark.parametrize("kind", ALLOCATIONS)
def test_zeros_stay_where_ranks_share_weights_and_resume_to_the_same_bits(pool, base, tmp_path, kind):
    step = PruneConfig(granularity="weights", ratio=0.7, iterations=2, epochs=2)
    spec = replace(base, step=step, allocation=ALLOCATIONS[kind])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert pool.train(spec, whole)
    cut.mkdir()
    write_text(cut / STOP_FILE, "25")
    assert not pool.train(spec, cut)
    (cut / STOP_FILE).unlink()
    assert pool.train(spec, cut)
    model, architecture = load_artifact(whole / "result")
    weights = prunable_weights(model).values()
    zeros, total = sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
    assert zeros / total == architecture.sparsity == pytest.approx(0.7, abs=1e-3)
    assert same(model.state_dict(), load_artifact(cut / "result")[0].state_dict())

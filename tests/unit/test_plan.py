import pytest

from slimline.config.cluster import ClusterConfig
from slimline.config.train import TrainConfig
from slimline.errors import SlimlineError
from slimline.models.architecture import Architecture
from slimline.plan.allocation import choose
from slimline.plan.footprint import Footprint, footprint

SIZE = Footprint(
    parameters=10_000_000, macs=500_000_000, weight_bytes=40_000_000, activation_bytes_per_image=10 * 2**20
)


def cluster(**changes):
    defaults = {"name": "test", "executor": "slurm", "nodes": 4, "cpus_per_node": 4, "memory_mb_per_node": 8000}
    return ClusterConfig(**(defaults | {"cpus_per_task": 2} | changes))


def recipe(**changes):
    return TrainConfig(**({"epochs": 10, "batch_size": 128} | changes))


def test_ranks_fill_the_fewest_nodes():
    plan = choose(SIZE, recipe(ranks=4), 1000, cluster())
    assert (plan["nodes"], plan["tasks_per_node"], plan["parallelism"]) == (2, 2, "ddp")
    assert plan["rejected"][0]["reason"].startswith("4 on a node")
    single = choose(SIZE, recipe(), 1000, cluster(memory_mb_per_node=64_000))
    assert (single["nodes"], single["tasks_per_node"], single["parallelism"]) == (1, 1, "single")


def test_the_micro_batch_shrinks_until_it_fits_and_the_global_batch_stays():
    plan = choose(SIZE, recipe(), 1000, cluster(memory_mb_per_node=1800))
    assert plan["micro_batch"] < 128
    assert plan["memory_mb"] <= 1800
    assert plan["micro_batch"] * plan["accumulation"] >= 128 > plan["micro_batch"] * (plan["accumulation"] - 1)
    assert any("micro-batch 128" in entry["option"] for entry in plan["rejected"])


def test_more_memory_per_image_asks_for_more():
    small = choose(SIZE, recipe(batch_size=8), 1000, cluster())["memory_mb"]
    assert choose(SIZE, recipe(batch_size=64), 1000, cluster())["memory_mb"] > small


def test_what_cannot_be_is_refused_with_the_reasons():
    with pytest.raises(SlimlineError, match=r"train.ranks") as caught:
        choose(SIZE, recipe(batch_size=96, ranks=32), 1000, cluster())
    assert "4 nodes" in str(caught.value)
    with pytest.raises(SlimlineError, match="does not fit the memory"):
        choose(SIZE, recipe(), 1000, cluster(memory_mb_per_node=900))


def test_gpus_choose_precision_and_layout():
    plan = choose(SIZE, recipe(ranks=8), 1000, cluster(gpus_per_node=4))
    assert (plan["nodes"], plan["gpus_per_node"], plan["precision"]) == (2, 4, "bf16")
    assert choose(SIZE, recipe(), 1000, cluster())["precision"] == "fp32"
    assert choose(SIZE, recipe(precision="bf16"), 1000, cluster())["precision"] == "bf16"


def test_time_grows_with_the_work_and_ends_at_the_sites_limit():
    once, twice = (choose(SIZE, recipe(epochs=epochs), 10_000, cluster())["time_min"] for epochs in (5, 10))
    assert 1.8 * once < twice <= 2 * once
    assert choose(SIZE, recipe(epochs=10_000), 50_000, cluster(time_limit_min=60))["time_min"] == 60


def test_the_footprint_is_what_autograd_saves():
    shape = Architecture("convnet", 1, 8, 8, 10, (0.0,), (1.0,), tuple("0123456789"))
    size = footprint(shape)
    # per image, in floats: normalised input, conv1 (in to batch norm, its output into ReLU and pooling, pooled) ...
    feature_maps = 64 + 32 * 64 * 2 + 32 * 16 + 64 * 16 * 2 + 64 * 4 + 128
    assert size.parameters == 53_098
    assert 4 * feature_maps <= size.activation_bytes_per_image <= 4 * 2 * feature_maps

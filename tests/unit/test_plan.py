from dataclasses import replace

import pytest
from processors import made_up_processor

from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig
from slimline.config.train import TrainConfig
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.models.architecture import Architecture
from slimline.models.registry import architecture_for
from slimline.plan.allocation import choose
from slimline.plan.footprint import Footprint, Teachers, footprint, teachers_footprint
from slimline.plan.plan import TeacherPlan, plan_variant, share_trained
from slimline.training.spec import Allocation

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


@pytest.mark.parametrize(("capability", "precision"), [("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx2", "fp32")])
def test_a_local_cpu_is_asked_for_bf16(monkeypatch, tmp_path, capability, precision):
    made_up_processor(monkeypatch, tmp_path, capability)
    machine = {"executor": "local", "nodes": 1}
    assert choose(SIZE, recipe(), 1000, cluster(**machine))["precision"] == precision
    assert choose(SIZE, recipe(precision="fp32"), 1000, cluster(**machine))["precision"] == "fp32"
    assert choose(SIZE, recipe(), 1000, cluster(**machine, cpu_bf16=False))["precision"] == "fp32"


def test_the_cluster_file_says_whether_nodes_have_bf16(monkeypatch, tmp_path):
    made_up_processor(monkeypatch, tmp_path, "avx512_bf16")
    assert choose(SIZE, recipe(), 1000, cluster())["precision"] == "fp32"
    assert choose(SIZE, recipe(), 1000, cluster(cpu_bf16=True))["precision"] == "bf16"


def test_a_replica_that_does_not_fit_a_rank_is_sharded_and_the_plan_says_why():
    large = replace(SIZE, weight_bytes=2 * 10**9)
    fits = choose(large, recipe(ranks=4), 1000, cluster(nodes=1, cpus_per_node=8, memory_mb_per_node=64_000))
    assert (fits["parallelism"], fits["shard_ranks"], fits["tensor_ranks"]) == ("ddp", 1, 1)
    plan = choose(large, recipe(ranks=4), 1000, cluster(nodes=1, cpus_per_node=8, memory_mb_per_node=20_000))
    assert (plan["parallelism"], plan["shard_ranks"], plan["tensor_ranks"]) == ("fsdp", 4, 1)
    assert "whole replica" in plan["parallelism_reason"]
    assert [entry["reason"] for entry in plan["rejected"] if entry["option"] == "ddp"] == [
        "10100 MB per rank with one image, 5000 MB are there"
    ]
    assert plan["memory_mb"] <= 20_000
    gpus = {"gpus_per_node": 4, "nodes": 1, "memory_mb_per_node": 400_000}
    assert choose(large, recipe(ranks=4), 1000, cluster(**gpus))["parallelism"] == "ddp"
    assert choose(large, recipe(ranks=4), 1000, cluster(**gpus, memory_mb_per_gpu=8000))["parallelism"] == "fsdp"


@pytest.mark.parametrize(
    ("kind", "ranks", "nodes", "expected"),
    [
        ("ddp", 4, 1, (1, 1)),
        ("fsdp", 4, 1, (4, 1)),
        ("hybrid", 4, 1, (2, 1)),
        ("hybrid", 8, 2, (4, 1)),
        ("tp", 4, 1, (1, 4)),
        ("fsdp-tp", 4, 1, (2, 2)),
        ("fsdp-tp", 8, 2, (2, 4)),
    ],
)
def test_ranks_that_talk_most_share_a_node(kind, ranks, nodes, expected):
    transformer = replace(SIZE, heads=12)
    machine = cluster(gpus_per_node=ranks // nodes, memory_mb_per_node=64_000)
    plan = choose(transformer, recipe(ranks=ranks, parallelism=kind), 1000, machine)
    assert (plan["parallelism"], plan["nodes"]) == (kind, nodes)
    assert (plan["shard_ranks"], plan["tensor_ranks"]) == expected
    images = 128 // (ranks // plan["tensor_ranks"])
    assert plan["micro_batch"] * plan["accumulation"] == images
    assert Allocation.from_plan(plan).tensor_ranks == expected[1]


@pytest.mark.parametrize(
    ("kind", "ranks", "heads", "nodes", "says"),
    [
        ("tp", 2, 0, 1, "this model is none"),
        ("tp", 2, 3, 1, "cannot share the attention heads"),
        ("fsdp-tp", 4, 3, 1, "cannot share the attention heads"),
        ("hybrid", 2, 0, 1, "two by two"),
        ("fsdp-tp", 2, 4, 1, "two by two"),
        ("tp", 4, 4, 2, "across nodes"),
        ("hybrid", 2, 0, 2, "two by two"),
    ],
)
def test_a_parallelism_that_cannot_be_is_refused(kind, ranks, heads, nodes, says):
    machine = cluster(gpus_per_node=ranks // nodes)
    with pytest.raises(SlimlineError, match=says) as caught:
        choose(replace(SIZE, heads=heads), recipe(ranks=ranks, parallelism=kind), 1000, machine)
    assert "train.parallelism" in str(caught.value)


def test_heads_are_those_of_the_model():
    shape = Architecture("vit_tiny", 1, 8, 8, 10, (0.0,), (1.0,), tuple("0123456789"), width=0.25)
    assert footprint(shape).heads == 4
    assert footprint(replace(shape, name="convnet")).heads == 0


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


def with_teachers(**changes):
    sizes = {"weight_bytes": 400 * 2**20, "cache_bytes": 0, "activation_bytes_per_image": 2**20, "macs": SIZE.macs}
    return replace(SIZE, teachers=Teachers(**(sizes | changes)))


def test_teachers_take_memory_on_every_rank_and_time():
    alone, taught = (choose(size, recipe(), 1000, cluster()) for size in (SIZE, with_teachers()))
    assert taught["memory_mb"] - alone["memory_mb"] >= 400
    assert taught["cost_cpu_h"] == pytest.approx(alone["cost_cpu_h"] * 4 / 3, rel=1e-2)
    sharded = [choose(size, recipe(ranks=4, parallelism="fsdp"), 1000, cluster()) for size in (SIZE, with_teachers())]
    per_rank_mb = [plan["memory_mb"] / plan["tasks_per_node"] for plan in sharded]
    assert per_rank_mb[1] - per_rank_mb[0] >= 400  # a shard of the student, all of the teachers


def test_teachers_whose_answers_are_kept_go_forward_once():
    asked, kept = (choose(with_teachers(**kw), recipe(), 1000, cluster()) for kw in ({}, {"cache_bytes": 2**30}))
    alone = choose(SIZE, recipe(), 1000, cluster())
    assert kept["memory_mb"] - asked["memory_mb"] >= 1024
    once = (kept["cost_cpu_h"] - alone["cost_cpu_h"]) / (asked["cost_cpu_h"] - alone["cost_cpu_h"])
    assert once == pytest.approx(1 / recipe().epochs, rel=0.1)


def test_sizes_of_teachers_add_up(digits):
    architecture = architecture_for(ModelConfig(name="convnet"), PreparedDataset.open(digits).stats)
    one, three = (teachers_footprint(architecture, number, 0) for number in (1, 3))
    assert one.weight_bytes == footprint(architecture).weight_bytes
    assert (three.weight_bytes, three.macs) == (3 * one.weight_bytes, 3 * one.macs)
    assert three.activation_bytes_per_image == one.activation_bytes_per_image > 0


def plan_of(digits, folder, model, feature_weight=0.0, **changes):
    teacher = TeacherPlan(model=ModelConfig(name="convnet"), number=3, feature_weight=feature_weight)
    output = folder / "plan.json"
    plan_variant("student", "distil", model, teacher, recipe(**changes), cluster(), digits, output)
    return read_json(output)


def test_the_plan_of_a_student_tells_of_its_teachers(digits, tmp_path):
    model, stats = ModelConfig(name="convnet", width=0.5), PreparedDataset.open(digits).stats
    plan = plan_of(digits, tmp_path, model)
    assert plan["teachers"]["cache_bytes"] == stats.n_train * 10 * 4
    changed = plan_of(digits, tmp_path, model, augmentation={"horizontal_flip": True})
    assert changed["teachers"]["cache_bytes"] == 0


def test_features_that_cannot_be_compared_are_refused_before_anything_is_queued(digits, tmp_path):
    student = ModelConfig(name="alexnet")  # on larger images than its teacher's
    with pytest.raises(SlimlineError, match="no feature maps of one size"):
        plan_of(digits, tmp_path, student, feature_weight=1.0)


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"ratio": 0.75}, 0.25),
        ({"ratio": 0.75, "iterations": 2}, 0.375),  # half in the first round, a quarter in the second
        ({"ratio": 0.75, "granularity": "weights"}, 1.0),
    ],
)
def test_fine_tuning_takes_the_share_of_the_channels_that_are_left(settings, share):
    assert share_trained(PruneConfig(**settings)) == pytest.approx(share)


def test_the_plan_of_a_pruning_takes_the_time_of_what_is_left_and_the_memory_of_what_comes(digits, tmp_path):
    prune = PruneConfig(ratio=0.5, recalibration_samples=0, reconstruction_samples=0)
    plans = {}
    for step, settings in (("finetune", None), ("prune", prune)):
        output = tmp_path / f"{step}.json"
        model = ModelConfig(name="convnet")
        plan_variant("half", step, model, None, recipe(), cluster(), digits, output, settings)
        plans[step] = read_json(output)
    whole, half = plans["finetune"], plans["prune"]
    assert half["cost_cpu_h"] / whole["cost_cpu_h"] == pytest.approx(half["basis"]["share_trained"], rel=0.01)
    assert half["basis"]["share_trained"] < whole["basis"]["share_trained"] == 1
    assert half["memory_mb"] == whole["memory_mb"]


def test_a_reconstruction_takes_time_and_the_memory_of_two_networks_and_of_many_images_at_once(digits, tmp_path):
    plans = {}
    for samples in (0, 10, 1000, 10**6):
        prune = PruneConfig(ratio=0.5, recalibration_samples=0, reconstruction_samples=samples)
        how = (recipe(batch_size=8), cluster(), digits, tmp_path / "plan.json", prune)
        plan_variant("half", "prune", ModelConfig(name="resnet18"), None, *how)
        plans[samples] = read_json(tmp_path / "plan.json")
    hours = [plan["cost_cpu_h"] for plan in plans.values()]
    assert hours == sorted(set(hours))
    memory_mb = [plan["memory_mb"] for plan in plans.values()]
    assert memory_mb[0] == memory_mb[1] < memory_mb[3], "a few images take less than a step of training"
    most_mb = (2 * plans[0]["basis"]["weight_bytes"] + 5 * 2**28) * 1.2 / 2**20 + 850
    assert most_mb <= memory_mb[3] <= most_mb + 100, "of a million as many as fit"


def test_the_plan_of_smaller_images_at_first_takes_less_time_and_the_memory_of_whole_ones(digits, tmp_path):
    plans = {}
    for until in (None, 0.5, 0.9):
        resizing = None if until is None else {"start_px": 4, "step_px": 2, "until": until}
        slow = recipe(progressive_resizing=resizing, epochs=10_000)
        plan_variant(
            "dense", "train", ModelConfig(name="resnet18"), None, slow, cluster(), digits, tmp_path / "plan.json"
        )
        plans[until] = read_json(tmp_path / "plan.json")
    assert [plan["basis"]["share_trained"] for plan in plans.values()] == pytest.approx([1, 0.8125, 0.6625])
    hours = [plan["cost_cpu_h"] for plan in plans.values()]
    assert hours == sorted(hours, reverse=True)
    assert hours[2] == pytest.approx(0.6625 * hours[0], rel=1e-3)
    assert len({plan["memory_mb"] for plan in plans.values()}) == 1


@pytest.mark.parametrize(("model", "says"), [("vit_b_16", "scales all images"), ("vit_tiny", "4x4 pixels")])
def test_models_of_one_size_are_refused_before_anything_is_queued(digits, tmp_path, model, says):
    resizing = recipe(progressive_resizing={"start_px": 4, "until": 0.5})
    with pytest.raises(SlimlineError, match=says) as caught:
        plan_variant(
            "dense", "train", ModelConfig(name=model), None, resizing, cluster(), digits, tmp_path / "plan.json"
        )
    assert "train.progressive_resizing" in str(caught.value)

"""Every parallelism on real ranks computes what one process computes, and resumes with any number of them."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import rank_gradients
import torch
from rank_pool import SPOIL_FILE, STOP_FILE, RankPool, simplify_models
from safetensors.torch import load_file

from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.data.batches import epoch_order, share
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import read_json, write_text
from slimline.models.artifact import build, load_artifact
from slimline.models.attention import attention_heads, require_heads
from slimline.models.registry import architecture_for
from slimline.training import job
from slimline.training.batch_norm import has_own_statistics, synchronise_batch_norm
from slimline.training.checkpoint import newest_valid_checkpoint
from slimline.training.distributed import World
from slimline.training.settings import RunSettings
from slimline.training.spec import Allocation, TrainingSpec, checkpoint_name

STEPS = 20
MODELS = {"vit": ModelConfig(name="vit_tiny", width=0.25), "resnet": ModelConfig(name="resnet8", width=0.5)}


@pytest.fixture(scope="module", autouse=True)
def _simple_models():
    with pytest.MonkeyPatch.context() as patch:
        simplify_models(patch)
        yield


@pytest.fixture(scope="module")
def pool():
    ranks = RankPool(4)
    yield ranks
    ranks.close()


@pytest.fixture(scope="module")
def base(digits):
    """A job of 20 steps.

    With SGD, since an adaptive optimizer turns rounding noise, in gradients that are 0, into steps of full size.
    """
    n_train = PreparedDataset.open(digits).stats.n_train
    recipe = TrainConfig(
        epochs=1,
        batch_size=-(-n_train // STEPS),
        optimizer="sgd",
        learning_rate=0.02,
        schedule="constant",
        sync_batch_norm=True,
    )
    return TrainingSpec(
        experiment="test",
        variant="dense",
        seed=5,
        entry="slimline.training.job:run",
        recipe=recipe,
        prepared=digits,
        allocation=allocation("ddp", 1),
        inputs={},
        code="",
        model=MODELS["vit"],
    )


def allocation(kind, ranks, accumulation=1):
    shards, tensors = {
        "ddp": (1, 1), "fsdp": (ranks, 1), "hybrid": (ranks // 2, 1), "tp": (1, ranks), "fsdp-tp": (ranks // 2, 2),
    }[kind]  # fmt: skip
    return Allocation(1, ranks, 1, "cpu", "fp32", 64, accumulation, kind, shards, tensors)


def alone(spec, folder):
    """The same job in this process."""
    folder.mkdir(exist_ok=True)
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    job.run(spec, folder)


def weights(folder):
    return load_artifact(folder / "result")[0].state_dict()


def records(folder):
    lines = (folder / "result/history.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "epoch"]


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


@pytest.fixture(scope="module")
def single(base, tmp_path_factory):
    """Results of one process by model."""
    results = {}
    for name, model in MODELS.items():
        folder = tmp_path_factory.mktemp(name)
        alone(replace(base, model=model), folder)
        results[name] = folder
    return results


CASES = [
    *(("vit", kind, 4) for kind in ("ddp", "fsdp", "hybrid", "tp", "fsdp-tp")),
    *(("vit", kind, 2) for kind in ("ddp", "fsdp", "tp")),
    *(("resnet", kind, 4) for kind in ("ddp", "fsdp", "hybrid")),
    *(("resnet", kind, 2) for kind in ("ddp", "fsdp")),
]


@pytest.mark.parametrize(("model", "kind", "ranks"), CASES)
def test_ranks_compute_what_one_process_computes(pool, base, single, tmp_path, model, kind, ranks):
    spec = replace(base, model=MODELS[model], allocation=allocation(kind, ranks))
    assert pool.train(spec, tmp_path)
    difference = largest_difference(weights(single[model]), weights(tmp_path))
    assert difference <= 1e-5
    assert largest_difference(weights(single[model]), build_weights(spec)) > 1e-3
    one, many = records(single[model])[-1], records(tmp_path)[-1]
    assert many["step"] == STEPS
    assert many["samples_digest"] == one["samples_digest"]
    assert abs(many["train_loss"] - one["train_loss"]) <= 1e-5
    assert abs(many["validation_loss"] - one["validation_loss"]) <= 1e-5


@pytest.mark.parametrize(("kind", "ranks"), [("fsdp", 2), ("tp", 2), ("fsdp-tp", 4)])
def test_average_best_epoch_clipping_and_freezing_are_those_of_one_process(pool, base, tmp_path, kind, ranks):
    changes = {"ema_decay": 0.9, "keep": "best", "gradient_clipping": 0.5, "epochs": 2, "batch_size": 128}
    changes["freeze"] = ["encoder.layers.encoder_layer_0.*"]
    spec = replace(base, recipe=base.recipe.model_copy(update=changes))
    alone(spec, tmp_path / "one")
    shared = replace(spec, allocation=allocation(kind, ranks))
    stop_after(tmp_path / "many", 12, checkpoint="async")
    assert not pool.train(shared, tmp_path / "many")
    stop_after(tmp_path / "many", 0)
    assert pool.train(shared, tmp_path / "many")
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "many")) <= 1e-5
    one, many = (load_file(tmp_path / name / "result/weights-last.safetensors") for name in ("one", "many"))
    assert largest_difference(one, many) <= 1e-5


def test_shards_of_a_model_without_blocks_ship_whole(pool, base, tmp_path):
    """After the last validation each rank has all weights of the outermost module."""
    spec = replace(base, model=ModelConfig(name="convnet", width=0.25))
    assert pool.train(replace(spec, allocation=allocation("ddp", 2)), tmp_path / "ddp")
    assert pool.train(replace(spec, allocation=allocation("fsdp", 2)), tmp_path / "fsdp")
    assert largest_difference(weights(tmp_path / "ddp"), weights(tmp_path / "fsdp")) <= 1e-5


@pytest.mark.parametrize(("kind", "ranks"), [("ddp", 2), ("fsdp", 2), ("tp", 2), ("fsdp-tp", 4)])
def test_fp16_scales_the_loss_of_shared_weights_too_and_resumes_to_the_same_bits(pool, base, tmp_path, kind, ranks):
    recipe = base.recipe.model_copy(update={"batch_size": 256, "optimizer": "adamw", "learning_rate": 1e-3})
    spec = replace(base, recipe=recipe, allocation=replace(allocation(kind, ranks), precision="fp16"))
    assert pool.train(spec, tmp_path / "unbroken")
    stop_after(tmp_path / "broken", 3)
    assert not pool.train(spec, tmp_path / "broken")
    stop_after(tmp_path / "broken", 0)
    assert pool.train(spec, tmp_path / "broken")
    unbroken, broken = weights(tmp_path / "unbroken"), weights(tmp_path / "broken")
    assert all(torch.equal(unbroken[name], broken[name]) for name in unbroken)
    alone(replace(spec, allocation=replace(allocation("ddp", 1), precision="fp16")), tmp_path / "one")
    one, many = records(tmp_path / "one")[-1], records(tmp_path / "unbroken")[-1]
    assert abs(many["train_loss"] - one["train_loss"]) <= 1e-3  # half precision rounds to 1e-3


@pytest.mark.parametrize(("kind", "ranks"), [("ddp", 2), ("fsdp-tp", 4)])
def test_a_loss_that_is_not_finite_on_one_rank_is_named_by_all(pool, base, tmp_path, kind, ranks):
    spec = replace(base, allocation=allocation(kind, ranks))
    tmp_path.joinpath(SPOIL_FILE).write_text(f"7 1 {ranks - 1}")
    assert pool.train(spec, tmp_path)
    lines = (tmp_path / "result/history.jsonl").read_text().splitlines()
    (record,) = [record for record in map(json.loads, lines) if record["kind"] == "rollback"]
    assert "epoch 0, step 7: loss nan" in record["reason"]
    data = PreparedDataset.open(spec.prepared)
    rows = share(epoch_order(data.rows("train"), spec.seed, 0), STEPS, 7)
    assert record["sample_ids"] == data.sample_ids(rows)


def build_weights(spec):
    """The weights before the first step."""
    torch.manual_seed(spec.seed)
    return build(architecture_for(spec.model, PreparedDataset.open(spec.prepared).stats)).state_dict()


def stop_after(folder, steps, **settings):
    """Has the next run in `folder` stop after some steps of its own, or not at all for 0."""
    folder.mkdir(exist_ok=True)
    RunSettings(**settings).write(folder)
    write_text(folder / STOP_FILE, str(steps))


def position(folder):
    """(epoch, step) of the newest checkpoint that holds."""
    progress = read_json(newest_valid_checkpoint(folder / "checkpoints") / "progress.json")
    return progress["epoch"], progress["step"]


def rows_of(step):
    """The rows that the ranks have seen in a step, all together."""
    return {row for rank in step.iterdir() for row in json.loads(rank.read_text())}


def damage(checkpoint, how):
    """Damages the last shard of a checkpoint."""
    shard = max(checkpoint.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    if how == "missing":
        shard.unlink()
    elif how == "truncated":
        shard.write_bytes(content[: len(content) // 2])
    else:
        content[-1] ^= 1
        shard.write_bytes(content)


@pytest.mark.parametrize("chain", ["shards", "whole"])
def test_resumed_with_other_ranks_it_sees_the_same_batches_and_learns_the_same(pool, base, single, tmp_path, chain):
    kinds = {"shards": ("fsdp-tp", "fsdp"), "whole": ("ddp", "tp")}[chain]
    stop_after(tmp_path, 8, checkpoint_interval_s=0.0)
    assert not pool.train(replace(base, allocation=allocation(kinds[0], 4)), tmp_path)
    assert position(tmp_path) == (0, 8)
    shards = list((tmp_path / "checkpoints" / checkpoint_name(0, 8)).glob("*.safetensors"))
    assert len(shards) == (4 if chain == "shards" else 1)
    damage(tmp_path / "checkpoints" / checkpoint_name(0, 8), "flipped")
    assert position(tmp_path) == (0, 7)
    stop_after(tmp_path, 6 if chain == "shards" else 0)
    finished = pool.train(replace(base, allocation=allocation(kinds[1], 2, accumulation=2)), tmp_path)
    assert finished == (chain == "whole")
    seen = {path.name: rows_of(path) for path in (tmp_path / "seen").iterdir()}
    assert len(seen) == (STEPS if finished else 13)
    if not finished:
        assert position(tmp_path) == (0, 13)
        alone(replace(base, allocation=allocation("ddp", 1, accumulation=4)), tmp_path)

    data = PreparedDataset.open(base.prepared)
    order = epoch_order(data.rows("train"), base.seed, 0)
    assert seen == {f"0-{step}": set(share(order, STEPS, step).tolist()) for step in range(len(seen))}
    one, many = records(single["vit"])[-1], records(tmp_path)[-1]
    assert many["samples_digest"] == one["samples_digest"]
    assert abs(many["validation_accuracy"] - one["validation_accuracy"]) <= 1e-3
    assert abs(many["train_loss"] - one["train_loss"]) <= 1e-3
    assert largest_difference(weights(single["vit"]), weights(tmp_path)) <= 1e-5


@pytest.mark.parametrize(
    ("kind", "ranks", "way"),
    [
        ("ddp", 2, "async"), ("fsdp", 2, "async"), ("fsdp", 2, "sync"), ("tp", 2, "sync"), ("hybrid", 4, "async"),
        ("fsdp-tp", 4, "async"),
    ],
)  # fmt: skip
def test_stopped_and_resumed_with_the_same_ranks_it_goes_on_to_the_same_bits(pool, base, tmp_path, kind, ranks, way):
    recipe = base.recipe.model_copy(update={"optimizer": "adamw", "learning_rate": 1e-3})
    spec = replace(base, recipe=recipe, allocation=allocation(kind, ranks))
    assert pool.train(spec, tmp_path / "unbroken")
    stop_after(tmp_path / "broken", 9, checkpoint=way, checkpoint_interval_s=0.0)
    assert not pool.train(spec, tmp_path / "broken")
    assert position(tmp_path / "broken") == (0, 9)
    stop_after(tmp_path / "broken", 0, checkpoint=way)
    assert pool.train(spec, tmp_path / "broken")
    unbroken, broken = weights(tmp_path / "unbroken"), weights(tmp_path / "broken")
    assert all(torch.equal(unbroken[name], broken[name]) for name in unbroken)

    for how in ("flipped", "truncated", "missing"):
        copy = tmp_path / how
        shutil.copytree(tmp_path / "broken" / "checkpoints", copy)
        damage(copy / checkpoint_name(0, 9), how)
        assert newest_valid_checkpoint(copy) == copy / checkpoint_name(0, 8)


@pytest.mark.parametrize(
    "check", [rank_gradients.of_batch_norm, rank_gradients.of_attention], ids=["norm", "attention"]
)
def test_layers_that_ranks_compute_together_have_the_gradients_of_finite_differences(pool, check):
    pool.call(check, ranks=2)


def test_a_convolutional_net_cannot_be_cut_into_tensor_parts(base, digits):
    convnet = build(architecture_for(ModelConfig(name="convnet"), PreparedDataset.open(digits).stats))
    with pytest.raises(SlimlineError, match="this model is none"):
        require_heads(attention_heads(convnet), 2)


def test_sync_batch_norm_leaves_validation_and_names_alone():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)).eval()
    images = torch.randn(3, 1, 4, 4)
    before, names = model(images), list(model.state_dict())
    synchronise_batch_norm(model, World(0, 2, torch.device("cpu")))
    assert torch.equal(model(images), before)
    assert list(model.state_dict()) == names
    assert not has_own_statistics(model)

"""Distillation: teachers, their remembered answers, attention transfer, and further training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rank_pool import RankPool, simplify_models
from torch import nn
from training_fixtures import history, same, stopping_after, train, training_spec, with_recipe

from slimline.compression import distil, finetune
from slimline.compression import teachers as teachers_module
from slimline.compression.distil import AttentiveDistillation
from slimline.compression.teachers import CACHE_FILE, Ensemble, remembered
from slimline.config.model import ModelConfig
from slimline.config.students import can_be_remembered
from slimline.config.train import AugmentationConfig
from slimline.config.variants import DistilConfig, FinetuneConfig
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.models.artifact import build, load_artifact
from slimline.models.feature_maps import common_sizes, last_layers, recorded
from slimline.models.registry import architecture_for
from slimline.training.attention_transfer import attention, attention_distance
from slimline.training.distributed import World
from slimline.training.feed import Feed
from slimline.training.loop import Trainer
from slimline.training.losses import Distillation
from slimline.training.parts import Part
from slimline.training.spec import HEARTBEAT_FILE, Allocation, TrainingSpec
from slimline.training.stop import StoppedError

NOTHING = AugmentationConfig()
CPU = World(0, 1, torch.device("cpu"))
# Gradients of any number of ranks: no dropout, batch statistics of all ranks. One step: in more of them some ReLU
# lies so near its corner that rounding puts it on the other side.
LIKE_MANY = {
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "schedule": "constant",
    "sync_batch_norm": True,
    "batch_size": 1212,
}


@pytest.fixture(scope="module")
def dense_spec(digits):
    with pytest.MonkeyPatch.context() as patch:
        yield training_spec(digits, patch)


@pytest.fixture(scope="module")
def parents(dense_spec, tmp_path_factory):
    """Folders of two dense models, of one epoch each."""
    folders = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp(f"dense-{seed}")
        train(replace(with_recipe(dense_spec, epochs=1), seed=seed), folder)
        folders.append(folder / "result")
    return folders


@pytest.fixture
def student(dense_spec, parents):
    """A job that distils the first model into a ResNet, images as they are."""
    spec = with_recipe(dense_spec, epochs=1, augmentation=NOTHING.model_dump())
    return replace(
        spec,
        variant="student",
        entry="slimline.compression.distil:run",
        model=ModelConfig(name="convnet", width=0.25),
        parent=parents[0],
        step=DistilConfig(width=0.5),
    )


def a_batch(spec, n=100):
    data = PreparedDataset.open(spec.prepared)
    feed = Feed(data, spec.recipe, spec.seed, torch.device("cpu"))
    return next(feed.plain([data.rows("train")[:n]]))


def shipped(run, spec, folder):
    folder.mkdir(exist_ok=True)
    run(spec, folder)
    return load_artifact(folder / "result")[0].state_dict()


def has_hooks(model):
    return any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_ensemble_gives_the_mean_of_the_softened_probabilities(student, parents):
    models = [load_artifact(folder)[0] for folder in parents]
    batch = a_batch(student)
    together = Ensemble(models, temperature=3.0)(batch).exp()
    by_hand = sum(torch.softmax(model(batch.images) / 3.0, dim=1) for model in models) / 2
    torch.testing.assert_close(together, by_hand)
    assert not together.requires_grad


def test_one_teacher_gives_its_own(student, parents):
    model, _ = load_artifact(parents[0])
    batch = a_batch(student)
    torch.testing.assert_close(Ensemble([model], 2.0)(batch), torch.log_softmax(model(batch.images) / 2.0, dim=1))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_teachers_answer_in_the_precision_of_the_training(student, tmp_path, monkeypatch, precision, dtype):
    seen, original = set(), nn.Linear.forward

    def forward(self, images):
        output = original(self, images)
        if not self.weight.requires_grad:  # a teacher's
            seen.add(output.dtype)
        return output

    monkeypatch.setattr(nn.Linear, "forward", forward)
    spec = replace(student, allocation=replace(student.allocation, precision=precision))
    shipped(distil.run, spec, tmp_path)
    assert seen == {dtype}


def test_remembered_answers_give_the_same_loss(student, parents, tmp_path):
    models = [load_artifact(folder)[0] for folder in parents]
    data, teachers = PreparedDataset.open(student.prepared), Ensemble(models, 4.0)
    table = remembered(teachers, data, student, CPU, tmp_path)
    assert read_json(tmp_path / HEARTBEAT_FILE)["phase"] == "teach"  # asking may take longer than a job may be silent
    rows = np.random.default_rng(0).permutation(data.rows("train"))
    feed = Feed(data, student.recipe, student.seed, torch.device("cpu"))
    for batch in feed.training([Part(0, part, part) for part in np.array_split(rows, 11)]):
        logits = torch.randn(len(batch.rows), data.stats.num_classes)
        losses = [Distillation(teaching, 4.0, 0.7)(logits, batch).item() for teaching in (teachers, table)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_resumed_job_finds_the_answers_and_a_damaged_file_is_made_anew(student, parents, tmp_path):
    data = PreparedDataset.open(student.prepared)
    teachers = Ensemble([load_artifact(parents[0])[0]], 4.0)
    first = remembered(teachers, data, student, CPU, tmp_path).table

    def refuse(batch):
        raise AssertionError("asked again")

    assert torch.equal(remembered(refuse, data, student, CPU, tmp_path).table, first)
    with pytest.raises(AssertionError, match="asked again"):  # the answers are those of another job
        remembered(refuse, data, replace(student, seed=8), CPU, tmp_path)
    (tmp_path / CACHE_FILE).write_bytes(b"not a table")
    assert torch.equal(remembered(teachers, data, student, CPU, tmp_path).table, first)


@pytest.mark.parametrize(
    ("feature_weight", "augmentation", "n_images", "expected"),
    [
        (0.0, {}, 1000, True),
        (1.0, {}, 1000, False),
        (0.0, {}, 10**9, False),
        *(
            (0.0, {key: value}, 1000, False)
            for key, value in (
                ("random_resized_crop", 0.5), ("crop_padding", 1), ("horizontal_flip", True), ("random_erasing", 0.1),
                ("cutout_px", 2), ("mixup", 0.2), ("cutmix", 1.0),
            )
        ),
    ],
)  # fmt: skip
def test_answers_are_remembered_where_every_image_stays_as_it_is(feature_weight, augmentation, n_images, expected):
    assert can_be_remembered(feature_weight, AugmentationConfig(**augmentation), n_images, 10) is expected


def test_the_augmentations_above_are_all_there_are():
    assert len(AugmentationConfig.model_fields) == 7


def test_a_job_with_remembered_answers_ends_as_one_without(student, tmp_path, monkeypatch):
    kept = shipped(distil.run, student, tmp_path / "kept")
    assert (tmp_path / "kept" / CACHE_FILE).exists()
    monkeypatch.setattr(teachers_module, "can_be_remembered", lambda *args: False)
    asked = shipped(distil.run, student, tmp_path / "asked")
    assert not (tmp_path / "asked" / CACHE_FILE).exists()
    losses = [history(tmp_path / name)[-1]["train_loss"] for name in ("kept", "asked")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert kept.keys() == asked.keys()


def test_a_job_that_was_stopped_goes_on_to_the_same_bits(student, tmp_path, monkeypatch):
    whole = shipped(distil.run, student, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stopping_after(patch, 5)
        with pytest.raises(StoppedError):
            shipped(distil.run, student, tmp_path / "parts")
    assert same(whole, shipped(distil.run, student, tmp_path / "parts"))


def test_several_teachers_are_asked_in_a_job(student, parents, tmp_path):
    alone = shipped(distil.run, student, tmp_path / "alone")
    together = shipped(distil.run, replace(student, teachers=tuple(parents)), tmp_path / "together")
    assert not same(alone, together)


def test_a_spec_is_read_as_it_was_written(student, parents, tmp_path):
    spec = replace(student, teachers=tuple(parents))
    spec.write(tmp_path)
    assert TrainingSpec.read(tmp_path) == spec
    assert spec.digest != student.digest
    tuned = replace(student, step=FinetuneConfig(epochs=2), model=None)
    tuned.write(tmp_path)
    assert TrainingSpec.read(tmp_path) == tuned


def test_attention_is_where_activations_are():
    features = torch.zeros(1, 3, 2, 2)
    features[0, :, 0, 1] = torch.tensor([1.0, -2.0, 2.0])  # 9
    features[0, 0, 1, 0] = 12**0.5  # 12
    torch.testing.assert_close(attention(features), torch.tensor([[0.0, 0.6, 0.8, 0.0]]))


def test_attention_transfer_is_a_sum_over_images_and_sizes():
    generator = torch.Generator().manual_seed(0)
    maps = {size: torch.rand(6, 4, *size, generator=generator) for size in ((4, 4), (2, 2))}
    taught = {size: attention(torch.rand(6, 7, *size, generator=generator)) for size in maps}
    whole = attention_distance(maps, taught)
    parts = [
        attention_distance({size: value[rows] for size, value in maps.items()}, {s: t[rows] for s, t in taught.items()})
        for rows in (slice(0, 1), slice(1, 6))
    ]
    torch.testing.assert_close(whole, sum(parts))
    same_look = {size: attention(value * 3) for size, value in maps.items()}
    assert attention_distance(maps, same_look).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "side_px", "sizes"),
    [
        ("resnet8", 32, [(32, 32), (16, 16), (8, 8)]),
        ("resnet18", 64, [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)]),
        ("vit_tiny", 32, [(8, 8)]),
    ],
)
def test_the_last_layer_of_each_size_is_found(digits, name, side_px, sizes):
    architecture = replace(
        architecture_for(ModelConfig(name=name), PreparedDataset.open(digits).stats), height=side_px, width_px=side_px
    )
    model = build(architecture).train()
    layers = last_layers(model, architecture.image_shape)
    assert sorted(layers, reverse=True) == sizes
    assert model.training
    assert not has_hooks(model)
    into = {}
    with recorded(model, layers, into=into):
        model(torch.zeros(2, *architecture.image_shape))
        assert {size: tuple(features.shape[2:]) for size, features in into.items()} == {size: size for size in sizes}
    assert into == {}
    assert not has_hooks(model)


def test_networks_without_a_common_size_are_told(digits):
    with pytest.raises(SlimlineError, match="no feature maps of one size") as caught:
        common_sizes({(8, 8): "a"}, {(7, 7): "b", (4, 4): "c"}, "variant student")
    assert "7 x 7, 4 x 4 in the teacher" in str(caught.value)


def looking(student, **changes):
    return replace(student, step=DistilConfig(width=0.5, feature_weight=5.0, **changes))


def test_looking_at_the_teacher_changes_the_student_and_brings_their_attention_nearer(student, parents, tmp_path):
    spec = with_recipe(student, epochs=3)
    plain = shipped(distil.run, spec, tmp_path / "plain")
    with_features = shipped(distil.run, looking(spec), tmp_path / "looking")
    assert plain.keys() == with_features.keys()
    assert not same(plain, with_features)
    teacher, batch = load_artifact(parents[0])[0], a_batch(student, 200)
    shape = PreparedDataset.open(student.prepared).stats.image_shape
    distances = []
    for name in ("plain", "looking"):
        model = load_artifact(tmp_path / name / "result")[0]
        own, theirs = last_layers(model, shape), last_layers(teacher, shape)
        sizes = common_sizes(own, theirs, "here")
        into, taught = {}, {}
        with torch.no_grad(), recorded(model, {s: own[s] for s in sizes}, into), recorded(teacher, theirs, taught):
            model(batch.images), teacher(batch.images)
            seen = {size: attention(taught[size]) for size in sizes}
            distances.append(attention_distance(into, seen).item())
    assert distances[1] < distances[0]


def test_no_hook_outlives_the_training(student, tmp_path, monkeypatch):
    seen = []
    original = Trainer._finish_epoch

    def finish(self, epoch):
        seen.append(has_hooks(self.model))
        original(self, epoch)

    monkeypatch.setattr(Trainer, "_finish_epoch", finish)
    shipped(distil.run, with_recipe(looking(student), epochs=2, ema_decay=0.9, keep="best"), tmp_path / "job")
    assert seen == [False, False]


def test_the_loss_lets_go_of_the_feature_maps(student, parents):
    teacher, _ = load_artifact(parents[0])
    shape = PreparedDataset.open(student.prepared).stats.image_shape
    layers = last_layers(teacher, shape)
    teachers = Ensemble([teacher], 4.0, [layers])
    model = load_artifact(parents[1])[0]
    loss = AttentiveDistillation(Distillation(teachers, 4.0, 0.7), teachers, layers, weight=2.0)
    batch = a_batch(student, 8)
    with loss.watching(model):
        logits = model(batch.images)
        total = loss(logits, batch)
        assert loss.features == {}
    plain = Distillation(teachers, 4.0, 0.7)(logits, batch)
    assert total.item() > plain.item()
    total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not has_hooks(model)


@pytest.fixture(scope="module")
def pool():
    ranks = RankPool(2)
    yield ranks
    ranks.close()


@pytest.mark.parametrize("feature_weight", [0.0, 5.0])
@pytest.mark.parametrize(("kind", "shards"), [("ddp", 1), ("fsdp", 2)])
def test_ranks_give_what_one_process_gives(student, parents, pool, tmp_path, monkeypatch, kind, shards, feature_weight):
    simplify_models(monkeypatch)
    spec = replace(
        with_recipe(student, **LIKE_MANY),
        model=ModelConfig(name="resnet8", width=0.25),
        step=DistilConfig(width=0.5, feature_weight=feature_weight),
        allocation=Allocation(1, 1, 1, "cpu", "fp32", 1212, 1),
        teachers=tuple(parents),
    )
    one = shipped(distil.run, spec, tmp_path / "one")
    many = replace(spec, allocation=Allocation(1, 2, 1, "cpu", "fp32", 606, 1, kind, shards))
    assert pool.train(many, tmp_path / "many")
    assert (tmp_path / "many" / CACHE_FILE).exists() is (feature_weight == 0)
    both = [history(tmp_path / name)[-1] for name in ("one", "many")]
    assert both[0]["train_loss"] == pytest.approx(both[1]["train_loss"], rel=1e-5)
    two = load_artifact(tmp_path / "many" / "result")[0].state_dict()
    torch.manual_seed(spec.seed)
    start = build(architecture_for(spec.model, PreparedDataset.open(spec.prepared).stats)).state_dict()
    moved = largest_difference(one, start)
    assert largest_difference(one, two) <= 0.01 * moved  # sync batch norm adds up in another order


def weights(artifact):
    return {name: parameter.detach() for name, parameter in load_artifact(artifact)[0].named_parameters()}


def largest_difference(first, second):
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def test_further_training_starts_from_the_parent_and_keeps_its_form(dense_spec, parents, tmp_path):
    spec = replace(
        with_recipe(dense_spec, epochs=1, learning_rate=1e-6),
        variant="tuned",
        entry="slimline.compression.finetune:run",
        model=None,
        parent=parents[0],
        step=FinetuneConfig(epochs=1),
    )
    before = weights(parents[0])
    shipped(finetune.run, spec, tmp_path / "tuned")
    after = weights(tmp_path / "tuned/result")
    assert before.keys() == after.keys()
    assert 0 < largest_difference(before, after) < 1e-3

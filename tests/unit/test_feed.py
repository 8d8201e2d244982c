"""What reaches the device: all of a batch is made beside the loop, travels pinned, and nothing waits."""

import threading

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training_fixtures import same, train, training_spec

from slimline.config.train import AugmentationConfig, TrainConfig
from slimline.data.mixing import partners
from slimline.data.prepared import PreparedDataset
from slimline.training import read_ahead
from slimline.training.feed import Beside, Feed
from slimline.training.loop import Trainer
from slimline.training.parts import Course, Part

EVERYTHING = {
    "random_resized_crop": 0.3,
    "crop_padding": 1,
    "horizontal_flip": True,
    "random_erasing": 0.5,
    "cutout_px": 2,
}
MIXED = EVERYTHING | {"mixup": 0.4, "cutmix": 1.0}


def feed_for(digits, **augmentation):
    recipe = TrainConfig(epochs=1, augmentation=AugmentationConfig(**augmentation))
    return Feed(PreparedDataset.open(digits), recipe, seed=4, device=torch.device("cpu"))


def parts_of(feed):
    rows = feed.data.rows("train")[:90].reshape(3, 30)
    return [Part(0, part, partners(part, 4, 0)) for part in rows]


class Recorder:
    """In the place of the copies to a GPU: notes what is copied."""

    def __init__(self):
        self.copied = []

    def __enter__(self):
        return lambda tensor: self.copied.append(tensor.data_ptr()) or tensor

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize("augmentation", [{}, EVERYTHING, MIXED], ids=["none", "changed", "mixed"])
def test_for_a_gpu_all_of_a_batch_is_made_and_pinned_beside_the_loop(digits, monkeypatch, augmentation):
    expected = list(feed_for(digits, **augmentation).training(parts_of(feed_for(digits))))
    pinned, makers = set(), set()
    empty = torch.empty

    def pinned_empty(*args, pin_memory=False, **kwargs):
        tensor = empty(*args, **kwargs)
        if pin_memory:
            pinned.add(tensor.data_ptr())
        return tensor

    def pin(tensor):
        makers.add(threading.current_thread().name.partition("_")[0])
        pinned.add((copy := tensor.clone()).data_ptr())
        return copy

    monkeypatch.setattr(read_ahead.torch, "empty", pinned_empty)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    feed = feed_for(digits, **augmentation)
    feed.device, feed.to_device = torch.device("cuda"), Recorder()
    found = list(feed.training(parts_of(feed)))
    assert set(feed.to_device.copied) <= pinned
    per_batch = 2 + bool(augmentation) + 2 * feed.mixes  # images, labels; changes in one; place and mixing
    assert len(feed.to_device.copied) == 3 * per_batch
    assert makers == {"read-ahead"}
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.targets, theirs.targets)
        assert np.array_equal(ours.rows, theirs.rows)


class NothingFromTheHost(TorchDispatchMode):
    """Raises where a tensor on the `meta` device, which stands for a GPU, meets one in the host's memory or is read."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.name()
        tensors = [
            value for value in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)
        ]
        crosses = (
            name == "aten::_to_copy" and torch.device(kwargs.get("device") or "meta").type != tensors[0].device.type
        )
        assert not crosses, f"{name} crosses"
        assert not name.endswith(("_local_scalar_dense", "nonzero", "lift_fresh")), f"{name} waits"
        assert {tensor.device.type for tensor in tensors} <= {"meta"}, f"{name} takes from the host"
        return function(*args, **kwargs)


@pytest.mark.parametrize("augmentation", [{}, EVERYTHING, MIXED], ids=["none", "changed", "mixed"])
def test_what_is_computed_on_the_device_neither_takes_from_the_host_nor_waits(digits, augmentation):
    feed = feed_for(digits, **augmentation)
    made = []
    feed._changed = lambda *inputs: made.append(inputs)
    list(feed.training(parts_of(feed)))
    del feed._changed
    feed.mean = feed.mean.to("meta")
    rows, images, beside = made[0]
    assert isinstance(beside, Beside)
    images, beside = images.to("meta"), beside.moved(lambda tensor: tensor.to("meta"))
    with NothingFromTheHost():
        batch = feed._changed(rows, images, beside)
    assert batch.images.shape == (30, *feed.data.stats.image_shape)
    assert batch.targets.device.type == "meta"


def test_images_of_the_next_epoch_are_read_while_the_last_one_is_validated(digits, monkeypatch, tmp_path):
    """By threads, as for a GPU or for JPEGs."""
    monkeypatch.setattr(Feed, "_read", lambda self, parts, beside: read_ahead.read_ahead(
        self.data, parts, 1, pinned=False, beside=beside))  # fmt: skip
    taken, at_validation = [], []
    original_parts, original_evaluate = Course.parts, Trainer._evaluate

    def parts(self, *start):
        for part in original_parts(self, *start):
            taken.append(part.epoch)
            yield part

    def evaluate(self, rows):
        at_validation.append(taken[-1])
        return original_evaluate(self, rows)

    spec = training_spec(digits, monkeypatch)
    unbroken = train(spec, tmp_path / "a")
    monkeypatch.setattr(Course, "parts", parts)
    monkeypatch.setattr(Trainer, "_evaluate", evaluate)
    assert same(unbroken, train(spec, tmp_path / "b"))
    assert at_validation == [1, 2, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]

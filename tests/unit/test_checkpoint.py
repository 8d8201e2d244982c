import logging

import pytest
import torch
from torch import nn

from slimline.config.train import TrainConfig
from slimline.training.checkpoint import FILES, Progress, load_checkpoint, newest_valid_checkpoint, save_checkpoint
from slimline.training.optimisation import build_optimizers
from slimline.training.spec import checkpoint_name


def small():
    hidden = nn.Linear(16, 6)
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), hidden, nn.ReLU(), nn.Linear(6, 2))


def step(model, optimizers, images):
    for optimizer in optimizers:
        optimizer.zero_grad()
    model(images).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()


def trained(seed, optimizer="adamw"):
    torch.manual_seed(seed)
    model = small().to(memory_format=torch.channels_last)
    optimizers = build_optimizers(model, TrainConfig(epochs=1, optimizer=optimizer))
    for _ in range(2):
        step(model, optimizers, torch.randn(5, 3, 3, 3))
    return model, optimizers


def save(folder, seed, epoch, optimizer="adamw"):
    model, optimizers = trained(seed, optimizer)
    at = Progress(epoch, records=[{"epoch": epoch - 1}], scaler={"scale": 2.0})
    save_checkpoint(folder, checkpoint_name(epoch, 0), model, optimizers, at, {"average.x": torch.arange(3)})
    return model, optimizers


def load_newest(folder, model, optimizers):
    name = newest_valid_checkpoint(folder)
    return load_checkpoint(folder / name, model, optimizers)[0] if name else None


@pytest.mark.parametrize("kind", ["adamw", "sgd", "muon"])
def test_what_was_saved_comes_back_to_the_bit_and_goes_on_the_same(tmp_path, kind):
    model, optimizers = save(tmp_path, seed=1, epoch=3, optimizer=kind)
    other, other_optimizers = trained(2, kind)
    assert len(optimizers) == (2 if kind == "muon" else 1)
    progress, extra = load_checkpoint(tmp_path / checkpoint_name(3, 0), other, other_optimizers)
    assert progress == Progress(3, records=[{"epoch": 2}], scaler={"scale": 2.0})
    assert extra["average.x"].tolist() == [0, 1, 2]
    images = torch.randn(5, 3, 3, 3)
    step(model, optimizers, images)
    step(other, other_optimizers, images)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_none_without_a_checkpoint(tmp_path):
    assert load_newest(tmp_path, *trained(0)) is None


@pytest.mark.parametrize("file", [*FILES, "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_checkpoint_is_reported_and_the_older_one_used(tmp_path, caplog, file, damage):
    save(tmp_path, 1, epoch=1)
    save(tmp_path, 2, epoch=2)
    path = tmp_path / checkpoint_name(2, 0) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(bytes(content) if damage == "flip" else path.read_bytes()[: len(content) // 2])
    with caplog.at_level(logging.WARNING, logger="slimline"):
        progress = load_newest(tmp_path, *trained(3))
    assert progress is not None
    assert progress.epoch == 1
    assert checkpoint_name(2, 0) in caplog.text


def test_only_the_newest_are_kept(tmp_path):
    for epoch in (1, 2, 10):
        save(tmp_path, 0, epoch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(2, 0), checkpoint_name(10, 0)]


def test_a_half_written_checkpoint_is_not_one(tmp_path):
    save(tmp_path, 1, epoch=1)
    (tmp_path / f".{checkpoint_name(2, 0)}.1.tmp").mkdir()
    progress = load_newest(tmp_path, *trained(3))
    assert progress is not None
    assert progress.epoch == 1

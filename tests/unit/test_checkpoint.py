import logging
import threading

import pytest
import torch
from torch import nn

from slimline.config.train import TrainConfig
from slimline.training import checkpoint, saver
from slimline.training.checkpoint import Progress, load_checkpoint, newest_valid_checkpoint
from slimline.training.distributed import World
from slimline.training.optimisation import build_optimizers
from slimline.training.saver import Saver
from slimline.training.spec import checkpoint_name, checkpoint_names

ALONE = World(0, 1, torch.device("cpu"))


def trained(seed, optimizer="adamw"):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    model.to(memory_format=torch.channels_last)
    (optimizer,) = build_optimizers(model, TrainConfig(epochs=1, optimizer=optimizer))
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 3, 3, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def save(folder, seed, epoch, optimizer="adamw"):
    model, optimizer = trained(seed, optimizer)
    progress = Progress(epoch, records=[{"epoch": epoch - 1}])
    Saver(folder, model, ALONE, in_background=False).save(checkpoint_name(epoch, 0), model, [optimizer], progress)
    return model, optimizer


def load_newest(folder, model, optimizer):
    newest = newest_valid_checkpoint(folder)
    return load_checkpoint(newest, model, [optimizer])[0] if newest else None


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_what_was_saved_comes_back_to_the_bit_and_goes_on_the_same(tmp_path, kind):
    model, optimizer = save(tmp_path, seed=1, epoch=3, optimizer=kind)
    other, other_optimizer = trained(2, kind)
    assert load_newest(tmp_path, other, other_optimizer) == Progress(3, records=[{"epoch": 2}])
    images = torch.randn(5, 3, 3, 3)
    for m, o in ((model, optimizer), (other, other_optimizer)):
        o.zero_grad()
        m(images).square().sum().backward()
        o.step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_none_without_a_checkpoint(tmp_path):
    assert load_newest(tmp_path, *trained(0)) is None


@pytest.mark.parametrize("file", ["state.safetensors", "progress.json", "manifest.json"])
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


def test_of_several_folders_the_furthest_that_holds_counts_and_the_first_where_they_are_even(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    assert newest_valid_checkpoint(own, other) is None
    save(other, 1, epoch=2)
    assert newest_valid_checkpoint(own, other) == other / checkpoint_name(2, 0)
    save(own, 1, epoch=2)
    assert newest_valid_checkpoint(own, other) == own / checkpoint_name(2, 0)
    save(other, 1, epoch=3)
    assert newest_valid_checkpoint(own, other) == other / checkpoint_name(3, 0)
    (other / checkpoint_name(3, 0) / "state.safetensors").unlink()
    assert newest_valid_checkpoint(own, other) == own / checkpoint_name(2, 0)


def test_only_the_newest_are_kept(tmp_path):
    for epoch in (1, 2, 10):
        save(tmp_path, 0, epoch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(2, 0), checkpoint_name(10, 0)]


def test_a_half_written_checkpoint_is_not_one_and_goes_with_the_next(tmp_path, monkeypatch):
    save(tmp_path, 1, epoch=1)

    def killed(*args):
        raise KeyboardInterrupt

    for half in ("write_json", "sha256_file"):  # before the position is written; before the manifest
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, half, killed)
            with pytest.raises(KeyboardInterrupt):
                save(tmp_path, 2, epoch=2)
        assert [path.name for path in tmp_path.glob(".*")] == [f".{checkpoint_name(2, 0)}.tmp"]
        assert load_newest(tmp_path, *trained(3)).epoch == 1
    save(tmp_path, 2, epoch=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(1, 0), checkpoint_name(3, 0)]


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_good_one(tmp_path):
    for epoch in (1, 2):
        save(tmp_path, 0, epoch)
    (tmp_path / checkpoint_name(2, 0) / "progress.json").unlink()
    assert load_newest(tmp_path, *trained(3)).epoch == 1
    save(tmp_path, 0, 3)
    assert checkpoint_names(tmp_path) == [checkpoint_name(1, 0), checkpoint_name(3, 0)]
    assert newest_valid_checkpoint(tmp_path, tmp_path / "other") == tmp_path / checkpoint_name(3, 0)


@pytest.mark.parametrize("content", ["[]", "3", '"x"', "{}", "null"])
def test_a_manifest_that_is_no_manifest_is_damage(tmp_path, content):
    save(tmp_path, 1, epoch=1)
    save(tmp_path, 2, epoch=2)
    (tmp_path / checkpoint_name(2, 0) / "manifest.json").write_text(content)
    assert load_newest(tmp_path, *trained(3)).epoch == 1


def test_with_other_ranks_counts_add_up_and_times_do_not():
    sums = [{"loss": 1.0, "correct": 2.0, "samples": 3.0, "seconds": 10.0 + n, "data_wait": n / 4} for n in range(4)]
    at = Progress(rank_sums=sums)
    assert [at.sums_of(rank, 4) for rank in range(4)] == sums
    times = {"seconds": 13.0, "data_wait": 0.75}
    assert at.sums_of(0, 2) == {"loss": 4.0, "correct": 8.0, "samples": 12.0, **times}
    assert at.sums_of(1, 2) == times
    assert Progress().sums_of(1, 2) == {}


def test_in_the_background_a_copy_is_written_and_the_end_waits_for_it(tmp_path, monkeypatch):
    original, may_write = saver.save_checkpoint, threading.Event()

    def when_told(*args):
        may_write.wait(60)
        original(*args)

    monkeypatch.setattr(saver, "save_checkpoint", when_told)
    model, optimizer = trained(1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with Saver(tmp_path, model, ALONE, in_background=True) as background:
        background.save(checkpoint_name(1, 0), model, [optimizer], Progress(1))
        assert newest_valid_checkpoint(tmp_path) is None
        model(torch.randn(5, 3, 3, 3)).square().sum().backward()
        optimizer.step()  # after the save has begun: no part of it
        may_write.set()
    other, other_optimizer = trained(2)
    assert load_newest(tmp_path, other, other_optimizer) == Progress(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_what_goes_wrong_in_the_background_is_raised_by_the_next_save(tmp_path, monkeypatch):
    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(saver, "save_checkpoint", full)
    model, optimizer = trained(1)
    background = Saver(tmp_path, model, ALONE, in_background=True)
    background.save(checkpoint_name(1, 0), model, [optimizer], Progress(1))
    with pytest.raises(OSError, match="no space left"):
        background.save(checkpoint_name(2, 0), model, [optimizer], Progress(2))


def test_copies_of_the_weights_come_back_with_them(tmp_path):
    model, optimizer = trained(1)
    average = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    Saver(tmp_path, model, ALONE, in_background=False).save(
        checkpoint_name(1, 0), model, [optimizer], Progress(1), {"average": average}
    )
    _, copies = load_checkpoint(tmp_path / checkpoint_name(1, 0), model, [optimizer])
    assert copies.keys() == {"average"}
    assert all(torch.equal(tensor, copies["average"][name]) for name, tensor in average.items())

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import jpeg

from slimline.config.dataset import DatasetConfig
from slimline.data.folder import scan_folder
from slimline.data.identity import dataset_id, prepared_id, source_fingerprint
from slimline.data.sources import SOURCES
from slimline.errors import SlimlineError


def folder_config(path: Path, **options) -> DatasetConfig:
    return DatasetConfig(name="image-folder", path=str(path), **options)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_both_splits(tmp_path):
    scan = scan_folder(folder_config(touch(tmp_path, "train/b/1.jpg", "train/a/2.PNG", "test/a/deep/er/3.jpeg")))
    assert scan.layout == "train-test"
    assert [file.name for file in scan.images] == ["test/a/deep/er/3.jpeg", "train/a/2.PNG", "train/b/1.jpg"]


def test_training_split_only(tmp_path):
    scan = scan_folder(folder_config(touch(tmp_path, "train/a/1.jpg", "val/a/1.jpg")))
    assert (scan.layout, scan.unused_folders) == ("train", ("val",))
    assert [file.name for file in scan.images] == ["train/a/1.jpg"]


def test_one_folder_per_class(tmp_path):
    scan = scan_folder(folder_config(touch(tmp_path, "a/1.jpg", "b/1.jpg"), test=0.3))
    assert (scan.layout, len(scan.images)) == ("classes", 2)


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/notes.txt", "readme.md", "b/table.csv")
    touch(tmp_path, ".git/x.jpg", "a/._1.jpg", "a/.ipynb_checkpoints/1.jpg", ".DS_Store")
    scan = scan_folder(folder_config(tmp_path))
    assert [file.name for file in scan.images] == ["a/1.jpg"]
    assert scan.ignored_files == 3
    assert scan.empty_classes == ("b",)


def test_images_outside_class_folders_are_ignored_and_counted(tmp_path):
    scan = scan_folder(folder_config(touch(tmp_path, "train/a/1.jpg", "train/2.jpg", "test/a/3.jpg", "4.jpg")))
    assert len(scan.images) == 2
    assert scan.ignored_files == 2


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {}, "no image in a class folder"),
        (["1.jpg", "2.jpg"], {}, "no image in a class folder"),
        (["test/a/1.jpg"], {}, "no train/ folder"),
        (["train/a/1.jpg", "test/a/1.jpg"], {"test": 0.2}, "brings its own test split"),
    ],
)
def test_layouts_that_cannot_be_read(tmp_path, names, options, message):
    with pytest.raises(SlimlineError, match=message) as caught:
        scan_folder(folder_config(touch(tmp_path, *names), **options))
    assert str(tmp_path) in str(caught.value)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(SlimlineError, match="not there") as caught:
        source_fingerprint(folder_config(tmp_path / "gone"))
    assert caught.value.got == str(tmp_path / "gone")


def test_names_that_are_not_unicode_are_escaped(tmp_path):
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    assert [file.name for file in scan_folder(folder_config(tmp_path)).images] == ["a/1.jpg", "a/caf\\xe9.jpg"]


def test_a_dangling_link_is_listed(tmp_path):
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a/2.jpg").symlink_to(tmp_path / "gone.jpg")
    assert [file.size_bytes for file in scan_folder(folder_config(tmp_path)).images] == [1, 0]


def test_the_fingerprint_follows_the_folder(tmp_path):
    cfg = folder_config(touch(tmp_path, "a/1.jpg", "b/2.jpg"))
    os.utime(tmp_path / "a/1.jpg", ns=(0, 1_000))
    before = source_fingerprint(cfg)
    assert source_fingerprint(cfg) == before
    os.utime(tmp_path / "a/1.jpg", ns=(0, 2_000))
    changed = source_fingerprint(cfg)
    (tmp_path / "b/2.jpg").unlink()
    assert len({before, changed, source_fingerprint(cfg)}) == 3


def test_the_fingerprint_of_a_published_dataset_is_that_of_its_checksums(monkeypatch):
    before = source_fingerprint(DatasetConfig(name="mnist"))
    assert before != source_fingerprint(DatasetConfig(name="fashion-mnist"))
    monkeypatch.setitem(SOURCES, "mnist", SOURCES["mnist"][:-1])
    assert source_fingerprint(DatasetConfig(name="mnist")) != before


def test_built_in_datasets_lie_under_their_names():
    names = ["digits", "mnist", "fashion-mnist", "cifar10", "cifar100"]
    assert [dataset_id(DatasetConfig(name=name)) for name in names] == names


def test_another_test_split_has_another_folder(tmp_path):
    assert dataset_id(DatasetConfig(name="digits", split_seed=7)) == "digits-split-7"
    assert dataset_id(DatasetConfig(name="mnist", split_seed=7)) == "mnist"
    ids = [
        dataset_id(folder_config(tmp_path / "My Photos (2)", **options))
        for options in ({}, {"test": 0.2}, {"test": 0.3}, {"split_seed": 1})
    ]
    assert ids[0] == ids[1]  # 0.2 is the default
    assert len(set(ids)) == 3
    assert all(len(name) == len("folder-my-photos-2-abcdef") and name.startswith("folder-my-photos-2-") for name in ids)


def test_what_only_preprocessing_uses_does_not_change_the_dataset_id(tmp_path):
    options = {"validation": 0.3, "image_size": 32, "channels": 1, "corrupt": "stop", "leakage": "drop-train"}
    assert dataset_id(folder_config(tmp_path, **options)) == dataset_id(folder_config(tmp_path))


def test_every_option_that_changes_prepared_data_changes_their_id(tmp_path):
    changes = [
        {},
        {"validation": 0.2},
        {"split_seed": 1},
        {"image_size": 32},
        {"channels": 1},
        {"corrupt": "stop"},
        {"leakage": "drop-train"},
    ]
    ids = {prepared_id(folder_config(tmp_path, **change)) for change in changes}
    assert len(ids) == len(changes)
    assert prepared_id(folder_config(tmp_path, image_size=64, channels=3)) == prepared_id(folder_config(tmp_path))


def test_identity_is_cheap_to_import():
    check = (
        "import sys, slimline.data.identity; "
        "print(*({'numpy', 'pandas', 'pyarrow', 'PIL', 'requests', 'sklearn', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_class_folders_may_be_links(tmp_path):
    touch(tmp_path, "elsewhere/x/1.jpg", "data/a/1.jpg")
    (tmp_path / "data/b").symlink_to(tmp_path / "elsewhere/x")
    (tmp_path / "data/b/2.jpg").write_bytes(jpeg(np.random.default_rng(0), 20, 20))
    assert [file.name for file in scan_folder(folder_config(tmp_path / "data")).images] == [
        "a/1.jpg",
        "b/1.jpg",
        "b/2.jpg",
    ]

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_fixtures import Steps, image_folder, jpeg
from PIL import Image

from slimline.config.dataset import DatasetConfig
from slimline.data.audit_table import read_audit_table
from slimline.data.images import decode_image, fit
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import read_json

TRUNCATED = "train/cat/000.jpg"
TEXT = "test/dog/001.jpg"
COPIED = "test/fox/002.jpg"
COPY = "train/dog/copy-of-fox.png"


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """500 images: one truncated, one a text, one both in train (as PNG, under another class) and in test."""
    root = image_folder(tmp_path_factory.mktemp("dirty"), n_train=399, n_test=100)
    (root / TRUNCATED).write_bytes((root / TRUNCATED).read_bytes()[:-60])
    (root / TEXT).write_text("This is no image.")
    Image.open(root / COPIED).save(root / COPY)
    (root / "train/cat/notes.txt").write_text("by hand")
    return root


def steps(root: Path, folder: Path, **options) -> Steps:
    return Steps(DatasetConfig(name="image-folder", path=str(root), image_size=16, **options), folder, threads=2)


def test_the_audit_names_every_fault(dirty, tmp_path):
    steps(dirty, tmp_path).audit()
    report = read_json(tmp_path / "audit.json")
    assert (report["n_files"], report["n_images"]) == (500, 498)
    assert {entry["file"]: entry["reason"].split()[0] for entry in report["corrupt"]} == {
        TRUNCATED: "image",
        TEXT: "the",
    }
    assert [(leak["train"], leak["test"]) for leak in report["leakage"]] == [([COPY], [COPIED])]
    assert report["duplicates"]["groups"][0]["classes"] == ["dog", "fox"]
    assert (report["duplicates"]["within_train"], report["duplicates"]["within_test"]) == (0, 0)
    assert report["class_counts"]["train"] == {"cat": 132, "dog": 134, "fox": 133}
    assert report["class_counts"]["test"] == {"cat": 34, "dog": 32, "fox": 33}
    assert report["image_sizes"] == {"min": [20, 20], "max": [59, 59]}
    checks = [(finding["severity"], finding["check"]) for finding in report["findings"]]
    assert checks == [
        ("error", "leakage"),
        ("warning", "corrupt"),
        ("warning", "conflicting-labels"),
        ("info", "ignored-files"),
        ("info", "image-sizes"),
    ]
    leakage, corrupt = (finding["message"] for finding in report["findings"][:2])
    assert COPY in leakage
    assert COPIED in leakage
    assert TRUNCATED in corrupt
    assert TEXT in corrupt


def test_the_table_has_a_row_for_every_file(dirty, tmp_path):
    steps(dirty, tmp_path).audit()
    rows = {row.sample_id: row for row in read_audit_table(tmp_path / "audit.parquet")}
    assert len(rows) == 500
    assert Counter(row.status for row in rows.values()) == {"ok": 498, "corrupt": 2}
    assert rows[TEXT].split == "test"
    assert rows[TEXT].sha256 is None
    pixels = decode_image(dirty / COPIED)
    assert (rows[COPIED].height, rows[COPIED].width) == pixels.shape[:2]
    assert rows[COPIED].sha256 == rows[COPY].sha256


def test_the_manifest_lists_the_files_and_copies_nothing(dirty, tmp_path):
    steps(dirty, tmp_path).audit()
    manifest = read_json(tmp_path / "download.json")
    assert len(manifest["files"]) == 500
    assert all(file["size_bytes"] == (dirty / file["file"]).stat().st_size for file in manifest["files"])
    assert not list((tmp_path / "raw").iterdir())


def test_leakage_stops_and_says_how_to_go_on(dirty, tmp_path):
    step = steps(dirty, tmp_path)
    step.audit()
    with pytest.raises(SlimlineError, match="1 image of the test split is in the training split") as caught:
        step.preprocess()
    assert caught.value.got == f"{COPY} = {COPIED}"
    assert caught.value.where == str(tmp_path / "audit.json")
    assert "`dataset: {leakage: drop-train}`" in caught.value.next_step
    assert not step.prepared.exists()


def test_drop_train_leaves_the_training_copy_out_and_says_so(dirty, tmp_path, caplog):
    data = PreparedDataset.open(steps(dirty, tmp_path, leakage="drop-train").run())
    excluded = {sample.sample_id: sample.reason for sample in data.stats.excluded}
    assert set(excluded) == {TRUNCATED, TEXT, COPY}
    assert excluded[COPY] == f"identical to {COPIED} of the test split"
    assert excluded[TEXT].startswith("corrupt: ")
    assert len(data) == 497
    names = data.sample_ids(np.arange(len(data)))
    assert COPIED in names
    assert not set(excluded) & set(names)
    assert TEXT in caplog.text


def test_prepared_images_are_the_files_in_one_size(dirty, tmp_path):
    data = PreparedDataset.open(steps(dirty, tmp_path, leakage="drop-train").run())
    rows = np.array([0, 200, 496])
    for name, image, label in zip(data.sample_ids(rows), data.read(rows), data.labels[rows], strict=True):
        np.testing.assert_array_equal(image, fit(decode_image(dirty / name), 16, 3))
        assert data.stats.class_names[label] == name.split("/")[1]


def test_grey_images_of_another_size(dirty, tmp_path):
    data = PreparedDataset.open(steps(dirty, tmp_path, leakage="drop-train", channels=1).run())
    assert data.read(np.array([3])).shape == (1, 1, 16, 16)
    assert len(data.stats.mean) == 1


def test_corrupt_files_stop_when_asked_to(dirty, tmp_path):
    step = steps(dirty, tmp_path, corrupt="stop", leakage="drop-train")
    step.audit()
    with pytest.raises(SlimlineError, match="2 images cannot be read") as caught:
        step.preprocess()
    assert TRUNCATED in caught.value.got
    assert "corrupt: exclude" in caught.value.next_step


def test_the_first_ten_are_named_and_the_rest_counted(tmp_path):
    root = image_folder(tmp_path / "images", n_train=30, n_test=30)
    for number in range(12):
        name = ("cat", "dog", "fox")[number % 3]
        shutil.copy(root / f"test/{name}/{number:03d}.jpg", root / f"train/{name}/copy-{number:03d}.jpg")
    step = steps(root, tmp_path / "data")
    step.audit()
    with pytest.raises(SlimlineError, match="12 images of the test split are") as caught:
        step.preprocess()
    lines = caught.value.got.splitlines()
    assert len(lines) == 11
    assert lines[-1].strip() == "and 2 more"
    assert "drop 12 training images" in caught.value.next_step


def test_same_input_gives_the_same_bytes_whatever_the_threads(dirty, tmp_path):
    outputs = []
    for threads in (1, 3):
        step = steps(dirty, tmp_path / str(threads), leakage="drop-train")
        step.threads = threads
        step.run()
        outputs.append(
            {
                path.relative_to(step.folder): path.read_bytes()
                for path in sorted(step.folder.rglob("*"))
                if path.is_file()
            }
        )
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 7


def test_one_folder_per_class_is_split_and_stratified(dirty, tmp_path):
    data = PreparedDataset.open(steps(dirty / "train", tmp_path, test=0.25, validation=0.2).run())
    assert data.stats.class_names == ("cat", "dog", "fox")
    assert data.stats.class_counts["test"] == (33, 34, 33)
    assert data.stats.class_counts["validation"] == (20, 20, 20)
    assert [sample.sample_id for sample in data.stats.excluded] == ["cat/000.jpg"]


def test_equal_images_fall_on_the_same_side_of_every_split(tmp_path):
    root = image_folder(tmp_path / "images", n_train=40, n_test=0) / "train"
    for path in sorted(root.rglob("*.jpg")):
        shutil.copy(path, path.with_name(f"again-{path.name}"))
    data = PreparedDataset.open(steps(root, tmp_path / "data", test=0.5, validation=0.5).run())
    index = pq.read_table(tmp_path / "data/prepared/index.parquet").to_pylist()
    splits: dict[str, set[str]] = {}
    for row in index:
        splits.setdefault(row["sha256"], set()).add(row["split"])
    assert len(splits) == 40
    assert all(len(sides) == 1 for sides in splits.values())
    assert min(data.stats.n_train, data.stats.n_validation, data.stats.n_test) > 10
    report = read_json(tmp_path / "data/audit.json")
    assert report["leakage"] == []
    assert sum(report["duplicates"][f"within_{split}"] for split in ("train", "test")) == 40


def test_the_index_says_what_each_row_is(dirty, tmp_path):
    prepared = steps(dirty, tmp_path, leakage="drop-train").run()
    data, table = PreparedDataset.open(prepared), pq.read_table(prepared / "index.parquet")
    assert table.schema.names == ["row", "sample_id", "sha256", "label", "split"]
    assert table["row"].to_pylist() == list(range(497))
    assert table["label"].to_pylist() == data.labels.tolist()


def test_a_class_that_is_only_in_test_stops(tmp_path):
    root = image_folder(tmp_path / "images", n_train=30, n_test=9)
    (root / "test/cat").rename(root / "test/cats")
    step = steps(root, tmp_path / "data")
    step.audit()
    findings = {finding["check"]: finding for finding in read_json(tmp_path / "data/audit.json")["findings"]}
    assert findings["class-missing-in-train"]["severity"] == "error"
    assert "cats" in findings["class-missing-in-train"]["message"]
    assert "cat" in findings["class-missing-in-test"]["message"]
    with pytest.raises(SlimlineError, match="no training image") as caught:
        step.preprocess()
    assert caught.value.got == "cats"


def test_a_class_whose_training_images_are_all_corrupt_stops(tmp_path):
    root = image_folder(tmp_path / "images", n_train=9, n_test=3)
    for path in (root / "train/dog").iterdir():
        path.write_bytes(b"")
    step = steps(root, tmp_path / "data")
    step.audit()
    with pytest.raises(SlimlineError, match="no training image") as caught:
        step.preprocess()
    assert caught.value.got == "dog"


def test_one_class_is_not_a_classification(tmp_path):
    root = image_folder(tmp_path / "images", n_train=9, n_test=3, classes=("cat",))
    step = steps(root, tmp_path / "data")
    step.audit()
    with pytest.raises(SlimlineError, match="one class only"):
        step.preprocess()


def test_a_test_split_without_readable_images_stops(tmp_path):
    root = image_folder(tmp_path / "images", n_train=9, n_test=3)
    for path in (root / "test").rglob("*.jpg"):
        path.write_bytes(b"")
    step = steps(root, tmp_path / "data")
    step.audit()
    with pytest.raises(SlimlineError, match="test split is empty"):
        step.preprocess()


def test_a_folder_of_nothing_but_rubbish_is_audited(tmp_path):
    root = image_folder(tmp_path / "images", n_train=3, n_test=0) / "train"
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"")
    step = steps(root, tmp_path / "data")
    step.audit()
    report = read_json(tmp_path / "data/audit.json")
    assert (report["n_images"], len(report["corrupt"])) == (0, 3)
    with pytest.raises(SlimlineError, match="no training image"):
        step.preprocess()


def test_small_and_unbalanced_classes_are_reported(tmp_path):
    root = image_folder(tmp_path / "images", n_train=50, n_test=2, classes=("cat", "dog"))
    (root / "train/fox").mkdir()
    (root / "train/fox/1.jpg").write_bytes(jpeg(np.random.default_rng(9), 30, 30))
    (root / "train/hen").mkdir()
    steps(root, tmp_path / "data").audit()
    messages = {finding["check"]: finding["message"] for finding in read_json(tmp_path / "data/audit.json")["findings"]}
    assert "fox (1)" in messages["small-class"]
    assert "largest class: 25, the smallest: 1" in messages["imbalance"]
    assert "fox" in messages["class-missing-in-test"]
    assert "train/hen" in messages["empty-class"]


def test_a_file_that_changed_after_the_audit_stops(tmp_path):
    root = image_folder(tmp_path / "images", n_train=9, n_test=3)
    step = steps(root, tmp_path / "data")
    step.audit()
    (root / "train/cat/000.jpg").write_bytes(jpeg(np.random.default_rng(99), 30, 30))
    with pytest.raises(SlimlineError, match="changed after the audit") as caught:
        step.preprocess()
    assert caught.value.where == "train/cat/000.jpg"
    (root / "train/cat/000.jpg").unlink()
    with pytest.raises(SlimlineError, match="changed after the audit"):
        step.preprocess()


def test_links_to_nowhere_and_odd_names_are_corrupt_files(tmp_path):
    root = image_folder(tmp_path / "images", n_train=9, n_test=3)
    (root / "train/cat/link.jpg").symlink_to(root / "gone.jpg")
    (root / "train/cat" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg(np.random.default_rng(5), 30, 30))
    data = PreparedDataset.open(steps(root, tmp_path / "data").run())
    assert {sample.sample_id: sample.reason for sample in data.stats.excluded} == {
        "train/cat/link.jpg": "corrupt: No such file or directory",
        "train/cat/caf\\xe9.jpg": "corrupt: No such file or directory",
    }
    manifest = {file["file"]: file["sha256"] for file in read_json(tmp_path / "data/download.json")["files"]}
    assert manifest["train/cat/link.jpg"] is None


def test_another_seed_splits_otherwise(tmp_path):
    splits = []
    for seed in (0, 0, 1):
        prepared = Steps(DatasetConfig(name="digits", split_seed=seed), tmp_path / str(len(splits))).run()
        splits.append(PreparedDataset.open(prepared).stats.split_sha256)
    assert splits[0] == splits[1]
    assert all(splits[0][split] != splits[2][split] for split in ("train", "validation", "test"))


def test_no_validation_split(tmp_path):
    data = PreparedDataset.open(Steps(DatasetConfig(name="digits", validation=0.0), tmp_path).run())
    assert data.stats.n_validation == 0
    assert len(data.rows("validation")) == 0


@pytest.fixture
def mirror():
    """Where real datasets lie; the pipeline test in CI needs it, a laptop may not have it."""
    if not (place := os.environ.get("SLIMLINE_MIRROR")):
        pytest.skip("SLIMLINE_MIRROR is not set: no real Fashion-MNIST to read")
    return place


def test_fashion_mnist_as_published(mirror, tmp_path):
    data = PreparedDataset.open(Steps(DatasetConfig(name="fashion-mnist"), tmp_path).run(mirror))
    stats = data.stats
    assert (stats.n_train, stats.n_validation, stats.n_test) == (54_000, 6_000, 10_000)
    assert (stats.channels, stats.height, stats.width, stats.num_classes) == (1, 28, 28, 10)
    assert stats.class_counts["test"] == (1000,) * 10
    assert stats.excluded == ()
    # the well-known 0.2860 and 0.3530 of the full training split
    assert stats.mean[0] / 255 == pytest.approx(0.286, abs=0.001)
    assert stats.std[0] / 255 == pytest.approx(0.353, abs=0.001)
    report = read_json(tmp_path / "audit.json")
    assert (report["n_files"], report["n_images"]) == (70_000, 70_000)
    assert report["leakage"] == report["corrupt"] == report["findings"] == []

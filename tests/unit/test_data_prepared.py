from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from data_fixtures import Steps

from slimline.config.dataset import DatasetConfig
from slimline.data import shards
from slimline.data.digits import read_digits
from slimline.data.moments import Moments
from slimline.data.prepared import PreparedDataset
from slimline.data.shards import open_shards, write_shards
from slimline.errors import SlimlineError
from slimline.files import read_json, write_json


@pytest.fixture
def digits(tmp_path):
    return Steps(DatasetConfig(name="digits"), tmp_path).run()


def test_rows_are_those_of_the_source(digits):
    data, source = PreparedDataset.open(digits), read_digits()
    assert len(data) == 1797
    np.testing.assert_array_equal(data.read(np.arange(1797)), source.images)
    np.testing.assert_array_equal(data.labels, source.labels)


def test_splits_share_no_row_and_leave_none_out(digits):
    data = PreparedDataset.open(digits)
    rows = {split: data.rows(split) for split in ("train", "validation", "test")}
    assert sorted(np.concatenate([*rows.values()]).tolist()) == list(range(1797))
    stats = data.stats
    assert [len(members) for members in rows.values()] == [stats.n_train, stats.n_validation, stats.n_test]
    for split, members in rows.items():
        assert stats.class_counts[split] == tuple(np.bincount(data.labels[members], minlength=10).tolist())
    assert stats.n_test / 1797 == pytest.approx(0.25, abs=0.005)
    assert stats.n_validation / (1797 - stats.n_test) == pytest.approx(0.1, abs=0.005)


def test_mean_and_deviation_are_those_of_the_training_split(digits):
    data = PreparedDataset.open(digits)
    images = data.read(data.rows("train")).astype(np.float64)
    assert data.stats.mean[0] == pytest.approx(images.mean(), rel=1e-12)
    assert data.stats.std[0] == pytest.approx(images.std(), rel=1e-12)


def test_rows_are_read_in_the_order_asked_for(digits):
    data = PreparedDataset.open(digits)
    rows = np.array([1796, 0, 5, 5])
    np.testing.assert_array_equal(data.read(rows), read_digits().images[rows])
    assert data.sample_ids(rows) == ["image-01796", "image-00000", "image-00005", "image-00005"]
    assert data.read(np.array([], np.int64)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("row", [-1, 1797])
def test_rows_that_do_not_exist_are_refused(digits, row):
    with pytest.raises(IndexError):
        PreparedDataset.open(digits).read(np.array([0, row]))


def test_several_shards_read_as_one(digits, tmp_path, monkeypatch):
    whole = PreparedDataset.open(digits)
    monkeypatch.setattr(shards, "SHARD_BYTES", 500 * 64 + 1)
    Steps(DatasetConfig(name="digits"), tmp_path).preprocess()
    parts = open_shards(digits / "shards")
    assert [len(part) for part in parts] == [500, 500, 500, 297]
    assert all(isinstance(part, np.memmap) and not part.flags.writeable for part in parts)
    rows = np.random.default_rng(0).permutation(1797)
    np.testing.assert_array_equal(PreparedDataset.open(digits).read(rows), whole.read(rows))


def test_a_shard_stays_below_a_gibibyte():
    assert shards.SHARD_BYTES + 128 < 1 << 30


def test_failing_images_leave_no_shards(tmp_path):
    def images():
        yield np.zeros((1, 2, 2), np.uint8)
        raise ValueError("second image")

    with pytest.raises(ValueError, match="second image"):
        write_shards(tmp_path / "shards", images(), 2, (1, 2, 2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "break_it",
    [
        lambda folder: write_json(folder / "stats.json", {**read_json(folder / "stats.json"), "format": 2}),
        lambda folder: write_json(folder / "stats.json", {**read_json(folder / "stats.json"), "n_test": "many"}),
        lambda folder: write_json(folder / "stats.json", {**read_json(folder / "stats.json"), "width": 9}),
        lambda folder: write_json(folder / "stats.json", [1]),
        lambda folder: np.save(folder / "labels.npy", np.zeros(3, np.int64)),
        lambda folder: np.save(folder / "labels.npy", np.zeros(1797, np.int32)),
        lambda folder: (folder / "shards/images-00000.npy").unlink(),
    ],
)
def test_prepared_data_that_do_not_fit_together_are_refused(digits, break_it):
    break_it(digits)
    with pytest.raises(SlimlineError, match="not what this version") as caught:
        PreparedDataset.open(digits)
    assert caught.value.got
    assert str(digits) in caught.value.next_step


def test_absent_prepared_data_are_named(tmp_path):
    with pytest.raises(SlimlineError) as caught:
        PreparedDataset.open(tmp_path / "gone")
    assert caught.value.where == str(tmp_path / "gone/stats.json")


def test_reading_needs_neither_torch_nor_pandas(digits):
    check = (
        "import sys, numpy, pathlib; from slimline.data.prepared import PreparedDataset; "
        f"data = PreparedDataset.open(pathlib.Path({str(digits)!r})); data.sample_ids(data.rows('test')); "
        "print(*({'torch', 'pandas', 'sklearn', 'PIL', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_a_constant_channel_has_deviation_one():
    moments = Moments(2)
    moments.add(np.stack([np.full((2, 2), 7, np.uint8), np.array([[0, 255], [0, 255]], np.uint8)]))
    assert moments.mean == (7.0, 127.5)
    assert moments.std == (1.0, 127.5)


def test_moments_of_large_images_are_exact():
    moments, image = Moments(1), np.full((1, 300, 300), 255, np.uint8)
    image[0, 0, 0] = 254
    for _ in range(3):
        moments.add(image)
    n = 3 * 300 * 300
    assert moments.mean == ((255 * n - 3) / n,)
    assert moments.std == (math.sqrt(3 * (n - 3)) / n,)

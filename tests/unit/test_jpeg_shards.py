"""Prepared data that are kept as JPEG: one interface, the same pixels for all who read."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from data_fixtures import Steps, image_folder
from sklearn.datasets import load_sample_images
from training_fixtures import history, same, stopping_after, train, training_spec, with_recipe

from slimline.config.dataset import DatasetConfig
from slimline.config.train import TrainConfig
from slimline.data import jpeg_shards, preprocess
from slimline.data.identity import prepared_id
from slimline.data.images import decode_image, fit
from slimline.data.jpeg_shards import JpegShards, decode_jpeg, encode_jpeg, write_jpeg_shards
from slimline.data.prepared import PreparedDataset
from slimline.data.shards import DamagedImageError, ShardsError
from slimline.errors import SlimlineError
from slimline.files import read_json, write_json
from slimline.training.feed import Feed
from slimline.training.parts import Part
from slimline.training.stop import StoppedError

CPU = torch.device("cpu")
N_IMAGES = 84


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """72 training and 12 test images of three classes."""
    return image_folder(tmp_path_factory.mktemp("photos"), n_train=72, n_test=12)


def steps(root, folder, **options):
    options = {"storage": "jpeg", "image_size": 24} | options
    return Steps(DatasetConfig(name="image-folder", path=str(root), **options), folder, threads=2)


@pytest.fixture
def prepared(photos, tmp_path):
    return steps(photos, tmp_path / "data").run()


def blobs(n, channels=3):
    rng = np.random.default_rng(0)
    return [encode_jpeg(rng.integers(0, 256, (channels, 8, 8), dtype=np.uint8)) for _ in range(n)]


def flip_bit(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("channels", "mean_abs", "psnr_db"), [(3, 2.0, 40), (1, 1.2, 44)])
def test_photographs_lose_as_little_as_the_documentation_says(channels, mean_abs, psnr_db):
    for photo in load_sample_images().images:
        image = fit(photo, 224, channels)
        lost = decode_jpeg(encode_jpeg(image)).astype(int) - image
        assert np.abs(lost).mean() < mean_abs
        assert 10 * np.log10(255**2 / (lost**2).mean()) > psnr_db


def test_colours_keep_their_resolution():
    """Columns of pure red and blue in turn: with subsampled chroma they would run into one."""
    image = np.zeros((3, 16, 16), np.uint8)
    image[0, :, ::2] = image[2, :, 1::2] = 255
    assert np.abs(decode_jpeg(encode_jpeg(image)).astype(int) - image).max() < 40


def test_rows_are_the_files_in_one_size_as_jpeg(photos, prepared):
    data = PreparedDataset.open(prepared)
    assert (len(data), data.stats.storage) == (N_IMAGES, "jpeg")
    rows = np.array([83, 0, 40, 40])
    images = data.read(rows)
    assert (images.shape, images.dtype) == ((4, 3, 24, 24), np.uint8)
    for name, image in zip(data.sample_ids(rows), images, strict=True):
        np.testing.assert_array_equal(image, decode_jpeg(encode_jpeg(fit(decode_image(photos / name), 24, 3))))
    assert data.read(np.array([], np.int64)).shape == (0, 3, 24, 24)


@pytest.mark.parametrize("row", [-1, N_IMAGES])
def test_rows_that_do_not_exist_are_refused(prepared, row):
    with pytest.raises(IndexError):
        PreparedDataset.open(prepared).read(np.array([0, row]))


def test_mean_and_deviation_are_those_of_the_decoded_pixels(prepared):
    data = PreparedDataset.open(prepared)
    images = data.read(data.rows("train")).astype(np.float64)
    np.testing.assert_allclose(data.stats.mean, images.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.stats.std, images.std((0, 2, 3)), rtol=1e-12)


def test_labels_and_splits_are_those_of_pixels(photos, prepared, tmp_path):
    as_pixels = PreparedDataset.open(steps(photos, tmp_path / "pixels", storage="pixels").run())
    as_jpeg = PreparedDataset.open(prepared)
    np.testing.assert_array_equal(as_jpeg.labels, as_pixels.labels)
    assert as_jpeg.stats.split_sha256 == as_pixels.stats.split_sha256


def test_grey_stays_grey(tmp_path):
    data = PreparedDataset.open(Steps(DatasetConfig(name="digits", storage="jpeg"), tmp_path).run())
    assert data.read(np.arange(5)).shape == (5, 1, 8, 8)
    assert data.stats.storage == "jpeg"


def test_same_input_gives_the_same_bytes_whatever_the_threads(photos, prepared, tmp_path):
    alone = steps(photos, tmp_path / "alone")
    alone.threads = 1
    for path in sorted(alone.run().rglob("*")):
        assert not path.is_file() or path.read_bytes() == (prepared / path.relative_to(alone.prepared)).read_bytes()


def test_several_files_read_as_one(photos, prepared, tmp_path, monkeypatch):
    whole = PreparedDataset.open(prepared)
    monkeypatch.setattr(jpeg_shards, "SHARD_BYTES", 10_000)
    parts = PreparedDataset.open(steps(photos, tmp_path / "parts").run())
    files = sorted((parts.folder / "shards").glob("images-*.jpegs"))
    assert len(files) > 3
    assert all(file.stat().st_size <= 10_000 for file in files)
    assert len(list((parts.folder / "shards").iterdir())) == 2 * len(files)
    rows = np.random.default_rng(0).permutation(N_IMAGES)
    np.testing.assert_array_equal(parts.read(rows), whole.read(rows))


def test_an_image_larger_than_a_file_has_one_to_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(jpeg_shards, "SHARD_BYTES", 1)
    write_jpeg_shards(tmp_path / "shards", iter(blobs(3)))
    assert len(list((tmp_path / "shards").glob("images-*.jpegs"))) == 3
    assert JpegShards(tmp_path / "shards", (3, 8, 8)).read(np.arange(3)).shape == (3, 3, 8, 8)


def test_the_table_says_where_each_image_lies(tmp_path):
    images = blobs(4)
    write_jpeg_shards(tmp_path / "shards", iter(images))
    content = (tmp_path / "shards/images-00000.jpegs").read_bytes()
    table = np.load(tmp_path / "shards/table-00000.npy", allow_pickle=False)
    assert [content[start:end] for start, end, _ in table] == images
    assert table[:, 2].tolist() == [zlib.crc32(image) for image in images]


def test_failing_images_leave_no_shards(tmp_path):
    def images():
        yield from blobs(1)
        raise ValueError("second image")

    with pytest.raises(ValueError, match="second image"):
        write_jpeg_shards(tmp_path / "shards", images())
    assert not list(tmp_path.iterdir())


def test_a_damaged_image_is_named(prepared):
    data = PreparedDataset.open(prepared)
    _, end, _ = np.load(prepared / "shards/table-00000.npy", allow_pickle=False)[7]
    flip_bit(prepared / "shards/images-00000.jpegs", end - 40)  # pixels, which a decoder would make something of
    damaged = PreparedDataset.open(prepared)
    damaged.read(np.array([6, 8]))
    with pytest.raises(SlimlineError, match="damaged") as caught:
        damaged.read(np.array([6, 7, 8]))
    assert data.sample_ids(np.array([7]))[0] in caught.value.where
    assert str(prepared) in caught.value.where
    assert "checksum" in caught.value.got
    assert str(prepared) in caught.value.next_step


@pytest.mark.parametrize(
    ("blob", "reason"),
    [(b"no image", "UnidentifiedImageError"), (blobs(1)[0][:-90], "OSError"), (blobs(1, channels=1)[0], "of shape")],
    ids=["no image", "cut off", "grey"],
)
def test_what_cannot_be_decoded_says_why(tmp_path, blob, reason):
    write_jpeg_shards(tmp_path / "shards", iter([*blobs(1), blob]))
    with pytest.raises(DamagedImageError, match=reason) as caught:
        JpegShards(tmp_path / "shards", (3, 8, 8)).read(np.arange(2))
    assert caught.value.row == 1


def shortened(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "break_it",
    [
        lambda folder: (folder / "shards/table-00000.npy").unlink(),
        lambda folder: (folder / "shards/images-00000.jpegs").unlink(),
        lambda folder: (folder / "shards/images-00000.jpegs").write_bytes(b""),
        lambda folder: shortened(folder / "shards/images-00000.jpegs"),
        lambda folder: shortened(folder / "shards/table-00000.npy"),
        lambda folder: np.save(folder / "shards/table-00000.npy", np.zeros((N_IMAGES, 2), np.int64)),
        lambda folder: np.save(folder / "labels.npy", np.zeros(3, np.int64)),
        lambda folder: write_json(folder / "stats.json", read_json(folder / "stats.json") | {"storage": "pixels"}),
        lambda folder: write_json(folder / "stats.json", read_json(folder / "stats.json") | {"storage": "gif"}),
    ],
)
def test_files_that_do_not_fit_together_are_refused(prepared, break_it):
    break_it(prepared)
    with pytest.raises(SlimlineError, match="not what this version"):
        PreparedDataset.open(prepared)


def test_no_images_are_refused(tmp_path):
    with pytest.raises(ShardsError, match="no images"):
        JpegShards(tmp_path, (3, 8, 8))


def test_folders_of_before_there_was_a_choice_are_read(digits, tmp_path):
    content = read_json(digits / "stats.json")
    assert content.pop("storage") == "pixels"
    for name in ("shards", "labels.npy", "index.parquet"):
        (tmp_path / name).symlink_to(digits / name)
    write_json(tmp_path / "stats.json", content)
    assert PreparedDataset.open(tmp_path).stats.storage == "pixels"


def test_auto_keeps_pixels_while_they_fit(photos, tmp_path, monkeypatch):
    assert PreparedDataset.open(steps(photos, tmp_path / "0", storage="auto").run()).stats.storage == "pixels"
    monkeypatch.setattr(preprocess, "AUTO_PIXELS_GIB", 0)
    assert PreparedDataset.open(steps(photos, tmp_path / "1", storage="auto").run()).stats.storage == "jpeg"


def test_each_way_of_keeping_has_a_folder_of_its_own():
    names = {prepared_id(DatasetConfig(name="digits", storage=way)) for way in ("auto", "pixels", "jpeg")}
    assert len(names) == 3


@pytest.mark.parametrize("threads", [2, 5])
def test_batches_are_the_same_whatever_the_number_of_threads(prepared, threads):
    data = PreparedDataset.open(prepared)
    recipe = TrainConfig.model_validate({"epochs": 1, "augmentation": {"random_resized_crop": 0.2, "mixup": 0.2}})
    rows = data.rows("train")
    parts = [Part(1, rows[start : start + 16], rows[start + 1 : start + 17]) for start in range(0, 48, 16)]
    alone, several = (Feed(data, recipe, 3, CPU, number).training(iter(parts)) for number in (1, threads))
    for ours, theirs in zip(alone, several, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.targets, theirs.targets)


def test_waiting_for_images_is_counted(prepared):
    data = PreparedDataset.open(prepared)
    feed = Feed(data, TrainConfig(epochs=1), 0, CPU, 2)
    batches = feed.plain([data.rows("train")])
    assert feed.waited_s == 0
    next(batches)
    assert feed.waited_s > 0


@pytest.fixture
def spec(prepared, monkeypatch):
    """Two epochs of a few steps, decoded by two threads."""
    job = with_recipe(training_spec(prepared, monkeypatch), epochs=2, batch_size=16)
    return replace(job, allocation=replace(job.allocation, cpus_per_task=2, micro_batch=16))


def test_training_resumes_to_the_same_bits(spec, tmp_path, monkeypatch):
    unbroken = train(spec, tmp_path / "unbroken")
    assert 0 <= history(tmp_path / "unbroken")[0]["data_wait_share"] <= 1
    with monkeypatch.context() as context:
        stopping_after(context, 3)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "broken")
    assert same(train(spec, tmp_path / "broken"), unbroken)


def test_training_ends_with_the_name_of_a_damaged_image(spec, prepared, tmp_path):
    row = PreparedDataset.open(prepared).rows("train")[5]
    _, end, _ = np.load(prepared / "shards/table-00000.npy", allow_pickle=False)[row]
    flip_bit(prepared / "shards/images-00000.jpegs", end - 40)
    with pytest.raises(SlimlineError, match="damaged") as caught:
        train(spec, tmp_path / "job")
    assert f"(row {row})" in caught.value.where

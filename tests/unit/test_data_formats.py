from __future__ import annotations

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import source_file

from slimline.config.dataset import DatasetConfig
from slimline.data.digits import read_digits
from slimline.data.formats import CIFAR10, CIFAR100, read_cifar, read_idx
from slimline.data.readers import open_reader
from slimline.data.sources import DIGITS_SHA256
from slimline.errors import SlimlineError


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def write_tar(path: Path, folder: str, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_idx(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a.gz", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a.gz"), array)


def test_what_is_not_idx_is_refused(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\0\0\x0d\x01" + b"\0" * 20))
    with pytest.raises(SlimlineError) as caught:
        read_idx(tmp_path / "a.gz")
    assert caught.value.got == "magic number 00000d01"


def test_mnist_comes_as_samples_in_published_splits(tmp_path):
    rng = np.random.default_rng(0)
    images = {part: rng.integers(0, 256, (n, 4, 4), dtype=np.uint8) for part, n in (("train", 3), ("t10k", 2))}
    for part, labels in (("train", [7, 0, 9]), ("t10k", [1, 7])):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images[part])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.array(labels, np.uint8))
    reader = open_reader(DatasetConfig(name="mnist"), tmp_path)
    samples, class_names = reader.listing({})
    assert [(sample.sample_id, sample.class_name, sample.split) for sample in samples] == [
        ("train-00000", "7", "train"),
        ("train-00001", "0", "train"),
        ("train-00002", "9", "train"),
        ("test-00000", "1", "test"),
        ("test-00001", "7", "test"),
    ]
    assert class_names == list("0123456789")
    assert reader.shape == (1, 4, 4)
    np.testing.assert_array_equal(reader.decode("test-00001")[:, :, 0], images["t10k"][1])
    np.testing.assert_array_equal(reader.prepare(reader.decode("test-00001"))[0], images["t10k"][1])


def cifar_record(labels: list[int], colour: tuple[int, int, int]) -> bytes:
    return bytes(labels) + b"".join(bytes([value]) * 1024 for value in colour)


def test_cifar10(tmp_path):
    members = {f"data_batch_{part}.bin": cifar_record([part], (part, 0, 255)) for part in range(5, 0, -1)}
    members |= {"test_batch.bin": cifar_record([0], (1, 2, 3)), "batches.meta.txt": b"plane\ncar\n\n"}
    write_tar(tmp_path / "c.tar.gz", "cifar-10-batches-bin", members)
    train, test, names = read_cifar(tmp_path / "c.tar.gz", CIFAR10)
    assert train.labels.tolist() == [1, 2, 3, 4, 5]
    assert train.images.shape == (5, 3, 32, 32)
    assert train.images[:, :, 9, 9].tolist() == [[part, 0, 255] for part in range(1, 6)]
    assert test.images[0, :, 31, 31].tolist() == [1, 2, 3]
    assert names == ("plane", "car")


def test_cifar100_uses_the_fine_labels(tmp_path):
    members = {
        "train.bin": cifar_record([19, 99], (1, 2, 3)) + cifar_record([0, 1], (4, 5, 6)),
        "test.bin": cifar_record([5, 42], (7, 8, 9)),
        "fine_label_names.txt": b"apple\nwolf\n",
        "coarse_label_names.txt": b"fruit\n",
    }
    write_tar(tmp_path / "c.tar.gz", "cifar-100-binary", members)
    train, test, names = read_cifar(tmp_path / "c.tar.gz", CIFAR100)
    assert (train.labels.tolist(), test.labels.tolist(), names) == ([99, 1], [42], ("apple", "wolf"))
    assert train.images[1, :, 0, 0].tolist() == [4, 5, 6]


def test_an_archive_without_its_files_is_refused(tmp_path):
    write_tar(tmp_path / "c.tar.gz", "cifar-10-batches-py", {"data_batch_1": b""})
    with pytest.raises(SlimlineError, match="does not hold") as caught:
        read_cifar(tmp_path / "c.tar.gz", CIFAR10)
    assert "test_batch.bin" in caught.value.got


def test_digits_are_the_pinned_ones_scaled_to_bytes():
    digits = read_digits()
    assert digits.images.shape == (1797, 1, 8, 8)
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert sorted(np.unique(digits.images)) == [(value * 255 + 8) // 16 for value in range(17)]
    content = digits.images.tobytes() + digits.labels.astype("<i8").tobytes()
    assert source_file("", content).sha256 == DIGITS_SHA256

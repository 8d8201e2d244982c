"""The chain on other data than the embedded default."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from slimline.files import read_json

pytestmark = pytest.mark.pipeline

# A class is told by its colour, whatever the size of the image.
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "grey": (120, 120, 120)}
PER_CLASS = {"train": 100, "test": 25}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """500 JPEGs of mixed sizes; one is truncated, one is text, one lies in train and in test."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in PER_CLASS.items():
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                height, width = rng.integers(24, 80, 2)
                pixels = np.clip(rng.normal(colour, 40, (height, width, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index:03d}.jpg", quality=90)
    truncated = folder / "train/red/000.jpg"
    truncated.write_bytes(truncated.read_bytes()[:200])
    (folder / "train/green/001.jpg").write_text("this is not an image\n")
    (folder / "train/blue/002.jpg").write_bytes((folder / "test/blue/003.jpg").read_bytes())
    return folder


def folder_config(clone, images, tiny, **dataset):
    content = {"dataset": {"name": "image-folder", "path": str(images), "image_size": 32} | dataset}
    return clone.write_config("folder", **(tiny | content))


NAMED = ("train/red/000.jpg", "train/green/001.jpg", "train/blue/002.jpg", "test/blue/003.jpg")


def test_a_dirty_image_folder_stops_where_train_and_test_share_an_image_and_names_it(clone, images, tiny):
    result = clone.snakemake("--cores", 2, *folder_config(clone, images, tiny), check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    for expected in ("train/blue/002.jpg", "test/blue/003.jpg", "leakage: drop-train", "audit.json"):
        assert expected in result.stdout
    (report,) = clone.folder.glob("data/*/audit.json")
    for file in NAMED:
        assert file in report.read_text()


def test_a_dirty_image_folder_runs_to_the_report_when_told_what_to_drop(clone, images, tiny):
    clone.snakemake("--cores", 2, *folder_config(clone, images, tiny, leakage="drop-train"))
    (stats,) = (read_json(path) for path in clone.folder.glob("data/*/prepared-*/stats.json"))
    assert {entry["sample_id"] for entry in stats["excluded"]} == set(NAMED[:3])
    assert stats["n_test"] == 100
    assert stats["n_train"] + stats["n_validation"] == 397
    metrics = pd.read_csv(clone.folder / "results/folder/metrics.csv").set_index("variant")
    assert metrics.accuracy["dense"] > 0.9
    page = (clone.folder / "results/folder/report.html").read_text()
    for file in NAMED[:3]:
        assert file in page


def test_images_that_are_kept_as_jpeg_run_to_the_report(clone, images, tiny):
    train = tiny["train"] | {"augmentation": {"random_resized_crop": 0.3}}
    variants = tiny["variants"] | {
        "int8": {"from": "dense", "quantize": {}},
        "aware": {"from": "dense", "quantize": {"epochs": 1, "runtime": "openvino"}},
    }
    config = folder_config(
        clone, images, tiny | {"train": train, "variants": variants}, leakage="drop-train", storage="jpeg"
    )
    clone.snakemake("--cores", 2, *config)
    (stats,) = clone.folder.glob("data/*/prepared-*/stats.json")
    assert read_json(stats)["storage"] == "jpeg"
    shards = sorted(path.name for path in (stats.parent / "shards").glob("[!.]*"))
    assert shards == ["images-00000.jpegs", "table-00000.npy"]
    metrics = pd.read_csv(clone.folder / "results/folder/metrics.csv").set_index("variant")
    assert metrics.accuracy["dense"] > 0.9
    assert abs(metrics.accuracy["int8"] - metrics.accuracy["dense"]) < 0.05
    assert abs(metrics.accuracy["aware"] - metrics.accuracy["dense"]) < 0.05
    assert (metrics.runtime["int8"], metrics.runtime["aware"]) == ("onnxruntime", "openvino")
    aware = clone.folder / "results/folder/aware"
    assert read_json(next(aware.glob("seed-*/export.json")))["quantization"]["trained_ranges"] > 0
    assert metrics.latency_ratio_float[["int8", "aware"]].gt(0).all()
    assert {path.name for path in aware.glob("**/*.json*")} >= {"plan.json", "history.jsonl", "job.json", "float.json"}


def test_a_changed_image_folder_runs_again_and_an_unchanged_one_does_not(clone, tiny, tmp_path):
    own = tmp_path / "own"
    for split in ("train", "test"):
        for name, colour in COLOURS.items():
            (own / split / name).mkdir(parents=True)
            for index in range(4):
                shade = tuple(channel + index + 4 * (split == "test") for channel in colour)
                Image.new("RGB", (32, 32), shade).save(own / split / name / f"{index}.png")
    config = folder_config(clone, own, tiny)
    clone.snakemake("download", "--cores", 1, *config)
    assert clone.jobs("download", *config) == {}
    Image.new("RGB", (32, 32), (1, 2, 3)).save(own / "train/red/new.png")
    assert clone.jobs("download", *config) == {"download": 1}


def test_another_way_to_keep_images_reads_the_source_no_more(clone, tiny):
    clone.snakemake("audit", "--cores", 1, *clone.write_config("tiny", **tiny))
    config = clone.write_config("tiny", **(tiny | {"dataset": {"name": "digits", "storage": "jpeg"}}))
    assert clone.jobs("plan", *config) == {"preprocess": 1, "plan_variant": 2, "plan": 1}


def test_two_ranks_run_to_the_report_and_agree_on_what_one_learns(clone, tiny):
    train = tiny["train"] | {"ranks": 2}
    clone.snakemake("--cores", 2, *clone.write_config("two", **(tiny | {"train": train})))
    receipt = read_json(clone.folder / "results/two/dense/seed-0/job.json")
    assert receipt["ranks"] == 2
    metrics = pd.read_csv(clone.folder / "results/two/metrics.csv").set_index("variant")
    assert metrics.accuracy["dense"] > 0.8
    assert metrics.n_test["dense"] == 450


@pytest.mark.skipif("SLIMLINE_MIRROR" not in os.environ, reason="needs SLIMLINE_MIRROR with the Fashion-MNIST files")
def test_fashion_mnist_through_the_mirror(clone, tiny):
    config = clone.write_config(
        "fashion",
        **tiny
        | {
            "dataset": {"name": "fashion-mnist", "leakage": "drop-train"},
            "model": {"name": "convnet", "width": 0.25},
            "train": {"epochs": 1, "batch_size": 256, "learning_rate": 0.01, "seeds": [0]},
            "variants": {"int8": {"from": "dense", "quantize": {"dtype": "int8"}}},
        },
    )
    clone.snakemake("--cores", 2, *config)
    stats = read_json(next(clone.folder.glob("data/fashion-mnist/prepared-*/stats.json")))
    assert (stats["n_train"] + stats["n_validation"], stats["n_test"]) == (60_000, 10_000)
    metrics = pd.read_csv(clone.folder / "results/fashion/metrics.csv").set_index("variant")
    assert metrics.accuracy["dense"] > 0.8
    assert abs(metrics.accuracy["int8"] - metrics.accuracy["dense"]) < 0.01

"""Made-up images in the form of prepared data."""

from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slimline.data.prepared import FORMAT, Stats
from slimline.data.shards import write_shards
from slimline.files import write_json


def made_up_data(folder, n_images, shape, num_classes=10, seed=0, n_validation=0):
    """Prepared data of `n_images` training images of `shape` (c, h, w) and some to validate on, none to test on.

    Each class is a coarse pattern, which its images show weakly under noise: it can be learned, but not at once.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    channels, height, width = shape
    coarse = random.normal(size=(num_classes, channels, -(-height // 4), -(-width // 4)))
    patterns = coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, :height, :width]
    labels = random.integers(0, num_classes, n_images + n_validation)
    noisy = (128 + 12 * patterns[label] + random.normal(scale=60, size=shape) for label in labels)
    images = (image.clip(0, 255).astype(np.uint8) for image in noisy)
    write_shards(folder / "shards", images, len(labels), shape)
    np.save(folder / "labels.npy", labels)
    splits = ["train"] * n_images + ["validation"] * n_validation
    names = [f"{split}/{number}" for number, split in enumerate(splits)]
    pq.write_table(pa.table({"sample_id": names, "split": splits}), folder / "index.parquet")
    stats = Stats(
        dataset="made-up", dataset_id="made-up", n_train=n_images, n_validation=n_validation, n_test=0,
        channels=channels, height=height, width=width, num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes))), mean=(128.0,) * channels, std=(60.0,) * channels,
        class_counts={}, excluded=(), split_sha256={},
    )  # fmt: skip
    write_json(folder / "stats.json", {"format": FORMAT, **asdict(stats)})
    return folder

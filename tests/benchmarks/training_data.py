"""Made-up images in the form of prepared data: speed does not depend on what they show."""

from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slimline.data.prepared import FORMAT, Stats
from slimline.data.shards import write_shards
from slimline.files import write_json


def made_up_data(folder, n_images, shape, num_classes=10, seed=0):
    """Prepared data of `n_images` training images of `shape` (c, h, w), and nothing to validate or test on."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    images = (random.integers(0, 256, shape, dtype=np.uint8) for _ in range(n_images))
    write_shards(folder / "shards", images, n_images, shape)
    np.save(folder / "labels.npy", random.integers(0, num_classes, n_images))
    names = [f"train/{number}" for number in range(n_images)]
    pq.write_table(pa.table({"sample_id": names, "split": ["train"] * n_images}), folder / "index.parquet")
    stats = Stats(
        dataset="made-up", dataset_id="made-up", n_train=n_images, n_validation=0, n_test=0,
        channels=shape[0], height=shape[1], width=shape[2], num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes))), mean=(128.0,) * shape[0], std=(74.0,) * shape[0],
        class_counts={}, excluded=(), split_sha256={},
    )  # fmt: skip
    write_json(folder / "stats.json", {"format": FORMAT, **asdict(stats)})
    return folder

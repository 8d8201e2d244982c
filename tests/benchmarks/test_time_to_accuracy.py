"""Fashion-MNIST by the recipes in `config/`: accuracy of what ships on the test split, and the time of its training.

The data come from their site, or from the mirror in `SLIMLINE_MIRROR`. Run with `make bench`.
"""

import json
from statistics import mean

import pyarrow.parquet as pq
import pytest
from benchmarks.clusters import two_cores
from pipeline.clones import clone_into

from slimline.files import read_json

SEEDS = (0, 1, 2)
# experiment, least mean accuracy, most minutes of training a seed
RECIPES = [("fashion-mnist", 0.93, 5.0), ("fashion-mnist-longer", 0.94, 20.0)]


def accuracy(seed_folder):
    """Share of the test images that the exported model classifies as labelled."""
    rows = pq.read_table(seed_folder / "predictions.parquet").to_pylist()
    return mean(max(range(10), key=row["logits"].__getitem__) == row["label"] for row in rows)


@pytest.mark.parametrize(("experiment", "least_accuracy", "most_minutes"), RECIPES)
def test_fashion_mnist_on_two_cores(experiment, least_accuracy, most_minutes, tmp_path):
    clone = clone_into(tmp_path / "clone")
    folders = [f"results/{experiment}/dense/seed-{seed}" for seed in SEEDS]
    targets = [f"{folder}/predictions.parquet" for folder in folders]
    clone.snakemake(
        *targets, "--cores", 2, "--configfile", f"config/{experiment}.yaml", "--config", f"cluster={two_cores(clone)}"
    )
    seeds = [clone.folder / folder for folder in folders]
    accuracies, minutes = (
        [accuracy(seed) for seed in seeds],
        [read_json(seed / "job.json")["seconds"] / 60 for seed in seeds],
    )
    precision = read_json(seeds[0] / "job.json")["precision"]
    epochs = sum(json.loads(line)["kind"] == "epoch" for line in (seeds[0] / "history.jsonl").read_text().splitlines())
    print(
        f"\n{experiment}, {epochs} epochs in {precision} on 2 cores: test accuracy {mean(accuracies):.4f} "
        f"({', '.join(f'{each:.4f}' for each in accuracies)}) after {mean(minutes):.1f} min "
        f"({', '.join(f'{each:.1f}' for each in minutes)})"
    )
    assert mean(accuracies) >= least_accuracy
    assert mean(minutes) <= most_minutes

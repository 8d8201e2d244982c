"""The files of a small experiment, as its steps would leave them, and a call of the comparison on them."""

import numpy as np
from evaluation_fixtures import (
    CLASSES,
    make_experiment,
    make_provenance,
    write_export,
    write_latency,
    write_prepared,
)
from proof_fixtures import write_proof

from slimline.data.prepared import PreparedDataset
from slimline.evaluation.compare import compare, pair_files
from slimline.evaluation.prediction_file import Predictions, write_predictions
from slimline.evaluation.records import read_metrics

N_TEST = 200
# Which of the test items each model gets wrong.
WRONG = {
    ("dense", 0): range(10),
    ("dense", 1): range(5, 15),
    ("pruned", 0): range(12),
    ("pruned", 1): range(5, 15),
    ("pruned-int8", 0): range(100),
    ("pruned-int8", 1): range(5, 105),
}
SIZES = {"dense": 1000, "control-5": 1000, "pruned": 500, "pruned-int8": 125}
RATIOS = {
    "dense": (1.0, 1.02),
    "control-5": (0.98, 0.99),
    "pruned": (0.5, 0.7),
    "pruned-int8": (0.3, 0.5),
}  # of each seed


class Workspace:
    """The files of the tiny experiment, and a call of compare on them."""

    def __init__(self, folder, wrong=WRONG):
        self.folder = folder
        self.prepared = write_prepared(folder / "prepared", n_test=N_TEST)
        dataset = PreparedDataset.open(self.prepared)
        self.sample_ids = dataset.sample_ids(dataset.rows("test"))
        self.labels = dataset.labels[dataset.rows("test")]
        pairs = [list(pair) for pair in wrong]
        places = [folder / variant / f"seed-{seed}" for variant, seed in pairs]
        for (variant, seed), place in zip(pairs, places, strict=True):
            place.mkdir(parents=True)
            self.write_predictions(place / "predictions.parquet", wrong=wrong[variant, seed])
            write_latency(place / "latency.json", variant=variant, seed=seed, ratio_p50=RATIOS[variant][seed])
            write_export(place / "export.json", variant=variant, seed=seed, size_bytes=SIZES[variant])
            write_proof(place / "proof.json", variant=variant, seed=seed)
        names = ("predictions.parquet", "latency.json", "export.json", "proof.json")
        self.runs = pair_files(pairs, *([str(place / name) for place in places] for name in names))

    def write_predictions(self, path, *, wrong=(), tied=(), order=None):
        answers = self.labels.copy()
        answers[list(wrong)] = (answers[list(wrong)] + 1) % CLASSES
        logits = np.eye(CLASSES, dtype=np.float32)[answers]
        logits[list(tied)] = 1.0
        order = np.arange(N_TEST) if order is None else order
        ids = [self.sample_ids[item] for item in order]
        write_predictions(path, Predictions(ids, self.labels[order], logits[order]))

    def compare(self, runs=None, experiment=None):
        outputs = self.folder / "metrics.csv", self.folder / "metrics.json"
        compare(experiment or make_experiment(), runs or self.runs, self.prepared, make_provenance(), *outputs)
        return read_metrics(outputs[1])

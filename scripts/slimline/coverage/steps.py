"""One step on one architecture with random weights, by the same functions as in an experiment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from slimline.compression.quantize import quantize
from slimline.compression.structured import prune
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig
from slimline.config.variants import QuantizeConfig
from slimline.data.prepared import FORMAT, PreparedDataset
from slimline.data.shards import write_shards
from slimline.errors import NotSupportedError
from slimline.evaluation.proof_record import Proof
from slimline.evaluation.prove import prove
from slimline.evaluation.record_base import read_record
from slimline.files import read_json, write_json
from slimline.models.artifact import build, load_artifact, save_artifact
from slimline.models.export import export
from slimline.models.layers import last_layer
from slimline.models.registry import architecture_for
from slimline.training.batch_norm import recalibrate

SIDE_PX, CLASSES, N_IMAGES, SEED = 224, 1000, 64, 0
N_RECALIBRATION = 16
RATIO = 0.5
STEPS = ("export", "prune", "int8-onnxruntime", "int8-openvino")
# Sizes and digests alone: what the comparison with a parent needs, and what a table shows.
OUTCOME = "outcome.json"


def data_of_noise(folder: Path) -> Path:
    """Prepared training images [N_IMAGES, 3, SIDE_PX, SIDE_PX] of coarse noise."""
    folder.mkdir(parents=True)
    random, shape = np.random.default_rng(SEED), (3, SIDE_PX, SIDE_PX)
    coarse = random.integers(0, 256, (N_IMAGES, 3, 14, 14), dtype=np.uint8)
    images = (image.repeat(SIDE_PX // 14, axis=1).repeat(SIDE_PX // 14, axis=2) for image in coarse)
    write_shards(folder / "shards", images, N_IMAGES, shape)
    np.save(folder / "labels.npy", np.arange(N_IMAGES) % CLASSES)
    names = [f"noise/{number}" for number in range(N_IMAGES)]
    pq.write_table(pa.table({"sample_id": names, "split": ["train"] * N_IMAGES}), folder / "index.parquet")
    stats = {
        "dataset": "noise", "dataset_id": "noise", "n_train": N_IMAGES, "n_validation": 0, "n_test": 0,
        "channels": 3, "height": SIDE_PX, "width": SIDE_PX, "num_classes": CLASSES,
        "class_names": [str(number) for number in range(CLASSES)], "mean": [127.5] * 3, "std": [74.0] * 3,
        "class_counts": {}, "excluded": [], "split_sha256": {},
    }  # fmt: skip
    write_json(folder / "stats.json", {"format": FORMAT, **stats})
    return folder


def run_step(model: str, step: str, data: Path, folder: Path) -> None:
    """Takes one step, proves the file that it makes in a fresh process, and writes `outcome.json` beside it.

    Args:
        model: name of the architecture.
        step: one of STEPS.
        data: prepared images.
        folder: of the architecture; steps after `export` find its files there.

    Raises:
        NotSupportedError: the step cannot be done, or what it makes is not what it claims to be.
    """
    own, dense = folder / step, folder / "export"
    own.mkdir(parents=True)
    if step == "export":
        torch.manual_seed(SEED)
        dataset = PreparedDataset.open(data)
        architecture = architecture_for(ModelConfig(name=model), dataset.stats)
        network = build(architecture)
        # torchvision's transformers start with a last layer of zeros, whose logits are all the same.
        nn.init.normal_(cast(nn.Linear, last_layer(network)).weight, std=0.02)
        # As after training: with its initial statistics a deep network's activations vanish or overflow.
        images = torch.from_numpy(dataset.read(dataset.rows("train")[:N_RECALIBRATION]))
        recalibrate(network, [images])
        save_artifact(own, network, architecture)
        _export(model, own, data)
    elif step == "prune":
        network, architecture = load_artifact(dense)
        architecture, _ = prune(network, architecture, PruneConfig(ratio=RATIO, epochs=0))
        save_artifact(own, network, architecture)
        _export(model, own, data)
    else:
        config = QuantizeConfig.model_validate({"dtype": "int8", "runtime": step.removeprefix("int8-")})
        quantize(
            dense / "model.onnx", dense / "export.json", dense / "reference.safetensors", data, config,
            variant=model, seed=SEED, output=own / "model.onnx", report=own / "export.json",
        )  # fmt: skip
    of_float = step in ("export", "prune")
    reference = (own if of_float else dense) / "reference.safetensors"
    parent_report = None if of_float else dense / "export.json"
    prove(
        own / "model.onnx", own / "export.json", reference, parent_report, own / "proof.json", variant=model, seed=SEED
    )
    if problems := read_record(own / "proof.json", Proof).problems:
        raise NotSupportedError("The file is not what it claims to be.", got=problems[0].message, code=problems[0].code)
    report = read_json(own / "export.json")
    write_json(own / OUTCOME, {"size_bytes": report["size_bytes"], "parameters": report["parameters"]})


def _export(model: str, own: Path, data: Path) -> None:
    export(
        own, data, variant=model, seed=SEED, output=own / "model.onnx", report=own / "export.json",
        reference=own / "reference.safetensors",
    )  # fmt: skip


if __name__ == "__main__":
    name, chosen, prepared, place = sys.argv[1:]
    try:
        run_step(name, chosen, Path(prepared), Path(place))
    except NotSupportedError as error:
        write_json(Path(place) / chosen / OUTCOME, {"not_supported": error.reason})

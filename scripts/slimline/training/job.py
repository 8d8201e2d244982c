"""What runs inside a training job: join the other ranks, train, leave the result."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from slimline import __version__
from slimline.data.prepared import PreparedDataset
from slimline.files import copy_file, replacing_folder, write_json
from slimline.models.architecture import Architecture
from slimline.models.artifact import build, save_artifact
from slimline.models.registry import architecture_for
from slimline.training.distributed import World, joined
from slimline.training.loop import Trainer
from slimline.training.losses import LossSum, cross_entropy
from slimline.training.spec import HISTORY_FILE, RESULT_FOLDER, SUMMARY_FILE, TrainingSpec
from slimline.training.state import unsharded
from slimline.training.stop import StopRequest

# (spec, world) -> model to train, its architecture, the loss
Preparation = Callable[[TrainingSpec, World], tuple[nn.Module, Architecture, LossSum]]


def run(spec: TrainingSpec, folder: Path) -> None:
    """Trains a dense model from scratch."""
    run_training(spec, folder, _dense)


def run_training(spec: TrainingSpec, folder: Path, prepare: Preparation) -> None:
    """Trains what `prepare` gives and writes the job's result folder; every kind of training ends here."""
    with joined(spec.allocation) as world:
        torch.manual_seed(spec.seed)
        model, architecture, loss_sum = prepare(spec, world)
        trainer = Trainer(model, spec, loss_sum, world, folder, StopRequest())
        trainer.stop.install()
        started_s = time.monotonic()
        trainer.fit()
        whole = unsharded(trainer.model, architecture)  # all ranks take part
        if world.is_main:
            _write_result(folder, trainer, whole, architecture, time.monotonic() - started_s)
        world.barrier()


def _dense(spec: TrainingSpec, world: World) -> tuple[nn.Module, Architecture, LossSum]:
    assert spec.model is not None
    architecture = architecture_for(spec.model, PreparedDataset.open(spec.prepared).stats)
    return build(architecture), architecture, cross_entropy(spec.recipe.label_smoothing)


def _write_result(folder: Path, trainer: Trainer, model: nn.Module, architecture: Architecture, seconds: float) -> None:
    with replacing_folder(folder / RESULT_FOLDER) as result:
        save_artifact(result, model, architecture)
        copy_file(folder / HISTORY_FILE, result / HISTORY_FILE)
        epochs = [record for record in trainer.history.records if record["kind"] == "epoch"]
        train_s = sum(record["seconds"] for record in epochs)
        write_json(
            result / SUMMARY_FILE,
            {
                "seconds": seconds,
                "images_per_s": epochs[-1]["samples"] / train_s,
                "peak_memory_mb": _peak_memory_mb(trainer.world.device),
                "slimline_version": __version__,
                "torch_version": torch.__version__,
            },
        )


def _peak_memory_mb(device: torch.device) -> float:
    """Most memory of the main rank: resident on a CPU, reserved by the allocator on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

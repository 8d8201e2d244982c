"""What runs inside a training job: join the other ranks, train, leave the result."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from slimline import __version__
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError
from slimline.files import copy_file, replacing_folder, write_json
from slimline.models.architecture import Architecture
from slimline.models.artifact import build, save_artifact
from slimline.models.pretrained import start_from
from slimline.models.registry import architecture_for
from slimline.training.checkpoint import Progress
from slimline.training.distributed import World, joined
from slimline.training.finite import NotFiniteError
from slimline.training.loop import Trainer
from slimline.training.losses import LossSum, cross_entropy
from slimline.training.rounds import Change, newest_checkpoint, next_round, progress_at, round_epochs, whole_copy
from slimline.training.spec import (
    HISTORY_FILE,
    LAST_WEIGHTS_FILE,
    NOT_FINITE_FILE,
    RESULT_FOLDER,
    SUMMARY_FILE,
    TrainingSpec,
)
from slimline.training.state import unsharded
from slimline.training.steplog import peak_memory_mb
from slimline.training.stop import StopRequest, stop_at_once
from slimline.training.tracking import check_wandb, write_wandb_run

log = logging.getLogger("slimline")

# (spec, world) -> model to train, its architecture, the loss
Preparation = Callable[[TrainingSpec, World], tuple[nn.Module, Architecture, LossSum]]
# (trained model, its architecture) -> architecture of what ships; may change the model in place
Finish = Callable[[nn.Module, Architecture], Architecture]


def run(spec: TrainingSpec, folder: Path) -> None:
    """Trains a dense model, from scratch or from given weights."""
    run_training(spec, folder, _dense)


def run_training(
    spec: TrainingSpec,
    folder: Path,
    prepare: Preparation,
    *,
    change: Change | None = None,
    rounds: int = 1,
    finish: Finish | None = None,
) -> None:
    """Trains what `prepare` gives and writes the job's result folder; every kind of training ends here.

    Args:
        spec: the job.
        folder: the job's folder.
        prepare: gives the model as it is before the first round.
        change: what is done to the model before each round, if anything.
        rounds: how many there are; they share the epochs of the recipe.
        finish: takes away from the trained model what does not ship.

    Raises:
        StoppedError: a stop was requested; a checkpoint holds the position.
        NotSupportedError: loss or gradient became infinite or not a number, twice.
    """
    # cuBLAS gives the same bits each time only with a workspace of this form; read when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if spec.recipe.tracking.wandb is not None:
        check_wandb()
    with joined(spec.allocation) as world:
        torch.use_deterministic_algorithms(spec.recipe.deterministic, warn_only=True)
        # Else every new tensor is filled first, lest it be read before it is written: a twelfth of ResNet-18's time on
        # a CPU. Such a read would be a fault of a layer, and show where a run is resumed to the same bits.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = not spec.recipe.deterministic
        stop = StopRequest()
        started_s = time.monotonic()
        course = partial(_trained, spec, folder, prepare, change, rounds, world, stop)
        trainer, architecture = _at_the_second_try(course, folder, world)
        # What `finish` takes away would be in the last weights still, so that they would fit no architecture.
        last = _last_weights(trainer, architecture) if finish is None else {}
        shipped = trainer.shipped()
        if finish is not None:
            architecture = finish(shipped, architecture)
        whole = unsharded(shipped, architecture)  # all ranks take part
        if world.is_main:
            trainer.history.close()
            if spec.recipe.tracking.wandb is not None:
                write_wandb_run(spec.recipe.tracking.wandb, spec.name, folder, trainer.history.records, spec.to_json())
            # Last: who waits for the result may end this process once it is there.
            _write_result(folder, trainer, whole, architecture, last, time.monotonic() - started_s)
        world.barrier()


def _at_the_second_try(
    train: Callable[[NotFiniteError | None], tuple[Trainer, Architecture]], folder: Path, world: World
) -> tuple[Trainer, Architecture]:
    """What `train` gives; where a number is not finite, it goes back to the last checkpoint, once.

    Raises:
        NotSupportedError: it was so twice.
    """
    try:
        return train(None)
    except NotFiniteError as error:
        # A memory error or an unlucky algorithm may be behind it: back to what is known to be good.
        fault = error.with_traceback(None)  # which would keep the first model in memory beside the second
    log.warning("%s. Going back to the last checkpoint, once.", fault.described())
    gc.collect()
    if world.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return train(fault)
    except NotFiniteError as again:
        raise _diverged(again, folder, world) from None


def _trained(
    spec: TrainingSpec,
    folder: Path,
    prepare: Preparation,
    change: Change | None,
    rounds: int,
    world: World,
    stop: StopRequest,
    rolled_back_from: NotFiniteError | None = None,
) -> tuple[Trainer, Architecture]:
    """A trainer that has come to the end of the last round, from the newest checkpoint or the start."""
    torch.manual_seed(spec.seed)
    model, architecture, loss_sum = prepare(spec, world)
    at = progress_at(newest_checkpoint(folder, world)) if change is not None else Progress()
    if at.rounds:
        architecture = Architecture.from_json(at.architecture)
        model = build(architecture)  # its weights are in the checkpoint
    number = max(1, len(at.rounds))
    spans = round_epochs(spec.recipe.epochs, rounds)
    while True:
        begin = None
        if change is not None and len(at.rounds) < number:
            architecture, note = change(spec, world, folder, model, architecture, at.rounds)
            begin = next_round(at, spans[number - 1], architecture, note)
        trainer = Trainer(
            model, spec, loss_sum, world, folder, stop, careful=rolled_back_from is not None,
            epochs=spans[number - 1], begin=begin, keep_zeros=architecture.sparsity > 0,
        )  # fmt: skip
        if rolled_back_from is not None:
            place = {"epoch": trainer.progress.epoch, "step": trainer.progress.step}
            reason = {"reason": str(rolled_back_from), "sample_ids": rolled_back_from.sample_ids}
            trainer.history.add({"kind": "rollback", **place, **reason})
            rolled_back_from = None
        stop.install()  # until here a signal ends the process at once: there was nothing to save
        trainer.fit()
        if number == rounds:
            return trainer, architecture
        trainer.end_round()
        stop_at_once()
        model, at, number = whole_copy(trainer.shipped(), architecture, world), trainer.progress, number + 1
        del trainer  # its model and optimizer would stay in memory beside those of the next round


def _diverged(error: NotFiniteError, folder: Path, world: World) -> NotSupportedError:
    """The error that ends this variant: with these settings it cannot be trained, and would end the same way again."""
    file = folder / NOT_FINITE_FILE
    if world.is_main:
        write_json(file, {"where": error.where, "found": error.found, "sample_ids": error.sample_ids})
    images = f" on the images of this step: {', '.join(error.sample_ids[:3])}, … (all in {file})"
    if not error.sample_ids:
        images = ""
    return NotSupportedError(
        "The training loss or its gradient is not a finite number any more.",
        where=error.where,
        got=f"{error.found}; twice, with a return to the last checkpoint between",
        expected=f"finite numbers{images}",
        next_step="lower learning_rate (of train or the variant), raise train.warmup, "
        "or set train.gradient_clipping: 1.0",
        code="diverged",
    )


def _dense(spec: TrainingSpec, world: World) -> tuple[nn.Module, Architecture, LossSum]:
    assert spec.model is not None
    architecture = architecture_for(spec.model, PreparedDataset.open(spec.prepared).stats)
    model = build(architecture)
    start_from(model, spec.model)
    return model, architecture, cross_entropy(spec.recipe.label_smoothing)


def _last_weights(trainer: Trainer, architecture: Architecture) -> dict[str, Tensor]:
    """The weights of the last epoch in host memory where those of another ship, else none; a collective."""
    if not trainer.best:
        return {}
    weights = unsharded(trainer.judged(), architecture).state_dict()
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}


def _write_result(
    folder: Path,
    trainer: Trainer,
    model: nn.Module,
    architecture: Architecture,
    last: dict[str, Tensor],
    seconds: float,
) -> None:
    with replacing_folder(folder / RESULT_FOLDER) as result:
        save_artifact(result, model, architecture)
        if last:
            save_file({name: last[name] for name in model.state_dict()}, result / LAST_WEIGHTS_FILE)
        copy_file(folder / HISTORY_FILE, result / HISTORY_FILE)
        epochs = [record for record in trainer.history.records if record["kind"] == "epoch"]
        train_s = sum(record["seconds"] for record in epochs)
        validation_s = sum(record["validation_seconds"] for record in epochs)
        images = len(epochs) * len(trainer.train_rows)
        write_json(
            result / SUMMARY_FILE,
            {
                "seconds": seconds,
                "epochs": len(epochs),
                "epochs_seconds": train_s + validation_s,  # of all attempts together
                "images_per_s": images / train_s if epochs else None,
                "peak_memory_mb": peak_memory_mb(trainer.world.device),
                "stages": trainer.progress.stages,
                "rounds": trainer.progress.rounds,
                "slimline_version": __version__,
                "torch_version": torch.__version__,
            },
        )

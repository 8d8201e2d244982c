"""What a training run consists of, where it is, and how that is saved and found again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from slimline.config.resizing import sizes_at_first
from slimline.data.batches import steps_per_epoch
from slimline.data.prepared import PreparedDataset
from slimline.models.sparsity import prunable_weights
from slimline.training.checkpoint import Progress, load_checkpoint
from slimline.training.distributed import World
from slimline.training.ema import WeightAverage
from slimline.training.evaluate import evaluate
from slimline.training.feed import Feed
from slimline.training.finite import FiniteWatch
from slimline.training.history import History
from slimline.training.host_memory import keep_freed_memory
from slimline.training.live_kernels import fit_kernels
from slimline.training.losses import LossSum
from slimline.training.matrix_kernels import multiplies_matrices_fast
from slimline.training.optimisation import build_optimizers, freeze
from slimline.training.parallel import compiles, parallelise, share_weights
from slimline.training.parts import Course
from slimline.training.precision import Precision
from slimline.training.rounds import newest_checkpoint
from slimline.training.saver import Saver
from slimline.training.selection import check_selection
from slimline.training.settings import RunSettings
from slimline.training.spec import CHECKPOINTS_FOLDER, PROFILE_FILE, TrainingSpec, checkpoint_name
from slimline.training.state import Copies
from slimline.training.steplog import Speed, StepProfiler
from slimline.training.stop import StoppedError, StopRequest
from slimline.training.tally import Tally
from slimline.training.zeros import KeptZeros


class Run:
    """One model on its way through one recipe, from the start or from the newest checkpoint.

    Args:
        model: the model; it is moved to the rank's device and changed in place.
        spec: the job.
        loss_sum: the training loss, summed over a batch.
        world: this rank among its peers.
        folder: the job's folder: checkpoints, history and heartbeat lie there.
        stop: the request to stop, asked at every step boundary.
        careful: looks at the gradients of every step, not only of those that are logged or saved after.
        epochs: those of this round; by default the model is trained in one, from the first to the last.
        begin: where the round begins, if it does; else the newest checkpoint says where the run is.
        keep_zeros: whether weights that are zero stay so.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: TrainingSpec,
        loss_sum: LossSum,
        world: World,
        folder: Path,
        stop: StopRequest,
        careful: bool = False,
        epochs: range | None = None,
        begin: Progress | None = None,
        keep_zeros: bool = False,
    ) -> None:
        self.spec, self.recipe, self.world, self.stop, self.loss_sum = spec, spec.recipe, world, stop, loss_sum
        self.epochs = range(self.recipe.epochs) if epochs is None else epochs
        self.careful = careful or self.recipe.gradient_clipping is not None
        self.data = PreparedDataset.open(spec.prepared)
        self.train_rows, self.validation_rows = self.data.rows("train"), self.data.rows("validation")
        check_selection(self.recipe, len(self.validation_rows))
        self.steps_per_epoch = steps_per_epoch(len(self.train_rows), self.recipe.batch_size)
        self.model = model.to(world.device).to(memory_format=torch.channels_last)
        if world.device.type == "cpu":
            keep_freed_memory()
            shape = self.data.stats.image_shape
            smaller = sizes_at_first(self.recipe.progressive_resizing, shape[1:])
            fit_kernels(self.model, shape, by_matrices=multiplies_matrices_fast(), smaller=smaller)
        freeze(self.model, self.recipe.freeze)
        self.precision = Precision(spec.allocation.precision, world.device)
        self.speed = Speed(
            self.model, self.data.stats.image_shape, world.device, self.precision.dtype is not None, world.size
        )
        decay = self.recipe.ema_decay
        self.average = WeightAverage(self.model, decay) if decay else None  # copied while the weights are whole
        matrices = list(prunable_weights(self.model))
        self.parallel = parallelise(self.model, world, self.recipe.sync_batch_norm)
        self.optimizers = build_optimizers(self.model, self.recipe)
        if self.average is not None:
            share_weights(self.average.module, world, self.recipe.sync_batch_norm)
            self.average.follow(self.model)
        self.best: dict[str, Tensor] = {}  # weights of the best epoch, where the recipe keeps them
        self.feed = Feed(self.data, self.recipe, spec.seed, world.device, spec.allocation.cpus_per_task)
        self.course = Course(
            self.train_rows,
            spec.seed,
            self.epochs.stop,
            self.recipe.batch_size,
            self.feed.mixes,
            spec.allocation.accumulation,
            world.rank,
            world.size,
        )
        self.checkpoints = folder / CHECKPOINTS_FOLDER
        settings = RunSettings.read(folder)
        self.checkpoint_interval_s = settings.checkpoint_interval_s
        self.saver = Saver(self.checkpoints, self.model, world, in_background=settings.checkpoint == "async")
        masks = self._restore(folder, begin)
        self.zeros = KeptZeros(self.model, matrices, masks) if keep_zeros else None
        if compiles(self.recipe.compile, world.device):
            self.parallel.compile()  # in place: names of weights stay
        self.watch = FiniteWatch(world.device)
        self.profiler = StepProfiler(folder / PROFILE_FILE, self.recipe.profile_steps if world.is_main else 0)
        self.last_save_s = time.monotonic()
        if begin is not None:
            self._begin_round()

    def shipped(self) -> nn.Module:
        """The model to ship, of the last or the best epoch; the moving average where there is one."""
        model = self.judged()
        if self.best:
            model.load_state_dict(self.best)
        return model

    def judged(self) -> nn.Module:
        """What validation looks at: the model of the last step, or its moving average where there is one."""
        return self.average.module if self.average is not None else self.model

    def end_round(self) -> None:
        """Saves the end of a round that another one follows: what comes between them takes its time."""
        self.progress.epoch, self.progress.step = self.epochs.stop, 0
        with self.saver:
            self._save()
        self.history.close()

    def _begin_round(self) -> None:
        """Notes how the model does before its first step, and saves it."""
        validation = evaluate(
            self.judged(), self.feed, self.validation_rows, self.precision, self.world, lambda: self._beat("validate")
        )
        at, last = self.progress, self.progress.rounds[-1]
        place = {"epoch": at.epoch, "step": at.epoch * self.steps_per_epoch}
        self.history.add({"kind": "round", "round": len(at.rounds), **place, **last["after"], **validation})
        with self.saver:
            self._save()

    def _save_is_due(self) -> bool:
        return time.monotonic() - self.last_save_s >= self.checkpoint_interval_s

    def _save_or_stop(self, due: bool, stop: bool, announced: bool) -> None:
        """Saves if it is time to; saves and leaves if any rank was asked to."""
        if stop or due:
            self._save()
        if stop:
            where = f"stopped at epoch {self.progress.epoch}, step {self.progress.step}"
            raise StoppedError(where, announced=announced, saved=True)

    def _save(self) -> None:
        """Writes a checkpoint, with the epoch's sums of every rank."""
        at = replace(self.progress, sums={}, rank_sums=self.tally.of_ranks(), digest=self.tally.digest())
        at = replace(at, records=self.history.records, scaler=self.precision.state())
        average = self.average.module.state_dict() if self.average is not None else {}
        copies = {"average": average, "best": self.best, "masks": self.zeros.masks if self.zeros else {}}
        self.saver.save(checkpoint_name(at.epoch, at.step), self.model, self.optimizers, at, copies)
        self.last_save_s = time.monotonic()

    def _restore(self, folder: Path, begin: Progress | None) -> Mapping[str, Tensor] | None:
        """Goes on from the newest checkpoint where there is one and no round begins; gives the masks that it holds."""
        newest = newest_checkpoint(folder, self.world) if begin is None else None
        self.progress = begin or Progress()
        copies: Copies = {}
        if newest:
            self.progress, copies = load_checkpoint(newest, self.model, self.optimizers)
            self.precision.restore(self.progress.scaler)
            if self.average is not None:
                self.average.module.load_state_dict(copies["average"])
            self.best = dict(copies.get("best", {}))
        self.tally = Tally(self.progress, self.world)
        self.history = History(folder, self.progress.records, writes=self.world.is_main)
        if newest:
            place = {"epoch": self.progress.epoch, "step": self.progress.step}
            self.history.add({"kind": "resume", **place, "ranks_before": self.progress.stages[-1]["ranks"]})
        self.progress.go_on_with(self.spec.allocation)
        return copies.get("masks")

    def _beat(self, phase: str) -> None:
        if not self.history.beat_is_due:
            return
        at = self.progress
        epochs_to_go = max(0.0, self.recipe.epochs - at.epoch - at.step / self.steps_per_epoch)
        pace = self.tally.pace(epochs_to_go * len(self.train_rows))
        place = {"epoch": at.epoch + 1, "epochs": self.recipe.epochs, "step": at.step, "steps": self.steps_per_epoch}
        self.history.beat(phase=phase, **place, **pace)

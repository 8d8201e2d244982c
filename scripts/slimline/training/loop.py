"""The loop: one straight line from the first step to the last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from slimline.data.batches import Rows, samples_digest, share, step_seeds, steps_per_epoch
from slimline.data.prepared import PreparedDataset
from slimline.models.sparsity import prunable_weights
from slimline.training.checkpoint import Progress, load_checkpoint
from slimline.training.distributed import World
from slimline.training.ema import WeightAverage
from slimline.training.evaluate import evaluate
from slimline.training.feed import Batch, Feed
from slimline.training.finite import FiniteWatch, NotFiniteError, first_of_all, not_finite_error
from slimline.training.history import History
from slimline.training.host_memory import keep_freed_memory
from slimline.training.live_kernels import use_live_taps
from slimline.training.losses import LossSum
from slimline.training.optimisation import build_optimizers, clip_gradients, freeze, set_learning_rate, set_training
from slimline.training.parallel import compiles, gradient_sync, parallelise, share_weights
from slimline.training.parts import Course
from slimline.training.precision import Precision
from slimline.training.rounds import newest_checkpoint
from slimline.training.saver import Saver
from slimline.training.schedule import learning_rate_at
from slimline.training.selection import check_selection, is_best, is_over
from slimline.training.settings import RunSettings
from slimline.training.spec import CHECKPOINTS_FOLDER, PROFILE_FILE, TrainingSpec, checkpoint_name
from slimline.training.state import Copies
from slimline.training.steplog import Speed, StepProfiler
from slimline.training.stop import StoppedError, StopRequest
from slimline.training.tally import Tally
from slimline.training.zeros import KeptZeros


class Trainer:
    """Takes one model through one recipe, from the start or from the newest checkpoint.

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
            use_live_taps(self.model, self.data.stats.image_shape)
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

    def fit(self) -> None:
        """Runs the remaining epochs of the round.

        Raises:
            StoppedError: a stop was requested; a checkpoint holds the position.
            NotFiniteError: loss or gradient became infinite or not a number; the last checkpoint is good.
        """
        batches = self.feed.training(self.course.parts(self.progress.epoch, self.progress.step))
        with self.saver, self.profiler, contextlib.closing(batches):
            for epoch in range(self.progress.epoch, self.epochs.stop):
                if is_over(self.history.records, self.recipe, self.epochs.start):
                    break
                self._train_epoch(epoch, batches)
                self._finish_epoch(epoch)

    def end_round(self) -> None:
        """Saves the end of a round that another one follows: what comes between them takes its time."""
        self.progress.epoch, self.progress.step = self.epochs.stop, 0
        with self.saver:
            self._save()
        self.history.close()

    def shipped(self) -> nn.Module:
        """The model to ship, of the last or the best epoch; the moving average where there is one."""
        model = self.judged()
        if self.best:
            model.load_state_dict(self.best)
        return model

    def _train_epoch(self, epoch: int, batches: Iterator[Batch]) -> None:
        set_training(self.model)
        self.step_seeds = step_seeds(self.spec.seed, epoch, self.steps_per_epoch, self.world.rank, self.world.size)
        self.speed.go(self.feed.waited_s)
        with self.loss_sum.watching(self.model):
            for step in range(self.progress.step, self.steps_per_epoch):
                started_s, waited_s = time.perf_counter(), self.feed.waited_s
                n_images = len(share(self.train_rows, self.steps_per_epoch, step))
                self._train_step(epoch, step, n_images, batches)
                self.progress.step = step + 1
                self.tally.add(seconds=time.perf_counter() - started_s, data_wait=self.feed.waited_s - waited_s)
                self._between_steps(epoch, step)
                self._beat("train")
        self.speed.pause(self.feed.waited_s)

    def _train_step(self, epoch: int, step: int, n_images: int, batches: Iterator[Batch]) -> None:
        """One optimizer step on a global batch of `n_images`, of which this rank sees its share."""
        global_step = epoch * self.steps_per_epoch + step
        set_learning_rate(self.optimizers, self._learning_rate(global_step))
        self.world.seed(self.step_seeds[step])
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        step_loss = torch.zeros((), device=self.world.device)
        accumulation = self.spec.allocation.accumulation
        for part in range(accumulation):
            batch = next(batches)
            with gradient_sync(self.parallel, last=part == accumulation - 1):
                with self.precision.autocast():
                    logits = self.parallel(batch.images).float()
                loss = self.loss_sum(logits, batch)
                # Ranks' gradients are averaged: scaled so, they add up to the mean over the global batch.
                self.precision.backward(loss * (self.world.size / n_images))
            step_loss += loss.detach()
            self.tally.add(correct=(logits.detach().argmax(1) == batch.labels).sum())
            self.tally.see(batch.rows)
        self.tally.add(loss=step_loss)
        self.precision.unscale(self.optimizers)
        self.step_loss = step_loss / n_images
        self.gradient_norm: Tensor | None = None
        self.watch.note(step, self.step_loss)
        if self.careful:
            self._look_at_gradients(step)
        self.precision.step(self.optimizers)
        if self.zeros is not None:
            self.zeros.restore()
        if self.average is not None:
            self.average.update(global_step - self.epochs.start * self.steps_per_epoch)
        self.speed.samples += n_images // self.world.size

    def _between_steps(self, epoch: int, step: int) -> None:
        """What all ranks do together at a step boundary: check, save, stop, log."""
        self.profiler.step()
        steps_done, is_last = epoch * self.steps_per_epoch + step + 1, step + 1 == self.steps_per_epoch
        log_is_due = steps_done % self.recipe.log_every_steps == 0
        if log_is_due or is_last:
            self._look_at_gradients(step)
        # On a GPU the check waits for the step to end: only where something else does so too.
        checks = log_is_due or is_last or self.world.device.type == "cpu"
        found = checks and (self.watch.found() is not None or self.precision.has_collapsed)
        stop, announced, due, bad = self.world.any(self.stop.requested, self.stop.announced, self._save_is_due(), found)
        if due or stop or is_last:  # what is saved or judged is looked at first
            self._look_at_gradients(step)
            averages = self.average.module.state_dict() if self.average is not None else {}
            self.watch.look_at((*self.model.state_dict().values(), *averages.values()), step, self.step_loss)
            (bad,) = self.world.any(bad or self.watch.found() is not None)
        if bad:
            raise self._not_finite(epoch)
        if log_is_due:
            self._log_step(epoch, steps_done)
        self._save_or_stop(due, stop, announced)

    def _look_at_gradients(self, step: int) -> None:
        """Takes their norm, once a step, and shortens them where the recipe says so."""
        if self.gradient_norm is None:
            self.gradient_norm = clip_gradients(self.optimizers, self.recipe.gradient_clipping)
            # Where a scaler looks for gradients that overflow, these are no mistake.
            if not self.precision.scaler.is_enabled():
                self.watch.note(step, self.step_loss, self.gradient_norm)

    def _log_step(self, epoch: int, steps_done: int) -> None:
        self.history.add(
            {
                "kind": "step",
                "epoch": epoch,
                "step": steps_done,
                "loss": self.world.sum(self.step_loss).item(),
                "learning_rate": self._learning_rate(steps_done - 1),
                "gradient_norm": None if self.gradient_norm is None else self.gradient_norm.item(),
                **self.speed.lap(self.feed.waited_s),
            }
        )

    def _finish_epoch(self, epoch: int) -> None:
        figures, digest = self.tally.figures(), self.tally.digest()
        assert digest == samples_digest(self.train_rows), "the epoch has not seen every sample once"
        started_s = time.perf_counter()
        validation = self._evaluate(self.validation_rows)
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self.tally.clear()
        self.history.add(
            {
                "kind": "epoch",
                "epoch": epoch,
                "step": (epoch + 1) * self.steps_per_epoch,
                "samples": (epoch + 1) * len(self.train_rows),
                "samples_digest": f"{digest:016x}",
                "learning_rate": self._learning_rate((epoch + 1) * self.steps_per_epoch - 1),
                **figures,
                **validation,
                "validation_seconds": time.perf_counter() - started_s,
            }
        )
        if self.recipe.keep == "best" and is_best(self.history.records, self.recipe, self.epochs.start):
            self.best = {name: tensor.clone() for name, tensor in self.judged().state_dict().items()}

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

    def _evaluate(self, rows: Rows) -> dict[str, float | None]:
        """Loss and accuracy on a split, of what would ship now."""

        def between() -> None:
            self._beat("validate")
            stop, announced = self.world.any(self.stop.requested, self.stop.announced)
            self._save_or_stop(False, stop, announced)

        return evaluate(self.judged(), self.feed, rows, self.precision, self.world, between)

    def _learning_rate(self, global_step: int) -> float:
        """That of a step of the run, counted from 0, before the multipliers of parameter groups."""
        first, n_steps = (epochs * self.steps_per_epoch for epochs in (self.epochs.start, len(self.epochs)))
        return learning_rate_at(global_step - first, n_steps, self.recipe)

    def judged(self) -> nn.Module:
        """What validation looks at: the model of the last step, or its moving average where there is one."""
        return self.average.module if self.average is not None else self.model

    def _save_is_due(self) -> bool:
        return time.monotonic() - self.last_save_s >= self.checkpoint_interval_s

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

    def _save_or_stop(self, due: bool, stop: bool, announced: bool) -> None:
        """Saves if it is time to; saves and leaves if any rank was asked to."""
        if stop or due:
            self._save()
        if stop:
            where = f"stopped at epoch {self.progress.epoch}, step {self.progress.step}"
            raise StoppedError(where, announced=announced, saved=True)

    def _not_finite(self, epoch: int) -> NotFiniteError:
        """The error for the first bad step that any rank has seen, with the images of all."""
        first = first_of_all(self.world.from_all(self.watch.found()))
        rows = self.course.batch(epoch, first.step) if first else self.train_rows[:0]
        name = f"{self.spec.variant}, seed {self.spec.seed}, epoch {epoch}"
        return not_finite_error(first, name, self.data.sample_ids(rows))

    def _beat(self, phase: str) -> None:
        if not self.history.beat_is_due:
            return
        at = self.progress
        epochs_to_go = max(0.0, self.recipe.epochs - at.epoch - at.step / self.steps_per_epoch)
        pace = self.tally.pace(epochs_to_go * len(self.train_rows))
        place = {"epoch": at.epoch + 1, "epochs": self.recipe.epochs, "step": at.step, "steps": self.steps_per_epoch}
        self.history.beat(phase=phase, **place, **pace)

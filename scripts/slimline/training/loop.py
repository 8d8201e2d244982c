"""The loop: one straight line from the first step to the last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from torch import Tensor

from slimline.config.resizing import size_at
from slimline.data.batches import Rows, samples_digest, share, step_seeds
from slimline.models.image_sizes import resized
from slimline.training.evaluate import evaluate
from slimline.training.feed import Batch
from slimline.training.finite import NotFiniteError, first_of_all, not_finite_error
from slimline.training.optimisation import clip_gradients, set_learning_rate, set_training
from slimline.training.parallel import gradient_sync
from slimline.training.run import Run
from slimline.training.schedule import learning_rate_at
from slimline.training.selection import is_best, is_over


class Trainer(Run):
    """Takes one model through one recipe; made with the arguments of `Run`."""

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
        size = self._image_size(global_step)
        losses: list[Tensor] = []
        accumulation = self.spec.allocation.accumulation
        for part in range(accumulation):
            batch = next(batches)
            with gradient_sync(self.parallel, last=part == accumulation - 1):
                with self.precision.autocast():
                    logits = self.parallel(resized(batch.images, size)).float()
                loss = self.loss_sum(logits, batch)
                # Ranks' gradients are averaged: scaled so, they add up to the mean over the global batch.
                self.precision.backward(loss * (self.world.size / n_images))
            losses.append(loss.detach())
            self.tally.see(batch.rows, logits, batch.labels)
        step_loss = sum(losses[1:], losses[0])
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
        self.speed.add(n_images // self.world.size, size)

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
        epochs_done = epoch + 1 - self.epochs.start
        is_validated = epochs_done == len(self.epochs) or epochs_done % self.recipe.validate_every_epochs == 0
        validation = self._evaluate(self.validation_rows) if is_validated else {}
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
        keeps_best = is_validated and self.recipe.keep == "best"
        if keeps_best and is_best(self.history.records, self.recipe, self.epochs.start):
            self.best = {name: tensor.clone() for name, tensor in self.judged().state_dict().items()}

    def _evaluate(self, rows: Rows) -> dict[str, float | None]:
        """Loss and accuracy on a split, of what would ship now."""

        def between() -> None:
            self._beat("validate")
            stop, announced = self.world.any(self.stop.requested, self.stop.announced)
            self._save_or_stop(False, stop, announced)

        return evaluate(self.judged(), self.feed, rows, self.precision, self.world, between)

    def _learning_rate(self, global_step: int) -> float:
        """That of a step of the run, counted from 0, before the multipliers of parameter groups."""
        return learning_rate_at(*self._place_in_round(global_step), self.recipe)

    def _image_size(self, global_step: int) -> tuple[int, int]:
        """Height and width of what the model sees in a step."""
        whole = self.data.stats.image_shape[1:]
        return size_at(*self._place_in_round(global_step), self.recipe.progressive_resizing, whole)

    def _place_in_round(self, global_step: int) -> tuple[int, int]:
        """A step counted from the first one of its round, and how many that has."""
        first, n_steps = (epochs * self.steps_per_epoch for epochs in (self.epochs.start, len(self.epochs)))
        return global_step - first, n_steps

    def _not_finite(self, epoch: int) -> NotFiniteError:
        """The error for the first bad step that any rank has seen, with the images of all."""
        first = first_of_all(self.world.from_all(self.watch.found()))
        rows = self.course.batch(epoch, first.step) if first else self.train_rows[:0]
        name = f"{self.spec.variant}, seed {self.spec.seed}, epoch {epoch}"
        return not_finite_error(first, name, self.data.sample_ids(rows))

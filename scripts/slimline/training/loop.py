"""The loop: one straight line from the first step to the last."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slimline.data.batches import Rows, augment, epoch_order, random_words, samples_digest, share, steps_per_epoch
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.training.checkpoint import Progress, load_checkpoint, newest_valid_checkpoint
from slimline.training.distributed import World
from slimline.training.history import History
from slimline.training.losses import LossSum, cross_entropy
from slimline.training.optimisation import build_optimizer, learning_rate_at, set_learning_rate
from slimline.training.parallel import gradient_sync, parallelise
from slimline.training.saver import Saver
from slimline.training.settings import RunSettings
from slimline.training.spec import CHECKPOINTS_FOLDER, TrainingSpec, checkpoint_name
from slimline.training.stop import StoppedError, StopRequest

EVALUATION_BATCH = 1024


class Trainer:
    """Takes one model through one recipe, from the start or from the newest checkpoint.

    Args:
        model: the model; it is moved to the rank's device and changed in place.
        spec: the job.
        loss_sum: the training loss, summed over a batch.
        world: this rank among its peers.
        folder: the job's folder: checkpoints, history and heartbeat lie there.
        stop: the request to stop, asked at every step boundary.
    """

    def __init__(
        self, model: nn.Module, spec: TrainingSpec, loss_sum: LossSum, world: World, folder: Path, stop: StopRequest
    ) -> None:
        self.spec, self.recipe, self.world, self.stop = spec, spec.recipe, world, stop
        self.data = PreparedDataset.open(spec.prepared)
        self.loss_sum = loss_sum
        self.model = model.to(world.device).to(memory_format=torch.channels_last)
        self.parallel = parallelise(self.model, world, self.recipe.sync_batch_norm)
        self.optimizer = build_optimizer(self.model, self.recipe)
        self.checkpoints = folder / CHECKPOINTS_FOLDER
        settings = RunSettings.read(folder)
        self.checkpoint_interval_s = settings.checkpoint_interval_s
        self.saver = Saver(self.checkpoints, self.model, world, in_background=settings.checkpoint == "async")
        # The main rank chooses: on a shared file system others may not see the newest one yet.
        newest = world.from_main(newest_valid_checkpoint(self.checkpoints) if world.is_main else None)
        resumed = load_checkpoint(self.checkpoints / newest, self.model, [self.optimizer])[0] if newest else None
        self.progress = resumed or Progress()
        if world.rank > 0:
            self.progress.sums, self.progress.digest = {}, 0  # a checkpoint's are those of all ranks: counted once
        self.history = History(folder, self.progress.records, writes=world.is_main)
        if resumed:
            self.history.add({"kind": "resume", "epoch": resumed.epoch, "step": resumed.step})
        self.train_rows = self.data.rows("train")
        self.steps_per_epoch = steps_per_epoch(len(self.train_rows), self.recipe.batch_size)
        self.last_save_s = time.monotonic()

    def fit(self) -> None:
        """Runs the remaining epochs.

        Raises:
            StoppedError: a stop was requested; a checkpoint holds the position.
            SlimlineError: the loss became infinite or not a number.
        """
        with self.saver:
            for epoch in range(self.progress.epoch, self.recipe.epochs):
                self._train_epoch(epoch)
                self._finish_epoch(epoch)

    def _train_epoch(self, epoch: int) -> None:
        self.model.train()
        order = epoch_order(self.train_rows, self.spec.seed, epoch)
        for step in range(self.progress.step, self.steps_per_epoch):
            started_s = time.perf_counter()
            self._train_step(epoch, step, share(order, self.steps_per_epoch, step))
            self.progress.step = step + 1
            self._add("seconds", time.perf_counter() - started_s)
            self._beat("train")
            stop, due = self.world.any(self.stop.requested, self._save_is_due())
            if stop or due:
                self._save()
            if stop:
                raise self._stopped()

    def _train_step(self, epoch: int, step: int, batch: Rows) -> None:
        """One optimizer step on the global batch of rows [n], of which this rank sees its share."""
        global_step = epoch * self.steps_per_epoch + step
        total_steps = self.recipe.epochs * self.steps_per_epoch
        set_learning_rate(self.optimizer, learning_rate_at(global_step, total_steps, self.recipe))
        # Dropout draws from the global generator: seeded by position, it needs no place in a checkpoint.
        position = np.array([global_step * self.world.size + self.world.rank])
        torch.manual_seed(int(random_words(self.spec.seed, epoch, position, draw=4)[0] >> np.uint64(1)))
        self.optimizer.zero_grad(set_to_none=True)
        mine = share(batch, self.world.size, self.world.rank)
        accumulation = self.spec.allocation.accumulation
        for part in range(accumulation):
            images, labels, rows = self._load(share(mine, accumulation, part))
            images = augment(images, self.recipe.augmentation, self.spec.seed, epoch, rows)
            with gradient_sync(self.parallel, last=part == accumulation - 1):
                with self._autocast():
                    logits = self.parallel(images).float()
                loss = self.loss_sum(logits, labels, images)
                # Ranks' gradients are averaged: scaled so, they add up to the mean over the global batch.
                torch.autograd.backward(loss * (self.world.size / len(batch)))
            self._add("loss", loss.detach())
            self._add("correct", (logits.detach().argmax(1) == labels).sum())
            self._add("samples", len(rows))
            self.progress.digest = (self.progress.digest + samples_digest(rows)) % 2**64
        self.optimizer.step()

    def _finish_epoch(self, epoch: int) -> None:
        sums = self._total(["loss", "correct", "samples"])
        seconds, wait_s = (float(self.progress.sums.get(name, 0.0)) for name in ("seconds", "data_wait"))
        train_loss = sums["loss"] / sums["samples"]
        if not math.isfinite(train_loss):
            raise SlimlineError(
                "The training loss is not a finite number any more.",
                where=f"{self.spec.variant}, seed {self.spec.seed}, epoch {epoch}",
                got=f"loss {train_loss}",
                next_step="lower train.learning_rate or raise train.warmup",
            )
        digest = self._total_digest()
        assert digest == samples_digest(self.train_rows), "the epoch has not seen every sample once"
        started_s = time.perf_counter()
        validation = self._evaluate(self.data.rows("validation"))
        self.progress.epoch, self.progress.step, self.progress.sums, self.progress.digest = epoch + 1, 0, {}, 0
        self.history.add(
            {
                "kind": "epoch",
                "epoch": epoch,
                "step": (epoch + 1) * self.steps_per_epoch,
                "samples": (epoch + 1) * len(self.train_rows),
                "samples_digest": f"{digest:016x}",
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "train_loss": train_loss,
                "train_accuracy": sums["correct"] / sums["samples"],
                **validation,
                "images_per_s": sums["samples"] / max(seconds, 1e-9),
                "data_wait_share": wait_s / max(seconds, 1e-9),
                "seconds": seconds,
                "validation_seconds": time.perf_counter() - started_s,
            }
        )

    @torch.no_grad()
    def _evaluate(self, rows: Rows) -> dict[str, float | None]:
        """Loss and accuracy on the rows [n] of a split, each rank on its share; None without any."""
        if not len(rows):
            return {"validation_loss": None, "validation_accuracy": None}
        self.model.eval()
        plain_loss = cross_entropy(label_smoothing=0.0)
        sums = torch.zeros(2, dtype=torch.float64, device=self.world.device)
        mine = share(rows, self.world.size, self.world.rank)
        # As many rounds on every rank, though shares differ by one: they agree on stopping in each.
        for part in range(rounds := -(-len(rows) // (self.world.size * EVALUATION_BATCH))):
            images, labels, _ = self._load(share(mine, rounds, part))
            with self._autocast():
                logits = self.model(images).float()
            sums += torch.stack([plain_loss(logits, labels, images).double(), (logits.argmax(1) == labels).sum()])
            self._beat("validate")
            if any(self.world.any(self.stop.requested)):
                self._save()
                raise self._stopped()
        loss, correct = self.world.sum(sums).tolist()
        return {"validation_loss": loss / len(rows), "validation_accuracy": correct / len(rows)}

    def _load(self, rows: Rows) -> tuple[Tensor, Tensor, Rows]:
        """Float images [n, c, h, w] in 0..255 and labels [n] on the device."""
        started_s = time.perf_counter()
        images = torch.from_numpy(self.data.read(rows)).to(self.world.device, non_blocking=True)
        labels = torch.from_numpy(self.data.labels[rows]).to(self.world.device, non_blocking=True)
        self._add("data_wait", time.perf_counter() - started_s)
        return images.float().contiguous(memory_format=torch.channels_last), labels, rows

    def _autocast(self) -> torch.autocast:
        enabled = self.spec.allocation.precision == "bf16"
        return torch.autocast(self.world.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _add(self, name: str, value: Any) -> None:
        self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value

    def _total(self, names: list[str]) -> dict[str, float]:
        """Sums of the epoch over all ranks."""
        values = torch.tensor(
            [float(self.progress.sums.get(name, 0.0)) for name in names], dtype=torch.float64, device=self.world.device
        )
        return dict(zip(names, self.world.sum(values).tolist(), strict=True))

    def _total_digest(self) -> int:
        """Which samples the epoch has seen on all ranks together."""
        signed = self.progress.digest - (self.progress.digest >> 63 << 64)
        return int(self.world.sum(torch.tensor(signed, device=self.world.device)).item()) % 2**64

    def _save_is_due(self) -> bool:
        return time.monotonic() - self.last_save_s >= self.checkpoint_interval_s

    def _stopped(self) -> StoppedError:
        return StoppedError(f"stopped at epoch {self.progress.epoch}, step {self.progress.step}", self.stop.number)

    def _save(self) -> None:
        """Writes a checkpoint; the epoch's sums are those of all ranks, kept by the main one."""
        totals, digest = self._total(["loss", "correct", "samples"]), self._total_digest()
        timing = {name: float(self.progress.sums.get(name, 0.0)) for name in ("seconds", "data_wait")}
        sums = totals | timing if self.progress.step else {}
        at = Progress(self.progress.epoch, self.progress.step, sums, digest, self.history.records)
        self.saver.save(checkpoint_name(at.epoch, at.step), self.model, [self.optimizer], at)
        self.last_save_s = time.monotonic()

    def _beat(self, phase: str) -> None:
        """Tells where the run is; loss and speed are those of this rank's share of the epoch."""
        if not self.history.beat_is_due:
            return
        at, sums = self.progress, self.progress.sums
        done = at.epoch * self.steps_per_epoch + at.step
        images_per_s = sums["samples"] * self.world.size / sums["seconds"] if sums.get("seconds") else 0.0
        remaining = (self.recipe.epochs * self.steps_per_epoch - done) / self.steps_per_epoch * len(self.train_rows)
        self.history.beat(
            phase=phase,
            epoch=at.epoch + 1,
            epochs=self.recipe.epochs,
            step=at.step,
            steps=self.steps_per_epoch,
            loss=float(sums["loss"]) / sums["samples"] if sums.get("samples") else None,
            images_per_s=images_per_s,
            eta_s=remaining / images_per_s if images_per_s else None,
        )

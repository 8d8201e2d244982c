"""What a student learns from: one model or several, asked anew for every batch, or once for every training image."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from slimline.config.students import can_be_remembered
from slimline.data.batches import Rows, share
from slimline.data.prepared import PreparedDataset
from slimline.files import replacing
from slimline.models.artifact import load_artifact
from slimline.models.feature_maps import Size, recorded
from slimline.training.attention_transfer import attention
from slimline.training.distributed import World
from slimline.training.evaluate import batch_size
from slimline.training.feed import Batch, Feed
from slimline.training.history import Pulse
from slimline.training.losses import Distillation, Teaching
from slimline.training.spec import TrainingSpec

CACHE_FILE = "teacher.safetensors"
TABLE = "log_probabilities"

log = logging.getLogger("slimline")


class Ensemble:
    """The mean of the softened distributions of one or more models (Hinton, Vinyals and Dean, 2015).

    Args:
        models: in evaluation mode, on the device of the images.
        temperature: what their logits are divided by before the softmax.
        layers: the layers of each model whose attention is wanted, by size.
        autocast: context of a forward pass; in full precision by default.

    Attributes:
        attention: after a call, the mean attention [n, h * w] of the models, by size.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        temperature: float,
        layers: Sequence[Mapping[Size, str]] = (),
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.models, self.temperature, self.autocast = models, temperature, autocast
        self.layers = layers or [{} for _ in models]
        self.attention: dict[Size, Tensor] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Logarithms of the mean softened probabilities, [n, k]."""
        answers, attentions = [], []
        for model, layers in zip(self.models, self.layers, strict=True):
            features: dict[Size, Tensor] = {}
            with recorded(model, layers, into=features):
                with self.autocast():
                    logits = model(batch.images).float()
                attentions.append({size: attention(features[size]) for size in layers})
            answers.append(functional.log_softmax(logits / self.temperature, dim=1))
        self.attention = {size: torch.stack([maps[size] for maps in attentions]).mean(0) for size in attentions[0]}
        return torch.logsumexp(torch.stack(answers), dim=0) - math.log(len(answers))


class Remembered:
    """Answers that were given once.

    Args:
        rows: the images that were asked about, int64 [n], ascending.
        table: logarithms of probabilities [n, k], on the device of the images.
    """

    def __init__(self, rows: Rows, table: Tensor) -> None:
        self.rows, self.table = rows, table

    def __call__(self, batch: Batch) -> Tensor:
        """The answers to the images of a batch, [n, k]."""
        return self.table[torch.from_numpy(np.searchsorted(self.rows, batch.rows)).to(self.table.device)]


def loaded(artifacts: Sequence[Path], world: World) -> list[nn.Sequential]:
    """The models of artifacts as teachers: on the rank's device, in evaluation mode, without gradients."""
    models = [load_artifact(folder)[0] for folder in artifacts]
    return [model.to(world.device).to(memory_format=torch.channels_last).requires_grad_(False) for model in models]


def distillation(teachers: Ensemble, weight: float, spec: TrainingSpec, world: World, folder: Path) -> Distillation:
    """The loss on logits alone; teachers answer once for all where each image is always the same.

    Args:
        teachers: the teachers.
        weight: of their term.
        spec: the job.
        world: the ranks that share the work.
        folder: the job's folder.
    """
    data = PreparedDataset.open(spec.prepared)
    once = can_be_remembered(0.0, spec.recipe.augmentation, data.stats.n_train, data.stats.num_classes)
    teaching = remembered(teachers, data, spec, world, folder) if once else teachers
    return Distillation(teaching, teachers.temperature, weight, spec.recipe.label_smoothing)


def remembered(teaching: Teaching, data: PreparedDataset, spec: TrainingSpec, world: World, folder: Path) -> Remembered:
    """The teachers' answers to all training images, from the job's folder where an earlier attempt left them.

    Every rank asks about its share. What is read back is what was computed, so a resumed training sees the same bits.

    Args:
        teaching: the teachers.
        data: the dataset of the job.
        spec: the job.
        world: the ranks that share the work.
        folder: the job's folder.
    """
    rows, path = data.rows("train"), folder / CACHE_FILE
    is_there = world.from_main("yes" if world.is_main and _is_of(path, spec.digest) else None)
    if is_there:
        table = load_file(path)[TABLE].to(world.device)
    else:
        log.info("The teacher looks at the %d training images, once.", len(rows))
        table = _asked(teaching, data, rows, spec, world, Pulse(folder, world.is_main))
        if world.is_main:
            with replacing(path) as temporary:
                save_file({TABLE: table.cpu()}, temporary, metadata={"spec": spec.digest})
        world.barrier()
    return Remembered(rows, table)


def _asked(
    teaching: Teaching, data: PreparedDataset, rows: Rows, spec: TrainingSpec, world: World, pulse: Pulse
) -> Tensor:
    """The answers to `rows` [n], [n, k], the same on every rank."""
    feed = Feed(data, spec.recipe, spec.seed, world.device, spec.allocation.cpus_per_task)
    table = torch.zeros(len(rows), data.stats.num_classes, device=world.device)
    mine = share(rows, world.size, world.rank)
    parts = -(-len(mine) // batch_size(data.stats.height, data.stats.width))
    with closing(feed.plain(share(mine, parts, part) for part in range(parts))) as batches:
        for batch in pulse.through("teach", batches):
            table[torch.from_numpy(np.searchsorted(rows, batch.rows)).to(world.device)] = teaching(batch)
    return world.sum(table)  # each row is zero on all ranks but one


def _is_of(path: Path, digest: str) -> bool:
    """Whether a file holds the answers of this job, whole."""
    if not path.exists():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return bool((file.metadata() or {}).get("spec") == digest)
    except (OSError, SafetensorError) as error:
        log.warning("%s cannot be read (%s): the teacher is asked again.", path, error)
        return False

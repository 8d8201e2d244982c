"""Distillation: a smaller student is trained on its teachers' softened distributions, and on where they look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from slimline.compression.teachers import Ensemble, distillation, loaded
from slimline.config.variants import DistilConfig
from slimline.data.prepared import PreparedDataset
from slimline.models.architecture import Architecture
from slimline.models.artifact import build
from slimline.models.feature_maps import Size, common_sizes, last_layers, recorded
from slimline.models.pretrained import start_from
from slimline.models.registry import architecture_for
from slimline.training.attention_transfer import attention_distance
from slimline.training.distributed import World
from slimline.training.feed import Batch
from slimline.training.job import run_training
from slimline.training.losses import Distillation, LossSum
from slimline.training.precision import Precision
from slimline.training.spec import TrainingSpec


class AttentiveDistillation(LossSum):
    """Distillation, and attention transfer from the same forward pass of the teachers.

    Args:
        distillation: the loss on the logits.
        teachers: those that it asks; they note their attention.
        layers: the student's layers that give feature maps of the teachers' sizes.
        weight: of the attention's term.
    """

    def __init__(
        self, distillation: Distillation, teachers: Ensemble, layers: Mapping[Size, str], weight: float
    ) -> None:
        self.distillation, self.teachers, self.layers, self.weight = distillation, teachers, layers, weight
        self.features: dict[Size, Tensor] = {}

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """See `LossSum`."""
        loss = self.distillation(logits, batch)
        loss = loss + self.weight * attention_distance(self.features, self.teachers.attention)
        self.features.clear()  # with them the graph behind them, before the next forward pass makes another
        return loss

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """See `LossSum`: hooks on the student's layers take its feature maps."""
        with recorded(model, self.layers, into=self.features):
            yield


def run(spec: TrainingSpec, folder: Path) -> None:
    """Entry point of a distillation job."""
    run_training(spec, folder, partial(_student, folder=folder))


def _student(spec: TrainingSpec, world: World, folder: Path) -> tuple[nn.Module, Architecture, LossSum]:
    assert isinstance(spec.step, DistilConfig)
    assert spec.model is not None
    data = PreparedDataset.open(spec.prepared)
    architecture = architecture_for(spec.model, data.stats)
    model = build(architecture)
    start_from(model, spec.model)
    return model, architecture, _loss(spec, spec.step, model, data, world, folder)


def _loss(
    spec: TrainingSpec, step: DistilConfig, student: nn.Sequential, data: PreparedDataset, world: World, folder: Path
) -> LossSum:
    assert spec.parent is not None
    models = loaded(spec.teachers or (spec.parent,), world)
    autocast = Precision(spec.allocation.precision, world.device).autocast
    if not step.feature_weight:
        return distillation(Ensemble(models, step.temperature, autocast=autocast), step.weight, spec, world, folder)
    shape = data.stats.image_shape
    own, theirs = last_layers(student, shape), [last_layers(model, shape) for model in models]
    sizes = common_sizes(own, theirs[0], f"variant {spec.variant}")
    watched_layers = [{size: layers[size] for size in sizes} for layers in theirs]
    watched = Ensemble(models, step.temperature, watched_layers, autocast)
    on_logits = Distillation(watched, step.temperature, step.weight, spec.recipe.label_smoothing)
    return AttentiveDistillation(on_logits, watched, {size: own[size] for size in sizes}, step.feature_weight)

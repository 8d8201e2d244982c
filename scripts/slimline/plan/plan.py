"""`plan.json` of a variant: the request of one of its training jobs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig, ratio_after
from slimline.config.resizing import share_of_work, sizes_at_first
from slimline.config.students import can_be_remembered
from slimline.config.train import TrainConfig
from slimline.data.prepared import PreparedDataset, Stats
from slimline.files import write_json
from slimline.models.architecture import Architecture
from slimline.models.artifact import build
from slimline.models.feature_maps import common_sizes, last_layers
from slimline.models.image_sizes import check_sizes
from slimline.models.registry import architecture_for
from slimline.plan.allocation import choose
from slimline.plan.footprint import Teachers, footprint, reconstruction_bytes, teachers_footprint

FORMAT = 1
# Of a scan for sensitivity, see `slimline.compression.sensitivity`: images in a trial, and trials of a layer at most.
SCAN_IMAGES, SCAN_TRIALS = 512, 3
# Of a reconstruction, see `slimline.compression.reconstruction`: two, and for the regressions as much again. And of
# the order of channels, see `slimline.compression.redundancy`.
RECONSTRUCTION_PASSES, RANKING_PASSES = 4, 2


class TeacherPlan(BaseModel):
    """Who teaches a student.

    Attributes:
        model: the teachers' model; of a pruned one what it was before, an upper bound.
        number: how many of them there are.
        feature_weight: whether, and how much, feature maps are compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelConfig
    number: int
    feature_weight: float = 0.0


def plan_variant(
    variant: str,
    step: str,
    model: ModelConfig,
    teacher: TeacherPlan | None,
    recipe: TrainConfig,
    cluster: ClusterConfig,
    prepared: Path,
    output: Path,
    prune: PruneConfig | None = None,
) -> None:
    """Plans one seed of a variant that takes gradient steps.

    Args:
        variant: its name.
        step: `train`, or the step on a parent.
        model: what is trained; for pruning the parent's model, or what that was before it was pruned.
        teacher: who teaches it; None where nobody does.
        recipe: epochs, batch size, ranks.
        cluster: what a job may ask for.
        prepared: folder of the prepared data, for image size and number of samples.
        output: `plan.json` of the variant.
        prune: settings of the pruning, where that is the step.

    Raises:
        SlimlineError: no layout holds the job, the model cannot train on images of several sizes, or student and
            teacher have no feature maps to compare.
    """
    data = PreparedDataset.open(prepared)
    architecture = architecture_for(model, data.stats)
    resizing, whole = recipe.progressive_resizing, data.stats.image_shape[1:]
    check_sizes(architecture, sizes_at_first(resizing, whole), "train.progressive_resizing")
    share = share_of_work(resizing, whole) * (share_trained(prune) if prune is not None else 1.0)
    size = replace(footprint(architecture), share_trained=share)
    if prune is not None and prune.granularity == "channels" and prune.reconstruction_samples:
        size = replace(size, before_bytes=reconstruction_bytes(architecture, prune.reconstruction_samples))
    if teacher is not None:
        size = replace(size, teachers=_teachers(variant, architecture, teacher, recipe, data.stats))
    besides = images_besides(prune, size.layers) if prune is not None else 0
    write_json(
        output,
        {
            "format": FORMAT,
            "variant": variant,
            "step": step,
            **choose(size, recipe, data.stats.n_train, cluster, besides),
            "parameters": size.parameters,
            "macs": size.macs,
            "teachers": asdict(size.teachers) if size.teachers else None,
            "basis": {
                "weight_bytes": size.weight_bytes,
                "activation_bytes_per_image": size.activation_bytes_per_image,
                "n_samples": data.stats.n_train,
                "epochs": recipe.epochs,
                "batch_size": recipe.batch_size,
                "share_trained": share,
            },
        },
    )


def _teachers(variant: str, student: Architecture, teacher: TeacherPlan, recipe: TrainConfig, stats: Stats) -> Teachers:
    architecture = architecture_for(teacher.model, stats)
    if teacher.feature_weight:  # said before anything is queued
        own, theirs = (last_layers(build(model), stats.image_shape) for model in (student, architecture))
        common_sizes(own, theirs, f"variant {variant}")
    once = can_be_remembered(teacher.feature_weight, recipe.augmentation, stats.n_train, stats.num_classes)
    cache_bytes = stats.n_train * stats.num_classes * 4 if once else 0
    return teachers_footprint(architecture, teacher.number, cache_bytes)


def images_besides(prune: PruneConfig, layers: int) -> int:
    """Forward passes of a pruning that are no steps of training, at the most.

    Args:
        prune: its settings.
        layers: layers with channels to remove.
    """
    scan = SCAN_IMAGES * (1 + SCAN_TRIALS * layers) if prune.allocation == "sensitivity" else 0
    passes = RECONSTRUCTION_PASSES + (RANKING_PASSES if prune.ranking == "redundancy" else 0)
    reconstruction = passes * prune.reconstruction_samples if prune.granularity == "channels" else 0
    return prune.iterations * (prune.recalibration_samples + scan + reconstruction)


def share_trained(prune: PruneConfig) -> float:
    """The share of a network's work that a step of fine-tuning takes, on the mean over the rounds of a pruning.

    That of the channels that are left. MACs fall with its square, time does not: what waits for memory falls with the
    channels, what waits for a kernel to start not at all.
    """
    if prune.granularity == "weights":
        return 1.0
    rounds = prune.iterations
    return sum(1 - ratio_after(prune.ratio, number, rounds) for number in range(1, rounds + 1)) / rounds

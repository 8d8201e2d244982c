"""The pruning job: channels or weights go, batch normalisation is set right, the rest is tuned; maybe in rounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from slimline.compression.allocation import Scan
from slimline.compression.channels import ChannelGroup
from slimline.compression.reconstruction import Kept, reconstruct
from slimline.compression.redundancy import by_redundancy
from slimline.compression.sensitivity import scan_losses
from slimline.compression.structured import Goal, WithImages, prune, sizes
from slimline.compression.teachers import Ensemble, distillation, loaded
from slimline.config.pruning import PruneConfig, images_at_once, ratio_after
from slimline.data.batches import random_sample, share
from slimline.data.prepared import PreparedDataset
from slimline.errors import NotSupportedError
from slimline.models.architecture import Architecture
from slimline.models.artifact import load_artifact
from slimline.models.count import largest_activation_bytes
from slimline.models.sparsity import share_of_zeros, zero_smallest
from slimline.training.batch_norm import recalibrate
from slimline.training.distributed import World
from slimline.training.evaluate import batch_size
from slimline.training.feed import Feed
from slimline.training.history import Pulse
from slimline.training.job import run_training
from slimline.training.losses import LossSum, cross_entropy
from slimline.training.precision import Precision
from slimline.training.spec import TrainingSpec

SAMPLE_BATCH = 128


def run(spec: TrainingSpec, folder: Path) -> None:
    """Entry point of a pruning job."""
    run_training(spec, folder, partial(_parent, folder=folder), change=_prune_round, rounds=_settings(spec).iterations)


def _parent(spec: TrainingSpec, world: World, folder: Path) -> tuple[nn.Module, Architecture, LossSum]:
    assert spec.parent is not None
    model, architecture = load_artifact(spec.parent)
    config = _settings(spec)
    if not config.teacher_weight:
        return model, architecture, cross_entropy(spec.recipe.label_smoothing)
    autocast = Precision(spec.allocation.precision, world.device).autocast
    teachers = Ensemble(loaded([spec.parent], world), config.temperature, autocast=autocast)
    return model, architecture, distillation(teachers, config.teacher_weight, spec, world, folder)


def _prune_round(
    spec: TrainingSpec,
    world: World,
    folder: Path,
    model: nn.Module,
    architecture: Architecture,
    rounds: list[dict[str, Any]],
) -> tuple[Architecture, dict[str, Any]]:
    """One round's removal, and the statistics of batch normalisation that belong to what is left."""
    config, pulse, data = _settings(spec), Pulse(folder, world.is_main), PreparedDataset.open(spec.prepared)
    ratio = ratio_after(config.ratio, len(rounds) + 1, config.iterations)
    feed = Feed(data, spec.recipe, spec.seed, world.device, spec.allocation.cpus_per_task)
    pulse.beat("prune")
    if config.granularity == "weights":
        if not rounds and (zeros := share_of_zeros(model)) >= config.ratio:
            raise _sparse_already(zeros, config.ratio)
        before = sizes(model, architecture)
        architecture = replace(architecture, sparsity=zero_smallest(model, ratio))
        note = {"ratio": ratio, "before": before, "after": before | {"sparsity": architecture.sparsity}}
    else:
        at_first = {name: layer["channels"] for name, layer in rounds[0]["layers"].items()} if rounds else None
        goal = Goal(ratio, at_first, spec.seed * 100 + len(rounds))

        def measure(network: nn.Module, groups: list[ChannelGroup]) -> Scan:
            return scan_losses(network, groups, config.round_to, feed, spec.seed, world, pulse)

        def mend(pruned: nn.Module, parent: nn.Module, kept: Kept) -> dict[str, Any]:
            return _reconstruct(pruned, parent, kept, feed, config.reconstruction_samples, spec.seed, world, pulse)

        def rank(network: nn.Module, groups: list[ChannelGroup]) -> list[ChannelGroup]:
            return _rank(network, groups, feed, config.reconstruction_samples, spec.seed, world, pulse)

        # A reconstruction would fill in the zeros of a sparse parent.
        mends = bool(config.reconstruction_samples) and not architecture.sparsity
        images = WithImages(measure, rank if mends or config.importance else None, mend if mends else None)
        architecture, note = prune(model, architecture, config, goal, images)
        if architecture.sparsity:  # the parent's; among what is left it may be another
            architecture = replace(architecture, sparsity=share_of_zeros(model))
    if config.recalibration_samples:
        _recalibrate(model, feed, config.recalibration_samples, spec.seed, world, pulse)
    return architecture, note


def _reconstruct(
    model: nn.Module,
    parent: nn.Module,
    kept: Kept,
    feed: Feed,
    n_samples: int,
    seed: int,
    world: World,
    pulse: Pulse,
) -> dict[str, Any]:
    """On training images as they are; all ranks see the same ones."""
    model.to(world.device)
    parent.to(world.device)
    largest = largest_activation_bytes(parent, feed.data.stats.image_shape)
    rows = random_sample(feed.data.rows("train"), images_at_once(n_samples, largest), seed)
    with closing(feed.plain([rows])) as batches:
        images = next(batches).images
    pulse.beat("reconstruct")
    fitted = reconstruct(model, parent, kept, images, seed, partial(pulse.beat, "reconstruct"))
    world.copy_from_main(model.parameters())
    return {"reconstruction": {"samples": len(rows), "layers": fitted}}


def _rank(
    model: nn.Module,
    groups: list[ChannelGroup],
    feed: Feed,
    n_samples: int,
    seed: int,
    world: World,
    pulse: Pulse,
) -> list[ChannelGroup]:
    """On the images of the reconstruction, of which there may be more here; all ranks come to the same answer."""
    model.to(world.device)
    at_once = images_at_once(SAMPLE_BATCH, largest_activation_bytes(model, feed.data.stats.image_shape))
    with _sample(feed, n_samples, seed, at_once) as batches:
        ranked = by_redundancy(model, groups, pulse.through("rank", batches), partial(pulse.beat, "rank"))
    model.cpu()
    importances = [group.importance.to(world.device) for group in ranked]
    world.copy_from_main(importances)
    return [replace(group, importance=scores.cpu()) for group, scores in zip(ranked, importances, strict=True)]


def _recalibrate(model: nn.Module, feed: Feed, n_samples: int, seed: int, world: World, pulse: Pulse) -> None:
    model.to(world.device)
    with _sample(feed, n_samples, seed, SAMPLE_BATCH) as batches:
        recalibrate(model, pulse.through("recalibrate", batches))
    world.copy_from_main(model.buffers())


@contextmanager
def _sample(feed: Feed, n_samples: int, seed: int, at_once: int) -> Iterator[Iterator[Tensor]]:
    """Batches of training images as they are, [n, c, h, w] with n up to `at_once`; all ranks see the same ones."""
    rows, stats = random_sample(feed.data.rows("train"), n_samples, seed), feed.data.stats
    parts = -(-len(rows) // min(at_once, batch_size(stats.height, stats.width)))
    with closing(feed.plain(share(rows, parts, part) for part in range(parts))) as batches:
        yield (batch.images for batch in batches)


def _sparse_already(zeros: float, ratio: float) -> NotSupportedError:
    return NotSupportedError(
        "No weight was to go.",
        where="`prune` of a variant with granularity: weights",
        got=f"a parent of whose weights {zeros:.0%} are zero already",
        expected=f"fewer than the {ratio:.0%} of `ratio`, which counts them too",
        next_step="raise ratio",
    )


def _settings(spec: TrainingSpec) -> PruneConfig:
    assert isinstance(spec.step, PruneConfig)
    return spec.step

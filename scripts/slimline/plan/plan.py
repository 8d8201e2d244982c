"""`plan.json` of a variant: the request of one of its training jobs."""

from __future__ import annotations

from pathlib import Path

from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.config.variants import PruneConfig
from slimline.data.prepared import PreparedDataset
from slimline.files import write_json
from slimline.models.registry import architecture_for
from slimline.plan.allocation import choose
from slimline.plan.footprint import footprint

FORMAT = 1
# Of a scan for sensitivity, see `slimline.compression.sensitivity`: images in a trial, and trials of a layer at most.
SCAN_IMAGES, SCAN_TRIALS = 512, 3


def plan_variant(
    variant: str,
    step: str,
    model: ModelConfig,
    recipe: TrainConfig,
    cluster: ClusterConfig,
    prepared: Path,
    output: Path,
    prune: PruneConfig | None = None,
) -> None:
    """Plans one seed of a variant that takes gradient steps.

    Args:
        variant: its name.
        step: `train`, `prune` or `distil`.
        model: what is trained; for pruning the parent's model, an upper bound of what is left of it.
        recipe: epochs, batch size, ranks.
        cluster: what a job may ask for.
        prepared: folder of the prepared data, for image size and number of samples.
        output: `plan.json` of the variant.
        prune: settings of the pruning, where that is the step.
    """
    data = PreparedDataset.open(prepared)
    size = footprint(architecture_for(model, data.stats))
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
            "basis": {
                "weight_bytes": size.weight_bytes,
                "activation_bytes_per_image": size.activation_bytes_per_image,
                "n_samples": data.stats.n_train,
                "epochs": recipe.epochs,
                "batch_size": recipe.batch_size,
            },
        },
    )


def images_besides(prune: PruneConfig, layers: int) -> int:
    """Forward passes of a pruning that are no steps of training, at the most.

    Args:
        prune: its settings.
        layers: layers with channels to remove.
    """
    scan = SCAN_IMAGES * (1 + SCAN_TRIALS * layers) if prune.allocation == "sensitivity" else 0
    return prune.iterations * (prune.recalibration_samples + scan)

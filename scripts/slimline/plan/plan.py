"""`plan.json` of a variant: the request of one of its training jobs."""

from __future__ import annotations

from pathlib import Path

from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.data.prepared import PreparedDataset
from slimline.files import write_json
from slimline.models.registry import architecture_for
from slimline.plan.allocation import choose
from slimline.plan.footprint import footprint

FORMAT = 1


def plan_variant(
    variant: str,
    step: str,
    model: ModelConfig,
    recipe: TrainConfig,
    cluster: ClusterConfig,
    prepared: Path,
    output: Path,
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
    """
    data = PreparedDataset.open(prepared)
    size = footprint(architecture_for(model, data.stats))
    write_json(
        output,
        {
            "format": FORMAT,
            "variant": variant,
            "step": step,
            **choose(size, recipe, data.stats.n_train, cluster),
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

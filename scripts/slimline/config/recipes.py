"""The recipe of each training job: the experiment's, with what its step changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slimline.config.train import TrainConfig
from slimline.config.variants import VariantConfig

if TYPE_CHECKING:
    from slimline.config.experiment import ExperimentConfig


def recipe_for(experiment: ExperimentConfig, variant: str) -> TrainConfig:
    """The recipe that makes `variant`, which takes gradient steps."""
    if experiment.step(variant) == "train":
        return experiment.train
    recipe = step_recipe(experiment.train, experiment.made[variant])
    if recipe is None:
        raise ValueError(f"{variant} takes no gradient steps")
    return recipe


def step_recipe(recipe: TrainConfig, config: VariantConfig) -> TrainConfig | None:
    """The recipe of a step on a parent; None where it takes no gradient steps.

    Training that goes on from the parent's weights starts at half of the peak learning rate unless told otherwise:
    they are good already; quantization-aware training, with better ones still, at a tenth. What the dense model freezes
    or trains slower is about its start, so variants train everything, and so are smaller images. None ends early: a
    variant and its control have equal budgets only where both run all of their epochs.
    """
    changes: dict[str, Any]
    if config.prune is not None:
        changes = {
            "epochs": config.prune.epochs,
            "learning_rate": config.prune.learning_rate or recipe.learning_rate / 2,
        }
    elif config.finetune is not None:
        changes = {
            "epochs": config.finetune.epochs,
            "learning_rate": config.finetune.learning_rate or recipe.learning_rate / 2,
        }
    elif config.distil is not None:
        changes = {
            "epochs": config.distil.epochs or recipe.epochs,
            "learning_rate": config.distil.learning_rate or recipe.learning_rate,
        }
        if config.distil.feature_weight:
            changes["compile"] = "never"  # compiled code does not call the hooks that take the feature maps
            changes["progressive_resizing"] = None  # its maps and the teachers' are compared where they have one size
    elif config.quantize is not None and config.quantize.epochs:
        changes = {
            "epochs": config.quantize.epochs,
            "learning_rate": config.quantize.learning_rate or recipe.learning_rate / 10,
            "sync_batch_norm": False,  # its statistics are frozen
            # A layer that is cut between ranks has no scale per channel.
            "parallelism": "auto" if "tp" in recipe.parallelism else recipe.parallelism,
        }
    else:
        return None
    if config.distil is None:
        changes["progressive_resizing"] = None
    return recipe.model_copy(update={**changes, "freeze": [], "learning_rate_multipliers": {}, "early_stopping": None})

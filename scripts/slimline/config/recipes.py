"""The recipe of each training job: the experiment's, with what its step changes."""

from __future__ import annotations

from slimline.config.experiment import ExperimentConfig
from slimline.config.train import TrainConfig


def recipe_for(experiment: ExperimentConfig, variant: str) -> TrainConfig:
    """The recipe that makes `variant`, a dense, pruned or distilled one.

    Fine-tuning after pruning starts at half of the peak learning rate unless told otherwise: its weights
    are good already. What the dense model freezes or trains slower is about its start, so variants train everything.
    """
    recipe = experiment.train
    if experiment.step(variant) == "train":
        return recipe
    config = experiment.variants[variant]
    if config.prune is not None:
        changes = {
            "epochs": config.prune.epochs,
            "learning_rate": config.prune.learning_rate or recipe.learning_rate / 2,
        }
    elif config.distil is not None:
        changes = {
            "epochs": config.distil.epochs or recipe.epochs,
            "learning_rate": config.distil.learning_rate or recipe.learning_rate,
        }
    else:
        raise ValueError(f"{variant} takes no gradient steps")
    return recipe.model_copy(update={**changes, "freeze": [], "learning_rate_multipliers": {}})

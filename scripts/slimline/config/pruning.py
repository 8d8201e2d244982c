"""How a network is pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, model_validator
from pydantic_core import InitErrorDetails

from slimline.config.base import Config, Temperature, mistake_at, with_mistakes
from slimline.config.train import LearningRate

# Keys of a pruning that say nothing of single weights, with their defaults.
CHANNELS_ONLY = {"allocation": "uniform", "importance": None, "round_to": 8, "reconstruction_samples": 1024}

# In a reconstruction, the largest activation of all images together.
MOST_ACTIVATION_BYTES = 2**28


class PruneConfig(Config):
    """Channels (or single weights) are removed, then the model is fine-tuned."""

    granularity: Literal["channels", "weights"] = Field(
        default="channels",
        description="`channels` go as a whole, which makes the model smaller and faster. `weights` are set to zero one "
        "by one, wherever they are smallest: the file is smaller only once it is compressed, and nothing is faster.",
    )
    ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.5,
        description="Share of each layer's channels to remove; 0.5 leaves about a quarter of the weights. With "
        "`granularity: weights` the share of all weights to set to zero.",
    )
    allocation: Literal["uniform", "global", "sensitivity"] = Field(
        default="uniform",
        description="How many channels each layer loses: `uniform`, all the same share; `global`, more where channels "
        "are less important; `sensitivity`, more where a measured scan shows that the training loss rises less. All "
        "leave as many MACs as `uniform` would.",
    )
    importance: Literal["redundancy", "magnitude-l2", "magnitude-l1", "random"] | None = Field(
        default=None,
        description="How channels are ranked; the least important go. `redundancy`: by the error that the layers that "
        "read them cannot make up for, measured on the images of the reconstruction (Hassibi and Stork, 1992). The "
        "norm of their weights: `magnitude-l2`, `magnitude-l1`. Unset: `redundancy` where there is a reconstruction, "
        "`magnitude-l2` where there is none, and with `allocation: sensitivity`, whose scan makes up for nothing.",
    )
    round_to: Annotated[int, Field(ge=1, le=64)] = Field(
        default=8, description="Channel counts are kept at multiples of this, which vector units like."
    )
    iterations: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1,
        description="Rounds of removing and fine-tuning, which share the epochs; each removes the same share of what "
        "the one before left.",
    )
    reconstruction_samples: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=1024,
        description="Training images by which each layer's weights are fitted, by least squares, to what it gave "
        "before channels were removed (He et al., 2017), before any fine-tuning; 0: they stay. Fewer where images are "
        "large.",
    )
    recalibration_samples: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=1024,
        description="Training images by which the statistics of batch normalisation are taken anew after channels are "
        "removed, before any fine-tuning, 2 or more; 0: they stay.",
    )
    epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=5, description="Epochs of fine-tuning, over all rounds together; 0: none."
    )
    learning_rate: LearningRate | None = Field(
        default=None, description="Peak learning rate of the fine-tuning; half of the recipe's where unset."
    )
    teacher_weight: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.0,
        description="Weight of the parent's softened distribution in the loss of the fine-tuning, as in distillation; "
        "the rest goes to the labels. 0: labels alone.",
    )
    temperature: Temperature = Field(default=4.0, description="Softens both distributions, with a `teacher_weight`.")

    @property
    def ranking(self) -> str:
        """The importance that counts."""
        with_repair = self.reconstruction_samples and self.allocation != "sensitivity"
        return self.importance or ("redundancy" if with_repair else "magnitude-l2")

    @model_validator(mode="wrap")
    @classmethod
    def _is_consistent(cls, raw: Any, validate: ModelWrapValidatorHandler[PruneConfig]) -> PruneConfig:
        return with_mistakes(lambda: validate(raw), _prune_mistakes(raw))


def images_at_once(n_samples: int, activation_bytes: int) -> int:
    """Images of a reconstruction, which go through the networks together.

    Args:
        n_samples: how many there would be.
        activation_bytes: largest activation of one.
    """
    return max(1, min(n_samples, MOST_ACTIVATION_BYTES // max(1, activation_bytes)))


def ratio_after(ratio: float, number: int, rounds: int) -> float:
    """The share that is gone after round `number` of `rounds`, from 1 on, when `ratio` is after the last.

    Every round removes the same share of what the one before left (Frankle and Carbin, ICLR 2019).
    """
    return 1 - math.pow(1 - ratio, number / rounds)


def _prune_mistakes(raw: Any) -> list[InitErrorDetails]:
    """What does not go together in the settings of a pruning, as they stand in the config."""
    if not isinstance(raw, Mapping):
        return []
    mistakes = []
    iterations, epochs = raw.get("iterations", 1), raw.get("epochs", 5)
    if isinstance(iterations, int) and isinstance(epochs, int) and iterations > max(1, epochs):
        expected = "at least as many `epochs` as `iterations`: each round is followed by one or more"
        mistakes.append(mistake_at(("iterations",), f"{iterations} rounds in {epochs} epochs", expected))
    if raw.get("teacher_weight") and epochs == 0:
        expected = "0, or `epochs` above 0, in which the parent teaches"
        mistakes.append(mistake_at(("teacher_weight",), f"{raw['teacher_weight']} without fine-tuning", expected))
    if raw.get("learning_rate") is not None and epochs == 0:
        mistakes.append(mistake_at(("learning_rate",), "a learning rate without `epochs`", "`epochs` above 0"))
    if raw.get("importance") == "redundancy" and raw.get("reconstruction_samples") == 0:
        expected = "another importance, or `reconstruction_samples` above 0: it reckons with what they make up for"
        mistakes.append(mistake_at(("importance",), "redundancy without a reconstruction", expected))
    if raw.get("importance") == "redundancy" and raw.get("allocation") == "sensitivity":
        expected = "another importance: the scan takes channels away, and lets nothing make up for them"
        mistakes.append(mistake_at(("importance",), "redundancy with `allocation: sensitivity`", expected))
    if raw.get("recalibration_samples") == 1:
        mistakes.append(
            mistake_at(("recalibration_samples",), "1", "2 or more: one image has no variance; or 0 for none")
        )
    if raw.get("granularity") == "weights":
        for key, default in CHANNELS_ONLY.items():
            if raw.get(key, default) != default:
                only = "no value" if default is None else f"`{default}`"
                reason = "with `granularity: weights` the smallest weights of the whole network go"
                mistakes.append(mistake_at((key,), repr(raw[key]), f"{only}: {reason}"))
    return mistakes

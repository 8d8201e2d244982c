"""The recipe: how a model is trained, and how compressed variants are tuned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from slimline.config.base import Config, Fraction, Seed, mistake

Epochs = Annotated[int, Field(ge=1, le=10_000)]
LearningRate = Annotated[float, Field(gt=0.0, le=100.0)]


class AugmentationConfig(Config):
    """Random changes to training images, each keyed on (seed, epoch, sample)."""

    crop_padding: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="Shift by up to this many pixels in each direction: zero padding, then a random crop."
    )
    horizontal_flip: bool = Field(default=False, description="Mirror half of the images left to right.")


class TrainConfig(Config):
    """The recipe of the dense model, and the default of every step that takes gradient steps."""

    epochs: Epochs = Field(description="Passes over the training split.")
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=128, description="Images per optimizer step, over all ranks together."
    )
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="`sgd` is with Nesterov momentum 0.9.")
    learning_rate: LearningRate = Field(default=1e-3, description="Peak learning rate.")
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.01, description="Weight decay, on weights of convolutions and linear layers only."
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="Course of the learning rate after the warm-up."
    )
    warmup: Fraction = Field(default=0.1, description="Share of all steps in which the learning rate rises from 0.")
    label_smoothing: Fraction = Field(default=0.0, description="Label smoothing of the cross-entropy.")
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, description="Random image changes.")
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(
        default=[0, 1, 2], description="One independent model per seed; figures are means over them."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="`auto`: bf16 autocast on GPUs that have it, else fp32."
    )
    ranks: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=1, description="Processes that train one model together; the batch stays what `batch_size` says."
    )
    parallelism: Literal["auto", "ddp", "fsdp", "hybrid", "tp", "fsdp-tp"] = Field(
        default="auto",
        description="How ranks share the work: `ddp` a replica on each; `fsdp` weights and optimizer state in shards; "
        "`hybrid` replicas of shards; `tp` each layer of a transformer cut between ranks; `fsdp-tp` both. `auto`: "
        "`ddp` if a replica fits a rank's memory, else `fsdp`. One rank needs none.",
    )
    sync_batch_norm: bool = Field(
        default=False,
        description="Batch normalisation over the images of all ranks, not of each alone: the result then does not "
        "depend on the number of ranks.",
    )

    @field_validator("seeds")
    @classmethod
    def _each_seed_once(cls, seeds: list[int]) -> list[int]:
        if repeated := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise mistake(f"{', '.join(map(str, repeated))} more than once", "each seed once")
        return seeds

    @field_validator("ranks")
    @classmethod
    def _share_evenly(cls, ranks: int, info: ValidationInfo) -> int:
        batch_size = info.data.get("batch_size")
        if batch_size is not None and batch_size % ranks:
            raise mistake(str(ranks), f"a divisor of `batch_size` {batch_size}, so that ranks share it evenly")
        return ranks

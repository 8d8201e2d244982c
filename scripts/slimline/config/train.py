"""The recipe: how a model is trained, and how compressed variants are tuned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from slimline.config.base import Config, Fraction, Seed, mistake
from slimline.config.resizing import ProgressiveResizingConfig

Epochs = Annotated[int, Field(ge=1, le=10_000)]
LearningRate = Annotated[float, Field(gt=0.0, le=100.0)]


class AugmentationConfig(Config):
    """Random changes to training images, each keyed on (seed, epoch, sample)."""

    random_resized_crop: Fraction = Field(
        default=0.0,
        description="Least share of the area: a random part of each image, between that and all of it, with sides from "
        "3:4 to 4:3, is scaled to the image's size (Szegedy et al., 2015); 0 is off, 0.08 usual for photographs.",
    )
    crop_padding: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="Shift by up to this many pixels in each direction: zero padding, then a random crop."
    )
    horizontal_flip: bool = Field(default=False, description="Mirror half of the images left to right.")
    random_erasing: Fraction = Field(
        default=0.0, description="Share of images in which a random rectangle is set to the mean (Zhong et al., 2020)."
    )
    cutout_px: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0, description="Side of a square of each image that is set to the mean (DeVries and Taylor, 2017)."
    )
    mixup: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        default=0.0, description="Alpha of mixup (Zhang et al., 2018): pairs of images and labels blended; 0 is off."
    )
    cutmix: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        default=0.0,
        description="Alpha of cutmix (Yun et al., 2019): a rectangle from another image, labels by area; 0 is off. "
        "With `mixup` too, each image gets one of the two.",
    )

    @property
    def changes_nothing(self) -> bool:
        """Whether every training image is seen as it is, each time."""
        return not any(self.model_dump().values())


class EarlyStoppingConfig(Config):
    """When to stop before the last epoch, judged on the validation split by `monitor`."""

    patience: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=5, description="Validated epochs without improvement after which training ends."
    )
    min_delta: Annotated[float, Field(ge=0.0)] = Field(default=0.0, description="Least change that is an improvement.")


class TrackingConfig(Config):
    """Where the course of a training goes besides `history.jsonl` and TensorBoard's files."""

    wandb: str | None = Field(
        default=None,
        description="Project of Weights & Biases. Written offline when training has ended, for `wandb sync`.",
    )


class TrainConfig(Config):
    """The recipe of the dense model, and the default of every step that takes gradient steps."""

    # None is for what is only pruned; an experiment's own training has one or more.
    epochs: Annotated[int, Field(ge=0, le=10_000, json_schema_extra={"minimum": 1})] = Field(
        description="Passes over the training split."
    )
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=128, description="Images per optimizer step, over all ranks together."
    )
    optimizer: Literal["adamw", "sgd", "muon"] = Field(
        default="adamw",
        description="`sgd` is with Nesterov momentum 0.9; `muon` is for matrices and kernels of hidden layers, AdamW "
        "for the rest.",
    )
    learning_rate: LearningRate = Field(default=1e-3, description="Peak learning rate.")
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        default="none",
        description="The peak is multiplied by `batch_size / 256` (`linear`, for SGD) or its root (`sqrt`, for AdamW).",
    )
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.01, description="Weight decay, on weights of convolutions and linear layers only."
    )
    schedule: Literal["cosine", "one-cycle", "linear", "constant"] = Field(
        default="cosine",
        description="Course of the learning rate after the warm-up. `one-cycle` warms up along a cosine as well.",
    )
    warmup: Fraction = Field(default=0.1, description="Share of all steps in which the learning rate rises from 0.")
    label_smoothing: Fraction = Field(default=0.0, description="Label smoothing of the cross-entropy.")
    gradient_clipping: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="Largest norm of all gradients together; longer ones are shortened to it."
    )
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="Decay per step of a moving average of the weights; where set, the average is validated and ships.",
    )
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, description="Random image changes.")
    progressive_resizing: ProgressiveResizingConfig | None = Field(
        default=None,
        description="Smaller images in the first part of a training, which takes less time; validation and teachers "
        "see whole ones. Inherited by students without a `feature_weight` alone.",
    )
    freeze: list[str] = Field(
        default=[],
        description="Patterns of parameter names (`layer1.*`) that stay as they start; not inherited by variants.",
    )
    learning_rate_multipliers: dict[str, Annotated[float, Field(gt=0.0)]] = Field(
        default={},
        description="Factor on the learning rate by pattern of parameter names, the first that fits; not inherited by "
        "variants.",
    )
    early_stopping: EarlyStoppingConfig | None = Field(
        default=None,
        description="End early when the validation split says so; not inherited by variants, whose controls have equal "
        "budgets.",
    )
    keep: Literal["last", "best"] = Field(
        default="last", description="Which weights ship: those of the last epoch, or of the best one by `monitor`."
    )
    validate_every_epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1,
        description="Epochs from one look at the validation split to the next; the last epoch always gets one.",
    )
    monitor: Literal["validation-loss", "validation-accuracy"] = Field(
        default="validation-accuracy", description="What `early_stopping` and `keep: best` look at."
    )
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(
        default=[0, 1, 2], description="One independent model per seed; figures are means over them."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="`auto`: bf16 autocast on GPUs, and on CPUs that have it; else fp32. `fp16` scales the loss, on "
        "GPUs only.",
    )
    compile: Literal["never", "auto"] = Field(
        default="never", description="`auto`: the model goes through `torch.compile` on a GPU."
    )
    deterministic: bool = Field(
        default=True, description="Only algorithms that give the same bits each time, where torch has them."
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
    log_every_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=50, description="Steps between two `step` lines of the log and of `history.jsonl`."
    )
    profile_steps: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0,
        description="Steps that torch's profiler records, after ten to warm up; the trace is in the job's folder.",
    )

    tracking: TrackingConfig = Field(
        default_factory=TrackingConfig, description="Other places for the course of a run."
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

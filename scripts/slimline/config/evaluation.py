"""How shipped files are measured, and what they must reach."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from slimline.config.base import Config, Seed, mistake

# Of that many resamples beyond each bound, the bound itself is known well enough.
RESAMPLES_BEYOND_A_BOUND = 20


class LatencyConfig(Config):
    """Conditions of the latency measurement, the same for every variant."""

    batch_size: Annotated[int, Field(ge=1, le=65_536)] = Field(default=1, description="Images per run.")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="Threads of the runtime.")
    warmup_runs: Annotated[int, Field(ge=1)] = Field(default=20, description="Runs before the clock starts.")
    timed_runs: Annotated[int, Field(ge=100)] = Field(
        default=1000, description="Timed runs; a p99 needs 1,000 to mean anything."
    )


class EvaluationConfig(Config):
    """How variants are scored, timed and compared."""

    bootstrap_resamples: Annotated[int, Field(ge=1000, le=1_000_000)] = Field(
        default=10_000, description="Resamples of the test items for paired intervals."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(default=0.95, description="Level of every interval.")
    bootstrap_seed: Seed = Field(default=0, description="Seed of the resamples.")
    control: bool = Field(
        default=True,
        description="Add an equal-budget control for every variant that was trained after dense: dense trained on for "
        "as many steps, at the learning rate of the last training. Variants of equal budgets share one.",
    )
    latency: LatencyConfig = Field(default_factory=LatencyConfig, description="Conditions of the timing.")

    @field_validator("confidence")
    @classmethod
    def _has_enough_resamples(cls, confidence: float, info: ValidationInfo) -> float:
        resamples = info.data.get("bootstrap_resamples")
        fewest = math.ceil(round(2 * RESAMPLES_BEYOND_A_BOUND / (1 - confidence), 6))
        if resamples is not None and resamples < fewest:
            raise mistake(
                f"{confidence:g} with `bootstrap_resamples` {resamples}",
                f"`bootstrap_resamples` of {fewest} or more, so that {RESAMPLES_BEYOND_A_BOUND} lie beyond each bound",
            )
        return confidence


class GateConfig(Config):
    """Thresholds declared before anything runs; a variant that meets all of them may ship."""

    accuracy_drop: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.01, description="Largest loss of accuracy against `reference`, as a share (0.01 is one point)."
    )
    reference: Literal["dense", "control"] = Field(
        default="dense",
        description="What the loss of accuracy is measured against: `dense`, or the variant's equal-budget control; "
        "variants without a control are held against dense.",
    )
    latency_ratio: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="Largest p50 latency as a multiple of dense's."
    )
    size_ratio: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="Largest file size as a multiple of dense's."
    )

"""Learning rates: pure functions of the step, so that a resumed run needs no state of a scheduler."""

from __future__ import annotations

import math

from slimline.config.train import TrainConfig

# The batch size at which `learning_rate` is what it says, as in Goyal et al. (2017).
REFERENCE_BATCH = 256
# One-cycle starts at the peak / 25 and ends 10^4 times below its start, as torch's OneCycleLR.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def peak_learning_rate(recipe: TrainConfig) -> float:
    """The peak after scaling with the batch size, relative to `REFERENCE_BATCH`.

    `linear` keeps the size of an epoch's total step of SGD (Goyal et al., 2017), `sqrt` the noise of an adaptive
    optimizer's steps (Malladi et al., 2022).
    """
    ratio = recipe.batch_size / REFERENCE_BATCH
    return recipe.learning_rate * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[recipe.learning_rate_scaling]


def learning_rate_at(step: int, total_steps: int, recipe: TrainConfig) -> float:
    """Learning rate of optimizer step `step` (from 0), a function of the step alone.

    A warm-up over `recipe.warmup` of all steps, then the schedule: `cosine` (Loshchilov and Hutter, 2017) and
    `linear` end at 0, `constant` stays at the peak. `one-cycle` (Smith and Topin, 2018) rises and falls along
    cosines, in the form of torch's OneCycleLR.
    """
    peak = peak_learning_rate(recipe)
    if recipe.schedule == "one-cycle":
        return peak * _one_cycle(step, total_steps, recipe.warmup)
    warmup_steps = math.floor(recipe.warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    factor = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}
    return peak * factor[recipe.schedule]


def _one_cycle(step: int, total_steps: int, warmup: float) -> float:
    """Share of the peak: up from its 25th part to the whole at step `warmup * total_steps - 1`, then down."""
    top = max(0.0, warmup * total_steps - 1)
    if step < top:
        return _along_cosine(ONE_CYCLE_START, 1.0, step / top)
    return _along_cosine(1.0, ONE_CYCLE_END, (step - top) / max(1.0, total_steps - 1 - top))


def _along_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))

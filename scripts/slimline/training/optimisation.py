"""Optimizers and learning rates."""

from __future__ import annotations

import math

import torch
from torch import nn

from slimline.config.train import TrainConfig
from slimline.training.parallel import by_mesh, is_sharded

MOMENTUM = 0.9


def learning_rate_at(step: int, total_steps: int, recipe: TrainConfig) -> float:
    """Learning rate of optimizer step `step` (from 0), a function of the step alone.

    A linear warm-up over `recipe.warmup` of all steps, then the schedule: `cosine` (Loshchilov and Hutter,
    2017) and `linear` end at 0, `constant` stays at the peak.
    """
    warmup_steps = math.floor(recipe.warmup * total_steps)
    if step < warmup_steps:
        return recipe.learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    factor = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}
    return recipe.learning_rate * factor[recipe.schedule]


def build_optimizer(model: nn.Module, recipe: TrainConfig) -> torch.optim.Optimizer:
    """An optimizer of torch's own, fused; weight decay on matrices and kernels, not on biases and normalisation."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = by_mesh(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    if recipe.optimizer == "sgd":
        # torch has no fused SGD for parameters that ranks share.
        fused = not is_sharded(model)
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=MOMENTUM, nesterov=True, fused=fused)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate

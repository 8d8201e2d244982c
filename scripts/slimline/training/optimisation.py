"""Optimizers and their parameter groups; the norm of the gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from slimline.config.train import TrainConfig
from slimline.errors import SlimlineError
from slimline.training.kernel_matrices import step_on_matrices
from slimline.training.muon import Muon
from slimline.training.parallel import by_mesh, is_sharded, total_norm
from slimline.training.plain_layout import step_in_plain_layout
from slimline.training.schedule import peak_learning_rate

MOMENTUM = 0.9


def plainly_named(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by their names inside the network, without its place behind normalisation and resizing."""
    named = dict(model.named_parameters())
    places = {name.partition(".")[0] for name in named}
    if len(places) == 1 and places.pop().isdigit():
        return {name.partition(".")[2]: parameter for name, parameter in named.items()}
    return named


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Keeps the parameters whose names fit a pattern (`features.*`) as they are.

    Raises:
        SlimlineError: a pattern fits nothing, or nothing is left to train.
    """
    names = plainly_named(model)
    for pattern in patterns:
        for name in _matching(pattern, list(names), "train.freeze"):
            names[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in names.values()):
        raise SlimlineError(
            "Every parameter of the model is frozen.",
            where="train.freeze",
            got=", ".join(patterns),
            expected="patterns that leave something to train, such as the last layer",
        )


def set_training(model: nn.Module) -> None:
    """Training mode, except for layers whose parameters are all frozen: their running statistics stay too."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def build_optimizers(model: nn.Module, recipe: TrainConfig) -> list[torch.optim.Optimizer]:
    """Optimizers over the trainable parameters; each group has its `multiplier` on the learning rate.

    Weight decay is on matrices and kernels, not on biases and normalisation. `muon` is for the matrices and kernels of
    hidden layers only, scaled so that it shares AdamW's learning rate (Liu et al., 2025); AdamW takes the rest.

    Raises:
        SlimlineError: a pattern of `learning_rate_multipliers` fits nothing; no matrix for `muon`, or a kernel of
            which ranks hold parts.
    """
    named = {name: parameter for name, parameter in plainly_named(model).items() if parameter.requires_grad}
    multipliers = _multipliers(list(named), recipe)
    lr = peak_learning_rate(recipe)
    if recipe.optimizer == "sgd":
        groups = _groups(named, multipliers, recipe.weight_decay)
        # torch has no fused SGD for parameters that ranks share.
        fused = not is_sharded(model)
        return [step_in_plain_layout(torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM, nesterov=True, fused=fused))]
    if recipe.optimizer == "adamw":
        return [_adamw(_groups(named, multipliers, recipe.weight_decay), lr)]
    matrices = _hidden_matrices(model) | _hidden_kernels(model)
    hidden = {name: parameter for name, parameter in named.items() if id(parameter) in matrices}
    others = {name: parameter for name, parameter in named.items() if name not in hidden}
    if not hidden:
        raise SlimlineError(
            "Muon has nothing to do in this model.",
            where="train.optimizer",
            got="no trainable matrix or kernel in a hidden layer",
            expected="a model with hidden linear layers or convolutions, such as vit_b_16 or resnet18",
            next_step="set train.optimizer to adamw or sgd",
        )
    if cut := [name for name, weight in hidden.items() if weight.ndim == 4 and isinstance(weight, DTensor)]:
        raise SlimlineError(
            "Muon cannot train convolutions of which each rank holds a part.",
            where="train.parallelism",
            got=f"{recipe.parallelism}, which cuts {cut[0]}",
            expected="whole replicas, as with `ddp`",
            next_step="set train.parallelism to ddp, or train.optimizer to adamw or sgd",
        )
    hidden_groups = _groups(hidden, multipliers, recipe.weight_decay)
    muon = step_on_matrices(partial(_muon, hidden_groups, lr), list(hidden.values()))
    return [muon, _adamw(_groups(others, multipliers, recipe.weight_decay), lr)]


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], learning_rate: float) -> None:
    """Sets the learning rate of every parameter group, times the group's multiplier."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group["multiplier"]


def clip_gradients(optimizers: Sequence[torch.optim.Optimizer], limit: float | None) -> Tensor:
    """Norm of all gradients together, a scalar on their device; they are shortened to `limit` where it is longer."""
    groups = [group["params"] for optimizer in optimizers for group in optimizer.param_groups]
    norm = total_norm([[parameter.grad for parameter in group if parameter.grad is not None] for group in groups])
    if limit is not None:
        for group in groups:
            nn.utils.clip_grads_with_norm_(group, limit, norm)
    return norm


def _muon(groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    if any(isinstance(parameter, DTensor) for group in groups for parameter in group["params"]):
        return torch.optim.Muon(groups, lr=lr, adjust_lr_fn="match_rms_adamw")
    return Muon(groups, lr)


def _adamw(groups: list[dict[str, object]], lr: float) -> torch.optim.Optimizer:
    return step_in_plain_layout(torch.optim.AdamW(groups, lr=lr, fused=True))


def _groups(named: Mapping[str, Tensor], multipliers: dict[str, float], weight_decay: float) -> list[dict[str, object]]:
    """One group for each weight decay and multiplier, in a fixed order."""
    groups: dict[tuple[bool, float], list[Tensor]] = {}
    for name, parameter in named.items():
        groups.setdefault((parameter.ndim > 1, multipliers[name]), []).append(parameter)
    return by_mesh(
        [
            {"params": groups[decays, multiplier], "weight_decay": weight_decay * decays, "multiplier": multiplier}
            for decays, multiplier in sorted(groups, reverse=True)
        ]
    )


def _multipliers(names: list[str], recipe: TrainConfig) -> dict[str, float]:
    """Factor on the learning rate by name; of several patterns that fit, the first counts."""
    found: dict[str, float] = {}
    for pattern, multiplier in recipe.learning_rate_multipliers.items():
        for name in _matching(pattern, names, "train.learning_rate_multipliers"):
            found.setdefault(name, multiplier)
    return {name: found.get(name, 1.0) for name in names}


def _matching(pattern: str, names: list[str], where: str) -> list[str]:
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        parts = list(dict.fromkeys(name.partition(".")[0] for name in names))
        raise SlimlineError(
            "A pattern of parameter names fits nothing that is trained.",
            where=where,
            got=repr(pattern),
            expected=f"names such as {names[0]}; they start with {', '.join(parts)}",
        )
    return matching


def _hidden_matrices(model: nn.Module) -> set[int]:
    """Ids of the 2-d weights that are neither embeddings nor in the last linear layer, which gives the logits."""
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    outside = [module for module in model.modules() if isinstance(module, nn.Embedding)] + linears[-1:]
    excluded = {id(parameter) for module in outside for parameter in module.parameters()}
    weights = (parameter for name, parameter in model.named_parameters() if name.endswith("weight"))
    return {id(parameter) for parameter in weights if parameter.ndim == 2 and id(parameter) not in excluded}


def _hidden_kernels(model: nn.Module) -> set[int]:
    """Ids of the kernels of convolutions that see features, not images, and all of them.

    That of one group sees few channels, that of a depthwise one a single channel: orthogonal rows mean nothing there.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return {id(layer.weight) for layer in convolutions[1:] if layer.groups == 1}

"""Losses: sums over the batch, so that the trainer alone decides what to divide by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

# (logits [n, k], targets: labels [n] or shares of the classes [n, k], images [n, c, h, w]) -> loss summed over n images
LossSum = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(label_smoothing: float) -> LossSum:
    """Cross-entropy with label smoothing (Szegedy et al., 2016)."""

    def loss_sum(logits: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        del images
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="sum")

    return loss_sum


def distillation(teacher: nn.Module, temperature: float, weight: float) -> LossSum:
    """Knowledge distillation (Hinton, Vinyals and Dean, 2015).

    weight * T^2 * KL(softmax(teacher / T) || softmax(student / T)) + (1 - weight) * cross-entropy; T^2 keeps
    the gradients of the two terms in proportion when the temperature changes.

    Args:
        teacher: model in evaluation mode; it sees the same augmented images as the student.
        temperature: T.
        weight: share of the teacher's term, 0 to 1.
    """

    def loss_sum(logits: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            taught = functional.log_softmax(teacher(images).float() / temperature, dim=1)
        softened = functional.log_softmax(logits / temperature, dim=1)
        soft = functional.kl_div(softened, taught, reduction="sum", log_target=True) * temperature**2
        hard = functional.cross_entropy(logits, targets, reduction="sum")
        return weight * soft + (1 - weight) * hard

    return loss_sum

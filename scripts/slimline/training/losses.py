"""Losses: sums over the batch, so that the trainer alone decides what to divide by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn import functional

from slimline.training.feed import Batch

# A batch of n images -> logarithms of the probabilities that a teacher gives, softened, [n, k]
Teaching = Callable[[Batch], Tensor]


class LossSum(ABC):
    """The loss of a training: from what the model makes of a batch to one number, summed over its images."""

    @abstractmethod
    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """The sum over the batch, a scalar.

        Args:
            logits: of the model, float [n, k].
            batch: the n images, their targets and rows.
        """

    def watching(self, model: nn.Module) -> AbstractContextManager[None]:
        """While this is open, the loss sees what else it needs of the forward passes of `model`: here nothing."""
        return nullcontext()


class _CrossEntropy(LossSum):
    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """See `LossSum`."""
        return functional.cross_entropy(logits, batch.targets, label_smoothing=self.label_smoothing, reduction="sum")


def cross_entropy(label_smoothing: float) -> LossSum:
    """Cross-entropy with label smoothing (Szegedy et al., 2016)."""
    return _CrossEntropy(label_smoothing)


class Distillation(LossSum):
    """Knowledge distillation (Hinton, Vinyals and Dean, 2015).

    weight * T^2 * KL(teacher || softmax(student / T)) + (1 - weight) * cross-entropy; T^2 keeps the gradients of the
    two terms in proportion when the temperature changes. Labels are smoothed as in any other training.

    Args:
        teaching: the teacher's softened distribution of a batch.
        temperature: T.
        weight: share of the teacher's term, 0 to 1.
        label_smoothing: of the cross-entropy.
    """

    def __init__(self, teaching: Teaching, temperature: float, weight: float, label_smoothing: float = 0.0) -> None:
        self.teaching, self.temperature, self.weight = teaching, temperature, weight
        self.cross_entropy = cross_entropy(label_smoothing)

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """See `LossSum`."""
        softened = functional.log_softmax(logits / self.temperature, dim=1)
        soft = functional.kl_div(softened, self.teaching(batch), reduction="sum", log_target=True)
        hard = self.cross_entropy(logits, batch)
        return self.weight * self.temperature**2 * soft + (1 - self.weight) * hard

"""What a variant answered to the test images, class by class, over all its seeds.

Shapes: S seeds, n test images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimline.errors import SlimlineError
from slimline.evaluation.prediction_file import read_predictions
from slimline.evaluation.statistics import TIED, Estimate, seed_mean_accuracy, top1

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class VariantAnswers:
    """Labels and answers of one variant.

    Attributes:
        labels: int64 [n].
        predicted: int64 [S, n]; TIED where the largest logit is not alone.
        n_classes: C.
    """

    labels: Counts
    predicted: Counts
    n_classes: int

    def confusion(self) -> Counts:
        """Counts summed over seeds, [C, C + 1]: true class down, predicted across, ties in the last column."""
        columns = self.n_classes + 1
        answers = np.where(self.predicted == TIED, self.n_classes, self.predicted)
        cells = self.labels[np.newaxis, :] * columns + answers
        return np.bincount(cells.ravel(), minlength=self.n_classes * columns).reshape(self.n_classes, columns)

    def support(self) -> Counts:
        """Test images of each class, [C]."""
        return np.bincount(self.labels, minlength=self.n_classes)

    def recall(self, label: int, confidence: float) -> Estimate | None:
        """Share of a class's images that were recognised, over seeds; None where the test split has none."""
        of_class = self.labels == label
        if not of_class.any():
            return None
        return seed_mean_accuracy(self.predicted[:, of_class] == label, confidence)

    def precision(self, label: int) -> float | None:
        """Share of the answers `label` that were right, over seeds; None where it was never given."""
        answered = self.predicted == label
        return float(np.mean((self.labels == label)[np.nonzero(answered)[1]])) if answered.any() else None


def read_answers(paths: Sequence[Path]) -> VariantAnswers:
    """The answers in the prediction files of one variant, one file per seed.

    Raises:
        SlimlineError: a file cannot be read, or the files differ in their test images.
    """
    first = read_predictions(paths[0])
    predicted = [top1(first.logits)]
    for path in paths[1:]:  # one file at a time, since logits are large and answers small
        other = read_predictions(path)
        if other.sample_ids != first.sample_ids or not np.array_equal(other.labels, first.labels):
            raise SlimlineError(
                "Two seeds of a variant answered different test images.",
                where=str(path),
                expected=f"those of {paths[0]}, in the same order",
                next_step=f"delete both and run snakemake again: rm '{paths[0]}' '{path}'",
            )
        predicted.append(top1(other.logits))
    return VariantAnswers(first.labels, np.stack(predicted), first.logits.shape[1])

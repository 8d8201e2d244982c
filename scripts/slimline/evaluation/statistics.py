"""Estimates and intervals from what each model answered; pure functions of arrays.

Shapes: S seeds, n test items, C classes. `correct` is bool [S, n]. Why each method was chosen, what it assumes and what
it does not cover: docs/explanation/statistics.md.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.int64]

TIED = -1

# Accuracies are multiples of 1/(S n); a comparison with a limit must not hang on the last bit of a float.
DECIMALS = 12


class Estimate(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float

    def negated(self) -> Estimate:
        """The figure with its sign turned: a loss from a difference."""
        return Estimate(-self.value, -self.high, -self.low)


def top1(logits: npt.NDArray[np.float32]) -> Classes:
    """The predicted class of each item, or TIED where the largest logit occurs more than once.

    `argmax` would give the first of the tied classes, which flatters a model whose output was quantized too coarsely
    whenever low class numbers are right.

    Args:
        logits: [n, C].

    Returns:
        [n].
    """
    is_largest = logits == logits.max(axis=1, keepdims=True)
    return np.where(is_largest.sum(axis=1) == 1, logits.argmax(axis=1), TIED).astype(np.int64)


def tied_share(predicted: Classes) -> float:
    """Share of items without one largest logit."""
    return float(np.mean(predicted == TIED))


def flips_share(predicted: Classes, reference: Classes) -> float:
    """Share of items that two models answer differently; [n] or, over seeds, [S, n]."""
    return float(np.mean(predicted != reference))


def wilson_interval(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Score interval of a binomial proportion (Wilson, 1927).

    Args:
        share: observed proportion.
        n: number of trials; an effective number need not be whole.
        confidence: level, such as 0.95.

    Returns:
        Lower and upper bound within [0, 1].
    """
    z_squared = _quantile(confidence) ** 2
    centre = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    half_width = math.sqrt(z_squared * (share * (1 - share) / n + z_squared / (4 * n * n))) / (1 + z_squared / n)
    return max(0.0, centre - half_width), min(1.0, centre + half_width)


def seed_mean_accuracy(correct: Bools, confidence: float) -> Estimate:
    """Mean accuracy of the trained models, with its interval over test items.

    The answers of S models to one item are not S independent trials. The Wilson interval is therefore taken at the
    effective number of items n p (1 - p) / v, where v is the variance between items of the per-item mean (Kish's design
    effect; Korn and Graubard, 1998). For one seed it is the plain Wilson interval.

    Args:
        correct: [S, n].
        confidence: level.
    """
    seeds, items = correct.shape
    share = float(correct.mean())
    between_items = float(correct.mean(axis=0).var())
    effective = items * share * (1 - share) / between_items if between_items > 0 else float(items)
    low, high = wilson_interval(share, min(max(effective, items), seeds * items), confidence)
    return Estimate(share, low, high)


def paired_difference(correct: Bools, reference: Bools, confidence: float, resamples: int, seed: int) -> Estimate:
    """Difference of two mean accuracies with a paired bootstrap interval over test items (percentile method).

    The per-item difference of seed means takes at most 2 S + 1 values. Drawing n items with replacement is a
    multinomial draw from their histogram, so a resample costs 2 S + 1 numbers rather than n, without approximation.

    A plain bootstrap cannot imagine a disagreement that it has not seen: with no discordant item its interval has no
    width. Pseudo-items mend that, as many as make a Wald interval a score interval (Agresti and Coull, 1998): z^2 / 2
    in each cell of the paired table, z the quantile of the level. Those that disagree do so by as much as the average
    disagreement seen here, which is less than 1 where the seeds differ on an item.

    Args:
        correct: [S, n] of the variant.
        reference: [S, n] of the reference, row s from the same seed.
        confidence: level.
        resamples: number of bootstrap samples.
        seed: seed of the samples.

    Returns:
        Variant minus reference; the value itself is without pseudo-items.
    """
    seeds, items = correct.shape
    totals = (correct.astype(np.int64) - reference).sum(axis=0)
    pseudo_items = round(2 * _quantile(confidence) ** 2)  # over four cells
    size = _average_disagreement(totals / seeds)
    values = np.array([*np.arange(-seeds, seeds + 1) / seeds, -size, size])  # [2 S + 3]
    histogram = np.array([*np.bincount(totals + seeds, minlength=2 * seeds + 1), 0.0, 0.0])
    histogram[[-2, -1]] += pseudo_items / 4
    histogram[seeds] += pseudo_items / 2
    draws = np.random.default_rng(seed).multinomial(items + pseudo_items, histogram / histogram.sum(), size=resamples)
    means = draws @ values / (items + pseudo_items)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(totals.sum()) / (seeds * items), float(low), float(high))


def _quantile(confidence: float) -> float:
    """Of the normal distribution, for a two-sided interval."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _average_disagreement(differences: npt.NDArray[np.float64]) -> float:
    """How large a disagreement is that adds to the variance: E[d^2] / E[|d|] of the differences, [n], and of one of 1.

    That one stands for what is not known where they are few.
    """
    return float((np.square(differences).sum() + 1) / (np.abs(differences).sum() + 1))


def exceeds(value: float, limit: float) -> bool:
    """Whether a value is over its limit by more than the rounding of floats."""
    return round(value - limit, DECIMALS) > 0


def items_needed(drop: Estimate, limit: float, items: int) -> int | None:
    """About how many test items would bring the upper bound of a loss down to its limit.

    The distance from the value to its bound shrinks with the root of the number of items. A fresh sample moves the
    value as well: at this number the chance to pass is about even if the true loss is the one seen here.

    Returns:
        A number above `items`; None where the value itself is not under the limit, so that no number would do.
    """
    if not exceeds(limit, drop.value):
        return None
    return math.ceil(items * ((drop.high - drop.value) / (limit - drop.value)) ** 2)


def seeds_needed(correct: Bools, reference: Bools, drop: Estimate, limit: float) -> int | None:
    """Likewise for seeds, with the test items as they are.

    The variance between items of the per-item mean is A + B / S: A is what items differ by, B the disagreement between
    seeds on one item. More seeds shrink B alone.

    Returns:
        A number above S; None with one seed (B is unknown), or where A alone is too wide.
    """
    seeds = len(correct)
    if seeds < 2 or not exceeds(limit, drop.value):
        return None
    differences = correct.astype(np.float64) - reference
    total = float(differences.mean(axis=0).var(ddof=1))
    between_seeds = float(differences.var(axis=0, ddof=1).mean())
    between_items = max(0.0, total - between_seeds / seeds)
    wanted = total * ((limit - drop.value) / (drop.high - drop.value)) ** 2
    if wanted <= between_items:
        return None
    return max(seeds + 1, math.ceil(between_seeds / (wanted - between_items)))

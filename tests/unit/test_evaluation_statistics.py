"""Intervals against closed forms, scipy and simulation; every simulation has a fixed seed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from slimline.evaluation.statistics import (
    TIED,
    Estimate,
    exceeds,
    flips_share,
    items_needed,
    paired_difference,
    seed_mean_accuracy,
    seeds_needed,
    tied_share,
    top1,
    wilson_interval,
)


def bits(*rows):
    return np.array(rows, dtype=bool)


def test_top1_is_the_largest_logit_and_ties_have_none():
    logits = np.array([[0, 2, 1], [3, 3, 1], [1, 0, 5], [0, 0, 0]], dtype=np.float32)
    predicted = top1(logits)
    assert predicted.tolist() == [1, TIED, 2, TIED]
    assert tied_share(predicted) == 0.5


def test_a_tie_below_the_largest_logit_is_none():
    assert top1(np.array([[1, 1, 2]], dtype=np.float32)).tolist() == [2]


def test_flips_count_changed_answers_right_or_wrong():
    assert flips_share(np.array([0, 1, 2, TIED]), np.array([0, 2, 2, 1])) == 0.5


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (1, 3), (354, 360), (9432, 10_000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(k, n, confidence):
    expected = binomtest(k, n).proportion_ci(confidence_level=confidence, method="wilson")
    assert wilson_interval(k / n, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_one_seed_is_plain_wilson():
    correct = bits([1, 1, 1, 0, 1, 0, 1, 1])
    estimate = seed_mean_accuracy(correct, 0.95)
    assert estimate.value == 0.75
    assert (estimate.low, estimate.high) == pytest.approx(wilson_interval(0.75, 8, 0.95))


def test_copies_of_one_model_do_not_narrow_the_interval():
    correct = np.random.default_rng(0).random((1, 200)) < 0.9
    assert seed_mean_accuracy(np.repeat(correct, 5, axis=0), 0.95) == pytest.approx(seed_mean_accuracy(correct, 0.95))


def test_unrelated_models_count_as_more_items():
    correct = np.random.default_rng(0).random((4, 5000)) < 0.9
    estimate = seed_mean_accuracy(correct, 0.95)
    low, high = wilson_interval(estimate.value, 4 * 5000, 0.95)
    assert estimate.high - estimate.low == pytest.approx(high - low, rel=0.05)


@pytest.mark.parametrize("value", [False, True])
def test_an_accuracy_at_the_edge_keeps_an_interval(value):
    estimate = seed_mean_accuracy(np.full((3, 50), value), 0.95)
    assert estimate.high - estimate.low == pytest.approx(1.96**2 / (50 + 1.96**2), rel=1e-3)


def test_seed_mean_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):  # easy items are right always, hard ones half of the time
        chance = np.where(rng.random(300) < 0.8, 1.0, 0.5)
        estimate = seed_mean_accuracy(rng.random((3, 300)) < chance, 0.95)
        covered += estimate.low <= 0.9 <= estimate.high
    assert 0.92 <= covered / 400 <= 0.98


def test_difference_by_hand():
    dense = bits([1, 1, 1, 0], [1, 1, 0, 0])
    variant = bits([1, 0, 1, 0], [1, 0, 0, 1])
    assert paired_difference(variant, dense, 0.95, 1000, 0).value == pytest.approx(-1 / 8)


def test_difference_interval_agrees_with_normal_theory():
    rng = np.random.default_rng(2)
    dense, variant = rng.random((1, 20_000)) < 0.9, rng.random((1, 20_000)) < 0.88
    estimate = paired_difference(variant, dense, 0.95, 20_000, 0)
    error = (variant.astype(float) - dense).std() / math.sqrt(20_000)
    assert estimate.low == pytest.approx(estimate.value - 1.96 * error, abs=0.05 * error)
    assert estimate.high == pytest.approx(estimate.value + 1.96 * error, abs=0.05 * error)


def test_histogram_resampling_is_item_resampling():
    rng = np.random.default_rng(3)
    seeds, items, resamples = 2, 40, 20_000
    dense, variant = rng.random((seeds, items)) < 0.9, rng.random((seeds, items)) < 0.8
    estimate = paired_difference(variant, dense, 0.9, resamples, 0)
    of_items = (variant.astype(float) - dense).mean(axis=0)
    average = (np.sum(of_items**2) + 1) / (np.sum(np.abs(of_items)) + 1)
    differences = np.concatenate([of_items, [average, -average, 0]])
    pseudo_items = 5  # 2 x 1.645^2
    weights = np.concatenate([np.ones(items), np.array([0.25, 0.25, 0.5]) * pseudo_items])
    size = items + pseudo_items
    drawn = rng.choice(differences, p=weights / weights.sum(), size=(resamples, size)).mean(axis=1)
    one_step = 1 / (seeds * size)
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(drawn, [0.05, 0.95]), abs=one_step + 1e-9)


def test_no_disagreement_is_not_no_doubt():
    correct = bits([1] * 100)
    estimate = paired_difference(correct, correct, 0.95, 2000, 0)
    assert estimate.value == 0
    assert estimate.low < 0 < estimate.high


def test_same_seed_same_interval():
    rng = np.random.default_rng(4)
    dense, variant = rng.random((2, 3, 200)) < 0.9
    assert paired_difference(variant, dense, 0.95, 1000, 7) == paired_difference(variant, dense, 0.95, 1000, 7)
    assert paired_difference(variant, dense, 0.95, 1000, 7) != paired_difference(variant, dense, 0.95, 1000, 8)


@pytest.mark.parametrize("alike", [True, False], ids=["seeds alike", "seeds independent"])
@pytest.mark.parametrize(
    ("seeds", "items", "limit"), [(1, 100, 0.01), (1, 450, 0.005), (1, 1000, 0.01), (3, 360, 0.02)]
)
def test_upper_bound_of_a_loss_at_the_limit_is_seldom_below_it(seeds, items, limit, alike):
    """By design in 2.5 % of all samples. A plain percentile bootstrap lets 37 % of the first kind pass."""
    rng = np.random.default_rng(5)
    trials, passed = 600, 0
    dense = np.ones((seeds, items), dtype=bool)
    for _ in range(trials):
        variant = rng.random((1, items) if alike else (seeds, items)) >= limit
        drop = paired_difference(np.broadcast_to(variant, dense.shape), dense, 0.95, 1000, 0).negated()
        passed += not exceeds(drop.high, limit)
    assert passed / trials <= 0.05


@pytest.mark.parametrize("seeds", [1, 3])
def test_paired_interval_covers_as_often_as_it_says(seeds):
    rng = np.random.default_rng(6)
    trials, items = 400, 1000
    covered = 0
    for _ in range(trials):
        hard = rng.random(items) < 0.2  # models err on hard items only: dense on 30 %, the variant on 40 % of them
        dense = ~(hard & (rng.random((seeds, items)) < 0.3))
        variant = ~(hard & (rng.random((seeds, items)) < 0.4))
        estimate = paired_difference(variant, dense, 0.95, 1000, 0)
        covered += estimate.low <= -0.02 <= estimate.high
    assert 0.92 <= covered / trials <= 0.98


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 60), st.integers(0, 2**31))
def test_difference_is_antisymmetric_and_bounded(seeds, items, seed):
    first, second = np.random.default_rng(seed).random((2, seeds, items)) < 0.7
    forward, backward = (paired_difference(*pair, 0.95, 1000, 0) for pair in ((first, second), (second, first)))
    assert forward.value == -backward.value
    assert -1 <= forward.low <= forward.high <= 1


def test_negated_swaps_the_bounds():
    assert Estimate(-0.1, -0.3, 0.2).negated() == Estimate(0.1, -0.2, 0.3)


def test_limits_are_compared_without_float_noise():
    assert 0.95 - 0.94 > 0.01
    assert not exceeds(0.95 - 0.94, 0.01)
    assert exceeds(0.0101, 0.01)


def test_items_needed_follows_the_root_law():
    assert items_needed(Estimate(0.01, 0.0, 0.03), limit=0.02, items=1000) == 4000


def test_no_number_of_items_settles_a_loss_at_the_limit():
    assert items_needed(Estimate(0.95 - 0.94, 0.0, 0.02), limit=0.01, items=1000) is None


def test_items_needed_is_what_it_takes():
    rng = np.random.default_rng(7)
    dense = np.ones((1, 2000), dtype=bool)
    variant = rng.permutation(np.arange(2000) >= 20)[None]  # loses 1 %
    drop = paired_difference(variant, dense, 0.95, 20_000, 0).negated()
    times = math.ceil(items_needed(drop, 0.012, 2000) / 2000)
    more = paired_difference(np.tile(variant, times), np.tile(dense, times), 0.95, 20_000, 0).negated()
    assert drop.high > 0.012
    assert more.high <= 0.012


def test_seeds_needed_when_seeds_disagree_at_random():
    rng = np.random.default_rng(8)
    items = 4000
    dense, variant = np.ones((8, items), dtype=bool), rng.random((8, items)) >= 0.02
    drop = paired_difference(variant[:2], dense[:2], 0.95, 5000, 0).negated()
    limit = drop.value + (drop.high - drop.value) / 1.6
    needed = seeds_needed(variant[:2], dense[:2], drop, limit)
    assert needed == pytest.approx(2 * 1.6**2, abs=1)


def test_more_seeds_do_not_help_when_all_err_on_the_same_items():
    variant = np.repeat(np.random.default_rng(9).random((1, 500)) >= 0.02, 3, axis=0)
    dense = np.ones_like(variant)
    drop = paired_difference(variant, dense, 0.95, 1000, 0).negated()
    assert seeds_needed(variant, dense, drop, limit=(drop.value + drop.high) / 2) is None


def test_one_seed_says_nothing_about_more():
    variant, dense = bits([1, 0, 1, 1]), bits([1, 1, 1, 1])
    assert seeds_needed(variant, dense, Estimate(0.25, 0.0, 0.6), limit=0.3) is None

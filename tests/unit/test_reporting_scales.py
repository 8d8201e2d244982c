import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimline.reporting.charts.scales import (
    Scale,
    from_zero,
    from_zero_or_log,
    log_ticks,
    nice_ticks,
    padded,
    tick_digits,
)

values = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-6, 1e6, allow_nan=False)


def test_a_linear_scale_maps_its_ends_and_its_middle():
    scale = Scale(10.0, 20.0, 100.0, 300.0)
    assert [scale(10.0), scale(15.0), scale(20.0)] == [100.0, 200.0, 300.0]


def test_a_scale_may_run_upwards_as_the_vertical_axis_does():
    scale = Scale(0.0, 1.0, 250.0, 50.0)
    assert scale(0.25) == 200.0


def test_a_log_scale_maps_equal_factors_on_equal_lengths():
    scale = Scale(1.0, 100.0, 0.0, 200.0, log=True)
    assert scale(10.0) == pytest.approx(100.0)
    assert scale(20.0) - scale(2.0) == pytest.approx(100.0)


def test_clamp_keeps_what_is_off_the_scale_at_its_edge():
    scale = Scale(0.0, 1.0, 0.0, 100.0)
    assert (scale.clamp(-3.0), scale.clamp(0.5), scale.clamp(7.0)) == (0.0, 50.0, 100.0)


@given(positive, st.floats(1.01, 1e4))
def test_a_log_scale_keeps_order(low, factor):
    scale = Scale(low, low * factor, 0.0, 100.0, log=True)
    assert scale(low) < scale(low * math.sqrt(factor)) < scale(low * factor)


def test_ticks_are_round_numbers_with_both_ends():
    assert nice_ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(0.961, 0.998, 4) == [0.97, 0.98, 0.99]
    assert nice_ticks(-1.7, 1.2, 3) == [-1.0, 0.0, 1.0]


@given(values, st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_lie_inside_and_are_neither_none_nor_a_crowd(low, span, n_wanted):
    high = low + span
    ticks = nice_ticks(low, high, n_wanted)
    slack = 1e-6 * (abs(low) + span)
    assert 1 <= len(ticks) <= n_wanted + 1
    assert all(low - slack <= tick <= high + slack for tick in ticks)


def test_log_ticks_are_1_2_5_until_decades_are_enough():
    assert log_ticks(15.0, 230.0) == [20.0, 50.0, 100.0, 200.0]
    assert log_ticks(1.0, 1e6) == [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]


@pytest.mark.parametrize(("ticks", "digits"), [([0, 5, 10], 0), ([0, 0.5], 1), ([97.5, 98.25], 2), ([0.0002], 4)])
def test_ticks_get_just_the_decimals_that_tell_them_apart(ticks, digits):
    assert tick_digits(ticks) == digits


def test_a_range_without_width_is_widened_around_its_value():
    low, high = padded(3.0, 3.0)
    assert low < 3.0 < high
    low, high = padded(0.0, 0.0)
    assert low < 0.0 < high


def test_a_scale_from_zero_has_room_above_the_largest():
    scale = from_zero([2.0, 5.0], 0.0, 100.0)
    assert scale.low == 0.0
    assert scale(5.0) < 100.0
    assert from_zero([], 0.0, 100.0).high == 1.0
    assert from_zero([0], 0.0, 100.0).high == 1.0


def test_costs_that_differ_by_much_get_a_log_scale_and_others_start_at_zero():
    assert not from_zero_or_log([1.0, 5.0], 0.0, 1.0).log
    wide = from_zero_or_log([1.0, 50.0], 0.0, 1.0)
    assert wide.log
    assert wide.low < 1.0 < 50.0 < wide.high
    assert not from_zero_or_log([0.0, 50.0], 0.0, 1.0).log, "zero has no logarithm"

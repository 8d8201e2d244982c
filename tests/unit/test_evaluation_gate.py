"""The gate's three states and their edges."""

import pytest
from evaluation_fixtures import make_check

from slimline.config.evaluation import GateConfig
from slimline.evaluation.gate import check_accuracy, check_ratio, check_ratios, overall_status
from slimline.evaluation.statistics import Estimate


def accuracy(value, high, limit=0.01):
    return check_accuracy(Estimate(value, value - 0.01, high), limit, "dense", items_needed=5000, seeds_needed=7)


@pytest.mark.parametrize(
    ("value", "high", "status"),
    [
        (0.002, 0.009, "pass"),
        (-0.03, -0.01, "pass"),
        (0.002, 0.01, "pass"),
        (0.002, 0.0101, "inconclusive"),
        (0.01, 0.02, "inconclusive"),
        (0.0101, 0.02, "fail"),
        (0.95 - 0.94, 0.02, "inconclusive"),  # is 0.010000000000000009 as a float
    ],
)
def test_a_loss_passes_only_as_a_whole_interval(value, high, status):
    assert accuracy(value, high).status == status


def test_what_would_settle_is_said_only_where_something_is_open():
    assert (accuracy(0.002, 0.02).items_needed, accuracy(0.002, 0.02).seeds_needed) == (5000, 7)
    assert (accuracy(0.002, 0.005).items_needed, accuracy(0.03, 0.05).seeds_needed) == (None, None)


@pytest.mark.parametrize(("value", "status"), [(0.49, "pass"), (0.5, "pass"), (0.1 + 0.4, "pass"), (0.501, "fail")])
def test_a_ratio_passes_up_to_its_limit(value, status):
    assert check_ratio("latency_ratio", value, 0.5).status == status


def test_only_declared_ratios_are_checked():
    checks = check_ratios(GateConfig(size_ratio=0.3), latency_ratio=9.0, size_ratio=0.25)
    assert [(check.criterion, check.status) for check in checks] == [("size_ratio", "pass")]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["pass"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["inconclusive", "fail", "pass"], "fail"),
    ],
)
def test_the_worst_check_decides(statuses, expected):
    assert overall_status([make_check(status) for status in statuses]) == expected

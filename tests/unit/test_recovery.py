"""What follows an attempt that ended without a result."""

import pytest

from slimline.config.cluster import ClusterConfig
from slimline.launch.receipt import Attempt
from slimline.launch.recovery import decide
from slimline.launch.resources import Resources

CLUSTER = ClusterConfig(
    name="slurm", executor="slurm", nodes=2, cpus_per_node=4, memory_mb_per_node=4000, time_limit_min=60
)
ASKED = Resources(2, 1, 2, 0, memory_mb=1000, time_min=10)


def attempt(state, reached=None, time_min=ASKED.time_min):
    return Attempt("1", state, ASKED.memory_mb, time_min, "2026-01-01T00:00:00+00:00", reached=reached)


def decision(*attempts, asked=ASKED, remaining_s=None):
    return decide(attempts, asked, CLUSTER, remaining_s)


@pytest.mark.parametrize(
    "state", ["FAILED", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "LOST", "STALLED", "LEFT", "COMPLETED"]
)
def test_what_was_lost_is_tried_again_with_the_same(state):
    assert decision(attempt(state)).resources == ASKED


@pytest.mark.parametrize("state", ["CANCELLED", "DEADLINE"])
def test_what_was_ended_on_purpose_is_not(state):
    assert decision(attempt(state)).resources is None


@pytest.mark.parametrize("reached", [None, "epoch-00001-step-0000002"])
def test_three_attempts_that_get_no_further_are_enough(reached):
    lost = [attempt("FAILED", reached)] * 3
    assert decision(*lost[:2]).resources == ASKED
    assert decision(*lost).resources is None
    assert "3 attempts in a row" in decision(*lost).why


def test_any_number_that_get_further_is_not():
    assert decision(*(attempt("FAILED", f"epoch-{n:05d}-step-0000000") for n in range(50))).resources == ASKED


def test_the_attempt_that_got_to_a_checkpoint_is_not_counted_against_it():
    got_there = [attempt("FAILED"), attempt("FAILED", "a"), attempt("FAILED", "a"), attempt("FAILED", "a")]
    assert decision(*got_there[:3]).resources == ASKED
    assert decision(*got_there).resources == ASKED
    assert decision(*got_there, attempt("FAILED", "a")).resources is None


def test_out_of_memory_gets_more_as_far_as_the_cluster_file_allows():
    lost = attempt("OUT_OF_MEMORY")
    assert decision(lost).resources.memory_mb == 1500
    assert decision(lost, asked=Resources(2, 1, 2, 0, 3000, 10)).resources.memory_mb == 4000
    assert "all that the cluster file allows" in decision(lost, asked=Resources(2, 1, 2, 0, 4000, 10)).why
    assert decision(lost, lost, lost).resources is not None
    assert decision(lost, lost, lost, lost).resources is None


@pytest.mark.parametrize(
    ("remaining_s", "time_min"), [(None, 25), (120.0, 8), (1e6, 60)], ids=["unknown", "measured", "at the limit"]
)
def test_out_of_time_gets_time_for_the_rest(remaining_s, time_min):
    assert decision(attempt("TIMEOUT"), remaining_s=remaining_s).resources.time_min == time_min


def timeouts(number, time_min):
    """Each of which got further."""
    return [attempt("TIMEOUT", f"epoch-{n:05d}-step-0000000", time_min) for n in range(number)]


@pytest.mark.parametrize(("time_min", "most", "why"), [(10, 5, "6 times the time"), (60, 50, "51 attempts of 60 min")])
def test_time_is_asked_for_a_bounded_number_of_times(time_min, most, why):
    assert decision(*timeouts(most, time_min)).resources is not None
    over = decision(*timeouts(most + 1, time_min))
    assert over.resources is None
    assert why in over.why


def test_a_training_in_pieces_of_the_limit_may_be_preempted_as_often_as_it_likes():
    lost = [attempt("PREEMPTED", f"epoch-{n:05d}-step-0000009", 60) for n in range(60)]
    assert decision(*timeouts(5, 10), *lost, *timeouts(50, 60)).resources is not None

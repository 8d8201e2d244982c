"""Which trials go on, which are trained in full, and what a budget allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimline.config.compress import CompressConfig
from slimline.errors import SlimlineError
from slimline.files import read_json, write_json
from slimline.plan.summary import four_digits
from slimline.search.budget import affordable_rounds, kept_after
from slimline.search.records import Point, Round, SearchPlan, deciding_round
from slimline.search.steps import conclude, job_hours, plan_search
from slimline.search.trials import finalists, pareto, ranked, survivors


def point(name, drop, cost, usable=True, final=None, se=0.0):
    return Point(
        variant=f"try-{name}-e1", structure=name, final=final or name, accuracy_drop=drop,
        accuracy_drop_se=se, latency_ratio=cost, size_ratio=1.0, usable=usable, problem=None if usable else "broken",
    )  # fmt: skip


SHARES = st.floats(min_value=0.0, max_value=1.0)
POINTS = st.lists(st.builds(point, st.sampled_from("abcdefgh"), SHARES, SHARES, st.booleans()), min_size=1, max_size=20)


def test_the_front_has_what_nothing_beats():
    points = [point("a", 0.0, 1.0), point("b", 0.1, 0.5), point("c", 0.2, 0.6), point("d", 0.3, 0.1)]
    assert [each.structure for each in pareto(points, "latency")] == ["d", "b", "a"]


@given(POINTS)
def test_every_usable_point_is_on_the_front_or_beaten_by_one_that_is(points):
    front = pareto(points, "latency")
    for each in points:
        beaten = [
            other
            for other in front
            if other.accuracy_drop <= each.accuracy_drop and other.latency_ratio <= each.latency_ratio
        ]
        assert beaten or not each.usable


def test_a_file_that_is_not_usable_never_goes_on():
    points = [point("broken", 0.0, 0.1, usable=False), point("sound", 0.2, 0.9)]
    assert survivors(points, 2, 0.01, "latency") == ["sound"]
    assert finalists(points, 2, 0.01, "latency") == [points[1]]


def test_structures_go_on_front_by_front():
    points = [point("good", 0.0, 0.5), point("cheap", 0.3, 0.1), point("beaten", 0.1, 0.6), point("worst", 0.4, 0.9)]
    assert survivors(points, 2, 0.01, "latency") == ["good", "cheap"]
    assert survivors(points, 3, 0.01, "latency") == ["good", "cheap", "beaten"]
    assert survivors(points, 9, 0.01, "latency") == ["good", "cheap", "beaten", "worst"]


def test_a_structure_goes_on_once_with_any_of_its_files():
    points = [point("one", 0.0, 0.5), point("one", 0.01, 0.2), point("two", 0.5, 0.4)]
    assert survivors(points, 2, 0.1, "latency") == ["one", "two"]


@given(POINTS, st.integers(1, 8), SHARES)
def test_as_many_go_on_as_there_is_room_for(points, n_kept, limit):
    usable = {each.structure for each in points if each.usable}
    kept = survivors(points, n_kept, limit, "latency")
    assert len(kept) == len(set(kept)) == min(n_kept, len(usable))


def test_the_cheapest_within_the_limit_is_best():
    points = [point("dear", 0.0, 0.9), point("cheap", 0.004, 0.2), point("too cheap", 0.02, 0.1)]
    assert [each.structure for each in ranked(points, 0.005, "latency")] == ["cheap", "dear", "too cheap"]


def test_what_is_within_the_limit_by_a_standard_error_comes_before_what_is_cheaper():
    points = [
        point("barely", 0.004, 0.1, se=0.002), point("safe", 0.003, 0.4, se=0.002), point("safer", 0.0, 0.5, se=0.002),
        point("beyond", 0.006, 0.05, se=0.0),
    ]  # fmt: skip
    assert [each.structure for each in ranked(points, 0.005, "latency")] == ["safe", "safer", "barely", "beyond"]
    # Where images are so few that nothing is safe, costs decide as they would without.
    points = [each.model_copy(update={"accuracy_drop_se": 0.02}) for each in points]
    assert [each.structure for each in ranked(points, 0.005, "latency")] == ["barely", "safe", "safer", "beyond"]


def test_a_drop_of_exactly_the_limit_is_within_it():
    """0.95 - 0.945 is a little more than 0.005, in floats."""
    points = [point("dear", 0.0, 0.9), point("cheap", 0.95 - 0.945, 0.2)]
    assert ranked(points, 0.005, "latency")[0].structure == "cheap"


def test_among_costs_that_cannot_be_told_apart_accuracy_decides():
    points = [point("a", 0.004, 0.200), point("b", 0.001, 0.208)]
    assert [each.structure for each in ranked(points, 0.005, "latency")] == ["b", "a"]


def write_job(path, **changes):
    receipt = {
        "ranks": 2,
        "threads_per_rank": 2,
        "device": "cpu",
        "seconds": 30.0,
        "epochs": 5,
        "epochs_seconds": 900.0,
    }
    write_json(path, receipt | changes)
    return path


def test_what_a_job_took_is_that_of_all_its_attempts(tmp_path):
    """`seconds` are of the last attempt alone."""
    assert job_hours(write_job(tmp_path / "job.json")) == 1.0
    assert job_hours(write_job(tmp_path / "job.json", device="cuda")) == 0.5


def test_forecasts_are_brought_to_this_machine_by_epochs_that_were_run(tmp_path):
    """Dense stopped after 5 of 50 epochs, each of which took twice what was planned."""
    config = CompressConfig(prune_ratios=[0.5], student_widths=[], rounds=1, trial_epochs=4)
    dense, trial = tmp_path / "dense.json", tmp_path / "trial.json"
    write_json(dense, {"gpus_per_node": 0, "cost_cpu_h": 5.0, "basis": {"epochs": 50}})
    write_json(trial, {"cost_cpu_h": 0.2})
    plan_search(config, [trial], dense, write_job(tmp_path / "job.json"), tmp_path / "plan.json")
    assert read_json(tmp_path / "plan.json")["hours_per_epoch"] == {"prune-50": pytest.approx(0.2 * 2 / 4)}


def test_sizes_have_no_error():
    """A network that is 4 % larger is larger, and not as good."""
    points = [
        point("a", 0.004, 0.9).model_copy(update={"size_ratio": 0.100}),
        point("b", 0.003, 0.9).model_copy(update={"size_ratio": 0.104}),
    ]
    assert [each.structure for each in ranked(points, 0.005, "size")] == ["a", "b"]


def test_where_nothing_is_within_the_limit_the_smallest_drop_is_best():
    points = [point("a", 0.3, 0.1), point("b", 0.1, 0.9)]
    assert [each.structure for each in ranked(points, 0.005, "latency")] == ["b", "a"]


def test_finalists_are_networks_in_every_usable_form():
    points = [
        point("a", 0.0, 0.5), point("a", 0.0, 0.2, final="a-int8"),
        point("b", 0.0, 0.4), point("b", 0.0, 0.6, usable=False, final="b-int8"),
        point("c", 0.0, 0.9),
    ]  # fmt: skip
    assert [each.final for each in finalists(points, 2, 0.005, "latency")] == ["a", "a-int8", "b"]
    assert [each.final for each in finalists(points, 1, 0.005, "latency")] == ["a", "a-int8"]


def test_where_none_is_within_the_limit_the_small_form_of_the_best_network_is_confirmed_too():
    """After a short trial float loses a little less than int8, and is the best point."""
    points = [point("a", 0.02, 0.5), point("a", 0.03, 0.1, final="a-int8"), point("b", 0.05, 0.3)]
    assert [each.final for each in finalists(points, 1, 0.005, "latency")] == ["a", "a-int8"]


def judged(epochs, *points):
    return Round(
        format=1, epochs=epochs, dense_accuracy=0.9, hours=0.1, points=list(points), failed={},
        survivors=sorted({each.structure for each in points if each.usable}),
    )  # fmt: skip


def test_a_last_round_that_found_no_network_does_not_undo_the_one_before(tmp_path):
    dense_int8 = point("dense", 0.0, 0.4, final="int8")
    rounds = [judged(1, point("a", 0.01, 0.2), dense_int8), judged(2, point("a", 0.0, 0.2, usable=False), dense_int8)]
    assert deciding_round(rounds) == 0
    assert deciding_round(rounds[1:]) == 0
    assert deciding_round(rounds[:1] * 2) == 1
    paths = [tmp_path / f"round-{number}.json" for number in range(2)]
    for path, each in zip(paths, rounds, strict=True):
        write_json(path, each.model_dump())
    plan = SearchPlan(
        format=1, unit="core-hours", hours_per_epoch={"a": 0.1}, budget_hours=None, forecast_hours=0.3, rounds=[1, 2],
        left_out=[],
    )  # fmt: skip
    write_json(tmp_path / "plan.json", plan.model_dump())
    conclude(CompressConfig(accuracy_drop=0.02), paths, tmp_path / "plan.json", 0, tmp_path / "search.json")
    found = read_json(tmp_path / "search.json")
    assert found["finalists"] == ["a", "int8"]
    assert found["front"] == ["try-a-e1", "try-dense-e1"]


def test_each_round_leaves_the_better_half():
    assert [kept_after(7, number, 1) for number in range(4)] == [7, 4, 2, 1]


def test_no_round_leaves_fewer_than_are_to_be_chosen():
    assert [kept_after(7, number, 4) for number in range(4)] == [7, 4, 4, 4]
    assert [kept_after(2, number, 3) for number in range(3)] == [2, 2, 2]


def test_rounds_that_do_not_fit_the_budget_are_left_out():
    hours = {"a": 1.0, "b": 0.5, "c": 0.5, "d": 0.25}
    assert affordable_rounds(hours, [1, 2, 4], 1, None, "core-hours") == [1, 2, 4]
    # 2.25 hours for all, then 2 epochs of the two dearest: 3 more.
    assert affordable_rounds(hours, [1, 2, 4], 1, 5.25, "core-hours") == [1, 2]
    assert affordable_rounds(hours, [1, 2, 4], 1, 5.0, "core-hours") == [1]
    # Of four finalists all take part in the second round.
    assert affordable_rounds(hours, [1, 2, 4], 4, 5.25, "core-hours") == [1]


def test_a_budget_that_pays_for_nothing_is_refused():
    with pytest.raises(SlimlineError, match="does not pay for its first round") as refused:
        affordable_rounds({"a": 1.249}, [1, 2], 1, 0.5, "GPU-hours")
    assert "got: 0.5 GPU-hours" in " ".join(str(refused.value).split())
    assert "at least 1.3 GPU-hours for 1 structure\n" in str(refused.value)
    assert affordable_rounds({"a": 1.249}, [1, 2], 1, 1.3, "GPU-hours") == [1]


def test_hours_of_small_jobs_are_not_rounded_away():
    assert four_digits(1.23456e-6) == 1.235e-6
    assert four_digits(1234.56) == 1235
    assert four_digits(0.0) == 0.0

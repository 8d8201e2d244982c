"""The section that tells how the variants were found."""

import pytest

from slimline.reporting.sections.search import search_section
from slimline.reporting.view import Details, Facts, Figures, Table
from slimline.search.records import Point, Round, Search, SearchPlan


def point(variant, final, drop, cost, problem=None):
    return Point(
        variant=variant, structure=final.removesuffix("-int8") if final != "int8" else "dense", final=final,
        accuracy_drop=drop, accuracy_drop_se=0.0021, latency_ratio=cost, size_ratio=0.25,
        usable=problem is None, problem=problem,
    )  # fmt: skip


def search(**changes):
    first = [
        point("int8", "int8", 0.001, 0.6),
        point("try-prune-50-e1", "prune-50", 0.03, 0.4),
        point("try-student-25-e1", "student-25", 0.2, 0.1),
        point("try-prune-50-e1-int8", "prune-50-int8", 0.03, 0.5, problem="slower than its own fp32"),
    ]
    last = [point("int8", "int8", 0.001, 0.6), point("try-prune-50-e2", "prune-50", 0.004, 0.4)]
    plan = SearchPlan(
        format=1, unit="core-hours", hours_per_epoch={"prune-50": 0.1, "student-25": 0.05}, budget_hours=0.5,
        forecast_hours=0.35, rounds=[1, 2], left_out=[4],
    )  # fmt: skip
    common = {"format": 1, "dense_accuracy": 0.94}
    rounds = [
        Round(**common, epochs=1, hours=0.15, points=first, failed={"try-student-50-e1": "no"}, survivors=["prune-50"]),
        Round(**common, epochs=2, hours=0.2, points=last, failed={}, survivors=["prune-50"]),
    ]
    values = {
        "format": 1, "seed": 7, "minimize": "latency", "accuracy_drop": 0.005, "plan": plan, "rounds": rounds,
        "front": ["try-prune-50-e2", "int8"], "best": "prune-50", "within_limit": True,
        "finalists": ["prune-50", "int8"],
    }  # fmt: skip
    return Search(**values | changes)


def tables(section):
    (details,) = [block for block in section.blocks if isinstance(block, Details)]
    return [block for block in details.blocks if isinstance(block, Table)]


def test_aim_cost_and_choice_come_first():
    section = search_section(search())
    (facts,) = [block for block in section.blocks if isinstance(block, Facts)]
    said = {fact.term: fact.text.replace("\N{NO-BREAK SPACE}", " ") for fact in facts.items}
    assert "seed 7" in section.lead
    assert said["Aim"] == "least latency, at most 0.50 points less than dense"
    assert said["Rounds"] == "2 networks for 1 epoch, 1 network for 2 epochs; left out for the budget: 4 epochs"
    assert said["Cost"] == "0.350 core-hours; forecast 0.350, budget: 0.500 core-hours"
    assert said["Chosen"] == "prune-50 and int8"
    assert "Limit" not in said


def test_that_nothing_kept_to_the_limit_is_said():
    (facts,) = [block for block in search_section(search(within_limit=False)).blocks if isinstance(block, Facts)]
    assert [fact.status for fact in facts.items if fact.term == "Limit"] == ["warning"]


@pytest.mark.parametrize(
    ("variant", "number", "outcome"),
    [
        ("int8", "1", "takes part in each round"),
        ("try-prune-50-e1", "1", "goes on"),
        ("try-student-25-e1", "1", ""),
        ("try-prune-50-e1-int8", "1", "not used: slower than its own fp32"),
        ("try-prune-50-e2", "2", "chosen"),
        ("int8", "2", "chosen"),
    ],
)
def test_every_trial_has_an_outcome(variant, number, outcome):
    trials, _ = tables(search_section(search()))
    (row,) = [row for row in trials.rows if (row[0].text, row[1].text) == (variant, number)]
    assert row[-1].text == outcome


def test_trials_that_could_not_be_made_have_a_reason():
    _, failures = tables(search_section(search()))
    assert [[cell.text for cell in row] for row in failures.rows] == [["try-student-50-e1", "no"]]


def test_a_search_that_found_nothing_says_so_and_not_that_something_near_was_chosen():
    rounds = [found.model_copy(update={"points": []}) for found in search().rounds]
    section = search_section(search(best=None, within_limit=False, finalists=[], front=[], rounds=rounds))
    (facts,) = [block for block in section.blocks if isinstance(block, Facts)]
    said = {fact.term: fact.text for fact in facts.items}
    assert said["Chosen"] == "nothing"
    assert said["Outcome"] == "every trial failed, or is slower than what it was made of"
    assert "Limit" not in said
    (figures,) = [block for block in section.blocks if isinstance(block, Figures)]
    assert figures.items[0].caption.endswith("On the front, cheapest first: nothing.")

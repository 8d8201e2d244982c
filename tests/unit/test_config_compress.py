"""The target search in the config: what it tries, what may be chosen, and what is refused."""

import pytest
from pydantic import ValidationError

from slimline.config.compress import CompressConfig, round_trials, trials_of_round
from slimline.config.experiment import ExperimentConfig

BASE = {
    "experiment": "trial",
    "dataset": {"name": "digits", "validation": 0.2},
    "model": {"name": "resnet8"},
    "train": {"epochs": 8, "learning_rate": 0.004},
}


def experiment(compress=None, **changes):
    return ExperimentConfig.model_validate(BASE | {"compress": compress or {}} | changes)


def messages(**changes):
    with pytest.raises(ValidationError) as refused:
        experiment(**changes)
    return str(refused.value)


def test_one_line_is_enough():
    found = experiment({"accuracy_drop": 0.005, "minimize": "latency"})
    assert found.compress.round_epochs == [1, 2, 4]
    assert {"prune-50", "student-25", "student-25-int8", "int8"} <= set(found.compared_names)
    assert not [name for name in found.compared_names if name.startswith("try-")]
    assert "try-prune-50-e1-int8" in found.variant_names


def test_every_trial_is_the_final_variant_with_fewer_epochs():
    found = experiment()
    for structure in found.compress.structures:
        final, trial = found.made[structure.name], found.made[structure.trial(2)]
        step = structure.step
        epochs = {"prune": 10, "distil": None}[step]  # a student's are those of the recipe
        assert getattr(final, step).epochs == epochs
        assert getattr(trial, step).epochs == 2
        assert getattr(trial, step).model_copy(update={"epochs": epochs}) == getattr(final, step)


def test_dense_teaches_pruned_networks_as_much_as_the_search_says():
    found = experiment({"teacher_weight": 0.9})
    networks = {name: found.made[name] for name in ("prune-50", "try-prune-50-e2")}
    assert {each.prune.teacher_weight for each in networks.values()} == {0.9}
    assert [found.is_taught(name) for name in ("dense", "int8", "prune-50", "student-50")] == [False, False, True, True]
    assert not experiment().is_taught("prune-50")


def test_students_may_have_epochs_of_their_own():
    found = experiment({"student_epochs": 7})
    assert found.made["student-50"].distil.epochs == 7
    assert found.made["prune-50"].prune.epochs == 10


def test_every_ratio_has_a_name_of_its_own():
    structures = experiment({"prune_ratios": [0.55, 0.055], "student_widths": [0.625]}).compress.structures
    assert [structure.name for structure in structures] == ["prune-5-5", "prune-55", "student-62-5"]


def test_the_first_round_tries_all_and_later_ones_what_was_left():
    compress = experiment({"prune_ratios": [0.5], "student_widths": [0.5, 0.25]}).compress
    first = trials_of_round(compress, [1, 2], 0, None)
    assert {trial.structure for trial in first} == {"dense", "prune-50", "student-50", "student-25"}
    later = trials_of_round(compress, [1, 2], 1, {"survivors": ["student-25"]})
    assert [trial.variant for trial in later] == ["int8", "try-student-25-e2", "try-student-25-e2-int8"]


def test_what_a_trial_stands_for_is_made_in_full():
    found = experiment({"quantizations": ["int8", "int8-openvino", "bf16"]})
    for trial in round_trials(found.compress, ["prune-50", "student-50"], 4):
        final, made = found.made[trial.final], found.made[trial.variant]
        assert final.step == made.step
        assert final.quantize == made.quantize


def test_once_chosen_only_finalists_and_their_parents_are_compared():
    found = experiment(variants={"mine": {"from": "dense", "prune": {"ratio": 0.2, "epochs": 3}}})
    chosen = found.with_finalists(["student-35-int8", "int8"])
    others = [name for name in chosen.variant_names if not name.startswith("control-")]
    assert set(others) == {"dense", "mine", "int8", "student-35", "student-35-int8"}
    assert chosen.resolved() == found.resolved()


@pytest.mark.parametrize("finalist", ["prune-50", "student-50"])
def test_a_control_keeps_its_name_when_the_search_has_ended(finalist):
    """Pruning and distillation have other learning rates, so other controls over as many epochs."""
    found = experiment()
    chosen = found.with_finalists([finalist])
    control = chosen.control_of(finalist)
    assert control == found.control_of(finalist)
    assert chosen.made[control] == found.made[control]
    assert list(chosen.controls.added) == [control]


def test_a_variant_that_the_search_would_make_itself_may_be_declared():
    assert experiment(variants={"int8": {"from": "dense", "quantize": {}}}).with_finalists([]).candidates.keys() == {
        "int8"
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "digits", "validation": 0}}, "a search without a validation split"),
        ({"variants": {"int8": {"from": "dense", "quantize": {"method": "entropy"}}}}, "others of its own: int8"),
        ({"variants": {"try-it": {"from": "dense", "quantize": {}}}}, "trials of the search"),
        ({"variants": {"search": {"from": "dense", "quantize": {}}}}, "`search` is a step of the workflow"),
        ({"compress": {"prune_ratios": [], "student_widths": []}}, "neither `prune_ratios` nor `student_widths`"),
        ({"compress": {"rounds": 4, "trial_epochs": 4}}, "at most 3"),
        ({"compress": {"prune_ratios": [0.5, 0.5]}}, "0.5 more than once"),
        ({"compress": {"student_widths": [], "student_epochs": 20}}, "20 with `student_widths: []`"),
        ({"compress": {"prune_ratios": [], "teacher_weight": 0.5}}, "0.5 with `prune_ratios: []`"),
        ({"compress": {"prune_ratios": [0.3, 0.30000000001]}}, "0.3, 0.30000000001 more than once"),
        ({"compress": {"accuracy_drop": 0.03}}, "got 0.01, expected at least the 0.03 of `compress.accuracy_drop`"),
        ({"model": {"name": "swin_t"}, "compress": {"student_widths": [0.5]}}, "student_widths"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, message):
    assert message in messages(**changes)


def test_rounds_take_twice_as_long_as_those_before():
    assert CompressConfig(trial_epochs=6, rounds=3).round_epochs == [1, 3, 6]


@pytest.mark.parametrize(("trial_epochs", "rounds"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (16, [4, 8, 16])])
def test_where_rounds_are_not_said_each_has_an_epoch_more_than_the_one_before(trial_epochs, rounds):
    assert CompressConfig(trial_epochs=trial_epochs).round_epochs == rounds


def test_a_search_may_lose_as_much_as_the_gate_allows():
    assert experiment({"accuracy_drop": 0.03}, gate={"accuracy_drop": 0.03}).compress.accuracy_drop == 0.03

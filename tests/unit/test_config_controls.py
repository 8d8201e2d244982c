"""Equal-budget controls: which are added, who shares one, and what they are."""

import pytest
from pydantic import ValidationError

from slimline.config.experiment import ExperimentConfig
from slimline.config.recipes import recipe_for
from slimline.config.weights import with_digests

PRUNE = {"prune": {"epochs": 10}}


def experiment(variants, **changes):
    config = {
        "experiment": "trial",
        "dataset": {"name": "digits"},
        "model": {"name": "convnet", "width": 0.5},
        "train": {"epochs": 30, "learning_rate": 0.002, "freeze": ["*.0.weight"]},
        "variants": variants,
    }
    return ExperimentConfig.model_validate(config | changes)


def test_a_control_is_dense_trained_on_as_the_chain_was():
    trial = experiment({"pruned": {"from": "dense", **PRUNE}, "tuned": {"from": "pruned", "finetune": {"epochs": 5}}})
    assert [trial.control_of(name) for name in ("pruned", "tuned")] == ["control-10", "control-15"]
    assert (trial.parent("control-15"), trial.step("control-15")) == ("dense", "finetune")
    recipe = recipe_for(trial, "control-15")
    assert (recipe.epochs, recipe.learning_rate, recipe.freeze) == (15, 0.001, [])


def test_the_learning_rate_is_that_of_the_last_training():
    trial = experiment(
        {
            "student": {"from": "dense", "distil": {"width": 0.5}},
            "tuned": {"from": "student", "finetune": {"epochs": 1, "learning_rate": 0.03}},
        }
    )
    assert recipe_for(trial, trial.control_of("student")).learning_rate == 0.002
    assert recipe_for(trial, trial.control_of("tuned")).learning_rate == 0.03
    assert recipe_for(trial, trial.control_of("tuned")).epochs == 31


def test_neither_a_variant_nor_its_control_ends_early():
    train = {"epochs": 30, "learning_rate": 0.002, "early_stopping": {"patience": 2}}
    dataset = {"name": "digits", "validation": 0.2}
    trial = experiment({"student": {"from": "dense", "distil": {"width": 0.5}}}, train=train, dataset=dataset)
    recipes = [recipe_for(trial, name) for name in ("dense", "student", trial.control_of("student"))]
    assert [recipe.early_stopping is not None for recipe in recipes] == [True, False, False]
    assert recipes[1].epochs == recipes[2].epochs == 30


def test_equal_budgets_share_a_control_and_others_get_a_name_of_their_own():
    trial = experiment(
        {
            "pruned": {"from": "dense", **PRUNE},
            "pruned-int8": {"from": "pruned", "quantize": {}},
            "random": {"from": "dense", "prune": {"epochs": 10, "importance": "random"}},
            "gentle": {"from": "dense", "prune": {"epochs": 10, "learning_rate": 1e-4}},
        }
    )
    controls = [trial.control_of(name) for name in trial.variants]
    assert controls == ["control-10", "control-10", "control-10", "control-10-2"]
    assert list(trial.controls.added) == ["control-10", "control-10-2"]
    assert trial.variant_names == ["dense", "control-10", "control-10-2", *trial.variants]


def test_what_was_not_trained_after_dense_has_none():
    trial = experiment({"int8": {"from": "dense", "quantize": {}}})
    assert trial.control_of("int8") is None
    assert trial.control_of("dense") is None
    assert trial.variant_names == ["dense", "int8"]


def test_a_declared_variant_that_is_dense_trained_on_serves_as_control():
    longer = {"from": "dense", "finetune": {"epochs": 10}}
    trial = experiment({"pruned": {"from": "dense", **PRUNE}, "longer": longer})
    assert trial.controls.added == {}
    assert (trial.control_of("pruned"), trial.control_of("longer")) == ("longer", None)


def test_they_can_be_switched_off():
    trial = experiment({"pruned": {"from": "dense", **PRUNE}}, evaluation={"control": False})
    assert trial.variant_names == ["dense", "pruned"]
    assert trial.control_of("pruned") is None


def test_where_none_is_added_a_declared_one_serves_still():
    variants = {"pruned": {"from": "dense", **PRUNE}, "longer": {"from": "dense", "finetune": {"epochs": 10}}}
    trial = experiment(variants, evaluation={"control": False})
    assert (trial.controls.added, trial.control_of("pruned")) == ({}, "longer")


def test_a_gate_against_controls_needs_them():
    with pytest.raises(ValidationError, match=r"`control: false` with `gate.reference: control`"):
        experiment({}, evaluation={"control": False}, gate={"reference": "control"})


def test_they_are_no_part_of_what_the_config_says():
    trial = experiment({"pruned": {"from": "dense", **PRUNE}})
    assert list(trial.resolved()["variants"]) == ["pruned"]
    assert ExperimentConfig.model_validate(trial.resolved()) == trial


def test_they_follow_the_variants_of_a_changed_copy():
    trial = experiment({"pruned": {"from": "dense", **PRUNE}})
    assert trial.control_of("pruned") == "control-10"  # worked out before the copy is made
    assert with_digests(trial).made.keys() == trial.made.keys()


def test_a_student_by_width_is_its_parents_model_narrower():
    trial = experiment(
        {
            "pruned": {"from": "dense", **PRUNE},
            "student": {"from": "pruned", "distil": {"width": 0.5}},
            "grandchild": {"from": "student", "distil": {"width": 0.5}},
            "other": {"from": "student", "distil": {"model": {"name": "resnet8"}}},
            "tuned": {"from": "other", "finetune": {}},
        }
    )
    widths = {name: trial.model_of(name).width for name in ("dense", "pruned", "student", "grandchild")}
    assert widths == {"dense": 0.5, "pruned": 0.5, "student": 0.25, "grandchild": 0.125}
    assert trial.model_of("tuned").name == "resnet8"


def test_a_student_does_not_start_from_the_weights_of_its_parent():
    model = {"name": "convnet", "dropout": 0.1, "weights": "some.safetensors"}
    trial = experiment({"student": {"from": "dense", "distil": {"width": 0.5}}}, model=model)
    assert trial.model_of("student").weights is None
    assert trial.model_of("student").dropout == 0.1


@pytest.mark.parametrize("distil", [{}, {"width": 0.5, "model": {"name": "convnet"}}, {"width": None}, {"width": 1.5}])
def test_exactly_one_student(distil):
    with pytest.raises(ValidationError):
        experiment({"student": {"from": "dense", "distil": distil}})


def test_a_student_whose_features_are_compared_is_not_compiled():
    train = {"epochs": 1, "compile": "auto"}
    distil = {"from": "dense", "distil": {"width": 0.5}}
    looking = {"from": "dense", "distil": {"width": 0.5, "feature_weight": 1.0}}
    trial = experiment({"student": distil, "looking": looking}, train=train)
    assert [recipe_for(trial, name).compile for name in ("student", "looking")] == ["auto", "never"]


def test_students_alone_start_with_smaller_images_as_dense_does():
    """The others have weights that know whole ones; features are compared where both networks have maps of one size."""
    train = {"epochs": 2, "progressive_resizing": {"start_px": 4}}
    variants = {
        "student": {"from": "dense", "distil": {"width": 0.5}},
        "looking": {"from": "dense", "distil": {"width": 0.5, "feature_weight": 1.0}},
        "pruned": {"from": "dense", **PRUNE},
        "tuned": {"from": "dense", "finetune": {}},
        "aware": {"from": "dense", "quantize": {"epochs": 1}},
    }
    trial = experiment(variants, train=train)
    resized = [name for name in ("dense", *variants) if recipe_for(trial, name).progressive_resizing is not None]
    assert resized == ["dense", "student"]
    assert recipe_for(trial, trial.control_of("pruned")).progressive_resizing is None


def test_the_first_images_are_smaller_than_whole_ones():
    with pytest.raises(ValidationError, match="less than the 8 pixels"):
        experiment({}, train={"epochs": 2, "progressive_resizing": {"start_px": 8}})

"""The tree of variants: order, chains, and what cannot follow what."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slimline.config.base import NAME_PATTERN
from slimline.config.experiment import ExperimentConfig
from slimline.config.tree import RESERVED, in_order, tree_mistakes
from slimline.errors import SlimlineError

ROOT = Path(__file__).parents[2]
PRUNE, QUANTIZE = {"prune": {}}, {"quantize": {}}
DISTIL = {"distil": {"model": {"name": "convnet"}}}


def experiment(variants):
    return ExperimentConfig.model_validate(
        {
            "experiment": "trial",
            "dataset": {"name": "digits"},
            "model": {"name": "convnet"},
            "train": {"epochs": 1},
            "variants": variants,
            "evaluation": {"control": False},
        }
    )


FAMILY = experiment(
    {
        "small-int8": {"from": "small", **QUANTIZE},
        "int8": {"from": "dense", **QUANTIZE},
        "small": {"from": "pruned", **DISTIL},
        "pruned": {"from": "dense", **PRUNE},
    }
)


def test_parents_come_before_children_else_as_declared():
    assert FAMILY.variant_names == ["dense", "int8", "pruned", "small", "small-int8"]


def test_parent_step_and_chain():
    assert [FAMILY.parent(name) for name in FAMILY.variant_names] == [None, "dense", "dense", "pruned", "small"]
    assert [FAMILY.step(name) for name in FAMILY.variant_names] == ["train", "quantize", "prune", "distil", "quantize"]
    assert FAMILY.chain("dense") == ["dense"]
    assert FAMILY.chain("small-int8") == ["dense", "pruned", "small", "small-int8"]


def test_variants_by_step():
    assert FAMILY.by_step("train") == ["dense"]
    assert FAMILY.by_step("prune") == ["pruned"]
    assert FAMILY.by_step("quantize") == ["int8", "small-int8"]


def test_no_variants_at_all():
    assert experiment({}).variant_names == ["dense"]
    assert experiment({}).by_step("quantize") == []


def test_an_unknown_variant_gets_a_suggestion():
    with pytest.raises(SlimlineError, match="did you mean `pruned`"):
        FAMILY.step("prunde")


def test_a_config_is_frozen():
    with pytest.raises(ValidationError):
        FAMILY.experiment = "other"


@given(st.data())
def test_any_tree_in_any_order_is_put_in_order(data):
    size = data.draw(st.integers(0, 12))
    names = [f"v{index}" for index in range(size)]
    parents = {name: data.draw(st.sampled_from(["dense", *names[:index]])) for index, name in enumerate(names)}
    declared = data.draw(st.permutations(list(parents.items())))
    ordered = in_order(dict(declared))
    assert sorted(ordered) == sorted(["dense", *names])
    assert all(ordered.index(parent) < ordered.index(name) for name, parent in parents.items())


@given(st.data())
def test_every_tree_is_accepted_and_every_circle_is_refused_once(data):
    size = data.draw(st.integers(1, 8))
    names = [f"v{index}" for index in range(size)]
    variants = {
        name: {"from": data.draw(st.sampled_from(["dense", *names[:index]])), **PRUNE}
        for index, name in enumerate(names)
    }
    assert tree_mistakes(variants) == []
    # Closing a chain at its first variant makes a circle of the whole chain.
    last = data.draw(st.sampled_from(names))
    chain = [last]
    while variants[chain[-1]]["from"] != "dense":
        chain.append(variants[chain[-1]]["from"])
    variants[chain[-1]]["from"] = last
    (mistake,) = tree_mistakes(variants)
    shown = mistake["type"].context["got"].removeprefix("a circle: ").split(" -> ")
    assert shown[0] == shown[-1]
    assert sorted(shown[1:]) == sorted(chain)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_names_of_steps_are_reserved(name):
    with pytest.raises(ValidationError, match=f"`{name}` is a step"):
        experiment({name: {"from": "dense", **PRUNE}})


def test_every_rule_that_a_variant_could_shadow_is_reserved():
    files = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    rules = {name for file in files for name in re.findall(r"^\s*rule (\S+):", file.read_text(), re.MULTILINE)}
    assert "train" in rules
    assert {rule for rule in rules if re.fullmatch(NAME_PATTERN, rule)} <= RESERVED


@pytest.mark.parametrize("step", [PRUNE, DISTIL, QUANTIZE])
def test_nothing_follows_quantization(step):
    with pytest.raises(ValidationError, match="quantization comes last"):
        experiment({"int8": {"from": "dense", **QUANTIZE}, "late": {"from": "int8", **step}})


def test_only_the_first_step_after_quantization_is_blamed():
    variants = {
        "int8": {"from": "dense", **QUANTIZE},
        "late": {"from": "int8", **PRUNE},
        "later": {"from": "late", **DISTIL},
    }
    (mistake,) = tree_mistakes(variants)
    assert mistake["loc"] == ("late", "from")


def test_the_tree_is_checked_whatever_else_is_wrong():
    with pytest.raises(ValidationError) as caught:
        experiment({"a": {"from": "b", "prune": {"ratio": 7}}, "c": 3})
    assert {error["loc"] for error in caught.value.errors()} == {
        ("variants", "a", "prune", "ratio"),
        ("variants", "a", "from"),
        ("variants", "c"),
    }

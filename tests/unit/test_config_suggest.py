"""Every key survives a slip of one finger."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slimline.config.cluster import ClusterConfig
from slimline.config.experiment import ExperimentConfig
from slimline.config.model_names import MODEL_NAMES
from slimline.config.suggest import closest, did_you_mean, nearest
from slimline.config.words import Schema

SECTIONS = [
    list(node["properties"]) for model in (ExperimentConfig, ClusterConfig) for _, node in Schema(model).sections()
]


@st.composite
def typos(draw):
    """A key and one slip in it: a letter more, less, other, or two letters swapped."""
    others = draw(st.sampled_from(SECTIONS))
    word = draw(st.sampled_from(others))
    place = draw(st.integers(0, len(word) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase + "_"))
    slip = draw(
        st.sampled_from(
            [
                word[:place] + letter + word[place:],
                word[:place] + word[place + 1 :],
                word[:place] + letter + word[place + 1 :],
                word[:place] + word[place : place + 2][::-1] + word[place + 2 :],
            ]
        )
    )
    assume(slip not in others)
    return slip, word, others


@given(typos())
def test_any_slip_in_a_key_gets_the_right_suggestion(typo):
    slip, key, keys = typo
    assert key in nearest(slip, keys)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("ResNet18", "resnet18"), ("resnet-18", "resnet18"), ("resnet_50", "resnet50"), ("mobilenetv2", "mobilenet_v2")],
)
def test_models_by_the_names_that_people_use(word, meant):
    assert closest(word, MODEL_NAMES) == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [("lr", "learning_rate"), ("wd", "weight_decay"), ("batch", "batch_size"), ("LR", "learning_rate"), ("zzz", None)],
)
def test_initials_and_beginnings(word, meant):
    assert closest(word, ["epochs", "batch_size", "learning_rate", "weight_decay"]) == meant


def test_one_slip_is_nearer_than_likeness():
    assert nearest("nos", ["nodes", "qos"]) == ["qos"]


def test_two_keys_as_near_are_both_suggested():
    assert nearest("pus_per_node", ["cpus_per_node", "gpus_per_node"]) == ["cpus_per_node", "gpus_per_node"]
    assert did_you_mean("xpus", ["cpus", "gpus"]) == "; did you mean `cpus` or `gpus`?"


def test_of_many_as_near_two_are_suggested():
    assert len(nearest("vgg1", MODEL_NAMES)) == 2
    assert len(nearest("mem", ["memory_mb_per_node", "memory_mb_per_task", "memory_mb_per_rank"])) == 2


def test_no_suggestion_is_no_words():
    assert did_you_mean("zzz", ["epochs"]) == ""

"""Kills at random moments change nothing but the time; `make soak` does a hundred."""

import random

import pytest
from soak.kills import assert_exact_recoveries

EPOCHS = 40
SEED = 7


@pytest.mark.parametrize(("parallelism", "checkpoint_mode", "kills"), [("ddp", "sync", 4), ("fsdp", "async", 2)])
def test_killed_at_random_the_weights_are_those_of_an_unbroken_training(
    digits, tmp_path, parallelism, checkpoint_mode, kills
):
    way = {"parallelism": parallelism, "checkpoint_mode": checkpoint_mode}
    assert_exact_recoveries(tmp_path, digits, EPOCHS, random.Random(SEED), kills, print, **way)

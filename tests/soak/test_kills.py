"""A hundred kills at random moments, and as many exact recoveries. Run with `make soak`."""

import os
import random

import pytest
from soak.kills import assert_exact_recoveries

KILLS = int(os.environ.get("SLIMLINE_KILLS", "100"))
EPOCHS = 200
SEED = 20_261_124


@pytest.mark.parametrize(("parallelism", "checkpoint_mode"), [("ddp", "sync"), ("fsdp", "async")])
def test_however_often_it_is_killed_the_weights_are_those_of_an_unbroken_training(
    digits, tmp_path, say, parallelism, checkpoint_mode
):
    way = {"parallelism": parallelism, "checkpoint_mode": checkpoint_mode}
    assert_exact_recoveries(tmp_path, digits, EPOCHS, random.Random(SEED), KILLS, say, **way)

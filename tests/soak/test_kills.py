"""A hundred kills at random moments, and as many exact recoveries. Run with `make soak`."""

import os
import random

from soak.kills import assert_exact_recoveries

KILLS = int(os.environ.get("SLIMLINE_KILLS", "100"))
EPOCHS = 200
SEED = 20_261_124


def test_however_often_it_is_killed_the_weights_are_those_of_an_unbroken_training(digits, tmp_path, say):
    assert_exact_recoveries(tmp_path, digits, EPOCHS, random.Random(SEED), KILLS, say)

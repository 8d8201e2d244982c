"""Five kills at random moments change nothing but the time; `make soak` does a hundred."""

import random

from soak.kills import assert_exact_recoveries

EPOCHS = 40
KILLS = 5
SEED = 7


def test_killed_five_times_at_random_the_weights_are_those_of_an_unbroken_training(digits, tmp_path):
    assert_exact_recoveries(tmp_path, digits, EPOCHS, random.Random(SEED), KILLS, print)

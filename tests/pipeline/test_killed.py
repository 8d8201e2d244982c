"""Five kills at random moments change nothing but the time; `make soak` does a hundred."""

import random

from soak.kills import Training, train_and_kill

EPOCHS = 40
KILLS = 5
SEED = 7


def test_killed_five_times_at_random_the_weights_are_those_of_an_unbroken_training(digits, tmp_path):
    lines = []
    unbroken, killed = (Training(tmp_path / name, digits, EPOCHS) for name in ("unbroken", "killed"))
    train_and_kill(unbroken, random.Random(SEED), 0, lines.append)
    assert train_and_kill(killed, random.Random(SEED), KILLS, lines.append) == KILLS, lines
    assert killed.weights() == unbroken.weights()
    assert killed.course() == unbroken.course()
    assert [record["epoch"] for record in killed.course()] == list(range(EPOCHS))
    assert {record["samples_digest"] for record in killed.course()} == {killed.expected_digest()}

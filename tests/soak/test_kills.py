"""A hundred kills at random moments, and as many exact recoveries. Run with `make soak`."""

import os
import random
import time

from soak.kills import Training, train_and_kill

KILLS = int(os.environ.get("SLIMLINE_KILLS", "100"))
EPOCHS = 200
SEED = 20_261_124


def test_however_often_it_is_killed_the_weights_are_those_of_an_unbroken_training(digits, tmp_path, say):
    unbroken = Training(tmp_path / "unbroken", digits, EPOCHS)
    train_and_kill(unbroken, random.Random(SEED), 0, say)
    assert [record["epoch"] for record in unbroken.course()] == list(range(EPOCHS))
    assert {record["samples_digest"] for record in unbroken.course()} == {unbroken.expected_digest()}

    started_s, chance, kills, trainings = time.monotonic(), random.Random(SEED), 0, 0
    while kills < KILLS:
        killed = Training(tmp_path / f"killed-{trainings}", digits, EPOCHS)
        kills += train_and_kill(killed, chance, KILLS - kills, say)
        trainings += 1
        assert killed.weights() == unbroken.weights()
        assert killed.course() == unbroken.course()
        say(f"training {trainings}: the same bits as the unbroken one after {kills} kills so far")
    say(f"{kills} kills in {trainings} trainings, {time.monotonic() - started_s:.0f} s: all recovered to the same bits")

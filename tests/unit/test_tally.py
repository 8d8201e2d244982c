"""Running sums: what the heartbeat and a checkpoint get of them."""

import math

import numpy as np
import pytest
import torch

from slimline.training.checkpoint import Progress
from slimline.training.distributed import World
from slimline.training.tally import MOST_ANSWERS, Tally


@pytest.mark.parametrize(("loss", "told"), [(8.0, 2.0), (math.nan, None), (math.inf, None)])
def test_the_heartbeat_tells_a_loss_that_is_finite(loss, told):
    tally = Tally(Progress(), World(0, 1, torch.device("cpu")))
    tally.add(loss=torch.tensor(loss), samples=4, seconds=1.0)
    assert tally.pace(8) == {"loss": told, "images_per_s": 4.0, "eta_s": 2.0}


@pytest.mark.parametrize("steps", [1, MOST_ANSWERS - 1, MOST_ANSWERS, 2 * MOST_ANSWERS + 3])
def test_every_answer_is_judged_once_whenever_one_asks(steps):
    tally = Tally(Progress(), World(0, 1, torch.device("cpu")))
    tally.add(loss=1.0)
    logits, right = torch.eye(3), torch.tensor([0, 1, 0])  # the third answer is wrong
    for step in range(steps):
        tally.see(np.arange(3) + 3 * step, logits, right)
    assert tally.of_ranks()[0]["correct"] == 2 * steps
    assert tally.figures()["train_accuracy"] == pytest.approx(2 / 3)
    tally.clear()
    tally.see(np.arange(3), logits, torch.tensor([0, 1, 2]))
    assert tally.figures()["train_accuracy"] == 1.0

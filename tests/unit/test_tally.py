"""Running sums: what the heartbeat and a checkpoint get of them."""

import math

import pytest
import torch

from slimline.training.checkpoint import Progress
from slimline.training.distributed import World
from slimline.training.tally import Tally


@pytest.mark.parametrize(("loss", "told"), [(8.0, 2.0), (math.nan, None), (math.inf, None)])
def test_the_heartbeat_tells_a_loss_that_is_finite(loss, told):
    tally = Tally(Progress(), World(0, 1, torch.device("cpu")))
    tally.add(loss=torch.tensor(loss), samples=4, seconds=1.0)
    assert tally.pace(8) == {"loss": told, "images_per_s": 4.0, "eta_s": 2.0}

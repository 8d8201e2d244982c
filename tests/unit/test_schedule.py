"""Learning rates are functions of the step, and those of the papers they are named after."""

import pytest
import torch

from slimline.config.train import TrainConfig
from slimline.training.schedule import learning_rate_at, peak_learning_rate


def recipe(**changes):
    return TrainConfig(**({"epochs": 1, "learning_rate": 0.5, "warmup": 0.1} | changes))


@pytest.mark.parametrize(("schedule", "middle"), [("cosine", 0.25), ("linear", 0.25), ("constant", 0.5)])
def test_schedules_rise_to_the_peak_and_fall_as_named(schedule, middle):
    rates = [learning_rate_at(step, 100, recipe(schedule=schedule)) for step in range(101)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[9] == rates[10] == 0.5
    assert rates[55] == pytest.approx(middle)
    assert rates[100] == pytest.approx(0.5 if schedule == "constant" else 0, abs=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.3), (57, 0.25), (10, 0.5)])
def test_one_cycle_is_that_of_torch(steps, warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.5, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    for step in range(steps):
        ours = learning_rate_at(step, steps, recipe(schedule="one-cycle", warmup=warmup))
        assert ours == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step + 1 < steps:
            theirs.step()


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "one-cycle"])
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.0)])
def test_short_runs_have_a_learning_rate_at_every_step(schedule, steps, warmup):
    rates = [learning_rate_at(step, steps, recipe(schedule=schedule, warmup=warmup)) for step in range(steps)]
    assert all(0 <= rate <= 0.5 for rate in rates)
    assert max(rates) > 0


def test_one_step_without_warmup_takes_the_peak():
    assert learning_rate_at(0, 1, recipe(warmup=0.0)) == 0.5


@pytest.mark.parametrize(("rule", "factor"), [("none", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_the_peak_grows_with_the_batch_by_the_rule(rule, factor):
    scaled = recipe(batch_size=1024, learning_rate_scaling=rule)
    assert peak_learning_rate(scaled) == pytest.approx(0.5 * factor)
    assert peak_learning_rate(recipe(batch_size=256, learning_rate_scaling=rule)) == 0.5
    assert learning_rate_at(5, 10, scaled) == pytest.approx(factor * learning_rate_at(5, 10, recipe()))

import math

import numpy as np
import pytest
import torch
from torch import nn

from slimline.config.train import TrainConfig
from slimline.training.feed import Batch
from slimline.training.losses import Distillation, cross_entropy
from slimline.training.optimisation import build_optimizers


def recipe(**changes):
    return TrainConfig(**({"epochs": 1, "learning_rate": 0.5, "warmup": 0.1} | changes))


def test_weight_decay_spares_biases_and_normalisation():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    (optimizer,) = build_optimizers(model, recipe(weight_decay=0.1))
    decayed, spared = optimizer.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert {tuple(p.shape) for p in decayed["params"]} == {(2, 1, 3, 3), (2, 2)}
    assert all(p.ndim == 1 for p in spared["params"])


def test_sgd_step_follows_the_formula_of_nesterov_momentum():
    model = nn.Linear(1, 1, bias=False)
    (optimizer,) = build_optimizers(model, recipe(optimizer="sgd", weight_decay=0.0))
    start = model.weight.item()
    model.weight.grad = torch.ones(1, 1)
    optimizer.step()
    # first step: velocity v = g, update = g + 0.9 v
    assert model.weight.item() == pytest.approx(start - 0.5 * 1.9)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weights_with_channels_last_take_the_same_steps_without_a_copy_of_their_gradients(name):
    def trained(memory_format):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)).to(memory_format=memory_format)
        (optimizer,) = build_optimizers(model, recipe(optimizer=name, weight_decay=0.1))
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            for _ in range(3):
                for parameter in model.parameters():
                    gradient = torch.randn(parameter.shape)
                    parameter.grad = torch.empty_like(parameter).copy_(gradient)
                optimizer.step()
        for parameter in model.parameters():
            state = [value for value in optimizer.state[parameter].values() if value.shape == parameter.shape]
            assert state
            assert all(tensor.stride() == parameter.stride() for tensor in (parameter.grad, *state))
        return [*model.parameters()], {event.key for event in profiler.key_averages()}

    plain, _ = trained(torch.contiguous_format)
    last, operations = trained(torch.channels_last)
    torch.testing.assert_close(last, plain, rtol=1e-5, atol=1e-6)
    assert last[0].stride() == (27, 1, 9, 3)
    assert f"aten::_fused_{name}_" in operations
    assert "aten::contiguous" not in operations


def test_cross_entropy_is_the_sum_over_the_batch():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    expected = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))
    assert cross_entropy(0.0)(logits, batch_of(labels)).item() == pytest.approx(expected)


def batch_of(labels):
    return Batch(torch.empty(len(labels), 1), labels, np.arange(len(labels)))


def fixed(logits, temperature):
    """A teacher that says the same of every batch."""
    return lambda batch: torch.log_softmax(logits / temperature, dim=1)


def test_distillation_from_an_equal_teacher_leaves_the_labels_term_alone():
    logits, labels = torch.tensor([[1.0, -1.0, 0.5]]), torch.tensor([1])
    loss = Distillation(fixed(logits, 3.0), temperature=3.0, weight=0.7)(logits, batch_of(labels))
    assert loss.item() == pytest.approx(0.3 * cross_entropy(0.0)(logits, batch_of(labels)).item(), rel=1e-5)


def test_distillation_equals_its_formula():
    student, teacher, labels = torch.tensor([[0.2, -0.4]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    p, q = (torch.softmax(x / 2.0, dim=1) for x in (teacher, student))
    kl = (p * (p / q).log()).sum().item()
    loss = Distillation(fixed(teacher, 2.0), temperature=2.0, weight=0.6)(student, batch_of(labels))
    hard = -torch.log_softmax(student, 1)[0, 0].item()
    assert loss.item() == pytest.approx(0.6 * 4.0 * kl + 0.4 * hard, rel=1e-5)
    smoothed = Distillation(fixed(teacher, 2.0), 2.0, 0.6, label_smoothing=0.2)(student, batch_of(labels)).item()
    hard = -torch.log_softmax(student, 1)[0].mul(torch.tensor([0.9, 0.1])).sum().item()
    assert smoothed == pytest.approx(0.6 * 4.0 * kl + 0.4 * hard, rel=1e-5)

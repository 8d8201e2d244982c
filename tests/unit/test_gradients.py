"""The page on gradients is true, and so are the gradients of every loss."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slimline.training.attention_transfer import attention, attention_distance
from slimline.training.feed import Batch
from slimline.training.losses import Distillation, cross_entropy

PAGE = Path(__file__).parents[2] / "docs/explanation/gradients.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def teaching(temperature):
    """A linear teacher of images [n, 3]."""
    weights = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
    return lambda batch: torch.log_softmax(batch.images @ weights / temperature, dim=1)


LOSSES = {
    "cross-entropy": cross_entropy(0.0),
    "smoothed": cross_entropy(0.1),
    "distillation": Distillation(teaching(3.0), temperature=3.0, weight=0.7),
    "distillation alone": Distillation(teaching(1.0), temperature=1.0, weight=1.0),
}
TARGETS = {
    "labels": torch.tensor([0, 3, 1, 1, 2]),
    "shares": torch.softmax(torch.arange(20, dtype=torch.float64).view(5, 4) % 7, dim=1),
}


def test_the_blocks_of_the_page_run_and_hold():
    assert sum(block.count("assert") for block in BLOCKS) >= 8
    names = {}
    with torch.random.fork_rng(devices=[]):
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), names)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_every_loss_has_the_gradient_of_finite_differences(loss, targets):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    images = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    batch = Batch(images, targets, np.arange(5))
    assert torch.autograd.gradcheck(lambda logits: loss(logits, batch), (logits,))
    assert torch.autograd.gradgradcheck(lambda logits: loss(logits, batch), (logits,))


def test_attention_transfer_has_the_gradient_of_finite_differences():
    generator = torch.Generator().manual_seed(3)
    large = torch.randn(2, 3, 3, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    small = torch.randn(2, 4, 2, 1, dtype=torch.float64, generator=generator, requires_grad=True)
    taught = {
        size: attention(torch.randn(2, 5, *size, dtype=torch.float64, generator=generator)) for size in ((3, 2), (2, 1))
    }

    def loss(large, small):
        return attention_distance({(3, 2): large, (2, 1): small}, taught)

    assert torch.autograd.gradcheck(loss, (large, small))
    assert torch.autograd.gradgradcheck(loss, (large, small))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_shares_of_one_class_are_its_label(loss):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    images = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    labels = TARGETS["labels"]
    shares = nn.functional.one_hot(labels, 4).double()
    by_label, by_share = (loss(logits, Batch(images, targets, np.arange(5))) for targets in (labels, shares))
    assert torch.allclose(by_label, by_share)

"""A step of Muon over the kernels of ResNet-18's hidden layers, against torch's own: turns, medians.

Run with `make bench`.
"""

import time
from functools import partial
from statistics import median

import torch
from torch import nn
from torchvision.models import resnet18

from slimline.training.muon import Muon

LEAST_SPEEDUP = 1.4
REPETITIONS = 5


def stepping(make):
    """A step over matrices of the shapes of those kernels."""
    torch.manual_seed(0)
    hidden = [module for module in resnet18().modules() if isinstance(module, nn.Conv2d)][1:]
    matrices = [nn.Parameter(convolution.weight.detach().flatten(1)) for convolution in hidden]
    for matrix in matrices:
        matrix.grad = torch.randn_like(matrix)
    return make(matrices, lr=1e-3).step


def seconds(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def test_a_step_is_faster_than_torchs():
    steps = [stepping(partial(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")), stepping(Muon)]
    rounds = [[seconds(step) for step in steps] for _ in range(REPETITIONS + 1)][1:]  # the first makes momenta
    theirs_s, ours_s = (median(column) for column in zip(*rounds, strict=True))
    print(
        f"\nstep of Muon, ResNet-18: torch {theirs_s:.3f} s, slimline {ours_s:.3f} s, "
        f"{theirs_s / ours_s:.2f} times as fast (at least {LEAST_SPEEDUP})"
    )
    assert theirs_s >= LEAST_SPEEDUP * ours_s

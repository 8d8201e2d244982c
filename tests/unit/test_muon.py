"""Muon's steps on Gram matrices, against the iteration in fp64 and against torch's own."""

import pytest
import torch
from torch import nn

from slimline.training.muon import LEAST_BLOCK, Muon, gram_matrix, orthogonalized

COEFFICIENTS = torch.optim.Muon([nn.Parameter(torch.ones(2, 2))]).defaults["ns_coefficients"]


def with_singular_values(n, m, decades):
    """A matrix [n, m] whose singular values fall by so many powers of ten."""
    k = min(n, m)
    left, right = (torch.linalg.qr(torch.randn(size, k)).Q for size in (n, m))
    return (left * torch.logspace(0, -decades, k)) @ right.T


def in_fp64(matrix):
    a, b, c = COEFFICIENTS
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def torchs_own(matrix):
    """Of a first step from zero, without decay and with a learning rate of one."""
    parameter = nn.Parameter(torch.zeros_like(matrix))
    parameter.grad = matrix.clone()
    torch.optim.Muon([parameter], lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0).step()
    return -parameter.detach() / max(1, len(matrix) / matrix.shape[1]) ** 0.5


@pytest.mark.parametrize("decades", [0, 2, 4])
@pytest.mark.parametrize("shape", [(512, 4608), (64, 576), (64, 64), (100, 150), (90, 16)])
def test_errors_are_those_of_torchs_own_iteration(shape, decades):
    torch.manual_seed(0)
    matrix = with_singular_values(*shape, decades)
    exact = in_fp64(matrix if shape[0] <= shape[1] else matrix.T)
    exact = exact if shape[0] <= shape[1] else exact.T

    def error(found):
        return ((found - exact).norm() / exact.norm()).item()

    assert error(orthogonalized(matrix, COEFFICIENTS, 1e-7)) < max(2 * error(torchs_own(matrix)), 0.03)


@pytest.mark.parametrize("n_rows", [1, 2 * LEAST_BLOCK - 1, 2 * LEAST_BLOCK, 4 * LEAST_BLOCK + 3])
def test_a_gram_matrix_of_blocks_is_that_of_one_product(n_rows):
    torch.manual_seed(0)
    x = torch.randn(n_rows, 96).bfloat16()
    gram = gram_matrix(x)
    assert torch.equal(gram, gram.T)
    torch.testing.assert_close(gram, x @ x.T)


def test_a_matrix_of_zeros_stays():
    assert not orthogonalized(torch.zeros(4, 36), COEFFICIENTS, 1e-7).any()


@pytest.mark.parametrize("shape", [(16, 144), (24, 24), (48, 8)])
def test_steps_are_torchs_but_for_rounding(shape):
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.empty(shape))
    theirs.data.copy_(ours)
    optimizers = [Muon([ours], lr=0.1), torch.optim.Muon([theirs], lr=0.1, adjust_lr_fn="match_rms_adamw")]
    start = ours.detach().clone()
    for _ in range(3):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - theirs).norm() < 0.03 * (ours - start).norm()
    momenta = [optimizer.state_dict()["state"][0]["momentum_buffer"] for optimizer in optimizers]
    torch.testing.assert_close(*momenta)

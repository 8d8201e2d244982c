"""Checks of gradients that several ranks make together; all of them take the same steps at the same time."""

import torch
from torch import distributed as dist
from torch import nn
from torch.autograd import gradcheck
from torch.distributed.device_mesh import init_device_mesh

from slimline.training.batch_norm import SummedOverRanks, SyncBatchNorm2d
from slimline.training.tensor_parallel import HeadParallelAttention


def of_batch_norm():
    """Against finite differences, and against torch's layer on the images of all ranks."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    norm, whole = SyncBatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(ranks * 2, 3, 2, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    weight, bias = (torch.randn(3, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2))

    def parts(*inputs):
        """The outputs of all ranks on every rank; each looks at its images, and gradients go to all alike."""
        images, weight, bias = (SummedOverRanks.apply(tensor / ranks) for tensor in inputs)
        own = torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (images.chunk(ranks)[rank],))
        shares = [own if other == rank else torch.zeros_like(own) for other in range(ranks)]
        return SummedOverRanks.apply(torch.cat(shares))

    assert gradcheck(parts, (images, weight, bias))
    expected = torch.func.functional_call(whole, {"weight": weight, "bias": bias}, (images,))
    torch.testing.assert_close(parts(images, weight, bias), expected)


def of_attention():
    """Of the tokens against finite differences, of the weights against torch's layer."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    torch.manual_seed(0)
    source = nn.MultiheadAttention(8, 4, batch_first=True).double()
    nn.init.normal_(source.in_proj_bias)
    tokens = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    weighted = torch.randn(2, 3, 8, dtype=torch.float64)
    (source(tokens, tokens, tokens, need_weights=False)[0] * weighted).sum().backward()
    expected = {name: parameter.grad for name, parameter in source.named_parameters()}
    for parameter in source.parameters():
        parameter.grad = None

    attention = HeadParallelAttention(source, mesh)
    # DTensor takes no gradients that are undefined, which stand for zeros.
    assert gradcheck(lambda tokens: attention(tokens, tokens, tokens)[0], (tokens,), check_undefined_grad=False)
    attention.zero_grad()
    (attention(tokens, tokens, tokens)[0] * weighted).sum().backward()
    for name, parameter in attention.named_parameters():
        gradient = parameter.grad.full_tensor()
        rows = attention.rows if name.startswith("in_proj") else slice(None)
        torch.testing.assert_close(gradient, expected[name][rows])

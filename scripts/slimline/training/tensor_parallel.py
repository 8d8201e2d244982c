"""Tensor parallelism for transformers: each layer cut between ranks, by attention heads and by hidden units.

Megatron's scheme (Shoeybi et al., 2019): the first matrix of a pair by columns, the second by rows, so that a block
needs two all-reduces forward and two backward.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional

from slimline.models.attention import attention_heads, require_heads, transformer_blocks


class HeadParallelAttention(nn.Module):
    """What `nn.MultiheadAttention` computes, with the heads shared between ranks.

    The names and shapes of the parameters are those of `source`. The rows of the packed projection stand in another
    order, head by head with query, key and value of each, so that an even cut of them gives every rank whole heads.

    Args:
        source: self-attention with packed weights and `batch_first`; the ranks divide its heads.
        mesh: the ranks that share it, one dimension.
    """

    def __init__(self, source: nn.MultiheadAttention, mesh: DeviceMesh) -> None:
        super().__init__()
        self.mesh, self.head_dim, self.dropout = mesh, source.head_dim, source.dropout
        self.rows = head_major_rows(source.num_heads, source.head_dim)
        self.in_proj_weight = self._cut(source.in_proj_weight)
        self.in_proj_bias = self._cut(source.in_proj_bias)
        self.out_proj = parallelize_module(source.out_proj, mesh, RowwiseParallel())

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        """Self-attention [n, tokens, channels] of tokens [n, tokens, channels], the same on every rank.

        Raises:
            NotImplementedError: query, key and value are not one tensor, or the weights are asked for.
        """
        if not query is key is value or need_weights:
            raise NotImplementedError("attention that is cut between ranks is self-attention without its weights")
        tokens = DTensor.from_local(query, self.mesh, [Replicate()])
        projected = functional.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        assert isinstance(projected, DTensor)
        # [n, tokens, own heads x 3 x head_dim] -> three of [n, own heads, tokens, head_dim]
        own = projected.to_local()
        own = own.view(*own.shape[:2], -1, 3, self.head_dim)
        q, k, v = own.permute(3, 0, 2, 1, 4).unbind()
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None

    def _cut(self, packed: Tensor) -> nn.Parameter:
        return nn.Parameter(distribute_tensor(packed.detach()[self.rows.to(packed.device)], self.mesh, [Shard(0)]))


def head_major_rows(heads: int, head_dim: int) -> Tensor:
    """For each row [3 x heads x head_dim] of a projection in head order, its row in the order query, key, value."""
    return torch.arange(3 * heads * head_dim).view(3, heads, head_dim).transpose(0, 1).flatten()


def cut_layers(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shares the layers of every transformer block of `model` between the ranks of `mesh`, in place.

    Raises:
        SlimlineError: the model has no such blocks, or the ranks cannot share their heads.
    """
    require_heads(attention_heads(model), mesh.size())
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for block in list(transformer_blocks(model)):
        parent, _, leaf = block.attention.rpartition(".")
        attention = model.get_submodule(block.attention)
        assert isinstance(attention, nn.MultiheadAttention)
        setattr(model.get_submodule(parent), leaf, HeadParallelAttention(attention, mesh))
        parallelize_module(model, mesh, {block.widen: ColwiseParallel(), block.narrow: RowwiseParallel()})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained[name])  # what is cut is made anew


def reordered_parameters(model: nn.Module) -> dict[str, Tensor]:
    """By name of each parameter whose rows stand in head order: the row of the usual order at each place."""
    return {
        f"{name}.{parameter}": module.rows
        for name, module in model.named_modules()
        if isinstance(module, HeadParallelAttention)
        for parameter in ("in_proj_weight", "in_proj_bias")
    }

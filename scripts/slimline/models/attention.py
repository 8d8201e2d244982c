"""Which layers of a model can be split between ranks: attention by heads, and the perceptron that follows it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from slimline.errors import SlimlineError


@dataclass(frozen=True)
class TransformerBlock:
    """Names of the layers of one block, as `nn.Module.get_submodule` takes them.

    Args:
        attention: an `nn.MultiheadAttention` with packed weights of query, key and value.
        widen: the perceptron's first linear layer.
        narrow: its second.
    """

    attention: str
    widen: str
    narrow: str


def transformer_blocks(model: nn.Module) -> Iterator[TransformerBlock]:
    """The blocks of a transformer such as torchvision's ViT: one self-attention and one two-layer perceptron each."""
    for name, block in model.named_modules():
        children = [(f"{name}.{child}".lstrip("."), module) for child, module in block.named_children()]
        attentions = [child for child, module in children if _is_packed_attention(module)]
        perceptrons = [linears for child, module in children if len(linears := _linears(child, module)) == 2]
        if len(attentions) == len(perceptrons) == 1:
            yield TransformerBlock(attentions[0], *perceptrons[0])


def attention_heads(model: nn.Module) -> int:
    """Greatest number of ranks that can share the heads of every block; 0 where there are no blocks to share."""
    attentions = [model.get_submodule(block.attention) for block in transformer_blocks(model)]
    return math.gcd(*(module.num_heads for module in attentions if isinstance(module, nn.MultiheadAttention)))


def require_heads(heads: int, ranks: int) -> None:
    """Refuses to split attention between ranks that cannot share its heads evenly.

    Args:
        heads: as `attention_heads` gives it.
        ranks: how many are to share them.

    Raises:
        SlimlineError: the model is no transformer, or the ranks do not divide its heads.
    """
    if heads == 0:
        raise SlimlineError(
            "Tensor parallelism splits transformers, and this model is none.",
            where="train.parallelism",
            got="a model without blocks of self-attention and a perceptron",
            expected="a model such as vit_tiny or vit_b_16",
            next_step="set train.parallelism to auto, ddp, fsdp or hybrid",
        )
    if heads % ranks:
        raise SlimlineError(
            f"{ranks} ranks cannot share the attention heads of this model evenly.",
            where="train.parallelism, train.ranks",
            got=f"{heads} heads in a layer",
            expected="as many ranks in a tensor group as divide the heads",
            next_step="change train.ranks, or set train.parallelism to fsdp",
        )


def _is_packed_attention(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None and module.batch_first


def _linears(name: str, module: nn.Module) -> list[str]:
    if not isinstance(module, nn.Sequential):
        return []
    return [f"{name}.{child}" for child, layer in module.named_children() if isinstance(layer, nn.Linear)]

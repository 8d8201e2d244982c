"""One model on several ranks: replicas, shards, tensor parts, on the one mesh of the job."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from slimline.training.batch_norm import has_own_statistics, synchronise_batch_norm
from slimline.training.distributed import REPLICATE, SHARD, TENSOR, World
from slimline.training.tensor_parallel import cut_layers


def parallelise(model: nn.Module, world: World, sync_batch_norm: bool) -> nn.Module:
    """`model` as this rank computes it; gradients come out as means over the ranks with different images.

    Which parallelism it is follows from the mesh alone. The model is changed in place: with shards or tensor parts
    its parameters become DTensors, so the optimizer is built afterwards.

    Args:
        model: on the rank's device, with the same weights on every rank.
        world: this rank among its peers.
        sync_batch_norm: whether batch normalisation uses the images of all ranks.

    Returns:
        What to call for training; `model` itself serves for validation.

    Raises:
        SlimlineError: the model cannot be cut into tensor parts.
    """
    share_weights(model, world, sync_batch_norm)
    return model if world.mesh is None or is_sharded(model) else DistributedDataParallel(model)


def share_weights(model: nn.Module, world: World, sync_batch_norm: bool) -> None:
    """What `parallelise` does in place: nothing with one rank or where each has a whole replica.

    For models that take no gradients, such as a moving average, it is all that is to do.
    """
    if world.mesh is None:
        return
    if sync_batch_norm:
        synchronise_batch_norm(model, world)
    tensors, shards = world.mesh[TENSOR], world.mesh[SHARD]
    if tensors.size() > 1:
        cut_layers(model, tensors)
    if shards.size() > 1:
        model.to(memory_format=torch.contiguous_format)  # fully_shard takes no other
        replicas = world.mesh[REPLICATE].size()
        mesh = world.mesh[REPLICATE, SHARD] if replicas > 1 else shards
        for module in (*repeated_blocks(model), model):
            fully_shard(module, mesh=mesh)
        if has_own_statistics(model):
            model.register_forward_pre_hook(_take_buffers_of_main)


def compiles(wanted: str, device: torch.device) -> bool:
    """Whether a model is compiled: `off` never, `auto` on GPUs, where it pays off after a minute."""
    return wanted == "auto" and device.type == "cuda"


def is_sharded(model: nn.Module) -> bool:
    """Whether the rank holds parts of some parameters only, though after a forward pass they may all be there."""
    return isinstance(model, FSDPModule) or any(isinstance(parameter, DTensor) for parameter in model.parameters())


@contextlib.contextmanager
def gradient_sync(parallel: nn.Module, last: bool) -> Iterator[None]:
    """Gradients travel between ranks with the last part of a batch only; the parts before are added up.

    Args:
        parallel: what `parallelise` gave.
        last: whether the forward and backward pass inside are those of the last part.
    """
    if isinstance(parallel, DistributedDataParallel) and not last:
        with parallel.no_sync():
            yield
        return
    if isinstance(parallel, FSDPModule):
        parallel.set_requires_gradient_sync(last)
    yield


def mesh_of(tensor: Tensor) -> DeviceMesh | None:
    """The ranks that share a tensor; None if each has all of it."""
    return tensor.device_mesh if isinstance(tensor, DTensor) else None


def by_mesh(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parameter groups of which each has parameters of one mesh: optimizers and norms take no mixture.

    A model that is not sharded keeps its groups as they are.
    """
    split = []
    for group in groups:
        parts = defaultdict(list)
        for parameter in group["params"]:
            parts[mesh_of(parameter)].append(parameter)
        split += [group | {"params": parameters} for parameters in parts.values()] or [group]
    return split


def total_norm(groups: list[list[Tensor]]) -> Tensor:
    """Norm of all gradients together, a scalar, the same on every rank; those of one group are of one mesh."""
    if not any(isinstance(gradient, DTensor) for gradients in groups for gradient in gradients):
        return nn.utils.get_total_norm([gradient for gradients in groups for gradient in gradients])
    norms = [nn.utils.get_total_norm(gradients) for gradients in groups if gradients]
    return nn.utils.get_total_norm([norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms])


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost modules of a kind that occurs more than once, such as residual and encoder blocks.

    Weights are gathered one such block at a time, so that a rank never holds all of them.
    """
    kinds = Counter(type(module) for module in model.modules() if _is_block(module))
    found: list[nn.Module] = []
    pending = [model]
    while pending:
        module = pending.pop()
        if _is_block(module) and kinds[type(module)] > 1:
            found.append(module)
        else:
            pending.extend(module.children())
    return found


def _is_block(module: nn.Module) -> bool:
    """Whether it has layers of its own making; containers and single layers are too large or too small."""
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return (
        type(module) not in containers
        and any(True for _ in module.children())
        and any(True for _ in module.parameters())
    )


@torch.no_grad()
def _take_buffers_of_main(model: nn.Module, images: tuple[Tensor, ...]) -> None:
    """Before a forward pass, running statistics become those of the main rank, as under replicas."""
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    values = torch.cat([buffer.float().flatten() for buffer in buffers])
    dist.broadcast(values, src=0)
    for buffer, value in zip(buffers, torch.split(values, [buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(value.view_as(buffer))

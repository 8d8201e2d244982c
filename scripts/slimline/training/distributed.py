"""The processes of a job: who am I, how do we talk, do we agree."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from slimline.training.spec import Allocation

T = TypeVar("T")

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
# All ranks are replicas x shards x tensor parts; tensor parts, which talk in every layer, have neighbouring ranks.
REPLICATE, SHARD, TENSOR = "replicate", "shard", "tensor"


@dataclass(frozen=True)
class World:
    """This process among its peers.

    Ranks that compute each layer together (tensor parallelism) see the same images and count as one.

    Args:
        rank: place of this process among those with different images.
        size: number of those.
        device: where it computes.
        mesh: all processes as a grid of replicas, shards and tensor parts; None for a single process.
        hosts: all processes, for what they agree on in host memory; None for a single process.
    """

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None = None
    hosts: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.mesh is None or dist.get_rank() == 0

    @property
    def image_group(self) -> dist.ProcessGroup | None:
        """The processes with different images, this one among them; None for all."""
        if self.mesh is None or self.mesh[TENSOR].size() == 1:
            return None
        return self.mesh[SHARD].get_group()

    def sum(self, values: Tensor) -> Tensor:
        """`values`, summed in place over the ranks that have different images."""
        if self.size > 1:
            dist.all_reduce(values, group=self.image_group)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """`values` [k] of every rank, as [ranks, k] on the CPU."""
        if self.size == 1:
            return values[None]
        mine = values.to(self.device)
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine, group=self.image_group)
        return torch.stack(rows).cpu()

    def any(self, *flags: bool) -> list[bool]:
        """Whether each flag is set in any process; all get the same answer.

        Asked at every step: hosts wait for each other, and not for their GPUs to do what they have been given.
        """
        if self.hosts is None:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(counts, group=self.hosts)
        return [count > 0 for count in counts.tolist()]

    def from_main(self, value: str | None) -> str | None:
        """`value` as the main process has it."""
        values = [value]
        if self.hosts is not None:
            dist.broadcast_object_list(values, group=self.hosts)
        return values[0]

    def from_all(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        if self.hosts is None:
            return [value]
        values: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(values, value, group=self.hosts)
        return values

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Gives the tensors the values that they have on the first of the ranks with different images."""
        if self.size > 1:
            group = self.image_group
            source = 0 if group is None else dist.get_global_rank(group, 0)
            for tensor in tensors:
                dist.broadcast(tensor, src=source, group=group)

    def seed(self, seed: int) -> None:
        """Seeds the generators that this rank's computations draw from.

        Not by torch.manual_seed: that walks through all kinds of devices, a millisecond each time.
        """
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def barrier(self) -> None:
        """Waits for all processes."""
        if self.mesh is not None:
            dist.barrier()


@contextmanager
def joined(allocation: Allocation) -> Iterator[World]:
    """This process's world: threads set, device chosen, process group joined when there is more than one rank.

    Expects RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun sets them.
    """
    torch.set_num_threads(allocation.cpus_per_task)
    torch.use_deterministic_algorithms(True, warn_only=True)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = torch.device(allocation.device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if size == 1:
        yield World(0, 1, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    shards, tensors = allocation.shard_ranks, allocation.tensor_ranks
    mesh = init_device_mesh(
        device.type, (size // (shards * tensors), shards, tensors), mesh_dim_names=(REPLICATE, SHARD, TENSOR)
    )
    hosts = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    assert isinstance(hosts, dist.ProcessGroup)
    yield World(rank // tensors, size // tensors, device, mesh, hosts)
    # Not after an error: where a collective hangs, so does this, and the end of the process does it all the same.
    dist.destroy_process_group()

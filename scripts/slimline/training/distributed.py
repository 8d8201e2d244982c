"""The processes of a job: who am I, how do we talk, do we agree."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist

from slimline.training.spec import Allocation

COLLECTIVE_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """`values`, summed over all ranks in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """`values` [k] of every rank, as [ranks, k] on the CPU."""
        if self.size == 1:
            return values[None]
        mine = values.to(self.device)
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine)
        return torch.stack(rows).cpu()

    def any(self, *flags: bool) -> list[bool]:
        """Whether each flag is set on any rank; all ranks get the same answer."""
        if self.size == 1:
            return list(flags)
        return [count > 0 for count in self.sum(torch.tensor(flags, dtype=torch.int32, device=self.device)).tolist()]

    def from_main(self, value: str | None) -> str | None:
        """`value` as the main rank has it."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, device=self.device)
        return values[0]

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Gives the tensors the values that they have on the main rank."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.size > 1:
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
    if size > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    yield World(rank, size, device)
    # Not after an error: where a collective hangs, so does this, and the end of the process does it all the same.
    if size > 1:
        dist.destroy_process_group()


def data_parallel(model: nn.Module, world: World) -> nn.Module:
    """`model` with gradients averaged over the ranks, or itself when there is one."""
    if world.size == 1:
        return model
    return nn.parallel.DistributedDataParallel(model)

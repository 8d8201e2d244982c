"""Mixed precision: autocast, and for fp16 a scaled loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from slimline.training.parallel import mesh_of

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

# Losses are scaled up, from 2^16 on; a healthy run does not come near this.
SMALLEST_SCALE = 2.0**-10


class Scaler(torch.amp.GradScaler):
    """Torch's scaler, also where ranks share some parameters and not others: its kernel takes no mixture."""

    def _unscale_grads_(
        self, optimizer: torch.optim.Optimizer, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool
    ) -> dict[torch.device, Tensor]:
        groups: dict[DeviceMesh | None, list[dict[str, Any]]] = defaultdict(list)
        for group in optimizer.param_groups:  # each of one mesh, see `by_mesh`
            groups[mesh_of(group["params"][0])].append(group)
        found: dict[torch.device, Tensor] = {}
        for of_mesh in groups.values():
            part = cast(torch.optim.Optimizer, SimpleNamespace(param_groups=of_mesh))
            found |= super()._unscale_grads_(part, inv_scale, found_inf, allow_fp16)
        if len(groups) > 1:  # tensors that each rank has whole were looked at by each alone
            dist.all_reduce(found_inf, dist.ReduceOp.MAX)
        return found


class Precision:
    """How a model computes on a device (Micikevicius et al., 2018).

    Args:
        name: `fp32`, `bf16` or `fp16`.
        device: where the model lies.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.device = device
        self.dtype = DTYPES[name]
        # fp16 has too few exponents for small gradients: the scaler also leaves out steps in which they overflow.
        self.scaler = Scaler(device.type, enabled=name == "fp16")

    def autocast(self) -> torch.autocast:
        """Context of the forward pass."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Backward pass of a scalar loss."""
        torch.autograd.backward(self.scaler.scale(loss))

    def unscale(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Gives the gradients their true size."""
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)

    def step(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """One step of each optimizer; left out by the scaler where a gradient has overflowed."""
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()

    @property
    def has_collapsed(self) -> bool:
        """Whether gradients have overflowed so often that the scale is next to nothing: no step is taken any more."""
        return self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, as plain values; empty without a scaler."""
        return self.scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        if state:
            self.scaler.load_state_dict(state)

"""Copies from the host's memory to a GPU that go on beside what it computes."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor


class ToDevice:
    """A context that gives a function which copies a tensor to `device`.

    A GPU copies in a stream of its own: the batch that is asked for comes while the step before is still computed.
    What is computed after the context waits for its copies, the host waits for nothing; so tensors must lie in pinned
    memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._copies: list[Tensor] = []

    def __enter__(self) -> Callable[[Tensor], Tensor]:
        """The function."""
        return self._copy

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Has what comes next in the current stream wait for the copies."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._stream)
            for copy in self._copies:
                copy.record_stream(current)  # its memory is free only once the computation is over as well
        self._copies.clear()

    def _copy(self, tensor: Tensor) -> Tensor:
        if self._stream is None:
            return tensor.to(self.device)
        with torch.cuda.stream(self._stream):
            self._copies.append(tensor.to(self.device, non_blocking=True))
        return self._copies[-1]

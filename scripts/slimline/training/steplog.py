"""One line per interval of steps: loss, learning rate, gradient, speed, waiting, memory, use of the GPU."""

from __future__ import annotations

import math
import resource
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from slimline.models.count import count_macs

# Dense half-precision peaks in FLOP/s from the vendor's data sheets (SXM versions where there are several).
PEAK_FLOPS = {
    "B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12,
    "A10": 125e12, "V100": 125e12, "T4": 65e12, "RTX 4090": 165e12, "RTX 3090": 71e12,
}  # fmt: skip
# Forward pass, and twice that for the backward pass; two FLOPs per multiply-accumulate.
TRAINING_FLOPS_PER_MAC = 3 * 2
PROFILE_AFTER_STEPS = 10


def peak_memory_mb(device: torch.device) -> float:
    """Most memory of this process: resident on a CPU, reserved by the allocator on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Speed:
    """Speed and waiting since the last line, in the time between `go` and `pause`: validation is no part of it.

    Args:
        model: what is trained, to count its operations.
        image_shape: (c, h, w).
        device: where it is trained.
        half: whether it computes in half precision, for which peaks are known.
        ranks: processes that share the work.
    """

    def __init__(
        self, model: nn.Module, image_shape: tuple[int, int, int], device: torch.device, half: bool, ranks: int
    ) -> None:
        self.device, self.ranks, self.pixels = device, ranks, math.prod(image_shape[1:])
        self.flops_per_image = self.peak_flops = 0.0
        if device.type == "cuda" and half:
            self.flops_per_image = TRAINING_FLOPS_PER_MAC * count_macs(model, image_shape)
            name = torch.cuda.get_device_name(device)
            self.peak_flops = next((peak for key, peak in PEAK_FLOPS.items() if key in name), 0.0)
        self.samples, self._whole_images, self._seconds, self._waited_s = 0, 0.0, 0.0, 0.0
        self._since_s = self._waited_before_s = 0.0

    def go(self, waited_s: float) -> None:
        """Starts the clock; `waited_s` is how long the loop has waited for images, all told."""
        self._since_s, self._waited_before_s = time.perf_counter(), waited_s

    def pause(self, waited_s: float) -> None:
        """Stops the clock; images since the last line keep counting."""
        self._seconds += time.perf_counter() - self._since_s
        self._waited_s += waited_s - self._waited_before_s

    def add(self, samples: int, size: tuple[int, int]) -> None:
        """Counts the images of a step, of `size` (h, w): the operations that they take go by their area."""
        self.samples += samples
        self._whole_images += samples * math.prod(size) / self.pixels

    def lap(self, waited_s: float) -> dict[str, Any]:
        """Figures since the last call, of all ranks as if they were as fast as this one; the clock goes on.

        Args:
            waited_s: seconds waited for images, all told.
        """
        self.pause(waited_s)
        seconds = max(self._seconds, 1e-9)
        images_per_s = self.samples * self.ranks / seconds
        figures = {
            "images_per_s": images_per_s,
            "data_wait_share": self._waited_s / seconds,
            "memory_mb": peak_memory_mb(self.device),
        }
        if self.peak_flops:
            figures["mfu"] = self._whole_images * self.flops_per_image / (self.peak_flops * seconds)
        self.samples, self._whole_images, self._seconds, self._waited_s = 0, 0.0, 0.0, 0.0
        self.go(waited_s)
        return figures


class StepProfiler:
    """Torch's profiler over `steps` steps of this process, after some to warm up; nothing where `steps` is 0.

    A context around the steps.

    The trace is a file for chrome://tracing or ui.perfetto.dev.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path = path
        self.profiler = None
        if steps:
            schedule = torch.profiler.schedule(wait=PROFILE_AFTER_STEPS - 1, warmup=1, active=steps, repeat=1)
            self.profiler = torch.profiler.profile(schedule=schedule, on_trace_ready=self._write)

    def step(self) -> None:
        """Called after each step."""
        if self.profiler is not None:
            self.profiler.step()

    def __enter__(self) -> Self:
        """The profiler itself, started."""
        if self.profiler is not None:
            self.profiler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Writes what there is, however the steps ended."""
        if self.profiler is not None:
            self.profiler.stop()

    def _write(self, profiler: Any) -> None:
        self.path.parent.mkdir(exist_ok=True)
        profiler.export_chrome_trace(str(self.path))

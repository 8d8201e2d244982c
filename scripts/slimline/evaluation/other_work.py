"""How much else a machine does while something is measured on it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import psutil

# Of psutil's times of all cores; on a virtual machine `steal` is what its neighbours took.
BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


class OtherWork:
    """Counts from here on the processor time of everything but this process and `pids`, which live until it is read.

    Unlike the load average, which remembers the work of minutes ago, it knows of nothing before the measurement.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._ours = [psutil.Process(pid) for pid in (os.getpid(), *pids)]
        self._begin_s, self._before_s = time.monotonic(), self._others_s()

    def cores(self) -> float:
        """Cores that were busy with it, on average."""
        return max(0.0, (self._others_s() - self._before_s) / (time.monotonic() - self._begin_s))

    def _others_s(self) -> float:
        machine = psutil.cpu_times()
        busy_s = sum(getattr(machine, name, 0.0) for name in BUSY)
        ours_s = sum(times.user + times.system for times in (process.cpu_times() for process in self._ours))
        return float(busy_s - ours_s)

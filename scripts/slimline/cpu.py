"""What this machine's processor is and can do, and how threads share it: without torch, which takes seconds to load."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# A processor's sets of instructions there, on x86 and on Arm.
INSTRUCTIONS = ("flags", "features")


def cpu_name(cpuinfo: Path = CPU_INFO) -> str:
    """Model name of the processor, or its architecture where the system does not say."""
    names = (value for key, value in _entries(cpuinfo) if key == "model name" and value)
    return next(names, "") or platform.processor() or platform.machine() or "unknown"


def cpu_is_x86() -> bool:
    """Whether it is an x86 processor of 64 bits."""
    return platform.machine() == "x86_64"


def cpu_has_any(instructions: Iterable[str]) -> bool:
    """Whether it has one of these sets of instructions, by Linux's names for them; other systems tell of none."""
    found = (value.split() for key, value in _entries(CPU_INFO) if key in INSTRUCTIONS)
    return not set(instructions).isdisjoint(next(found, []))


def let_waiting_threads_sleep(cores: int) -> None:
    """Where more `cores` are given out than there are, has OpenMP's threads in later processes sleep while they wait.

    By default they spin, which is faster as long as each has a core to itself. Where they share one, a thread spins
    away the time of the thread that it waits for. A policy that the user has set stays.
    """
    if cores > (os.cpu_count() or 1):
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _entries(cpuinfo: Path) -> Iterator[tuple[str, str]]:
    """Keys, in lower case, with their values, processor after processor; none where there is no such file."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            yield key.strip().lower(), value.strip()

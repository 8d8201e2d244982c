"""What this machine's processor can do: asked without torch, which takes seconds to load."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

# Name and value by line; a processor's sets of instructions are "flags" on x86 and "Features" on Arm.
CPU_INFO = Path("/proc/cpuinfo")
INSTRUCTIONS = ("flags", "Features")


def cpu_is_x86() -> bool:
    """Whether it is an x86 processor of 64 bits."""
    return platform.machine() == "x86_64"


def cpu_has_any(instructions: Iterable[str]) -> bool:
    """Whether it has one of these sets of instructions, by Linux's names for them; other systems tell of none."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    entries = (line.partition(":") for line in lines)
    found = (value.split() for name, _, value in entries if name.strip() in INSTRUCTIONS)
    return not set(instructions).isdisjoint(next(found, []))

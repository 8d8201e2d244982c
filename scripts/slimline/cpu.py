"""What this machine's processor can do."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def cpu_has_any(instructions: Iterable[str]) -> bool:
    """Whether it has one of these sets of instructions, by torch's names for them."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in instructions)

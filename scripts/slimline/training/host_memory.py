"""Memory that a step frees and the next one needs again: it stays with the process."""

from __future__ import annotations

import ctypes

# Of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MOST = 2**31 - 1
MOST_MMAP_THRESHOLD = 32 * 2**20  # more is refused


def keep_freed_memory() -> bool:
    """Has the C library keep what is freed, rather than give it back to the kernel and have it cleared again.

    Gradients and activations are allocated and freed at every step; on a CPU the page faults alone are a tenth of a
    small network's step.

    Returns:
        Whether the library has these settings: glibc does.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, MOST)) and bool(mallopt(M_MMAP_THRESHOLD, MOST_MMAP_THRESHOLD))

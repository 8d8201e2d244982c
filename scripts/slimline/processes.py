"""Telling a process from a later one with the same number."""

from __future__ import annotations

from pathlib import Path

import psutil

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"
# Of the fields of /proc/<pid>/stat (proc(5)) behind the name, which may hold anything: clock ticks from boot to start.
START_FIELD = 22 - 3


def start_mark(pid: int) -> str:
    """When a process was started, in a form that no change of the clock alters; two processes of one pid differ in it.

    Linux counts ticks since boot. psutil adds the time of boot, which moves with the clock.

    Raises:
        psutil.NoSuchProcess: there is no such process.
    """
    if not BOOT_ID.exists():
        return repr(psutil.Process(pid).create_time())
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        raise psutil.NoSuchProcess(pid) from None
    return f"{BOOT_ID.read_text().strip()}/{fields[START_FIELD]}"

"""The lock that a killed Snakemake leaves behind: taken away when it is certain that nobody holds it.

Snakemake's lock names no process, so after a power cut or SIGKILL it asks the user to unlock by hand. Each run of
slimline therefore notes who it is; a later run that finds this process gone, on the same machine, removes the lock.
A lock from another machine, or one whose owner is not known, is left alone.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from slimline.files import read_json, write_json

OWNER = Path(".slimline/snakemake.json")
LOCKS = Path(".snakemake/locks")


def note_owner() -> None:
    """Notes that this process runs the workflow in the working directory, unless another one does."""
    if not _locks():
        write_json(OWNER, _describe(psutil.Process()))


def remove_stale_locks() -> bool:
    """Removes the locks of the run that was noted last, if it is certain that it is gone; tells whether it did."""
    locks = _locks()
    if not locks or not OWNER.exists():
        return False
    owner = read_json(OWNER)
    if owner["host"] != platform.node() or _is_alive(owner):
        return False
    for lock in locks:
        lock.unlink(missing_ok=True)
    return True


def _locks() -> list[Path]:
    return list(LOCKS.glob("*")) if LOCKS.is_dir() else []


def _describe(process: psutil.Process) -> dict[str, str | int | float]:
    return {"host": platform.node(), "pid": process.pid, "started_unix_s": process.create_time()}


def _is_alive(owner: dict[str, str | int | float]) -> bool:
    """Whether the noted process lives; the start time tells it from a later one with the same number."""
    if owner["pid"] == os.getpid():
        return True
    try:
        return _describe(psutil.Process(int(owner["pid"]))) == owner
    except psutil.Error:
        return False

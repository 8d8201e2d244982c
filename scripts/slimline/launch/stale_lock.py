"""The lock that a killed Snakemake leaves behind: taken away when it is certain that nobody holds it.

Snakemake's lock names no process, so after a power cut or SIGKILL it asks the user to unlock by hand. Each run of
slimline therefore leaves a note of who it is before it asks for the lock, and takes it away when it ends. A later run
that finds a lock, and every run that has left a note gone from this machine, removes the lock. A lock beside a note
from another machine, or one of which nothing is known, is left alone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from slimline.errors import SlimlineError
from slimline.files import read_json, write_json
from slimline.processes import start_mark

NOTES = Path(".slimline/snakemake")
LOCKS = Path(".snakemake/locks")
# Others hold it for as long as it takes to read some small files.
GUARD_TIMEOUT_S = 10.0
PID_NAMESPACE = Path("/proc/self/ns/pid")


def enter(*, runs: bool) -> bool:
    """Frees the working folder from the locks of runs that are gone; tells whether it did.

    Args:
        runs: whether this process is going to run the workflow there, and so to hold the lock.
    """
    if not runs and not _locks():
        return False
    NOTES.mkdir(parents=True, exist_ok=True)
    # Two that come at once must not both look before either has left its note.
    guard = FileLock(NOTES / "guard")
    with contextlib.suppress(Timeout):
        guard.acquire(timeout=GUARD_TIMEOUT_S)
    try:
        removed = guard.is_locked and _tidy_up()
        if runs:
            _leave_note()
    finally:
        guard.release()
    return removed


def _tidy_up() -> bool:
    """Removes the notes of runs that are gone, and the locks if all are; tells whether it removed locks."""
    locks, notes = _locks(), {path: _note(path) for path in NOTES.glob("*.json")}
    stale = notes and all(_is_gone(note) for note in notes.values())
    if locks and not stale:
        return False
    for path in [*locks, *(path for path, note in notes.items() if _is_gone(note) or _is_elsewhere(note))]:
        path.unlink(missing_ok=True)
    return bool(locks)


def _leave_note() -> None:
    pid = os.getpid()
    path = NOTES / f"{platform.node()}-{pid}.json"
    write_json(path, {"host": platform.node(), "pid": pid, "started": start_mark(pid), "pids_of": _pid_namespace()})

    def take_away() -> None:
        if os.getpid() == pid:  # not in a process that was forked
            path.unlink(missing_ok=True)

    atexit.register(take_away)


def _locks() -> list[Path]:
    return list(LOCKS.glob("*")) if LOCKS.is_dir() else []


def _note(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, SlimlineError):
        return dict(read_json(path))
    return {"host": "unknown"}


def _is_elsewhere(note: dict[str, Any]) -> bool:
    return bool(note["host"] != platform.node() or note.get("pids_of", _pid_namespace()) != _pid_namespace())


def _pid_namespace() -> str:
    """In which numbers of processes count: those of a container mean nothing outside, though host names may agree."""
    with contextlib.suppress(OSError):
        return str(PID_NAMESPACE.readlink())
    return ""


def _is_gone(note: dict[str, Any]) -> bool:
    """Whether it is certain that the run has ended."""
    if _is_elsewhere(note):
        return False
    try:
        process = psutil.Process(note["pid"])
        return start_mark(note["pid"]) != note["started"] or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

"""Local jobs that live on, though the run that started them was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil

# The command lines of submitit's processes: a job's controller, and its ranks.
CONTROLLER, RANK = "submitit.local._local", "submitit.core._submit"
ID_VARIABLE = "SUBMITIT_LOCAL_JOB_ID"


def living_jobs() -> dict[str, list[psutil.Process]]:
    """Processes of this working folder's jobs on this machine by the name of the job's folder, whoever started them."""
    here, found = Path.cwd(), dict[str, list[psutil.Process]]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            # Ranks of a Slurm job that was given this node have no such variable.
            if CONTROLLER in words or (RANK in words and ID_VARIABLE in process.environ()):
                for folder in (Path(word).parent for word in words if word.endswith("/submitit")):
                    if folder.is_relative_to(here):
                        found.setdefault(folder.name, []).append(process)
    return found


def wait_for_jobs(say: Callable[[str], None]) -> None:
    """Returns when no job of this working folder runs on this machine.

    Those of a run that was killed live on, and nobody counts the cores they use until their rule's turn comes.

    Args:
        say: is told what it waits for, when it has to.
    """
    while jobs := living_jobs():
        names, pids = sorted(jobs), sorted(process.pid for processes in jobs.values() for process in processes)
        say(
            f"waits until nothing computes beside it: {', '.join(names)} runs on from an earlier start "
            f"(to end it, which loses nothing that was saved: kill {' '.join(map(str, pids))})"
        )
        psutil.wait_procs([process for processes in jobs.values() for process in processes])

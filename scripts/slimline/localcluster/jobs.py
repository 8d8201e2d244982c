"""The processes of jobs: found by what Slurm leaves in them, since its job steps are nobody's children."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import psutil

from slimline.localcluster.daemons import end_processes
from slimline.localcluster.settings import CLUSTER_NAME, ClusterFolder

STEP_PROGRAM = "slurmstepd"
ROUNDS = 5


def end_jobs(folder: ClusterFolder, nodes: Collection[str]) -> None:
    """Kills every process of the jobs on `nodes`; looks again, since a process may start another meanwhile."""
    for _ in range(ROUNDS):
        processes = job_processes(folder, nodes)
        if not processes:
            return
        end_processes(processes, grace_s=0)


def job_processes(folder: ClusterFolder, nodes: Collection[str]) -> list[psutil.Process]:
    """The steps of jobs on `nodes`, all that they started, and what has left their process tree."""
    logs = {str(folder.node_log(node)) for node in nodes}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _is_step(process, logs):
                found |= {child.pid: child for child in process.children(recursive=True)} | {process.pid: process}
            elif _is_stray(process, nodes):
                found[process.pid] = process
    return list(found.values())


def _is_step(process: psutil.Process, logs: Collection[str]) -> bool:
    """A step writes the log of its node; its environment and its command line are overwritten."""
    if not Path(process.exe()).name.startswith(STEP_PROGRAM):
        return False
    return any(file.path in logs for file in process.open_files())


def _is_stray(process: psutil.Process, nodes: Collection[str]) -> bool:
    environment = process.environ()
    return environment.get("SLURM_CLUSTER_NAME") == CLUSTER_NAME and environment.get("SLURMD_NODENAME") in nodes

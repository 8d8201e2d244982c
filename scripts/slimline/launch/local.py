"""Jobs as processes on this machine, started by submitit's local executor."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import submitit

from slimline.launch.entry import DEVICES_VARIABLE, TrainingEntry
from slimline.launch.living import CONTROLLER, ID_VARIABLE, RANK
from slimline.launch.resources import Resources
from slimline.launch.signals import interrupts_delayed
from slimline.launch.states import FAILED, LOST, RUNNING, JobState

# How long before the time limit a job is asked to stop.
SIGNAL_DELAY_S = 90
GRACE_S = 5.0
POLL_S = 0.05


class LocalBackend:
    """Processes on this machine; a job's id is its controller's pid."""

    def __init__(self) -> None:
        self._most_ranks: dict[str, int] = {}
        self._submitted: dict[str, submitit.Job[None]] = {}
        self._folders: dict[str, str] = {}

    def submit(self, folder: Path, name: str, resources: Resources, after: str | None = None) -> str:
        """Starts one process per rank."""
        del name, after  # `cancel` has waited for the end of the one before
        executor = submitit.LocalExecutor(folder / "submitit")
        executor.update_parameters(
            tasks_per_node=resources.tasks_per_node,
            gpus_per_node=resources.gpus_per_node,
            timeout_min=resources.time_min,
            signal_delay_s=SIGNAL_DELAY_S,
            stderr_to_stdout=True,
        )
        with interrupts_delayed():
            devices = os.environ.get(DEVICES_VARIABLE) if resources.gpus_per_node else None
            job = executor.submit(TrainingEntry(folder, f"127.0.0.1:{_free_port()}", devices))
            self._submitted[job.job_id] = job
        self.joins(folder, job.job_id)
        return str(job.job_id)

    def find(self, folder: Path, since_unix_s: float = 0.0) -> str | None:
        """The id of the job that works in `folder`, if there is one: its controller's, which may have died alone."""
        del since_unix_s  # what runs here is seen at once
        wanted = _submitit_folder(folder)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if wanted in words and CONTROLLER in words:
                    return str(process.pid)
                if wanted in words and RANK in words:
                    return process.environ()[ID_VARIABLE]
        return None

    def joins(self, folder: Path, job_id: str) -> None:
        """What else has its number, after a restart or in another working folder, is not this job."""
        self._folders[job_id] = _submitit_folder(folder)

    def look(self, job_id: str) -> JobState:
        """RUNNING while the controller lives with all of its ranks; submitit would let the others wait."""
        controller = self._own_controller(job_id)
        if controller is None:
            return JobState(LOST, "its processes are gone")
        try:
            ranks = sum(child.status() != psutil.STATUS_ZOMBIE for child in controller.children())
        except psutil.NoSuchProcess:
            return JobState(LOST, "its processes are gone")
        self._most_ranks[job_id] = max(ranks, self._most_ranks.get(job_id, 0))
        return JobState(RUNNING) if ranks == self._most_ranks[job_id] else JobState(FAILED, "a rank has ended")

    def cancel(self, job_id: str) -> bool:
        """Asks all processes of the job to end, and kills those that have not after a few seconds."""
        controller = self._own_controller(job_id)
        if controller is None and _controller(job_id) is not None:
            return True  # its number is another job's, and so would its ranks be
        _end(_with_children(controller))
        # Ranks of a controller that was just starting them, or has died before.
        _end(list(_ranks(job_id)))
        self._reap(job_id)
        return True

    def withdraw(self, folder: Path) -> bool:
        """Ends the job of `folder`, if there is one."""
        job_id = self.find(folder)
        return job_id is None or self.cancel(job_id)

    def cancel_command(self, job_id: str) -> str:
        """A signal that the controller hands on to all ranks, which save and leave."""
        ends = [job_id] if _controller(job_id) is not None else [str(rank.pid) for rank in _ranks(job_id)]
        return f"kill {' '.join(ends)}"

    def settle(self, job_id: str) -> None:
        """Waits a moment for processes that are about to end, then ends them."""
        controller = self._own_controller(job_id)
        if controller is not None:
            psutil.wait_procs([controller], timeout=GRACE_S)
        self.cancel(job_id)

    def _own_controller(self, job_id: str) -> psutil.Process | None:
        return _controller(job_id, self._folders.get(job_id, ""))

    def _reap(self, job_id: str) -> None:
        """Has submitit see that its process has ended, or it would warn of it when it is collected.

        A process that is ending has no command line any more and is no zombie yet: it is not found by either.
        """
        job, end_s = self._submitted.pop(job_id, None), time.monotonic() + GRACE_S
        while job is not None and not job.done() and time.monotonic() < end_s:
            time.sleep(POLL_S)


def _submitit_folder(folder: Path) -> str:
    """As it stands in the command lines of a job's processes; another working folder may have the same name."""
    return str((folder / "submitit").absolute())


def _controller(job_id: str, of_folder: str = "") -> psutil.Process | None:
    """The process of a local job, unless it is gone or its pid is a stranger's now, or that of another folder's job."""
    try:
        process = psutil.Process(int(job_id))
        words = process.cmdline()
        ours = CONTROLLER in words and (not of_folder or of_folder in words)
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _with_children(controller: psutil.Process | None) -> list[psutil.Process]:
    """The controller of a job and all that it has started; nothing where it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [] if controller is None else [*controller.children(recursive=True), controller]
    return []


def _ranks(job_id: str) -> Iterator[psutil.Process]:
    """The ranks of a job, and what they have started: known by their environment, whoever their parent is now.

    Only in this working folder: elsewhere the number may be that of another job.
    """
    here = str(Path.cwd())
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(ID_VARIABLE) == job_id and process.cwd() == here:
                yield process


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        _quietly(process.terminate)
    _, left = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in left:
        _quietly(process.kill)
    psutil.wait_procs(left, timeout=GRACE_S)


def _quietly(act: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        act()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

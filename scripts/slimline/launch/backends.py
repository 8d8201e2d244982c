"""Where a job runs: submit it, ask whether it lives, take it back. One class per place."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil
import submitit

from slimline.config.cluster import ClusterConfig
from slimline.errors import SlimlineError
from slimline.launch.entry import TrainingEntry

log = logging.getLogger("slimline")

SIGNAL_DELAY_S = 90
QUERY_TIMEOUT_S = 60
GRACE_S = 5.0
# Why Slurm keeps a job back that it will never start unless somebody changes the job or a limit.
HOPELESS = re.compile(
    r"Partition(Config|NodeLimit|TimeLimit)|BadConstraints|Invalid(Account|QOS)|(Account|QOS)NotAllowed|MaxMemPerLimit"
    r"|\w+PerJob\w*|launch.failed.requeued.held"
)


class Backend(Protocol):
    """A place where training jobs run."""

    def submit(self, folder: Path, name: str, plan: dict[str, Any]) -> str:
        """Submits the job whose spec lies in `folder`; returns its id."""

    def is_alive(self, job_id: str) -> bool:
        """Whether the job waits or runs with all of its ranks."""

    def cancel(self, job_id: str) -> None:
        """Ends the job and everything it started."""

    def settle(self, job_id: str) -> None:
        """Lets a job that has its result come to its end."""


def backend_for(cluster: ClusterConfig) -> Backend:
    """The place that a cluster file names."""
    return SlurmBackend(cluster) if cluster.executor == "slurm" else LocalBackend()


class LocalBackend:
    """Processes on this machine, started by submitit's local executor; a job's id is its controller's pid."""

    def __init__(self) -> None:
        self._most_ranks: dict[str, int] = {}
        self._submitted: dict[str, submitit.Job[None]] = {}

    def submit(self, folder: Path, name: str, plan: dict[str, Any]) -> str:
        """Starts one process per rank."""
        del name
        executor = submitit.LocalExecutor(folder / "submitit")
        executor.update_parameters(
            tasks_per_node=plan["tasks_per_node"],
            gpus_per_node=plan["gpus_per_node"],
            timeout_min=plan["time_min"],
            signal_delay_s=SIGNAL_DELAY_S,
            stderr_to_stdout=True,
        )
        job = executor.submit(TrainingEntry(folder, f"127.0.0.1:{_free_port()}"))
        self._submitted[job.job_id] = job
        return str(job.job_id)

    def is_alive(self, job_id: str) -> bool:
        """Whether the controller lives with all the ranks it has had; submitit lets the others wait for a dead one."""
        controller = _controller(job_id)
        if controller is None:
            return False
        try:
            ranks = sum(child.status() != psutil.STATUS_ZOMBIE for child in controller.children())
        except psutil.NoSuchProcess:
            return False
        self._most_ranks[job_id] = max(ranks, self._most_ranks.get(job_id, 0))
        return ranks == self._most_ranks[job_id]

    def cancel(self, job_id: str) -> None:
        """Asks all processes of the job to end, and kills those that have not after a few seconds."""
        controller = _controller(job_id)
        processes = [] if controller is None else [*controller.children(recursive=True), controller]
        for process in processes:
            _quietly(process.terminate)
        _, left = psutil.wait_procs(processes, timeout=GRACE_S)
        for process in left:
            _quietly(process.kill)
        psutil.wait_procs(left, timeout=GRACE_S)
        self._reap(job_id)

    def settle(self, job_id: str) -> None:
        """Waits a moment for processes that are about to end, then ends them."""
        controller = _controller(job_id)
        if controller is not None:
            psutil.wait_procs([controller], timeout=GRACE_S)
        self.cancel(job_id)

    def _reap(self, job_id: str) -> None:
        """Tells submitit that its process has ended, or it would warn of it when it is collected."""
        if job_id in self._submitted:
            self._submitted.pop(job_id).done()


def _controller(job_id: str) -> psutil.Process | None:
    """The process of a local job, unless it is gone or its pid has gone to a stranger."""
    try:
        process = psutil.Process(int(job_id))
        ours = "submitit.local._local" in process.cmdline()
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _quietly(act: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        act()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SlurmBackend:
    """Jobs of a Slurm cluster, submitted by submitit's Slurm executor."""

    def __init__(self, cluster: ClusterConfig) -> None:
        self.cluster = cluster
        self._told: dict[str, str] = {}

    def submit(self, folder: Path, name: str, plan: dict[str, Any]) -> str:
        """Queues the job with the request that the plan made."""
        try:
            # submitit prints what sbatch says; here it comes once, in the error.
            with contextlib.redirect_stderr(io.StringIO()):
                job = self._executor(folder, name, plan).submit(TrainingEntry(folder, rendezvous=None))
        except (submitit.core.utils.FailedJobError, RuntimeError, OSError) as error:
            reasons = [line.removeprefix("sbatch: error: ") for line in str(error).splitlines()]
            raise self._refused("; ".join(reasons)) from error
        return str(job.job_id)

    def is_alive(self, job_id: str) -> bool:
        """Whether the queue still has the job.

        Raises:
            SlimlineError: the job waits for something that will not come.
        """
        command = ["squeue", "--noheader", f"--jobs={job_id}", "--format=%T %r"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return True
        if answer.returncode != 0:
            # A controller that does not answer is no reason to give a job up; an unknown id is.
            return "Invalid job id" not in answer.stderr
        state, _, reason = answer.stdout.strip().partition(" ")
        if state == "PENDING" and HOPELESS.fullmatch(reason):
            raise self._refused(f"it keeps the job back: {reason}")
        self._tell(job_id, state, reason)
        return bool(state)

    def cancel(self, job_id: str) -> None:
        """Cancels the job."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["scancel", job_id], capture_output=True, timeout=QUERY_TIMEOUT_S)

    def settle(self, job_id: str) -> None:
        """Nothing: the job leaves the queue by itself."""

    def _executor(self, folder: Path, name: str, plan: dict[str, Any]) -> submitit.SlurmExecutor:
        executor = submitit.SlurmExecutor(folder / "submitit")
        site = {key: getattr(self.cluster, key) for key in ("account", "partition", "qos", "constraint")}
        executor.update_parameters(
            job_name=name,
            nodes=plan["nodes"],
            ntasks_per_node=plan["tasks_per_node"],
            cpus_per_task=plan["cpus_per_task"],
            gpus_per_node=plan["gpus_per_node"] or None,
            mem=f"{plan['memory_mb']}M",
            time=plan["time_min"],
            signal_delay_s=SIGNAL_DELAY_S,
            stderr_to_stdout=True,
            # Since Slurm 22.05 srun does not take this over from the allocation.
            srun_args=[f"--cpus-per-task={plan['cpus_per_task']}"],
            wckey="",
            additional_parameters={"requeue": True},
            **{key: value for key, value in site.items() if value is not None},
        )
        return executor

    def _tell(self, job_id: str, state: str, reason: str) -> None:
        """Logs a state of the job once, and why it waits."""
        words = f"{state}, {reason}" if state == "PENDING" else state
        if state and self._told.get(job_id) != words:
            self._told[job_id] = words
            log.info("job %s in the queue: %s", job_id, words)

    def _refused(self, reason: str) -> SlimlineError:
        return SlimlineError(
            "Slurm does not take the job.",
            where=f"cluster {self.cluster.name}",
            got=reason,
            expected="a request that the cluster can grant; see `sinfo -o '%P %D %c %m %G %l'`",
            next_step=f"correct the limits, partition, account, qos or constraint in config/clusters/"
            f"{self.cluster.name}.yaml and run snakemake again",
        )

"""Jobs of a Slurm cluster, submitted by submitit's Slurm executor."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import submitit

from slimline.config.cluster import ClusterConfig
from slimline.launch import begin_rank
from slimline.launch.entry import TrainingEntry
from slimline.launch.local import SIGNAL_DELAY_S
from slimline.launch.queue import SQUEUE, Queue, live_job, query
from slimline.launch.refusal import refusal
from slimline.launch.resources import Resources
from slimline.launch.signals import interrupts_delayed
from slimline.launch.states import JobState

log = logging.getLogger("slimline")

# While nobody answers, a request is neither refused nor granted: worth asking again.
UNREACHABLE = re.compile(r"Unable to contact|Connection refused|Socket timed out|Zero Bytes|Transport|timed out", re.I)
RETRY_FOR_S = 900.0
# A request whose answer was lost is in the queue by then, or never will be.
ARRIVAL_S = 15.0
# An interrupt leaves this long for Slurm to take the job back, and half of it where the job must be looked for first.
CANCEL_TIMEOUT_S = 4.0
# Without site-packages, which what it executes has again: every millisecond before it holds the signal counts.
RANK_PYTHON = shlex.join([sys.executable, "-I", "-S", str(Path(begin_rank.__file__).resolve())])


class SlurmBackend:
    """The cluster of a cluster file."""

    def __init__(self, cluster: ClusterConfig) -> None:
        self.cluster = cluster
        self.queue = Queue(cluster.poll_interval_s)
        self._known_unix_s: dict[str, float] = {}
        self._accepted: dict[Path, str] = {}

    def submit(self, folder: Path, name: str, resources: Resources, after: str | None = None) -> str:
        """Queues the job; asks again for some minutes while the controller does not answer.

        A request whose answer was lost may have arrived. So it is made again only when Slurm has said that there is
        no such job.

        Raises:
            UnansweredError: Slurm does not say whether there is one.
            SlimlineError: Slurm refuses the request, or did not answer at all.
        """
        self._accepted.pop(folder, None)
        give_up_s = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                # submitit prints what sbatch says; here it comes once, in the error.
                with contextlib.redirect_stderr(io.StringIO()), interrupts_delayed():
                    job = self._executor(folder, name, resources, after).submit(TrainingEntry(folder, rendezvous=None))
                    self._accepted[folder] = str(job.job_id)
                return self._accepted[folder]
            except (submitit.core.utils.FailedJobError, RuntimeError, OSError) as error:
                lines = [line.strip() for line in str(error).splitlines()]
                # What is around it is submitit's account of the command.
                said = [line for line in lines if line.startswith("sbatch:")] or lines
                reason = "; ".join(line.removeprefix("sbatch: error: ") for line in said)
                refused = refusal(self.cluster.name, reason)
                if not UNREACHABLE.search(reason):
                    raise refused from error
            log.warning("Slurm does not answer (%s); the job is submitted again once it does", reason)
            found = self.find(folder, time.time() + ARRIVAL_S)
            if found is not None:
                return found
            if time.monotonic() > give_up_s:
                raise refused

    def find(self, folder: Path, since_unix_s: float) -> str | None:
        """The live job whose comment names `folder`.

        Raises:
            UnansweredError: Slurm has not said for some minutes whether there is one.
        """
        return self.queue.find(_comment(folder), since_unix_s, RETRY_FOR_S)

    def joins(self, folder: Path, job_id: str) -> None:
        """Nothing: Slurm's numbers are of one job each."""

    def look(self, job_id: str) -> JobState | None:
        """How the job stands by the newest answer of Slurm; None where it is older than what is known of the job."""
        return self.queue.look(job_id, self._known_unix_s.setdefault(job_id, time.time()))

    def cancel(self, job_id: str, timeout_s: float = CANCEL_TIMEOUT_S) -> bool:
        """Cancels the job; says how to do it by hand where Slurm does not answer, which makes it false."""
        try:
            # In a session of its own: a second Ctrl-C must not end it.
            answer = subprocess.run(
                ["scancel", job_id], capture_output=True, text=True, timeout=timeout_s, start_new_session=True
            )
        except subprocess.TimeoutExpired:
            log.error("Slurm does not answer: job %s may still be there; `scancel %s` ends it", job_id, job_id)
            return False
        if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
            log.error("job %s may still be there (%s); `scancel %s` ends it", job_id, answer.stderr.strip(), job_id)
            return False
        return True

    def withdraw(self, folder: Path) -> bool:
        """Cancels the job of a request that may have arrived; false where Slurm does not say in time."""
        job_id = self._accepted.get(folder)
        if job_id is None:
            error, rows = query(SQUEUE, CANCEL_TIMEOUT_S / 2)
            if error is not None:
                log.error(
                    "Slurm does not answer (%s): a job may be there; `squeue --me` tells, the next run joins it", error
                )
                return False
            job_id = live_job(rows, _comment(folder))
        return job_id is None or self.cancel(job_id, CANCEL_TIMEOUT_S / 2)

    def cancel_command(self, job_id: str) -> str:
        """Slurm's own; the ranks get time to save."""
        return f"scancel {job_id}"

    def settle(self, job_id: str) -> None:
        """Nothing: the job leaves the queue by itself."""

    def _executor(self, folder: Path, name: str, resources: Resources, after: str | None) -> submitit.SlurmExecutor:
        executor = submitit.SlurmExecutor(folder / "submitit", python=RANK_PYTHON)
        site = {key: getattr(self.cluster, key) for key in ("account", "partition", "qos", "constraint")}
        executor.update_parameters(
            job_name=name,
            comment=_comment(folder),
            nodes=resources.nodes,
            ntasks_per_node=resources.tasks_per_node,
            cpus_per_task=resources.cpus_per_task,
            gpus_per_node=resources.gpus_per_node or None,
            mem=f"{resources.memory_mb}M",
            time=resources.time_min,
            signal_delay_s=SIGNAL_DELAY_S,
            stderr_to_stdout=True,
            # Since Slurm 22.05 srun does not take the first over from the allocation; by the second the peers of a
            # dead rank end with it.
            srun_args=[f"--cpus-per-task={resources.cpus_per_task}", "--kill-on-bad-exit=1"],
            wckey="",
            additional_parameters={"requeue": True} | ({"dependency": f"afterany:{after}"} if after else {}),
            **{key: value for key, value in site.items() if value is not None},
        )
        return executor


def _comment(folder: Path) -> str:
    """What marks a job as that of a folder, in the queue and in the accounts."""
    return f"slimline {folder.resolve()}"

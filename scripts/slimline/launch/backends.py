"""Where a job runs: one class per place, all with these methods."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from slimline.config.cluster import ClusterConfig
from slimline.launch.local import LocalBackend
from slimline.launch.resources import Resources
from slimline.launch.slurm import SlurmBackend
from slimline.launch.states import JobState


class Backend(Protocol):
    """A place where training jobs run."""

    def submit(self, folder: Path, name: str, resources: Resources, after: str | None = None) -> str:
        """Submits the job whose spec lies in `folder`, to start when job `after` has ended; returns its id."""

    def find(self, folder: Path, since_unix_s: float) -> str | None:
        """The id of a live job of `folder` by what is known later than `since_unix_s`.

        Raises:
            UnansweredError: nobody says whether there is one.
        """

    def joins(self, folder: Path, job_id: str) -> None:
        """Takes note that this job, of an earlier run, is that of `folder`."""

    def look(self, job_id: str) -> JobState | None:
        """How the job stands; None while nothing new is known."""

    def cancel(self, job_id: str) -> bool:
        """Ends the job and everything it started; false where it may go on."""

    def withdraw(self, folder: Path) -> bool:
        """Ends, within seconds, the job of a request that may have arrived; false where it may be there still."""

    def cancel_command(self, job_id: str) -> str:
        """What a user types to end the job."""

    def settle(self, job_id: str) -> None:
        """Lets a job that has its result come to its end."""


def backend_for(cluster: ClusterConfig, executor: str | None = None) -> Backend:
    """The place that a cluster file names, or the one of another executor, to ask for its jobs."""
    return SlurmBackend(cluster) if (executor or cluster.executor) == "slurm" else LocalBackend()


def can_be_asked(executor: str) -> bool:
    """Whether this machine can tell which jobs of an executor live."""
    return executor == "local" or shutil.which("squeue") is not None

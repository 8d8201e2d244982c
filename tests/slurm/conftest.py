"""A real Slurm for the session: started here, ended here.

It takes about 10 seconds to start once Debian's packages are installed. Only one can run on a machine, so end one of
your own first (`make slurm-down`).
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipeline.clones import clone_into

from slimline.localcluster import host
from slimline.localcluster.settings import ClusterFolder

POLL_S = 0.25
DATASET = {"name": "digits"}
MODEL = {"name": "resnet8"}


@dataclass(frozen=True)
class Slurm:
    """The cluster, and its commands as a user types them."""

    folder: ClusterFolder

    def run(self, *arguments, check=True):
        """`python -m slimline.localcluster …`."""
        command = [sys.executable, "-m", "slimline.localcluster", "--folder", str(self.folder.path), *arguments]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert not check or result.returncode == 0, result.stdout
        return result

    def command(self, *arguments, **options):
        """What a command of Slurm's prints."""
        result = subprocess.run([*map(str, arguments)], capture_output=True, text=True, **options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def submit(self, script, *options, folder):
        """Submits a bash script; returns the job's id. What it prints goes to `<id>.out` in `folder`."""
        text = f"#!/bin/bash\n{script}\n"
        return self.command("sbatch", "--parsable", "--output=%j.out", *options, input=text, cwd=folder).strip()

    def sacct(self, job, *fields, steps=False, **options):
        """One tuple of fields per record of a job, requeued ones before."""
        only = [] if steps else ["--allocations"]
        form = ["--noheader", "--parsable2", "--duplicates", f"--format={','.join(fields)}"]
        answer = self.command("sacct", *only, *form, f"--jobs={job}", **options)
        return [tuple(line.split("|")) for line in answer.splitlines()]

    def states(self, job):
        """The states of a job, one for each time that it was queued."""
        return [state.split()[0] for (state,) in self.sacct(job, "state")]

    def wait_for(self, job, state, timeout_s=120):
        """Returns when the latest state of the job is this one."""
        until(lambda: self.states(job)[-1:] == [state], timeout_s, lambda: f"job {job} is {self.states(job)}")


def until(condition, timeout_s, what):
    """Returns when the condition holds, and fails when it does not in time."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, what() if callable(what) else what
        time.sleep(POLL_S)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The cluster: 4 nodes with 4 CPUs and 8000 MB each, partitions `batch` and `urgent`, with accounting."""
    reason = host.why_not()
    if reason is not None and "SLIMLINE_REQUIRE_SLURM" in os.environ:
        pytest.fail(f"a local Slurm cannot run here: {reason}")
    if reason is not None:
        pytest.skip(f"a local Slurm cannot run here: {reason}")
    cluster = Slurm(ClusterFolder.at(tmp_path_factory.mktemp("slurm")))
    cluster.run("up")
    yield cluster
    cluster.run("down")


@pytest.fixture
def clean(slurm):
    """The cluster; without jobs and with all nodes in service when the test is over, however it ended."""
    yield slurm
    slurm.command("scancel", "--user=root")
    until(lambda: not slurm.command("squeue", "--noheader"), 60, lambda: slurm.command("squeue"))
    for node in slurm.command("sinfo", "--noheader", "--Node", "--partition=batch", "--format=%N %T").splitlines():
        name, state = node.split()
        if state != "idle":
            slurm.run("resume-node", name)


@pytest.fixture(scope="session")
def with_data(tmp_path_factory):
    """A clone with the prepared data of the trainings here, to be copied."""
    clone = clone_into(tmp_path_factory.mktemp("with-data") / "clone")
    config = clone.write_config("data", dataset=DATASET, model=MODEL, train={"epochs": 1})
    clone.snakemake("preprocess", "--cores", 2, *config)
    return clone


@pytest.fixture
def workplace(tmp_path):
    """A folder that jobs can write to."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    return Path(folder)

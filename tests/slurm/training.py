"""A training job on the local Slurm, run by Snakemake in a working copy of its own: start it, look at it, harm it."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field

import psutil
import yaml
from conftest import DATASET, MODEL, Slurm, until
from pipeline.clones import Clone

from slimline.files import read_json
from slimline.launch.starts import STARTS_FILE
from slimline.training.spec import CHECKPOINTS_FOLDER, HEARTBEAT_FILE, checkpoint_names

SITE = {
    "name": "slurm",
    "executor": "slurm",
    "nodes": 2,
    "cpus_per_node": 1,
    "cpus_per_task": 1,
    "memory_mb_per_node": 4000,
    "checkpoint_interval_s": 1,
    "stall_timeout_s": 15,
    "poll_interval_s": 3,
}
TRAIN = {"batch_size": 128, "learning_rate": 0.004, "seeds": [0], "ranks": 2}


@dataclass(frozen=True)
class Workplace:
    """A working copy whose training jobs go to the local Slurm; its other rules run on this machine."""

    clone: Clone
    slurm: Slurm
    name: str
    n_ranks: int
    started: list = field(default_factory=list)

    @classmethod
    def make(cls, clone, slurm, name, site=None, **train):
        """Of a clone, for the experiment `name`; `site` and `train` change its cluster file and its training."""
        (clone.folder / "config/clusters/slurm.yaml").write_text(yaml.safe_dump(SITE | (site or {})))
        clone.write_config(name, dataset=DATASET, model=MODEL, train=TRAIN | train)
        return cls(clone, slurm, name, (TRAIN | train)["ranks"])

    def arguments(self, *seeds):
        targets = [f"results/{self.name}/dense/seed-{seed}/job.json" for seed in seeds or (0,)]
        return (*targets, "--cores", 2, "--config", "cluster=slurm", "--configfile", f"{self.name}.yaml")

    def prepare(self):
        """Has everything done that training needs."""
        self.clone.snakemake(f"results/{self.name}/dense/plan.json", *self.arguments()[1:])

    def start(self, *options):
        """Snakemake in the background, in a process group of its own."""
        with (self.clone.folder / "output.txt").open("a") as output:
            process = subprocess.Popen(
                self.clone.command(*self.arguments(), *options),
                cwd=self.clone.folder,
                env=self.clone.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    @property
    def output(self):
        path = self.clone.folder / "output.txt"
        return path.read_text() if path.exists() else ""

    @property
    def job_folder(self):
        (folder,) = (self.clone.folder / ".slimline/jobs").glob(f"{self.job_name}-*")
        return folder

    @property
    def job_name(self):
        return f"{self.name}-dense-seed0"

    @property
    def log(self):
        return (self.clone.folder / f"results/{self.name}/logs/train/dense-seed-0.log").read_text()

    def receipt(self, seed=0):
        return read_json(self.clone.folder / f"results/{self.name}/dense/seed-{seed}/job.json")

    def weights(self):
        return (self.clone.folder / f"results/{self.name}/dense/seed-0/weights.safetensors").read_bytes()

    def history(self):
        """Records of the epochs."""
        path = self.clone.folder / f"results/{self.name}/dense/seed-0/history.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return [record for record in records if record["kind"] == "epoch"]

    @property
    def job_id(self):
        """The id of the newest job; waits for it, since the queue has a job before the receipt has its id."""

        def written():
            return read_json(self.job_folder / "receipt.json")["attempts"][-1]["job_id"]

        until(written, 60, "the job was submitted, and the receipt does not say so")
        return written()

    @property
    def checkpoint(self):
        """The newest one."""
        return next(reversed(checkpoint_names(self.job_folder / CHECKPOINTS_FOLDER)), "")

    def ranks(self):
        """Processes of the ranks of the newest job by rank."""
        found = {}
        for process in psutil.process_iter():
            try:
                if "submitit.core._submit" in process.cmdline():
                    environment = process.environ()
                    if environment.get("SLURM_JOB_ID") == self.job_id:
                        found[int(environment["SLURM_PROCID"])] = process
            except psutil.Error:
                continue
        return found

    def wait_until_training(self, timeout_s=180):
        """Returns when all ranks make steps."""

        def training():
            assert self.started[-1].poll() is None, f"it has ended: {self.output}"
            heartbeats = list(self.clone.folder.glob(f".slimline/jobs/{self.name}-*/{HEARTBEAT_FILE}"))
            beating = bool(heartbeats) and read_json(heartbeats[0]).get("phase") in ("train", "validate")
            return beating and len(self.ranks()) == self.n_ranks

        until(training, timeout_s, lambda: f"no training; output: {self.output}; queue: {self.slurm.command('squeue')}")

    def wait_for_progress(self, process, timeout_s=180):
        """Returns when there is a newer checkpoint than now, and the job trains; false when it has ended before."""
        self._wait_for_newer_checkpoint(process, timeout_s)
        if process.poll() is None:
            self.wait_until_training()
        return process.poll() is None

    def wait_for_the_end(self, process, timeout_s=180):
        """Returns when Snakemake has ended; fails when the training makes no progress for so long."""
        while process.poll() is None:
            self._wait_for_newer_checkpoint(process, timeout_s)

    def _wait_for_newer_checkpoint(self, process, timeout_s):
        """Returns when there is one than now, or Snakemake has ended."""
        before = self.checkpoint
        until(
            lambda: process.poll() is not None or self.checkpoint > before,
            timeout_s,
            lambda: f"no progress; output: {self.output}; log: {self.log[-2000:]}",
        )

    @property
    def n_starts(self):
        """How often the main rank has started."""
        path = self.job_folder / STARTS_FILE
        return len(path.read_text().splitlines()) if path.exists() else 0

    def wait_for_start(self, process, number, timeout_s=180):
        """Returns when the main rank has started so often; false when the training has ended before."""
        until(
            lambda: process.poll() is not None or self.n_starts >= number,
            timeout_s,
            lambda: f"{self.n_starts} starts; log: {self.log[-2000:]}; queue: {self.slurm.command('squeue')}",
        )
        return self.n_starts >= number

    def signal_rank(self, rank, number):
        self.ranks()[rank].send_signal(number)

    def nodes(self):
        """Names of the nodes that the newest job runs on."""
        names = self.slurm.command("squeue", "--noheader", f"--jobs={self.job_id}", "--format=%N").strip()
        return self.slurm.command("scontrol", "show", "hostnames", names).split()


def end(process, number=signal.SIGTERM):
    """Sends a signal to the whole process group, as a terminal does."""
    os.killpg(process.pid, number)
    return process.wait(timeout=120)

"""Launching a training job: join the one that exists or submit it, wait, start again what was lost, and collect."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimline.config.cluster import ClusterConfig
from slimline.errors import SlimlineError
from slimline.files import copy_file, read_json, write_json
from slimline.launch.backends import Backend, backend_for, can_be_asked
from slimline.launch.earlier import EarlierJob, earlier_jobs
from slimline.launch.entry import FAILURE_PATTERN
from slimline.launch.failure import elsewhere_screen, failure_screen, kept_screen, still_runs_screen
from slimline.launch.leaving import LEFT_FILE
from slimline.launch.lock import locked
from slimline.launch.owner import Owner, SnakemakeGoneError
from slimline.launch.queue import UnansweredError
from slimline.launch.receipt import Attempt, Receipt
from slimline.launch.recovery import decide
from slimline.launch.refusal import refusal
from slimline.launch.resources import Resources
from slimline.launch.signals import interrupts_ignored, interrupts_raised
from slimline.launch.starts import read_starts
from slimline.launch.states import CANCELLED, COMPLETED, LOST, STALLED, JobState
from slimline.launch.watch import Ending, Watch
from slimline.training.settings import RunSettings
from slimline.training.spec import (
    CHECKPOINTS_FOLDER,
    HEARTBEAT_FILE,
    HISTORY_FILE,
    RESULT_FOLDER,
    SUMMARY_FILE,
    TrainingSpec,
    checkpoint_names,
    checkpoint_place,
)

log = logging.getLogger("slimline")

JOBS = Path(".slimline/jobs")


@dataclass(frozen=True)
class TrainingOutputs:
    """Where the files of a finished training job go."""

    model: Path
    weights: Path
    history: Path
    job: Path


def launch(spec: TrainingSpec, plan: dict[str, Any], cluster: ClusterConfig, outputs: TrainingOutputs) -> None:
    """Has a training job done and puts its files in place.

    The job's folder is named after the digest of its spec. A result that lies there is used, a job that still
    lives is joined, and only then is one submitted; a lock keeps two launchers from submitting twice. An attempt
    that is lost is followed by another from the newest checkpoint, a bounded number of times.

    Raises:
        SlimlineError: the job was not accepted, or it failed.
    """
    folder = JOBS / f"{spec.name}-{spec.digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)  # it holds submitit's pickles: whoever can write there runs code as this user
    owner = Owner()
    try:
        with interrupts_raised(), locked(folder, spec, owner):
            receipt = Receipt(folder)
            if (folder / RESULT_FOLDER).exists():
                log.info("%s: a finished job of the same content is used", spec.name)
                if receipt.open_attempt:
                    receipt.end(JobState(COMPLETED), _started_utc(folder, receipt.open_attempt.job_id))
            else:
                Launch(spec, plan, cluster, folder, receipt, owner).have_it_done()
            shutil.rmtree(folder / CHECKPOINTS_FOLDER, ignore_errors=True)
            _collect(folder, spec, plan, cluster, receipt, outputs)
    except SnakemakeGoneError:
        log.warning("Snakemake is gone; a job that was submitted goes on, and the next run joins it")
        raise SystemExit(1) from None


class Launch:
    """One run's care for one job.

    Args:
        spec: the job.
        plan: content of its variant's `plan.json`.
        cluster: where it runs.
        folder: its folder.
        receipt: its attempts.
        owner: the Snakemake that waits for it.
    """

    def __init__(
        self,
        spec: TrainingSpec,
        plan: dict[str, Any],
        cluster: ClusterConfig,
        folder: Path,
        receipt: Receipt,
        owner: Owner,
    ) -> None:
        self.spec, self.cluster, self.folder, self.receipt, self.owner = spec, cluster, folder, receipt, owner
        self.backend: Backend = backend_for(cluster)
        self.watch = Watch(folder, self.backend, cluster, f"{spec.variant} seed {spec.seed}", owner)
        planned = Resources.from_plan(plan)
        # What was too little before is not tried again.
        most_mb = max([planned.memory_mb, *(attempt.memory_mb for attempt in receipt.attempts)])
        self.resources = replace(planned, memory_mb=min(most_mb, max(cluster.memory_mb_per_node, planned.memory_mb)))

    def have_it_done(self) -> None:
        """Returns when the result is there; whatever interrupts it takes the job back.

        Raises:
            SlimlineError: the job was not accepted, or it failed.
        """
        try:
            self._try_until_done()
        except (SlimlineError, SnakemakeGoneError):
            raise  # what they leave in the queue is meant to stay there
        except BaseException as error:
            with interrupts_ignored():
                self._take_back(JobState(CANCELLED, f"here, by {type(error).__name__}"))
            raise

    def _try_until_done(self) -> None:
        tried: list[Attempt] = []
        job_id = self._join()
        while True:
            if job_id is None and self.owner.is_gone:
                raise SnakemakeGoneError
            job_id = job_id or self._submit(tried)
            ending = self.watch.follow(job_id)
            if ending.stays is not None:
                raise kept_screen(self.spec, job_id, ending.state, ending.stays, self.owner.command)
            if ending.has_result:
                self._end(ending.state)
                self.backend.settle(job_id)
                return
            self.backend.cancel(job_id)
            tried.append(self._end(ending.state))
            self._prepare_another(job_id, ending, tried)
            job_id = None

    def _take_back(self, state: JobState) -> None:
        """Cancels the job; where Slurm does not answer, the receipt keeps it, and the next run joins it."""
        attempt = self.receipt.open_attempt
        if attempt is None:
            return
        if not attempt.job_id:
            if self.backend.withdraw(self.folder):
                self.receipt.forget_intention()
        elif self.backend.cancel(attempt.job_id):
            self._end(state)

    def _join(self) -> str | None:
        """The job that an earlier run has not seen the end of."""
        attempt = self.receipt.open_attempt
        if attempt is None:
            self._warn_of_others()
            return None
        if (other := self._backend_of(attempt)) is not self.backend:
            self._see_that_it_is_gone(attempt, other)
            return None
        job_id = attempt.job_id or self.backend.find(self.folder, time.time())
        if job_id is None:
            self.receipt.forget_intention()
            return None
        self.backend.joins(self.folder, job_id)
        self.receipt.begin(job_id)
        self.resources = replace(self.resources, memory_mb=attempt.memory_mb, time_min=attempt.time_min)
        log.info("%s: joined job %s of an earlier run", self.spec.name, job_id)
        return job_id

    def _see_that_it_is_gone(self, attempt: Attempt, backend: Backend) -> None:
        """Notes the end of an attempt by the other executor.

        Raises:
            SlimlineError: it still lives.
        """
        alive = backend.find(self.folder, time.time())
        if alive is not None:
            raise elsewhere_screen(self.spec, attempt.executor, backend.cancel_command(alive), self.owner.command)
        self._end(JobState(LOST, f"the executor {attempt.executor}, which it was submitted to, does not have it"))

    def _backend_of(self, attempt: Attempt | None) -> Backend:
        """The one that an attempt was submitted to.

        Raises:
            SlimlineError: it is another, and from here nobody can tell which jobs it has.
        """
        if attempt is None or attempt.executor in ("", self.cluster.executor):
            return self.backend
        if not can_be_asked(attempt.executor):
            end = f"scancel {attempt.job_id}" if attempt.job_id else "`squeue --me` tells its number"
            raise elsewhere_screen(self.spec, attempt.executor, end, self.owner.command)
        return backend_for(self.cluster, attempt.executor)

    def _submit(self, tried: list[Attempt]) -> str:
        for stale in (*self.folder.glob(FAILURE_PATTERN), self.folder / HEARTBEAT_FILE, self.folder / LEFT_FILE):
            stale.unlink(missing_ok=True)
        earlier = self._earlier()
        self.spec.write(self.folder)
        cluster, folders = self.cluster, tuple(str(job.folder) for job in earlier)
        RunSettings(cluster.checkpoint_interval_s, cluster.checkpoint_mode, folders).write(self.folder)
        # One that hangs may outlive its cancellation, and one that Slurm has lost may turn up again.
        after = tried[-1].job_id if tried and tried[-1].state in (STALLED, LOST) else None
        self.receipt.intend(self.resources, self.cluster.executor, [job.folder.name for job in earlier])
        try:
            job_id = self.backend.submit(self.folder, self.spec.name, self.resources, after)
        except UnansweredError:
            raise  # it may have arrived: the note of it stays for the next run
        except SlimlineError:
            self.receipt.forget_intention()
            raise
        self.receipt.begin(job_id)
        if after is not None:
            # Slurm may have been away when the one before was to be cancelled.
            self.backend.cancel(after)
        log.info("%s: submitted as job %s", self.spec.name, job_id)
        return job_id

    def _earlier(self) -> list[EarlierJob]:
        """Jobs from which this one may go on.

        Raises:
            SlimlineError: one of the same lineage still lives.
        """
        unfinished = earlier_jobs(self.folder, self.spec)
        for job in unfinished:
            receipt = Receipt(job.folder)
            backend = self._backend_of(receipt.open_attempt)
            alive = backend.find(job.folder, receipt.written_unix_s)
            if alive is not None:
                end = backend.cancel_command(alive)
                raise still_runs_screen(self.spec, job, alive, end, self.owner.command)
        if unfinished and unfinished[-1].newest > max(checkpoint_names(self.folder / CHECKPOINTS_FOLDER), default=""):
            *_, job = unfinished
            log.info(
                "%s: goes on from %s of the run with %s; to start afresh, remove %s",
                self.spec.name, checkpoint_place(job.newest), job.allocation, job.folder,
            )  # fmt: skip
        return [job for job in unfinished if job.newest]

    def _end(self, state: JobState) -> Attempt:
        return self.receipt.end(state, _started_utc(self.folder, self.receipt.attempts[-1].job_id))

    def _prepare_another(self, job_id: str, ending: Ending, tried: list[Attempt]) -> None:
        """Sets the resources of the next attempt, or raises what ends the rule."""
        if ending.is_refused:
            raise refusal(self.cluster.name, f"it keeps the job back: {ending.state.reason}")
        command = self.owner.command
        if ending.failure is not None and ending.failure["kind"] != "peer":
            raise failure_screen(self.spec, self.folder, job_id, ending, None, command)
        decision = decide(tried, self.resources, self.cluster, ending.remaining_s)
        if decision.resources is None:
            raise failure_screen(self.spec, self.folder, job_id, ending, decision.why, command)
        log.warning("%s: attempt %d, job %s: %s", self.spec.name, len(self.receipt.attempts), job_id, decision.why)
        self.resources = decision.resources

    def _warn_of_others(self) -> None:
        """Tells of live jobs of the same name that do something else: the config or the code has changed since."""
        for other in JOBS.glob(f"{self.spec.name}-*"):
            attempt = Receipt(other).open_attempt if other != self.folder else None
            if attempt is not None and not (other / RESULT_FOLDER).exists():
                log.warning(
                    "%s: job %s may still run with what the config or code was before; nobody waits for it",
                    self.spec.name, attempt.job_id,
                )  # fmt: skip


def _started_utc(folder: Path, job_id: str) -> str | None:
    return next((start["started_utc"] for start in read_starts(folder) if start["job_id"] == job_id), None)


def _collect(
    folder: Path,
    spec: TrainingSpec,
    plan: dict[str, Any],
    cluster: ClusterConfig,
    receipt: Receipt,
    outputs: TrainingOutputs,
) -> None:
    result = folder / RESULT_FOLDER
    copy_file(result / "model.json", outputs.model)
    copy_file(result / "weights.safetensors", outputs.weights)
    copy_file(result / HISTORY_FILE, outputs.history)
    write_json(
        outputs.job,
        {
            "format": 1,
            "experiment": spec.experiment,
            "variant": spec.variant,
            "seed": spec.seed,
            "executor": cluster.executor,
            "job_ids": [attempt.job_id for attempt in receipt.attempts],
            "attempts": receipt.to_json(),
            "starts": read_starts(folder),
            "ranks": spec.allocation.ranks,
            "threads_per_rank": spec.allocation.cpus_per_task,
            "precision": spec.allocation.precision,
            "device": spec.allocation.device,
            "planned": {"memory_mb": plan["memory_mb"], "time_min": plan["time_min"]},
            **read_json(result / SUMMARY_FILE),
        },
    )

"""Launching a training job: join the one that exists or submit it, wait, and collect what it made."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from filelock import FileLock

from slimline.config.cluster import ClusterConfig
from slimline.files import copy_file, read_json, write_json
from slimline.launch.backends import Backend, backend_for
from slimline.launch.entry import FAILURE_PATTERN
from slimline.launch.receipt import Receipt
from slimline.launch.watch import Watch
from slimline.training.spec import HEARTBEAT_FILE, HISTORY_FILE, RESULT_FOLDER, SUMMARY_FILE, TrainingSpec

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
    lives is joined, and only then is one submitted; a lock keeps two launchers from submitting twice.

    Raises:
        SlimlineError: the job was not accepted, or it failed.
    """
    folder = JOBS / f"{spec.name}-{spec.digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder / "lock"):
        receipt = Receipt(folder)
        if (folder / RESULT_FOLDER).exists():
            log.info("%s: a finished job of the same content is used", spec.name)
        else:
            _have_it_done(spec, plan, cluster, folder, receipt)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        _collect(folder, spec, plan, cluster, receipt, outputs)


def _have_it_done(
    spec: TrainingSpec, plan: dict[str, Any], cluster: ClusterConfig, folder: Path, receipt: Receipt
) -> None:
    backend = backend_for(cluster)
    job_id = _live_job(receipt, backend)
    if job_id is None:
        for stale in (*folder.glob(FAILURE_PATTERN), folder / HEARTBEAT_FILE):
            stale.unlink(missing_ok=True)
        spec.write(folder)
        job_id = backend.submit(folder, spec.name, plan)
        receipt.begin(job_id)
        log.info("%s: submitted as job %s", spec.name, job_id)
    else:
        log.info("%s: joined job %s, which is still there", spec.name, job_id)
    try:
        with _interrupts_raised():
            Watch(folder, backend, cluster.executor, f"{spec.variant} seed {spec.seed}").wait(job_id)
    except BaseException as error:
        backend.cancel(job_id)
        receipt.end("FAILED" if isinstance(error, Exception) else "CANCELLED", type(error).__name__)
        raise
    receipt.end("COMPLETED")
    backend.settle(job_id)


def _live_job(receipt: Receipt, backend: Backend) -> str | None:
    attempt = receipt.open_attempt
    if attempt is None:
        return None
    if backend.is_alive(attempt.job_id):
        return attempt.job_id
    receipt.end("LOST", "not there any more when a later run looked for it")
    return None


@contextmanager
def _interrupts_raised() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise here, as Ctrl-C does, so that the job is cancelled on the way out."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
            "ranks": spec.allocation.ranks,
            "threads_per_rank": spec.allocation.cpus_per_task,
            "precision": spec.allocation.precision,
            "device": spec.allocation.device,
            "planned": {"memory_mb": plan["memory_mb"], "time_min": plan["time_min"]},
            **read_json(result / SUMMARY_FILE),
        },
    )

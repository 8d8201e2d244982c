"""The lock of a job's folder: two launchers never care for the same job."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from slimline.launch.failure import lock_screen
from slimline.launch.leaving import watched_unix_s
from slimline.launch.owner import Owner, SnakemakeGoneError
from slimline.launch.patience import LOCK_POLL_S, LOCK_SILENT_LIMIT_S
from slimline.training.spec import TrainingSpec

log = logging.getLogger("slimline")


@contextmanager
def locked(folder: Path, spec: TrainingSpec, owner: Owner) -> Iterator[None]:
    """Keeps two launchers from the same job: the second waits as long as the first shows that it follows the job.

    Raises:
        SnakemakeGoneError: the Snakemake of this one is gone.
        SlimlineError: the first shows no sign of life.
    """
    lock, begun_unix_s, is_told = FileLock(folder / "lock"), time.time(), False
    while True:
        try:
            lock.acquire(timeout=LOCK_POLL_S if is_told else 0)
            break
        except Timeout:
            if not is_told:
                log.info("%s: another run follows this job; waiting for it to end", spec.name)
        is_told = True
        if owner.is_gone:
            raise SnakemakeGoneError
        if time.time() - max(begun_unix_s, watched_unix_s(folder)) > LOCK_SILENT_LIMIT_S:
            raise lock_screen(spec, owner.command)
    try:
        yield
    finally:
        lock.release()

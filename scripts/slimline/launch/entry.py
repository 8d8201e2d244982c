"""What submitit pickles and runs on every rank: a folder's name, and nothing that can go stale."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import submitit

from slimline.errors import NotSupportedError, SlimlineError
from slimline.files import read_json, write_json
from slimline.launch.leaving import LEFT_FILE, await_note, note_leaving
from slimline.launch.starts import note_start
from slimline.training.spec import HEARTBEAT_FILE, TrainingSpec
from slimline.training.stop import StoppedError, stop_at_once

log = logging.getLogger("slimline")

FAILURE_PATTERN = "failure-rank-*.json"
DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"
# What a shell calls the end by SIGTERM.
STOPPED_UNSAVED = 143


@dataclass(frozen=True)
class TrainingEntry:
    """Runs the entry point of the spec in `folder` on this rank.

    Args:
        folder: the job's folder.
        rendezvous: `host:port` where the ranks meet; None takes the first node of a Slurm allocation.
        visible_devices: GPUs that the user has left visible, where submitit would count from 0; None for its own.
    """

    folder: Path
    rendezvous: str | None
    visible_devices: str | None = None

    def __call__(self) -> None:
        """Runs this rank; a failure is left in a file for the launcher."""
        environment = submitit.JobEnvironment()
        _describe_rank(environment, self.rendezvous)
        if self.visible_devices is not None:
            os.environ[DEVICES_VARIABLE] = self.visible_devices
        rank = environment.global_rank
        logging.basicConfig(level=logging.INFO, format=f"%(asctime)s rank {rank} %(message)s", stream=sys.stdout)
        try:
            stop_at_once()
            self._note_start(environment)
            spec = TrainingSpec.read(self.folder)
            module, _, function = spec.entry.partition(":")
            getattr(importlib.import_module(module), function)(spec, self.folder)
        except StoppedError as stopped:
            log.info("%s", stopped)
            if rank == 0:
                note_leaving(self.folder, environment.job_id if self.rendezvous is None else None, stopped)
            elif not stopped.saved:
                await_note(self.folder)
            if not stopped.saved:
                _leave(STOPPED_UNSAVED)
        except Exception as error:
            content = {"rank": rank, "kind": _kind(error), "text": str(error) or type(error).__name__}
            content |= {"traceback": traceback.format_exc(), "failed_unix_s": time.time()}
            if isinstance(error, NotSupportedError):
                content["error"] = vars(error)
            write_json(self._failure_path(rank), content)
            log.exception("rank %d failed", rank)
            _leave(1)

    def _failure_path(self, rank: int) -> Path:
        return self.folder / FAILURE_PATTERN.replace("*", str(rank))

    def _note_start(self, environment: submitit.JobEnvironment) -> None:
        """Clears what an earlier run of the same job has left, and says that this one is there."""
        self._failure_path(environment.global_rank).unlink(missing_ok=True)
        if environment.global_rank:
            return
        (self.folder / LEFT_FILE).unlink(missing_ok=True)
        now_utc = datetime.now(UTC).isoformat(timespec="seconds")
        start = {"job_id": environment.job_id, "started_utc": now_utc, "nodes": list(environment.hostnames)}
        note_start(self.folder, start)
        path = self.folder / HEARTBEAT_FILE
        before = read_json(path) if path.exists() else {}
        write_json(path, before | {"phase": "start", "updated_unix_s": time.time()})


def _leave(code: int) -> None:
    """Ends the process as it stands: where a collective hangs, tidying up would hang as well."""
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def _kind(error: Exception) -> str:
    """`not-supported`, `mistake` of the user, `peer` for what another rank's end has caused, or `error`."""
    if isinstance(error, NotSupportedError):
        return "not-supported"
    if isinstance(error, SlimlineError):
        return "mistake"
    # Only where training has loaded it: `launch` itself does without torch.
    distributed: Any = sys.modules.get("torch.distributed")
    lost = distributed is not None and isinstance(error, distributed.DistError)
    return "peer" if lost or (isinstance(error, RuntimeError) and "gloo" in str(error)) else "error"


def _describe_rank(environment: submitit.JobEnvironment, rendezvous: str | None) -> None:
    """Sets the variables that torch.distributed reads, under the names that torchrun gives them."""
    if rendezvous is None:
        # Any port that two jobs on one node will not share: they have different ids.
        rendezvous = f"{environment.hostnames[0]}:{20_000 + int(environment.job_id) % 40_000}"
    host, _, port = rendezvous.rpartition(":")
    os.environ.update(
        MASTER_ADDR=host,
        MASTER_PORT=port,
        RANK=str(environment.global_rank),
        LOCAL_RANK=str(environment.local_rank),
        WORLD_SIZE=str(environment.num_tasks),
    )

"""What submitit pickles and runs on every rank: a folder's name, and nothing that can go stale."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import submitit

from slimline.errors import SlimlineError
from slimline.files import write_json
from slimline.training.spec import TrainingSpec
from slimline.training.stop import StoppedError

FAILURE_PATTERN = "failure-rank-*.json"


@dataclass(frozen=True)
class TrainingEntry:
    """Runs the entry point of the spec in `folder` on this rank.

    Args:
        folder: the job's folder.
        rendezvous: `host:port` where the ranks meet; None takes the first node of a Slurm allocation.
    """

    folder: Path
    rendezvous: str | None

    def __call__(self) -> None:
        """Runs this rank; a failure is left in a file for the launcher before it is raised."""
        environment = submitit.JobEnvironment()
        _describe_rank(environment, self.rendezvous)
        rank = environment.global_rank
        logging.basicConfig(level=logging.INFO, format=f"%(asctime)s rank {rank} %(message)s", stream=sys.stdout)
        spec = TrainingSpec.read(self.folder)
        module, _, function = spec.entry.partition(":")
        try:
            getattr(importlib.import_module(module), function)(spec, self.folder)
        except StoppedError as stopped:
            logging.getLogger("slimline").info("%s; the checkpoint holds it", stopped)
        except Exception as error:
            content = {"rank": rank, "mistake": isinstance(error, SlimlineError), "text": str(error)}
            content["traceback"] = traceback.format_exc()
            write_json(self.folder / FAILURE_PATTERN.replace("*", str(rank)), content)
            raise


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
        # cuBLAS repeats its results only with a fixed workspace.
        CUBLAS_WORKSPACE_CONFIG=":4096:8",
    )

"""Following one attempt of a job until it has a result, has ended without one, or will never start."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from slimline.config.cluster import ClusterConfig
from slimline.files import read_json
from slimline.launch.backends import Backend
from slimline.launch.entry import FAILURE_PATTERN
from slimline.launch.leaving import LEFT_FILE, touch_watched
from slimline.launch.owner import Owner
from slimline.launch.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    OUT_OF_MEMORY,
    PENDING,
    RUNNING,
    STALLED,
    STOPPED,
    SUSPENDED,
    TIMEOUT,
    JobState,
)
from slimline.status_line import without_bar
from slimline.training.spec import HEARTBEAT_FILE, RESULT_FOLDER

log = logging.getLogger("slimline")

FILE_POLL_S = 0.2
LOG_INTERVAL_S = 10.0
TOUCH_INTERVAL_S = 10.0
# A shared file system may show a job's last files some time after it has ended: its result, and a rank's failure.
RESULT_DELAY_S = {"local": 2.0, "slurm": 60.0}
FAILURE_DELAY_S = {"local": 1.0, "slurm": 3.0}
# From the start of the ranks to the first step: imports and the first batches of a cold file system.
START_S = 120.0
# What waits for a person does not wait for ever.
HELD_LIMIT_S = 600.0
SUSPENDED_LIMIT_S = 3600.0
MEMORY_WORDS = ("exceeded memory limit", "oom-kill", "oom_kill", "Out Of Memory")


class SnakemakeGoneError(Exception):
    """The Snakemake that this rule belongs to was killed: the job is left for the next one."""


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Args:
        state: how the job stands now.
        has_result: whether the result is there.
        failure: what the rank that failed first has left, if one did.
        remaining_s: training time left by its last heartbeat, None without one.
    """

    state: JobState
    has_result: bool = False
    failure: dict[str, Any] | None = None
    remaining_s: float | None = None


class Watch:
    """Looks at a job's files often and at the queue as seldom as the cluster file says.

    Args:
        folder: the job's folder.
        backend: where it runs.
        cluster: the cluster file.
        title: what progress lines begin with.
    """

    def __init__(self, folder: Path, backend: Backend, cluster: ClusterConfig, title: str) -> None:
        self.folder, self.backend, self.cluster, self.title = folder, backend, cluster, title
        self.owner = Owner()
        self._state = JobState(PENDING)
        self._beat: dict[str, Any] = {}
        self._moved_s = self._ended_s = self._paused_s = 0.0
        self._next_log_s = self._next_touch_s = 0.0

    def follow(self, job_id: str) -> Ending:
        """Returns when the attempt is over, one way or another.

        Raises:
            SnakemakeGoneError: nobody waits for the result any more.
        """
        self._state, self._moved_s, self._ended_s = JobState(PENDING), time.monotonic(), 0.0
        with tqdm(desc=self.title, unit="epoch", disable=without_bar(), leave=False, file=sys.stderr) as bar:
            while True:
                ending = self._look(job_id)
                if ending is not None:
                    return ending
                if self.owner.is_gone:
                    raise SnakemakeGoneError
                self._touch()
                self._show_progress(bar)
                time.sleep(FILE_POLL_S)

    def _look(self, job_id: str) -> Ending | None:
        if (self.folder / RESULT_FOLDER).exists():
            return Ending(JobState(COMPLETED), has_result=True)
        failure = self._failure()
        if failure is not None and failure["kind"] != "peer":
            return self._ending(JobState(FAILED, exit_code="1"), failure)
        state = self.backend.look(job_id) or self._state
        # After the look, which lasts as long as a controller that is away lets its askers wait.
        now_s = time.monotonic()
        self._read_heartbeat(now_s)
        if str(state) != str(self._state):
            log.info("%s: job %s is %s", self.title, job_id, state)
            self._moved_s = self._paused_s = now_s
        self._state = state
        if state.has_ended:
            return self._ended(state, failure, now_s)
        return self._stuck(state, now_s)

    def _ended(self, state: JobState, failure: dict[str, Any] | None, now_s: float) -> Ending | None:
        """The ending of a job that the queue has seen the end of, once its last files can have arrived."""
        self._ended_s = self._ended_s or now_s
        left = self.folder / LEFT_FILE
        if left.exists() and state.state not in (CANCELLED, OUT_OF_MEMORY):
            at_limit = read_json(left)["at_time_limit"]
            return self._ending(JobState(TIMEOUT if at_limit else STOPPED, "it left when it was asked to"))
        delays = RESULT_DELAY_S if state.state == COMPLETED else FAILURE_DELAY_S
        if now_s - self._ended_s < delays[self.cluster.executor]:
            return None
        if self._log_tells_of_memory():
            state = JobState(OUT_OF_MEMORY, state.reason, state.exit_code)
        return self._ending(state, failure)

    def _stuck(self, state: JobState, now_s: float) -> Ending | None:
        """The ending of a job that is there but will not go on."""
        paused_s = now_s - self._paused_s
        if state.is_hopeless or (state.is_held and paused_s > HELD_LIMIT_S):
            return self._ending(state)
        if state.failed_to_start:
            return self._ending(JobState(STALLED, state.reason))
        if state.state == SUSPENDED and paused_s > SUSPENDED_LIMIT_S:
            return self._ending(JobState(STALLED, f"suspended for {SUSPENDED_LIMIT_S:.0f} s"))
        if state.state != RUNNING or self.cluster.executor == "local":
            return None
        patience_s = float(self.cluster.stall_timeout_s)
        if self._beat.get("phase", "start") == "start":
            patience_s = max(patience_s, START_S)
        if now_s - self._moved_s > patience_s:
            return self._ending(JobState(STALLED, f"no step within {patience_s:.0f} s"))
        return None

    def _ending(self, state: JobState, failure: dict[str, Any] | None = None) -> Ending:
        return Ending(state, failure=failure, remaining_s=self._beat.get("eta_s"))

    def _failure(self) -> dict[str, Any] | None:
        """What the rank that failed first has left; errors that follow from another rank's end count last."""
        failures = [read_json(path) for path in self.folder.glob(FAILURE_PATTERN)]
        return min(failures, key=lambda failure: (failure["kind"] == "peer", failure["failed_unix_s"]), default=None)

    def _log_tells_of_memory(self) -> bool:
        """Without control groups Slurm says only in the job's output that it has ended a job for its memory."""
        logs = sorted((self.folder / "submitit").glob("*_log.out"), key=lambda path: path.stat().st_mtime)[-1:]
        return any(word in path.read_text(errors="replace")[-4000:] for path in logs for word in MEMORY_WORDS)

    def _read_heartbeat(self, now_s: float) -> None:
        path = self.folder / HEARTBEAT_FILE
        beat = read_json(path) if path.exists() else {}
        if beat != self._beat:
            self._beat, self._moved_s = beat, now_s

    def _touch(self) -> None:
        if time.monotonic() >= self._next_touch_s:
            self._next_touch_s = time.monotonic() + TOUCH_INTERVAL_S
            touch_watched(self.folder)

    def _show_progress(self, bar: tqdm[Any]) -> None:
        beat = self._beat
        if self._state.state != RUNNING and self.cluster.executor == "slurm":
            bar.set_postfix_str(str(self._state))
        elif "epoch" in beat:
            bar.total, bar.n = beat["epochs"], beat["epoch"]
            bar.set_postfix_str(f"{beat['images_per_s']:.0f} img/s")
        if "epoch" in beat and self._state.state == RUNNING and time.monotonic() >= self._next_log_s:
            self._next_log_s = time.monotonic() + LOG_INTERVAL_S
            log.info("%s: %s", self.title, progress_line(beat))


def progress_line(beat: dict[str, Any]) -> str:
    """One line about a heartbeat."""
    loss = f", loss {beat['loss']:.4g}" if beat.get("loss") is not None else ""
    eta = f", about {beat['eta_s']:.0f} s left" if beat["eta_s"] is not None else ""
    return (
        f"epoch {beat['epoch']} of {beat['epochs']}, step {beat['step']} of {beat['steps']}{loss}, "
        f"{beat['images_per_s']:.0f} img/s{eta}"
    )

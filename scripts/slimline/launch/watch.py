"""Following one attempt of a job until it has a result, has ended without one, or will never start."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from slimline.config.cluster import ClusterConfig
from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.launch.backends import Backend
from slimline.launch.entry import FAILURE_PATTERN
from slimline.launch.leaving import LEFT_FILE, touch_watched
from slimline.launch.owner import Owner, SnakemakeGoneError
from slimline.launch.patience import After, Patience
from slimline.launch.starts import read_starts
from slimline.launch.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    LEFT,
    LOST,
    OUT_OF_MEMORY,
    PENDING,
    RUNNING,
    STALLED,
    TIMEOUT,
    JobState,
)
from slimline.launch.waiting import Waiting, span
from slimline.status_line import without_bar
from slimline.training.spec import HEARTBEAT_FILE, RESULT_FOLDER

log = logging.getLogger("slimline")

# A job's files on a shared file system are looked at by a hundred watchers; cancelling does not wait for it.
FILE_POLL_S = {"local": 0.2, "slurm": 1.0}
LOG_INTERVAL_S = 10.0
TOUCH_INTERVAL_S = 10.0
# A shared file system may show a job's last files some time after it has ended: its result, and a rank's failure.
RESULT_DELAY_S = {"local": 2.0, "slurm": 60.0}
FAILURE_DELAY_S = {"local": 1.0, "slurm": 3.0}
# A job that Slurm has forgotten may still run: it is gone when it has made no step for so long.
LOST_DELAY_S = 60.0
MEMORY_WORDS = ("exceeded memory limit", "oom-kill", "oom_kill", "Out Of Memory")
# States behind which a job that was ended for its memory may hide; others say themselves why it ended.
MAY_BE_MEMORY = (FAILED, LOST)
# What submitit writes first at each start of a rank; a job that is queued again goes on in the same file.
START_WORDS = "Starting with JobEnvironment("
LOG_TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Args:
        state: how the job stands now.
        has_result: whether the result is there.
        failure: what the rank that failed first has left, if one did.
        remaining_s: training time left by its last heartbeat, None without one.
        is_refused: whether Slurm will never grant what it asks for.
        stays: why it is left in the queue as it is, if it is.
    """

    state: JobState
    has_result: bool = False
    failure: dict[str, Any] | None = None
    remaining_s: float | None = None
    is_refused: bool = False
    stays: str | None = None


class Watch:
    """Looks at a job's files often and at the queue as seldom as the cluster file says.

    Args:
        folder: the job's folder.
        backend: where it runs.
        cluster: the cluster file.
        title: what progress lines begin with.
        owner: the Snakemake that waits for the job.
    """

    def __init__(self, folder: Path, backend: Backend, cluster: ClusterConfig, title: str, owner: Owner) -> None:
        self.folder, self.backend, self.cluster, self.title, self.owner = folder, backend, cluster, title, owner
        self._has_run = False
        self._beat: dict[str, Any] = {}
        self._next_log_s = self._next_touch_s = 0.0
        self._begin("")

    def _begin(self, job_id: str) -> None:
        self._state, self._ended_s = JobState(PENDING), 0.0
        name, cluster = f"{self.title}: job {job_id}", self.cluster
        self._waiting = Waiting(name, cluster.stall_timeout_s, cluster.poll_interval_s, time.monotonic())
        self._has_run = self._has_run or self._starts(job_id) > 0

    def follow(self, job_id: str) -> Ending:
        """Returns when the attempt is over, one way or another.

        Raises:
            SnakemakeGoneError: nobody waits for the result any more.
        """
        self._begin(job_id)
        with tqdm(desc=self.title, unit="epoch", disable=without_bar(), leave=False, file=sys.stderr) as bar:
            while True:
                ending = self._look(job_id)
                if ending is not None:
                    return ending
                if self.owner.is_gone:
                    raise SnakemakeGoneError
                self._touch()
                self._show_progress(bar)
                time.sleep(FILE_POLL_S[self.cluster.executor])

    def _look(self, job_id: str) -> Ending | None:
        if (self.folder / RESULT_FOLDER).exists():
            return Ending(JobState(COMPLETED), has_result=True)
        failure = self._failure()
        if failure is not None and failure["kind"] != "peer":
            return self._ending(JobState(FAILED, exit_code="1"), failure)
        state = self.backend.look(job_id)
        # After the look, which lasts as long as a controller that is away lets its askers wait.
        now_s = time.monotonic()
        self._waiting.forgive_absence(now_s)
        self._read_heartbeat(now_s)
        is_news = state is not None and (not state.as_of_unix_s or state.as_of_unix_s != self._state.as_of_unix_s)
        state = state or self._state
        if str(state) != str(self._state):
            log.info("%s: job %s is %s", self.title, job_id, state)
            self._waiting.moved_s = now_s
        self._state = state
        self._has_run |= state.state == RUNNING
        if state.has_ended:
            return self._ended(state, failure, now_s, job_id)
        phase = self._beat.get("phase", "start")
        over = self._waiting.is_over(state, phase, now_s, is_news=is_news, has_run=self._has_run)
        return None if over is None else self._given_up(state, over, self._waiting.waited_s(now_s))

    def _ended(self, state: JobState, failure: dict[str, Any] | None, now_s: float, job_id: str) -> Ending | None:
        """The ending of a job that the queue has seen the end of, once its last files can have arrived."""
        self._ended_s = self._ended_s or now_s
        left = _content(self.folder / LEFT_FILE)
        if self.cluster.executor == "slurm" and state.state == LOST:
            since_s, delay_s = max(self._ended_s, self._waiting.moved_s), LOST_DELAY_S
        else:
            delays = RESULT_DELAY_S if state.state == COMPLETED and left is None else FAILURE_DELAY_S
            since_s, delay_s = self._ended_s, delays[self.cluster.executor]
        if now_s - since_s < delay_s:
            return None
        if state.state in MAY_BE_MEMORY and self._log_tells_of_memory(job_id):
            return self._ending(JobState(OUT_OF_MEMORY, state.reason, state.exit_code), failure)
        # The note of ranks that were asked to leave, be it because another was killed: what Slurm says comes first.
        if left is not None and state.state not in (CANCELLED, OUT_OF_MEMORY):
            return self._ending(JobState(TIMEOUT if left["at_time_limit"] else LEFT, "it left when it was asked to"))
        return self._ending(state, failure)

    def _given_up(self, state: JobState, over: Patience, waited_s: float) -> Ending:
        if over.after is After.REFUSE:
            return replace(self._ending(state), is_refused=True)
        if over.after is After.KEEP:
            return replace(self._ending(state), stays=f"it {over.kind}, for {span(waited_s)} now")
        if state.state == RUNNING:
            reason = f"no step within {over.limit_s:.0f} s"
        else:
            reason = f"{state}, for {span(waited_s)}" if over.limit_s else state.reason
        return self._ending(JobState(STALLED, reason))

    def _starts(self, job_id: str) -> int:
        """How often the ranks of this job have started, in this run of Snakemake or an earlier one."""
        with contextlib.suppress(OSError):
            return sum(start["job_id"] == job_id for start in read_starts(self.folder))
        return 0

    def _ending(self, state: JobState, failure: dict[str, Any] | None = None) -> Ending:
        return Ending(state, failure=failure, remaining_s=self._beat.get("eta_s"))

    def _failure(self) -> dict[str, Any] | None:
        """What the rank that failed first has left; errors that follow from another rank's end count last."""
        failures = [failure for path in self.folder.glob(FAILURE_PATTERN) if (failure := _content(path)) is not None]
        return min(failures, key=lambda failure: (failure["kind"] == "peer", failure["failed_unix_s"]), default=None)

    def _log_tells_of_memory(self, job_id: str) -> bool:
        """Without control groups Slurm says only in the job's output that it has ended a job for its memory."""
        texts = [_end(path) for path in (self.folder / "submitit").glob(f"{job_id}_*_log.out")]
        if self._starts(job_id) > 1:
            texts = [text.rpartition(START_WORDS)[2] for text in texts]
        return any(word in text for text in texts for word in MEMORY_WORDS)

    def _read_heartbeat(self, now_s: float) -> None:
        beat = _content(self.folder / HEARTBEAT_FILE)
        if beat is not None and beat != self._beat:
            self._beat, self._waiting.moved_s = beat, now_s

    def _touch(self) -> None:
        if time.monotonic() >= self._next_touch_s:
            self._next_touch_s = time.monotonic() + TOUCH_INTERVAL_S
            with contextlib.suppress(OSError):  # a full disk is no reason to give the job up
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


def _content(path: Path) -> dict[str, Any] | None:
    """What a small file of the job says; None where it is not there, or cannot be read just now.

    On a network file system a file that is being replaced may be there and gone in one moment: no reason to give up a
    job that is well.
    """
    try:
        content = read_json(path)
    except (OSError, SlimlineError):
        return None
    return content if isinstance(content, dict) else None


def _end(path: Path) -> str:
    """The end of a rank's log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""

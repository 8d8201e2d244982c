"""Following a job until it has a result, has failed, or is gone."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.launch.backends import Backend
from slimline.launch.entry import FAILURE_PATTERN
from slimline.status_line import without_bar
from slimline.training.spec import HEARTBEAT_FILE, RESULT_FOLDER

log = logging.getLogger("slimline")

POLL_S = {"local": 0.2, "slurm": 15.0}
FILE_POLL_S = 0.2
LOG_INTERVAL_S = 10.0
# A shared file system may show a job's last files some time after the job has left the queue.
SETTLE_S = {"local": 2.0, "slurm": 60.0}
LOG_LINES = 40


class Watch:
    """Waits for a job's result; looks at its files often and at the queue seldom.

    Args:
        folder: the job's folder.
        backend: where the job runs.
        executor: `local` or `slurm`; decides how often the backend is asked.
        title: what progress lines begin with.
    """

    def __init__(self, folder: Path, backend: Backend, executor: str, title: str) -> None:
        self.folder, self.backend, self.title = folder, backend, title
        self.poll_s, self.settle_s = POLL_S[executor], SETTLE_S[executor]
        self._next_log_s = 0.0

    def wait(self, job_id: str) -> None:
        """Returns when the result is there.

        Raises:
            SlimlineError: a rank failed, or the job ended without a result.
        """
        next_query_s, gone_since_s = 0.0, None
        with tqdm(desc=self.title, unit="epoch", disable=without_bar(), leave=False, file=sys.stderr) as bar:
            while not (self.folder / RESULT_FOLDER).exists():
                self._raise_failure(job_id)
                self._show_progress(bar)
                now_s = time.monotonic()
                if now_s >= next_query_s:
                    next_query_s = now_s + self.poll_s
                    alive = self.backend.is_alive(job_id)
                    gone_since_s = None if alive else gone_since_s or now_s
                if gone_since_s is not None and now_s - gone_since_s > self.settle_s:
                    raise self._failure(job_id, "The job ended without a result.", None)
                time.sleep(FILE_POLL_S)

    def _raise_failure(self, job_id: str) -> None:
        for path in sorted(self.folder.glob(FAILURE_PATTERN)):
            failure = read_json(path)
            if failure["mistake"]:
                raise SlimlineError(failure["text"])
            raise self._failure(job_id, f"Rank {failure['rank']} of the job failed.", failure["rank"])

    def _failure(self, job_id: str, what: str, rank: int | None) -> SlimlineError:
        """The error with the end of the log of the rank that failed, or of the first rank."""
        logs = sorted((self.folder / "submitit").glob(f"{job_id}_{rank if rank is not None else 0}_log.out"))
        lines = logs[0].read_text(errors="replace").splitlines()[-LOG_LINES:] if logs else ["(no log was written)"]
        return SlimlineError(
            what,
            where=f"{self.title}, job {job_id}",
            got="the last lines of its log\n    " + "\n    ".join(lines),
            next_step=f"see {self.folder / 'submitit'} and run snakemake again: it goes on from the last checkpoint",
        )

    def _show_progress(self, bar: tqdm[Any]) -> None:
        path = self.folder / HEARTBEAT_FILE
        if not path.exists():
            return
        beat = read_json(path)
        bar.total, bar.n = beat["epochs"], beat["epoch"]
        bar.set_postfix_str(f"{beat['images_per_s']:.0f} img/s")
        if time.monotonic() >= self._next_log_s:
            self._next_log_s = time.monotonic() + LOG_INTERVAL_S
            eta = f", about {beat['eta_s']:.0f} s left" if beat["eta_s"] is not None else ""
            log.info(
                "%s: epoch %d of %d, step %d of %d, %.0f img/s%s",
                self.title, beat["epoch"], beat["epochs"], beat["step"], beat["steps"], beat["images_per_s"], eta,
            )  # fmt: skip

"""What Slurm says about jobs: asked seldom, once for all watchers of a working folder.

Every training rule is a process of its own that follows one job. Whoever first finds the last answer too old asks
for all, and leaves the answer in a file for the others, so that a hundred jobs cost no more questions than one.
"""

from __future__ import annotations

import logging
import subprocess
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slimline.files import read_json, write_json, write_text
from slimline.launch.states import LOST, PENDING, JobState

log = logging.getLogger("slimline")

QUEUE = Path(".slimline/queue")
ANSWER_TIMEOUT_S = 60
# Ended jobs too: Slurm remembers them for some minutes (MinJobAge), also without accounting.
SQUEUE = ["squeue", "--me", "--noheader", "--states=all", "--Format=JobID:|,State:|,exit_code:|,Reason:|"]
SACCT = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=jobidraw,state%40,exitcode,reason"]


class Queue:
    """The states of a user's jobs, as a file in the working folder that is renewed at most once in an interval.

    Args:
        interval_s: least time between two questions to Slurm.
        folder: where the file lies.
    """

    def __init__(self, interval_s: float, folder: Path = QUEUE) -> None:
        self.interval_s, self.folder = interval_s, folder
        self._answer_path = folder / "answer.json"
        self._missing = folder / "missing"
        self._seen: dict[str, Any] = {}
        self._next_look_s = 0.0

    def look(self, job_id: str, submitted_unix_s: float) -> JobState | None:
        """How a job stands by the newest answer; None where that is older than the job, or says nothing yet."""
        answer = self._newest()
        if answer.get("asked_unix_s", 0.0) <= submitted_unix_s:
            return None
        for source in ("queue", "accounts"):
            if job_id in answer[source]:
                return JobState(*answer[source][job_id])
        if answer["error"] is None:
            # Forgotten by the queue: the next question goes to the accounts.
            write_text(self._missing / job_id, "")
        return None

    def _newest(self) -> dict[str, Any]:
        """The newest answer; fetched by this process if it is due and nobody else is at it."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return self._seen
        self._next_look_s = now_s + min(1.0, self.interval_s / 5)
        self._seen = self._read()
        if self._age_s() >= self.interval_s:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(self.folder / "lock", timeout=0):
                    self._seen = self._read()
                    if self._age_s() >= self.interval_s:
                        self._seen = self._ask()
                        write_json(self._answer_path, self._seen)
            except Timeout:
                pass  # somebody else is asking
        return self._seen

    def _read(self) -> dict[str, Any]:
        return read_json(self._answer_path) if self._answer_path.exists() else {}

    def _age_s(self) -> float:
        return abs(time.time() - float(self._seen.get("answered_unix_s", 0.0)))

    def _ask(self) -> dict[str, Any]:
        """One question: to the queue, or to the accounts when jobs are missing and the queue had its turn."""
        missing = sorted(path.name for path in self._missing.glob("*")) if self._seen.get("asked") == "queue" else []
        asked_unix_s = time.time()
        error, rows = _rows([*SACCT, f"--jobs={','.join(missing)}"] if missing else SQUEUE)
        answer: dict[str, Any] = {
            "asked": "accounts" if missing else "queue",
            "asked_unix_s": asked_unix_s,
            "error": error,
        }
        if missing:
            # Without accounting nobody knows more; a job that waits by the accounts alone waits in no queue.
            known = {job_id: row for job_id, row in rows.items() if row[0] != PENDING}
            accounts = {job_id: [LOST, error or "no longer known to Slurm", ""] for job_id in missing} | known
            for job_id in missing:
                (self._missing / job_id).unlink(missing_ok=True)
            answer |= {"queue": self._seen["queue"], "accounts": self._seen["accounts"] | accounts, "error": None}
        else:
            if error is not None:
                log.warning("Slurm does not answer (%s); jobs are taken to stand as they did", error)
            before = self._seen.get("queue", {})
            answer |= {"queue": rows if error is None else before, "accounts": self._seen.get("accounts", {})}
        return answer | {"answered_unix_s": time.time()}


def _rows(command: list[str]) -> tuple[str | None, dict[str, list[str]]]:
    """What is wrong with the answer to a command, and state, reason and exit code by job id."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S)
    except (subprocess.TimeoutExpired, OSError) as error:
        return str(error), {}
    if answer.returncode != 0:
        return answer.stderr.strip() or f"exit code {answer.returncode}", {}
    rows = (line.split("|") for line in answer.stdout.splitlines())
    # `CANCELLED by 1000` says who: a reason.
    return None, {
        job_id.strip(): [state.split()[0], state.partition(" ")[2] or reason.strip(), _exit_code(code.strip())]
        for job_id, state, code, reason, *_ in rows
    }


def _exit_code(text: str) -> str:
    """`code:signal`, as sacct has it; squeue gives the status that wait() returns as one number."""
    return f"{int(text) >> 8}:{int(text) & 127}" if text.isdecimal() else text

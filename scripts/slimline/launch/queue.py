"""What Slurm says about jobs: asked seldom, once for all watchers of a working folder.

Every training rule is a process of its own that follows one job. Whoever first finds the last answer too old asks
for all, and leaves the answer in a file for the others, so that a hundred jobs cost no more questions than one.
"""

from __future__ import annotations

import contextlib
import logging
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slimline.errors import SlimlineError
from slimline.files import read_json, write_json, write_text
from slimline.launch.states import LOST, JobState

log = logging.getLogger("slimline")

QUEUE = Path(".slimline/queue")
ANSWER_TIMEOUT_S = 60
FIND_POLL_S = 0.5
# A controller that is away is told of at once, and then as often as this.
WARNING_INTERVAL_S = 600.0
# Ended jobs too: Slurm remembers them for some minutes (MinJobAge), also without accounting. The comment comes last,
# since it may hold any character.
SQUEUE = ["squeue", "--me", "--noheader", "--states=all", "--Format=JobID:|,State:|,exit_code:|,Reason:|,Comment:|"]
SACCT = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=jobidraw,state%40,exitcode,reason"]
# Number, which may be that of one of an array; a state; two more.
JOB_LINE = re.compile(r"\d[^|\s]*\s*\|\s*[A-Z][^|]*(\|[^|]*){2}")
FORMAT = 2


class UnansweredError(SlimlineError):
    """Slurm has not said in time whether there is a job: nothing may be submitted until it does."""


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
        self._next_look_s = self._next_warning_s = 0.0

    def look(self, job_id: str, since_unix_s: float) -> JobState | None:
        """How a job stands by the newest answer.

        None where the answer is not newer than `since_unix_s`, when the job was known to be there, or says nothing yet.
        A job is lost when the queue does not have it, the accounts do not tell of its end, and the queue, asked once
        more, does not have it still.
        """
        answer = self._newest()
        as_of_unix_s = float(answer.get("queue_unix_s", 0.0))
        if as_of_unix_s <= since_unix_s:
            return None
        if job_id in answer["queue"]:
            state, reason, code, _ = answer["queue"][job_id]
            return JobState(state, reason, code, as_of_unix_s)
        state, reason, code, asked_unix_s = answer["accounts"].get(job_id, (LOST, "", "", 0.0))
        if asked_unix_s <= since_unix_s:
            # Forgotten by the queue: the next question goes to the accounts.
            with contextlib.suppress(OSError):
                write_text(self._missing / job_id, "")
            return None
        if state == LOST and as_of_unix_s <= asked_unix_s:
            return None
        return JobState(state, reason, code, max(as_of_unix_s, asked_unix_s))

    def find(self, comment: str, since_unix_s: float, patience_s: float) -> str | None:
        """The id of the live job with this comment, by an answer that was asked for after `since_unix_s`.

        Raises:
            UnansweredError: there is no such answer within `patience_s`.
        """
        give_up_s = time.monotonic() + patience_s
        while (answer := self._newest()).get("queue_unix_s", 0.0) <= since_unix_s:
            if time.monotonic() > give_up_s:
                raise UnansweredError(
                    f"Slurm has not answered for {patience_s / 60:.0f} minutes: whether the job is there is not known.",
                    where=comment,
                    got=answer.get("error"),
                    next_step="run snakemake again when `squeue --me` answers; a job that is there is joined",
                )
            time.sleep(FIND_POLL_S)
        return live_job(answer["queue"], comment)

    def _newest(self) -> dict[str, Any]:
        """The newest answer; fetched by this process if it is due and nobody else is at it."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return self._seen
        self._next_look_s = now_s + min(1.0, self.interval_s / 5)
        self._read()
        if self._age_s() >= self.interval_s:
            # Somebody else is asking, or the file system is full or away, which is no reason to give a job up.
            with contextlib.suppress(Timeout, OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(self.folder / "lock", timeout=0):
                    self._read()
                    if self._age_s() >= self.interval_s:
                        self._seen = self._ask()
                        write_json(self._answer_path, self._seen)
        return self._seen

    def _read(self) -> None:
        """Takes over what somebody else was answered."""
        with contextlib.suppress(OSError, SlimlineError):
            answer = read_json(self._answer_path)
            newer = answer.get("answered_unix_s", 0.0) > self._seen.get("answered_unix_s", 0.0)
            if answer.get("format") == FORMAT and newer:
                self._seen = answer

    def _age_s(self) -> float:
        return abs(time.time() - float(self._seen.get("answered_unix_s", 0.0)))

    def _ask(self) -> dict[str, Any]:
        """One question: to the queue, or to the accounts when jobs are missing and the queue had its turn."""
        missing = sorted(path.name for path in self._missing.glob("*")) if self._seen.get("asked") == "queue" else []
        asked_unix_s = time.time()
        answer: dict[str, Any] = {"queue_unix_s": 0.0, "queue": {}, "accounts": {}} | self._seen | {"format": FORMAT}
        if missing:
            error, rows = query([*SACCT, f"--jobs={','.join(missing)}"])
            # Without accounting nobody knows more; a job that goes on by the accounts alone is in no queue.
            ended = {job_id: row[:3] for job_id, row in rows.items() if JobState(row[0]).has_ended}
            told = {job_id: [LOST, error or "no longer known to Slurm", ""] for job_id in missing} | ended
            answer["accounts"] = answer["accounts"] | {job_id: [*row, asked_unix_s] for job_id, row in told.items()}
            for job_id in missing:
                (self._missing / job_id).unlink(missing_ok=True)
            answer |= {"asked": "accounts", "error": None}
        else:
            error, rows = query(SQUEUE)
            answer |= {"asked": "queue", "error": error}
            if error is None:
                accounts = {job_id: row for job_id, row in answer["accounts"].items() if job_id not in rows}
                answer |= {"queue": rows, "queue_unix_s": asked_unix_s, "accounts": accounts}
            self._warn(error)
        return answer | {"answered_unix_s": time.time()}

    def _warn(self, error: str | None) -> None:
        if error is None:
            self._next_warning_s = 0.0
        elif time.monotonic() >= self._next_warning_s:
            self._next_warning_s = time.monotonic() + WARNING_INTERVAL_S
            log.warning("Slurm does not answer (%s); jobs are taken to stand as they did", error)


def live_job(rows: dict[str, list[str]], comment: str) -> str | None:
    """The first job of an answer of the queue that has this comment and has not ended."""
    live = (job_id for job_id, (state, _, _, said) in rows.items() if said == comment and not JobState(state).has_ended)
    return next(live, None)


def query(command: list[str], timeout_s: float = ANSWER_TIMEOUT_S) -> tuple[str | None, dict[str, list[str]]]:
    """What is wrong with the answer to a command, and state, reason, exit code and comment by job id."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except (subprocess.TimeoutExpired, OSError) as error:
        return str(error), {}
    if answer.returncode != 0:
        return answer.stderr.strip() or f"exit code {answer.returncode}", {}
    # A banner, or the rest of a comment with a line break in it, is no job.
    rows = (line.split("|", 4) for line in answer.stdout.splitlines() if JOB_LINE.match(line))
    # `CANCELLED by 1000` says who: a reason.
    return None, {
        job_id.strip(): [
            state.split()[0],
            state.partition(" ")[2].strip() or reason.strip(),
            _exit_code(code.strip()),
            "".join(comment).removesuffix("|").strip(),
        ]
        for job_id, state, code, reason, *comment in rows
    }


def _exit_code(text: str) -> str:
    """`code:signal`, as sacct has it; squeue gives the status that wait() returns as one number."""
    return f"{int(text) >> 8}:{int(text) & 127}" if text.isdecimal() else text

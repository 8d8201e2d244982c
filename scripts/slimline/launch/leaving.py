"""How a job goes when it was asked to: who will start it again, and does anybody have to be told."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from pathlib import Path

from slimline.files import write_json, write_text
from slimline.training.stop import StoppedError

log = logging.getLogger("slimline")

LEFT_FILE = "left.json"
WATCHED_FILE = "watched"
COMMAND_TIMEOUT_S = 60
# Slurm announces the end of the time this long before, and up to a minute earlier.
ANNOUNCED_S = 90 + 60
# A launcher that has not shown itself for so long is taken to be gone; clocks of machines may differ by some of it.
UNWATCHED_S = 180
# How long the other ranks stay for the main one's note, which takes two answers of Slurm.
NOTE_WAIT_S = 60.0
NOTE_POLL_S = 0.1
SECONDS = (86_400, 3_600, 60, 1)


def touch_watched(folder: Path) -> None:
    """Says, in the job's folder, that a launcher follows the job."""
    write_text(folder / WATCHED_FILE, "")


def note_leaving(folder: Path, job_id: str | None, stopped: StoppedError) -> None:
    """Sees to it that the job comes back; called on the main rank after all have stopped.

    Args:
        folder: the job's folder.
        job_id: its id in Slurm; None where Slurm does not run it.
        stopped: how it was stopped.

    A job whose end the scheduler has announced asks Slurm itself to queue it again, so that it needs nobody to watch
    it. At its time limit it leaves that to the launcher, which asks for the time that is left, unless there is none.
    Otherwise (SIGTERM) whoever sent the signal knows what comes next.
    """
    at_limit = stopped.announced and (job_id is None or _is_at_its_time_limit(job_id))
    requeue = stopped.announced and job_id is not None and not (at_limit and _is_watched(folder))
    if requeue and _slurm("scontrol", "requeue", str(job_id)) is not None:
        log.info("job %s is queued again", job_id)
        return
    write_json(folder / LEFT_FILE, {"at_time_limit": at_limit})


def await_note(folder: Path) -> None:
    """Returns when the main rank has said how the job goes, or has had its time for it.

    A rank that leaves earlier takes the main one with it: Slurm ends the peers of a rank that ends with an error.
    """
    end_s = time.monotonic() + NOTE_WAIT_S
    while not (folder / LEFT_FILE).exists() and time.monotonic() < end_s:
        time.sleep(NOTE_POLL_S)


def watched_unix_s(folder: Path) -> float:
    """When a launcher has last said that it follows the job; 0.0 if none ever has."""
    try:
        return (folder / WATCHED_FILE).stat().st_mtime
    except OSError:
        return 0.0


def _is_watched(folder: Path) -> bool:
    return time.time() - watched_unix_s(folder) < UNWATCHED_S


def _is_at_its_time_limit(job_id: str) -> bool:
    """Whether the announced end is that of the time limit."""
    answer = _slurm("scontrol", "--oneliner", "show", "job", job_id)
    if answer is None:
        return False
    fields = dict(re.findall(r"(RunTime|TimeLimit)=(\S+)", answer))
    run_s, limit_s = (duration_s(fields.get(name, "")) for name in ("RunTime", "TimeLimit"))
    return run_s is not None and limit_s is not None and limit_s - run_s <= ANNOUNCED_S


def duration_s(text: str) -> float | None:
    """Seconds of a duration as Slurm writes it, `[days-]hours:minutes:seconds`; None for UNLIMITED and the like."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if found is None:
        return None
    return float(sum(int(part or 0) * seconds for part, seconds in zip(found.groups(), SECONDS, strict=True)))


def _slurm(*command: str) -> str | None:
    """What a command of Slurm's prints; None where it fails."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s: %s", " ".join(command), error)
        return None
    if answer.returncode != 0:
        log.warning("%s: %s", " ".join(command), answer.stderr.strip())
        return None
    return answer.stdout

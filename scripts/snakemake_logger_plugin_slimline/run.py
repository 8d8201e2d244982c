"""What a run shows: a line per finished job, what runs now, one block per failed job, a summary."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from slimline.status_line import VARIABLE
from snakemake_logger_plugin_slimline.command_line import resume_command
from snakemake_logger_plugin_slimline.logs import ended_with_a_screen, last_progress, tail
from snakemake_logger_plugin_slimline.view import View
from snakemake_logger_plugin_slimline.words import count, duration, wildcards_text

TICK_S = 1.0
# Where there is no status line, a run that says nothing for long says what it is at, less and less often.
FIRST_SIGN_S = 60.0
LAST_SIGN_S = 1800.0
LOG_LINES = 40
# Jobs whose logs are read for the status line: more than fit in it.
MOST_TOLD = 4
WILDCARDS_WIDTH = 20
LABEL_WIDTH = 10

STOPPING = ("Terminating processes on user request", "Will exit after finishing currently running jobs")
# How a job ends that ends with the run: by Snakemake, by Ctrl-C, by a signal.
INTERRUPTED = ("", "status 130", "status 143", "killed by SIGINT", "killed by SIGTERM")
# Said by the summary.
END = ("Exiting because a job execution failed", "WorkflowError:\nAt least one job did not complete successfully")
EXIT = re.compile(r"CalledProcessError.*(?:returned non-zero exit (status \d+)|died with <Signals\.(\w+): \d+>)", re.S)


@dataclass(frozen=True)
class Job:
    """A job that has started.

    Args:
        rule: its name.
        wildcards: as people say them.
        started_s: seconds since the epoch.
        logs: what the rule names as its log files.
        local: whether what it prints comes to this terminal.
    """

    rule: str
    wildcards: str
    started_s: float
    logs: tuple[Path, ...]
    local: bool

    @property
    def name(self) -> str:
        """Rule and wildcards."""
        return f"{self.rule} {self.wildcards}".rstrip()


class RunView(View):
    """Follows the jobs by the events of Snakemake; between them, a thread keeps the status alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: dict[int, Job] = {}
        self._failed: dict[int, Job] = {}
        self._causes: dict[int | None, str] = {}
        self._done = self._total = 0
        self._at_once = ""
        self._mark_width, self._rule_width, self._wildcards_width = len("[failed]"), 0, WILDCARDS_WIDTH
        self._started_s = self._spoke_s = time.time()
        self._patience_s = FIRST_SIGN_S
        self._stopping = False
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._ticker: threading.Thread | None = None
        self._counts = Quietness.PROGRESS not in self.quiet  # Snakemake then does not say which jobs have ended
        self._tells_jobs = not self.quiet & {Quietness.RULES, Quietness.PROGRESS, Quietness.ALL}
        if self.terminal.live:
            os.environ[VARIABLE] = "1"
        self.actions |= {
            LogEvent.RESOURCES_INFO: self._resources,
            LogEvent.RUN_INFO: self._header,
            LogEvent.JOB_INFO: self._start,
            LogEvent.JOB_FINISHED: self._finish,
            LogEvent.PROGRESS: self._progress,
            LogEvent.ERROR: self._error,
            LogEvent.JOB_ERROR: self._fail,
        }

    def show(self, record: logging.LogRecord) -> None:
        """As the base class; the thread that keeps the status alive waits."""
        with self._lock:
            super().show(record)
            self._show_status(record.created)

    def message(self, record: logging.LogRecord) -> None:
        """As the base class, but for the last words of a run that failed: the summary has them."""
        text = str(record.msg)
        self._stopping |= text.startswith(STOPPING)
        if not (text.startswith(END) and (self._failed or self._running or self._stopping)):
            super().message(record)

    def tick(self, now_s: float) -> None:
        """Brings the status up to date; without a terminal, a sign of life when there was none for long."""
        with self._lock:
            self._show_status(now_s)
            if (
                not self.terminal.live
                and self._running
                and self._tells_jobs
                and now_s - self._spoke_s >= self._patience_s
            ):
                self.terminal.line(self._status(now_s))
                self._spoke_s, self._patience_s = now_s, min(2 * self._patience_s, LAST_SIGN_S)

    def close(self) -> None:
        """Ends the thread; sums up a run that did not come to its end."""
        self._end.set()
        if self._ticker:
            self._ticker.join()
        self.terminal.status("")
        for cause in self._causes.values():
            self.terminal.line(cause, "red")
        if self._counts and not self._stopping:  # they ended, but were found wanting, such as without output
            self._failed |= self._running
        if self._failed or (self._counts and self._done < self._total):
            self._sum_up()

    def _resources(self, record: logging.LogRecord) -> None:
        if cores := getattr(record, "cores", None):
            self._at_once = f" on {count(cores, 'core')}"
        elif nodes := getattr(record, "nodes", None):
            self._at_once = f", at most {nodes} at a time"

    def _header(self, record: logging.LogRecord) -> None:
        stats: dict[str, int] = getattr(record, "stats", {})
        self._total = stats.get("total", 0)
        self._mark_width = max(self._mark_width, 2 * len(str(self._total)) + len("[/]"))
        self._rule_width = max(map(len, stats), default=0)
        if not self.quiet & {Quietness.PROGRESS, Quietness.ALL}:
            self.terminal.line(f"{count(self._total, 'job')} to run{self._at_once}. Details: {_snakemakes_log()}")
            self.terminal.gap()

    def _start(self, record: logging.LogRecord) -> None:
        event = vars(record)
        logs = tuple(Path(file) for file in event["log"])
        wildcards = wildcards_text(event["wildcards"])
        self._running[event["jobid"]] = Job(
            event["rule_name"], wildcards, record.created, logs, event.get("local", True)
        )
        self._failed.pop(event["jobid"], None)
        self._wildcards_width = max(self._wildcards_width, len(wildcards))
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick_until_the_end, daemon=True)
            self._ticker.start()

    def _finish(self, record: logging.LogRecord) -> None:
        job = self._running.pop(vars(record)["job_id"], None)
        self._done += 1
        if job and self._tells_jobs:
            mark = f"[{self._done:>{len(str(self._total))}}/{self._total}]"
            self.terminal.line(self._columns(mark, job, record.created))

    def _progress(self, record: logging.LogRecord) -> None:
        """The summary of success comes here, before the workflow prints its verdict."""
        self._done, self._total = vars(record)["done"], vars(record)["total"]
        if self._done == self._total and not self.quiet & {Quietness.PROGRESS, Quietness.ALL}:
            elapsed = duration(record.created - self._started_s)
            self.terminal.gap()
            self.terminal.line(f"{count(self._total, 'job')} done in {elapsed}.", "green")
            self.terminal.gap()

    def _error(self, record: logging.LogRecord) -> None:
        """That the script of a rule failed is told with its job, which Snakemake reports next in the same thread."""
        if EXIT.search(str(record.msg)):
            self._causes[record.thread] = str(record.msg)
        else:
            self.message(record)

    def _fail(self, record: logging.LogRecord) -> None:
        event = vars(record)
        cause = EXIT.search(self._causes.pop(record.thread, ""))
        how = (cause[1] or f"killed by {cause[2]}") if cause else ""
        how += ", as the system does when memory runs out" if how.endswith("SIGKILL") else ""
        logs = tuple(Path(file) for file in event["log"])
        started = self._running.pop(event["jobid"], None)
        job = started or Job(event["rule_name"], "", record.created, logs, local=False)
        if self._stopping and how in INTERRUPTED:
            self._running[event["jobid"]] = job
            return
        self._failed[event["jobid"]] = job
        self.terminal.status("")
        self.terminal.line(self._columns("[failed]", job, record.created), "red")
        details = {"exit": how, "message": event["rule_msg"], **event["aux"], "shell": event["shellcmd"]}
        lines = [_detail(label, text) for label, text in details.items() if text]
        told = job.local and any(map(ended_with_a_screen, logs))
        with_lines = not told or self.settings.show_failed_logs
        lines += [line for file in logs for line in self._log(file, with_lines=with_lines)]
        self.terminal.line("\n".join(lines))
        self.terminal.gap()

    def _log(self, file: Path, *, with_lines: bool) -> list[str]:
        """Where the log is, and its end."""
        if not file.exists():
            return [_detail("log", f"{file} (not written)")]
        lines = tail(file, None if self.settings.show_failed_logs else LOG_LINES) if with_lines else []
        what = f", its last {LOG_LINES} lines:" if len(lines) == LOG_LINES else ":" if lines else ""
        return [_detail("log", f"{file}{what}"), *(f"{'':{LABEL_WIDTH + 2}}{line}" for line in lines)]

    def _sum_up(self) -> None:
        """How far the run came, what failed, and how to go on."""
        waiting = self._total - self._done - len(self._failed)
        parts = [f"{self._done} of {count(self._total, 'job')} done"] if self._counts else []
        parts += [f"{len(self._failed)} failed"] if self._failed else []
        parts += [f"{waiting} left"] if self._counts and waiting else []
        beginning = "Stopped: " if self._stopping else ""
        elapsed = duration(time.time() - self._started_s)
        self.terminal.gap()
        self.terminal.line(f"{beginning}{', '.join(parts)}, after {elapsed}.", "" if self._stopping else "red")
        for job in self._failed.values():
            self.terminal.line(_detail("failed", ", see ".join([job.name, *map(str, job.logs)])))
        self.terminal.line(_detail("resume", resume_command()))
        self.terminal.line(_detail("details", _snakemakes_log()))

    def _columns(self, mark: str, job: Job, now_s: float) -> str:
        """The line of a job that has ended."""
        self._spoke_s, self._patience_s = now_s, FIRST_SIGN_S
        rule, wildcards = f"{job.rule:<{self._rule_width}}", f"{job.wildcards:<{self._wildcards_width}}"
        return f"{mark:<{self._mark_width}}  {rule}  {wildcards} {duration(now_s - job.started_s):>11}"

    def _show_status(self, now_s: float) -> None:
        if self.terminal.live:
            self.terminal.status(self._status(now_s) if self._running and self._tells_jobs else "")

    def _status(self, now_s: float) -> str:
        """What runs now, and how far it is by its logs: in full for a job that runs alone, in a word for several."""
        jobs = list(self._running.values())
        said = [_progress(job) for job in jobs[:MOST_TOLD]] + [""] * len(jobs[MOST_TOLD:])
        if len(jobs) == 1:
            (latest,), told = said, [""]
        else:
            latest, told = "", [text.partition(",")[0] for text in said]
        names = ", ".join(
            f"{job.name} ({duration(now_s - job.started_s, decimals=0)}{text and f', {text}'})"
            for job, text in zip(jobs, told, strict=True)
        )
        return f"{'running':<{self._mark_width}}  {names}{latest and f': {latest}'}"

    def _tick_until_the_end(self) -> None:
        while not self._end.wait(TICK_S):
            self.tick(time.time())


def _progress(job: Job) -> str:
    """How far a job is, as its log says it last; empty where it does not."""
    return last_progress(job.logs[-1]).removeprefix(f"{job.wildcards}: ") if job.logs else ""


def _detail(label: str, text: object) -> str:
    return f"  {f'{label}:':<{LABEL_WIDTH - 1}} {text}"


def _snakemakes_log() -> str:
    """The file in which Snakemake has all details of this run."""
    handlers = logging.getLogger("snakemake.logging").handlers
    files = [handler.baseFilename for handler in handlers if isinstance(handler, logging.FileHandler)]
    return os.path.relpath(files[0]) if files else "none are kept"

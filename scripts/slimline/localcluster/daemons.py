"""Background processes that outlive the command that starts them, each with a record of who it is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from slimline.errors import SlimlineError
from slimline.files import read_json, write_json
from slimline.processes import start_mark

POLL_S = 0.05
GRACE_S = 10.0
LOG_LINES = 15


@dataclass(frozen=True)
class Daemon:
    """One background process.

    Args:
        name: what its record and its log are called.
        command: what to run; it must stay in the foreground.
        records: folder of the records.
        log: the file that tells what it does.
        writes_log: whether it writes that file itself, with times, and would write the same to standard error.
        directory: its working directory.
        environment: all of its environment.
    """

    name: str
    command: tuple[str, ...]
    records: Path
    log: Path
    writes_log: bool
    directory: Path
    environment: dict[str, str]

    @property
    def process(self) -> psutil.Process | None:
        """The process; None when it does not run. Its start time tells it from a stranger with the same number."""
        if not self._record.exists():
            return None
        record = read_json(self._record)
        try:
            ours = start_mark(record["pid"]) == record["started"]
            process = psutil.Process(record["pid"])
        except psutil.NoSuchProcess:
            return None
        return process if ours and runs(process) else None

    def start(self) -> None:
        """Starts it in a session of its own, unless it runs."""
        if self.process is not None:
            return
        with open(os.devnull if self.writes_log else self.log, "ab") as output:  # noqa: PTH123
            child = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        child.returncode = 0  # it outlives this process: nobody waits for it
        write_json(self._record, {"pid": child.pid, "started": start_mark(child.pid)})

    def wait(self, problem: Callable[[], str | None], timeout_s: float = 30) -> None:
        """Returns when it is ready.

        Args:
            problem: what keeps it from doing its work; None when nothing does.
            timeout_s: how long to wait at most, in seconds.

        Raises:
            SlimlineError: it has ended, or is not ready in time.
        """
        end_s = time.monotonic() + timeout_s
        while (why := problem()) is not None:
            ended = self.process is None
            if ended or time.monotonic() > end_s:
                raise SlimlineError(
                    f"{self.name} {'ended' if ended else f'is not ready after {timeout_s:.0f} s'}.",
                    where=str(self.log),
                    got="\n    ".join([why, "the last lines of its log", *self._last_lines()]),
                )
            time.sleep(POLL_S)

    @property
    def _record(self) -> Path:
        return self.records / f"{self.name}.json"

    def _last_lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-LOG_LINES:] if self.log.exists() else []


def stop_daemons(daemons: Iterable[Daemon], grace_s: float = GRACE_S) -> None:
    """Ends daemons at the same time; `grace_s` as for `end_processes`."""
    end_processes([process for daemon in daemons if (process := daemon.process) is not None], grace_s)


def end_processes(processes: Iterable[psutil.Process], grace_s: float = GRACE_S) -> None:
    """Asks processes to end, and kills those that have not after `grace_s` seconds; with 0 it kills without asking."""
    left = list(processes)
    if grace_s > 0:
        _signal(left, psutil.Process.terminate)
        left = _survivors(left, grace_s)
    _signal(left, psutil.Process.kill)
    _survivors(left, GRACE_S)


def _signal(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            act(process)


def _survivors(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still run after at most `timeout_s` seconds."""
    end_s = time.monotonic() + timeout_s
    while (left := [process for process in processes if runs(process)]) and time.monotonic() < end_s:
        time.sleep(POLL_S)
    return left


def runs(process: psutil.Process) -> bool:
    """Whether it runs; a process that has ended is a zombie until its parent takes notice, which may be never."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def minimal_environment(**variables: str) -> dict[str, str]:
    """What a daemon needs to know, and nothing of the shell that starts it."""
    return {"PATH": os.defpath + ":/usr/sbin:/sbin", "LANG": "C.UTF-8"} | variables

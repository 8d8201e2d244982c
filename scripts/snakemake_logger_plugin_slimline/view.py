"""What all runs have in common: messages of Snakemake, without those that say nothing to a user."""

from __future__ import annotations

import logging
from collections.abc import Callable

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import OutputSettingsLoggerInterface

from snakemake_logger_plugin_slimline.logs import TRACEBACK
from snakemake_logger_plugin_slimline.terminal import Terminal

# Information of Snakemake that repeats what ours says better, or that users cannot use. All of it is in the log.
NOISE = (
    "Assuming unrestricted shared filesystem usage",
    "Building DAG of jobs",
    "Complete log(s):",
    "Conda environments: ignored",
    "Elapsed time:",
    "Loading script code for rule",
    "Select jobs to execute",
    "Shutting down, this might take some time",
    "Singularity containers: ignored",
    "Using shell:",
)
SILENT = (
    LogEvent.WORKFLOW_STARTED,
    LogEvent.RESOURCES_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.GROUP_INFO,
    LogEvent.PROGRESS,
    LogEvent.RULEGRAPH,
)


class View:
    """Shows messages; what is done with events of jobs, subclasses add to `actions`.

    Args:
        terminal: where to write.
        settings: `--quiet` and its like.
        text_of: Snakemake's own text of a record.
    """

    def __init__(
        self,
        terminal: Terminal,
        settings: OutputSettingsLoggerInterface,
        text_of: Callable[[logging.LogRecord], str | None],
    ) -> None:
        self.terminal = terminal
        self.settings = settings
        self.quiet = frozenset(settings.quiet or ())
        self._text_of = text_of
        self.actions: dict[str | None, Callable[[logging.LogRecord], None]] = dict.fromkeys(SILENT, self._nothing)
        self.actions[LogEvent.SHELLCMD] = self._shell_command

    def show(self, record: logging.LogRecord) -> None:
        """Shows a record, or notes what it says."""
        self.actions.get(getattr(record, "event", None), self.message)(record)

    def message(self, record: logging.LogRecord) -> None:
        """Shows a message. Warnings and errors are never left out, and no information that is not known."""
        text = self._text_of(record)
        if not text or text == "None":
            return
        if record.levelno >= logging.ERROR:
            self.terminal.line(_without_traceback(text), "red")
        elif record.levelno >= logging.WARNING:
            self.terminal.line(text, "yellow")
        elif Quietness.ALL not in self.quiet and not text.startswith(NOISE):
            self.terminal.line(text)

    def close(self) -> None:
        """Called once, when nothing comes any more."""

    def _shell_command(self, record: logging.LogRecord) -> None:
        command = getattr(record, "shellcmd", None) or getattr(record, "cmd", None)
        if command and self.settings.printshellcmds:
            self.terminal.line(command, "dim")

    def _nothing(self, record: logging.LogRecord) -> None:
        pass


def _without_traceback(text: str) -> str:
    """The text of an error that is worded for users, such as an account that Slurm does not know, as that alone.

    Snakemake hands on texts with their tracebacks in them.
    """
    message, traceback, lines = text.partition(TRACEBACK)
    return message.rstrip() if traceback and "WorkflowError: " in lines else text

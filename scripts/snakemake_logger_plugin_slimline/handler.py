"""The log handler that Snakemake makes: it chooses a view and feeds it."""

from __future__ import annotations

import logging
import os
import sys

from snakemake_interface_logger_plugins.base import LogHandlerBase


class LogHandler(LogHandlerBase):
    """Shows a run on standard error, a dry run on standard output, as Snakemake does.

    Made before Snakemake reads config files, in the main process only: jobs that Snakemake starts have no plugins.
    """

    def __post_init__(self) -> None:
        """Checks the config files first, since what is wrong in them ends the run before it begins."""
        from snakemake_logger_plugin_slimline.command_line import check_config_files
        from snakemake_logger_plugin_slimline.dry_run import DryRunView
        from snakemake_logger_plugin_slimline.run import RunView
        from snakemake_logger_plugin_slimline.terminal import Terminal

        check_config_files()
        settings = self.common_settings
        self._stream = sys.stdout if settings.stdout else sys.stderr
        # Who asks for everything gets Snakemake's own text.
        self._verbatim = _snakemakes_own(self) if settings.verbose or settings.debug_dag else None
        terminal = Terminal(self._stream, nocolor=settings.nocolor)
        self._view = (DryRunView if settings.dryrun else RunView)(terminal, settings, self.format)
        self._closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a record; a failure to do so must not end the thread that all records come through."""
        try:
            if self._verbatim:
                self._verbatim.handle(record)
            else:
                self._view.show(record)
        except BrokenPipeError:  # the reader has gone, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Ends with the summary."""
        if not self._closed:
            self._closed = True
            if not self._verbatim:
                self._view.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """It replaces Snakemake's own output."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake's own log file is left to Snakemake."""
        return False

    @property
    def has_filter(self) -> bool:
        """Snakemake's filter would drop events that views must know, and errors."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Snakemake's formatter words the messages that views do not know."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """Nothing here draws it."""
        return False


def _snakemakes_own(handler: LogHandler) -> logging.Handler:
    """Snakemake's own terminal output."""
    from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

    settings = handler.common_settings
    own: logging.Handler = ColorizingTextHandler(
        nocolor=settings.nocolor,
        stream=sys.stdout if settings.stdout else sys.stderr,
        formatter=DefaultFormatter(settings.quiet, settings.show_failed_logs),
        filter=DefaultFilter(
            settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds
        ),
    )
    return own

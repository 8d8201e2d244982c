"""What a dry run shows: the job table, and why each rule would run."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import Any

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_slimline.view import View
from snakemake_logger_plugin_slimline.words import FOLLOWS, reasons_text

END = "This was a dry-run"
# Said in other words at the end, or about displays that are not there.
REPLACED = ("Reasons:", "Some jobs were triggered by provenance", "Rules with provenance triggered jobs")


class DryRunView(View):
    """Counts and reasons by rule, in the order in which rules would run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reasons: defaultdict[str, list[str]] = defaultdict(list)
        self._rules: list[str] = []
        self.actions |= {LogEvent.RUN_INFO: self._job_table, LogEvent.JOB_INFO: self._job}

    def message(self, record: logging.LogRecord) -> None:
        """As the base class, but ends with the reasons."""
        if record.levelno < logging.WARNING and str(record.msg).startswith(END):
            self._end()
        elif record.levelno >= logging.WARNING or not str(record.msg).startswith(REPLACED):
            super().message(record)

    def _job_table(self, record: logging.LogRecord) -> None:
        """Snakemake shows the same table before and after the jobs."""
        if not self._rules:
            self._rules = list(getattr(record, "stats", {}))
            self.terminal.line(str(record.msg).strip())
            self.terminal.gap()

    def _job(self, record: logging.LogRecord) -> None:
        self._reasons[getattr(record, "rule_name", "")].append(getattr(record, "reason", ""))

    def _end(self) -> None:
        if not self.quiet & {Quietness.RULES, Quietness.REASON, Quietness.ALL}:
            self._say_why()
            self.terminal.gap()
        self.terminal.line("This was a dry run: nothing was made or changed. Each job with its files: --verbose")

    def _say_why(self) -> None:
        """Rules that only follow from others are one line together."""
        texts = {rule: reasons_text(self._reasons[rule]) for rule in sorted(self._reasons, key=self._order)}
        own = {rule: text for rule, text in texts.items() if text != FOLLOWS}
        rows = own | ({"the others": "follow from these"} if len(own) < len(texts) else {})
        width = max(map(len, rows), default=0)
        self.terminal.line("Reasons:")
        for rule, text in rows.items():
            self.terminal.line(f"  {rule:<{width}}  {text}")

    def _order(self, rule: str) -> int:
        return self._rules.index(rule) if rule in self._rules else len(self._rules)

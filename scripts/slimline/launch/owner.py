"""The Snakemake that a rule belongs to: its command line, and whether it still lives."""

from __future__ import annotations

import shlex
from pathlib import Path

import psutil


class SnakemakeGoneError(Exception):
    """The Snakemake that this rule belongs to was killed: the job is left for the next one."""


class Owner:
    """The nearest ancestor of this process that is Snakemake, if there is one."""

    def __init__(self) -> None:
        self._process = next(filter(_is_snakemake, psutil.Process().parents()), None)

    @property
    def is_gone(self) -> bool:
        """Whether there was one and it has died; its children live on when it is killed outright."""
        if self._process is None:
            return False
        try:
            return not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    @property
    def command(self) -> str:
        """What the user typed, as far as it can be known."""
        try:
            words = self._process.cmdline() if self._process else []
        except psutil.Error:
            words = []
        start = next((number for number, word in enumerate(words) if Path(word).name == "snakemake"), None)
        return "snakemake" if start is None else shlex.join(["snakemake", *words[start + 1 :]])


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        return any(Path(word).name == "snakemake" for word in process.cmdline()[:3])
    except psutil.Error:
        return False

"""What the user asked for, and how Snakemake ends where that cannot be."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from slimline.errors import SlimlineError


@cache
def options() -> Namespace:
    """The options of this run, those of profiles among them; empty where Snakemake is used as a library."""
    from snakemake.cli import parse_args

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # Snakemake has announced the profiles already
            return Namespace(**vars(parse_args(sys.argv[1:])[1]))
    except SystemExit:  # Snakemake's own command line would have ended here before
        return Namespace()


def resume_command() -> str:
    """The same command once more: what is done stays done."""
    program = Path(sys.argv[0]).name
    return shlex.join([*(["python", "-m", "snakemake"] if program == "__main__.py" else [program]), *sys.argv[1:]])


def check_config_files() -> None:
    """Ends Snakemake with one screen where a file given with `--configfile` cannot be read.

    Snakemake reads these files before the Snakefile, and has a traceback or a vague sentence for a broken one.
    """
    files = getattr(options(), "configfile", None) or []
    if files:
        from slimline.config.load import read_yaml

        with one_screen():
            for file in files:
                read_yaml(Path(file))


@contextlib.contextmanager
def one_screen() -> Iterator[None]:
    """Ends the process with exit code 1 where a user's mistake shows inside: its screen, no traceback."""
    try:
        yield
    except SlimlineError as error:
        sys.stderr.write(f"\n{error}\n\n")
        raise SystemExit(1) from None

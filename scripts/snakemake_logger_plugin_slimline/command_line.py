"""What the user asked for, and how Snakemake ends where that cannot be."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
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
                _refuse_target(Path(file), files)
                read_yaml(Path(file))


def _refuse_target(file: Path, files: Sequence[str | Path]) -> None:
    """Refuses what is no config file but a target that `--configfile` has swallowed: it takes every word it can."""
    from slimline.config.yaml_file import SUFFIXES

    if len(files) > 1 and file.suffix not in SUFFIXES and not file.exists():
        raise SlimlineError(
            "A target stands where a config file is expected.",
            where="--configfile, which takes every word up to the next option",
            got=str(file),
            expected="YAML files only",
            next_step=f"put targets first: snakemake {file} --cores 4 --configfile {files[0]}",
        )


@contextlib.contextmanager
def one_screen() -> Iterator[None]:
    """Ends the process with exit code 1 where a user's mistake shows inside: its screen, no traceback."""
    try:
        yield
    except SlimlineError as error:
        sys.stderr.write(f"\n{error}\n\n")
        raise SystemExit(1) from None

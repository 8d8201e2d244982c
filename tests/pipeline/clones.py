"""Copies of the workflow as a fresh clone has it, and real Snakemake on them."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CLONED = ("Snakefile", "workflow", "scripts", "config", "profiles", "slurm", "environment.yml", "requirements.lock")
# `12 of 61 steps (20%) done` and the like are not reasons; the job table of a dry run is.
JOB_TABLE_ROW = re.compile(r"^([\w-]+) +(\d+)$")


@dataclass(frozen=True)
class Clone:
    """A working copy of its own, with its own library on the import path."""

    folder: Path

    def environment(self, **changes):
        return os.environ | {"PYTHONPATH": str(self.folder / "scripts")} | changes

    def command(self, *arguments):
        return [sys.executable, "-m", "snakemake", *map(str, arguments)]

    def snakemake(self, *arguments, check=True, **environment):
        """Runs Snakemake; what it printed on both channels, with the exit code."""
        result = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert not check or result.returncode == 0, result.stdout
        return result

    def jobs(self, *arguments, **environment):
        """The jobs of a dry run by rule."""
        output = self.snakemake("--dry-run", *arguments, "--quiet", "rules", **environment).stdout
        rows = [JOB_TABLE_ROW.match(line) for line in output.splitlines()]
        return {row[1]: int(row[2]) for row in rows if row and row[1] != "total"}

    def write_config(self, name, **content):
        """Writes `name.yaml`; returns the arguments that choose it."""
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump({"experiment": name} | content, sort_keys=False))
        return ("--configfile", f"{name}.yaml")

    def copy(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        return Clone(folder)


def clone_into(folder):
    folder.mkdir(parents=True)
    for name in CLONED:
        source = ROOT / name
        if source.is_symlink():
            (folder / name).symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, folder / name)
    return Clone(folder)


TINY = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "width": 0.5},
    "train": {"epochs": 4, "batch_size": 64, "learning_rate": 0.004, "seeds": [0]},
    "variants": {"pruned": {"from": "dense", "prune": {"ratio": 0.5, "epochs": 1}}},
    "evaluation": {"control": False, "latency": {"timed_runs": 100}},
}

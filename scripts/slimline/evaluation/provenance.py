"""Where figures come from: code, data, versions, machine and command."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from slimline.config.experiment import ExperimentConfig
from slimline.cpu import cpu_name
from slimline.evaluation.provenance_record import DataFile, DataProvenance, Provenance
from slimline.evaluation.record_base import read_record
from slimline.files import read_json, sha256_file

PACKAGE = "slimline"
CODE = Path(__file__).parent
GIT_TIMEOUT_S = 10


# A folder of images has as many files as images; one digest stands for all of them.
MOST_FILES = 20


class _ManifestFile(BaseModel):
    """The part of a file's entry that is kept; the manifest belongs to another room and may say more."""

    model_config = ConfigDict(frozen=True)

    file: str
    sha256: str | None
    size_bytes: int


class _Manifest(BaseModel):
    """Likewise of `download.json`."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    files: list[_ManifestFile]


def collect_provenance(
    config: ExperimentConfig, seeds: Sequence[int], manifest: Path, stats: Path, lock: Path, command: str
) -> Provenance:
    """What it takes to run the experiment again.

    Args:
        config: the resolved config.
        seeds: seeds of the models.
        manifest: `download.json` of the dataset.
        stats: `stats.json` of the prepared dataset.
        lock: the lock file of the environment, which may be absent.
        command: command line of the workflow.
    """
    downloaded = read_record(manifest, _Manifest)
    sha, dirty = git_state(CODE)
    return Provenance(
        git_sha=sha,
        git_dirty=dirty,
        command=command,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=installed_versions(),
        python=platform.python_version(),
        platform=platform.platform(),
        device=cpu_name(),
        data=DataProvenance(
            dataset=downloaded.dataset,
            files=_data_files(downloaded, manifest),
            split_sha256=read_json(stats)["split_sha256"],
        ),
        seeds=list(seeds),
        lock_sha256=sha256_file(lock) if lock.is_file() else None,
        config=config.resolved(),
    )


def _data_files(downloaded: _Manifest, manifest: Path) -> list[DataFile]:
    """Each source file, or the manifest in their place where there are many."""
    if len(downloaded.files) <= MOST_FILES:
        return [DataFile(file=item.file, sha256=item.sha256, size_bytes=item.size_bytes) for item in downloaded.files]
    size_bytes = sum(item.size_bytes for item in downloaded.files)
    name = f"{manifest.name} ({len(downloaded.files):,} files)"
    return [DataFile(file=name, sha256=sha256_file(manifest), size_bytes=size_bytes)]


def installed_versions() -> dict[str, str]:
    """Versions of slimline and of the packages that it declares as dependencies, without the extras."""
    requirements = [line for line in metadata.requires(PACKAGE) or [] if "extra ==" not in line]
    names = [PACKAGE, *(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in requirements)]
    return {name: metadata.version(name) for name in sorted(names)}


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the repository that `folder` is in and whether files differ from it; None where git cannot tell."""
    sha, status = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return (sha, bool(status)) if sha is not None and status is not None else (None, None)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()

"""Where the figures of an experiment come from, as part of `metrics.json`."""

from __future__ import annotations

from typing import Any

from slimline.evaluation.record_base import Record, described


class DataFile(Record):
    """A source file of the dataset."""

    file: str = described("Name.")
    sha256: str | None = described("SHA-256 of its content; null where it could not be read.")
    size_bytes: int = described("Size.", "bytes")


class DataProvenance(Record):
    """Which data the experiment saw."""

    dataset: str = described("Name of the dataset.")
    files: list[DataFile] = described(
        "Source files; a folder of more than 20 is one entry: the digest of `download.json`, which lists them, "
        "and the size of all together."
    )
    split_sha256: dict[str, str] = described("Digest of each split.")


class Provenance(Record):
    """What it takes to run the experiment again."""

    git_sha: str | None = described("Commit of the code; null where git or the repository is absent.")
    git_dirty: bool | None = described("Whether files differ from that commit.")
    command: str = described("Command line of the workflow.")
    created_utc: str = described("Time of the comparison, ISO 8601.")
    versions: dict[str, str] = described("Installed versions of slimline and its dependencies.")
    python: str = described("Version of Python.")
    platform: str = described("Operating system and architecture.")
    device: str = described("Processor that the comparison ran on.")
    data: DataProvenance = described("Data.")
    seeds: list[int] = described("Seeds of the models.")
    lock_sha256: str | None = described("SHA-256 of the lock file; null where there is none.")
    config: dict[str, Any] = described("The resolved config.")

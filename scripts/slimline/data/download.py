"""Step `download`: the raw files of a dataset, and a manifest that says exactly which."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slimline.config.dataset import DatasetConfig
from slimline.data.folder import FolderFile, scan_folder
from slimline.data.identity import dataset_id
from slimline.data.options import folder_root
from slimline.data.side_by_side import map_in_order
from slimline.data.sources import DIGITS_SHA256, SOURCES, SourceFile
from slimline.data.transfer import fetch, is_url, is_whole
from slimline.errors import SlimlineError
from slimline.files import sha256_file, write_json

log = logging.getLogger(__name__)


def download(cfg: DatasetConfig, raw: Path, manifest: Path, mirror: str | None, *, threads: int = 1) -> None:
    """Fetches a dataset's files and writes `download.json`.

    Digits come with scikit-learn and an image folder stays where it is: `raw` stays empty for both.
    The manifest is a function of the dataset alone, not of the address that delivered it.

    Args:
        cfg: the dataset.
        raw: folder for the files.
        manifest: `download.json`.
        mirror: folder or http(s) address with `<dataset>/<file>`, used in place of the public addresses.
        threads: how many files of an image folder are read at once.

    Raises:
        SlimlineError: a file cannot be had with its checksum, or the image folder is not as expected.
    """
    raw.mkdir(parents=True, exist_ok=True)
    if cfg.name == "image-folder":
        content = _folder_content(cfg, threads)
    elif cfg.name == "digits":
        content = _digits_content()
    else:
        content = _published_content(cfg.name, raw, mirror)
    write_json(manifest, {"format": 1, "dataset": cfg.name, "dataset_id": dataset_id(cfg), **content})


def _published_content(dataset: str, raw: Path, mirror: str | None) -> dict[str, Any]:
    files = SOURCES[dataset]
    # Beside `raw`, which Snakemake removes when the rule fails and before it runs again: files move there together.
    partial = raw.parent / ".partial"
    partial.mkdir(exist_ok=True)
    with _locked(partial / "lock", dataset):
        missing = [file for file in files if not is_whole(file, raw / file.name)]
        for file in missing:
            locations = _locations(file, dataset, mirror)
            fetch(file, locations, partial / file.name, partial / f"{file.name}.part", hint=_hint(dataset, mirror))
        for file in missing:
            (partial / file.name).replace(raw / file.name)
    return {
        "files": [
            {"file": file.name, "sha256": file.sha256, "size_bytes": file.size_bytes, "source": file.urls[0]}
            for file in files
        ]
    }


def _locations(file: SourceFile, dataset: str, mirror: str | None) -> Sequence[str]:
    if mirror is None:
        return file.urls
    if is_url(mirror):
        return [f"{mirror.rstrip('/')}/{dataset}/{file.name}"]
    if "://" in mirror:
        raise SlimlineError(
            "The mirror is of an unknown kind.", where="SLIMLINE_MIRROR", expected="a folder, or an http(s) address"
        )
    return [str(Path(mirror) / dataset / file.name)]


def _hint(dataset: str, mirror: str | None) -> str:
    if mirror is None:
        return (
            "check the connection and run again (what has arrived is kept), or set SLIMLINE_MIRROR to a folder or "
            f"an address that holds {dataset}/<file>"
        )
    return f"put the published file into {dataset}/ of the mirror, or unset SLIMLINE_MIRROR for the public addresses"


@contextmanager
def _locked(path: Path, dataset: str) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("%s: waiting for another process that downloads it", dataset)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _digits_content() -> dict[str, Any]:
    from slimline.data.digits import read_digits  # numpy and scikit-learn, for this dataset only

    digits = read_digits()
    content = digits.images.tobytes() + digits.labels.astype("<i8").tobytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != DIGITS_SHA256:
        raise SlimlineError(
            "scikit-learn brings other digits than slimline knows.",
            where="sklearn.datasets.load_digits",
            got=sha256,
            expected=DIGITS_SHA256,
            next_step="install scikit-learn as the lock file pins it",
        )
    return {
        "files": [
            {
                "file": "sklearn.datasets.load_digits",
                "sha256": sha256,
                "size_bytes": len(content),
                "source": "scikit-learn",
            }
        ]
    }


def _folder_content(cfg: DatasetConfig, threads: int) -> dict[str, Any]:
    root, scan = folder_root(cfg), scan_folder(cfg)

    def entry(file: FolderFile) -> dict[str, Any]:
        try:
            sha256 = sha256_file(root / file.name)
        except OSError:  # the audit names it with the reason
            sha256 = None
        return {"file": file.name, "sha256": sha256, "size_bytes": file.size_bytes}

    return {
        "files": list(map_in_order(entry, scan.images, threads=threads, what="checksums")),
        "layout": scan.layout,
        "ignored_files": scan.ignored_files,
        "unused_folders": list(scan.unused_folders),
        "empty_classes": list(scan.empty_classes),
    }

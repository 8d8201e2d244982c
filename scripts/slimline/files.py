"""Files that are either whole or absent: written beside, flushed to disk, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slimline.errors import SlimlineError

CHUNK_BYTES = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which takes its place when the block ends well.

    The temporary name keeps the suffix, since some libraries choose the format by it. What the
    block leaves there when it raises is removed, and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, for a folder: an existing one is removed only once the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` with `content`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replaces `path` with `content`, encoded as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` with `value` as indented JSON; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        SlimlineError: the file is absent or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SlimlineError("A file that an earlier step writes is not there.", where=str(path)) from None
    except ValueError as error:
        raise SlimlineError(
            "A file that should hold JSON does not.",
            where=str(path),
            got=str(error),
            next_step=f"delete it and run snakemake again: rm '{path}'",
        ) from None


def copy_file(source: Path, target: Path) -> None:
    """Replaces `target` with the content of `source`."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file as hexadecimal digits, read in blocks; `algorithm` as hashlib names it."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Digest of a value's canonical JSON: equal values have equal digests, whatever the order of keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())

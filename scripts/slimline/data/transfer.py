"""One pinned file, from the first address that has it: resumed, checked, and in place only when whole."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry

from slimline.data.progress import Progress
from slimline.data.sources import SourceFile
from slimline.errors import SlimlineError
from slimline.files import CHUNK_BYTES, sha256_file

TIMEOUT_S = (10, 60)  # to connect, between two pieces of the answer
RETRY = Retry(
    total=5,
    connect=2,
    backoff_factor=1.0,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=("GET",),
    raise_on_status=False,
    respect_retry_after_header=False,  # it may ask for hours
)

log = logging.getLogger(__name__)


class TransferError(Exception):
    """An address did not give the file, with the reason as its message."""


class _BrokenOffError(Exception):
    """An answer ended before its end."""


def fetch(
    file: SourceFile, locations: Sequence[str], target: Path, part: Path, *, retry: Retry = RETRY, hint: str
) -> None:
    """Puts a file in place, unless it is there already.

    Args:
        file: what is wanted.
        locations: http(s) addresses or paths, tried in this order.
        target: where it goes, once its checksum is right.
        part: what has come so far, kept for the next attempt; on the same file system as `target`.
        retry: how often and after which pauses an address is asked again.
        hint: what the user can do when no location has it.

    Raises:
        SlimlineError: no location gave a file with the pinned checksum.
    """
    if is_whole(file, target):
        return
    problems = []
    for location in locations:
        try:
            _bring(file, location, part, retry)
        except TransferError as error:
            problems.append(f"{_shown(location)}: {error}")
            log.warning("%s from %s", file.name, problems[-1])
            continue
        with part.open("rb") as content:
            os.fsync(content.fileno())
        part.replace(target)
        log.info("%s: %d bytes from %s", file.name, file.size_bytes, _shown(location))
        return
    raise SlimlineError(
        "A file of the dataset could not be had.",
        where=file.name,
        got="; ".join(problems),
        expected=f"sha256 {file.sha256}, {file.size_bytes} bytes",
        next_step=hint,
    )


def is_url(location: str) -> bool:
    """Whether a location is an http(s) address, as opposed to a path."""
    return urlsplit(location).scheme in ("http", "https")


def is_whole(file: SourceFile, path: Path) -> bool:
    """Whether `path` has the pinned size and checksum."""
    return path.is_file() and path.stat().st_size == file.size_bytes and sha256_file(path) == file.sha256


def _bring(file: SourceFile, location: str, part: Path, retry: Retry) -> None:
    """Makes `part` the whole file, or removes what came when it is another one."""
    resumed = is_url(location) and part.exists()
    if is_url(location):
        _receive(file, location, part, retry)
    else:
        _copy(location, part)
    if is_whole(file, part):
        return
    got = f"sha256 {sha256_file(part)}, {part.stat().st_size} bytes"
    part.unlink()
    if not resumed:
        raise TransferError(got)
    log.warning("%s: what was left of an earlier attempt does not fit (%s); starting over", file.name, got)
    _bring(file, location, part, retry)


def _copy(location: str, part: Path) -> None:
    try:
        shutil.copyfile(Path(location).expanduser(), part)
    except OSError as error:
        raise TransferError(error.strerror or str(error)) from error


def _receive(file: SourceFile, url: str, part: Path, retry: Retry) -> None:
    """Appends to `part` until the answer ends, and asks again for the rest when the connection breaks."""
    attempts = retry
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(max_retries=retry))
        session.mount("http://", HTTPAdapter(max_retries=retry))
        while (before := _size(part)) != file.size_bytes:
            try:
                _append(session, file, url, part)
                return
            except _BrokenOffError as error:
                # a slow line may break many times: only breaks without any progress count
                attempts = retry if _size(part) > before else _one_less(attempts, url, error)
                log.info("%s: broken off at %d of %d bytes", file.name, _size(part), file.size_bytes)
                attempts.sleep()


def _append(session: requests.Session, file: SourceFile, url: str, part: Path) -> None:
    offset = _size(part)
    headers = {"Accept-Encoding": "identity"}  # else the .gz might be unpacked on the way
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise TransferError(_cause(error).replace(url, _shown(url))) from error
    with response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()
            raise _BrokenOffError("what was left of an earlier attempt is longer than the file there")
        _check_answer(response, url, offset)
        if response.status_code != requests.codes.partial_content:
            offset = 0  # the server knows no ranges and sends everything
        with part.open("ab" if offset else "wb") as content:
            _write_body(response, content, file)


def _write_body(response: requests.Response, content: BinaryIO, file: SourceFile) -> None:
    progress = Progress(file.name, file.size_bytes, "B", done=content.tell())
    try:
        # read1, since iter_content loses what it has gathered of a piece when the connection breaks
        while piece := response.raw.read1(CHUNK_BYTES, decode_content=False):
            content.write(piece)
            progress.advance(len(piece))
            if content.tell() > file.size_bytes:
                return  # not the wanted file, and perhaps without an end
    except HTTPError as error:
        raise _BrokenOffError(str(error)) from error
    finally:
        progress.close()


def _check_answer(response: requests.Response, url: str, offset: int) -> None:
    if url.startswith("https:") and not response.url.startswith("https:"):
        raise TransferError("it leads away from https")
    if not response.ok:
        raise TransferError(f"HTTP {response.status_code} {response.reason}")
    if response.status_code == requests.codes.partial_content:
        sent = response.headers.get("Content-Range", "")
        if not sent.startswith(f"bytes {offset}-"):
            raise TransferError(f"asked for bytes from {offset}, got {sent or 'no Content-Range'}")


def _one_less(attempts: Retry, url: str, error: Exception) -> Retry:
    try:
        return attempts.increment("GET", url, error=error)
    except MaxRetryError:
        raise TransferError(f"broken off again and again: {error}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _cause(error: requests.RequestException) -> str:
    """The innermost reason, which says in fewer words what went wrong."""
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", inner))


def _shown(location: str) -> str:
    """A location without user name and password."""
    if not is_url(location):
        return location
    parts = urlsplit(location)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

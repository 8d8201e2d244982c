"""What the tests of the data room share: a small web server with faults, and image folders."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from slimline.config.dataset import DatasetConfig
from slimline.data.audit import audit
from slimline.data.download import download
from slimline.data.preprocess import preprocess
from slimline.data.sources import SourceFile


@dataclass
class Site:
    """A web site and its faults: `breaks[path]` lists after how many bytes each answer in turn breaks off."""

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self):
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.path, wanted))
        if site.statuses.get(self.path):
            self.send_error(site.statuses[self.path].pop(0))
            return
        if self.path not in site.files:
            self.send_error(404)
            return
        content, start = site.files[self.path], 0
        if wanted and site.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + site.breaks[self.path].pop(0) if site.breaks.get(self.path) else len(content)
        with suppress(ConnectionError):  # the client may have seen enough
            self.wfile.write(content[start:end])

    def log_message(self, format, *args):  # noqa: A002 - named so by the standard library
        pass


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serves a site on this machine while the block runs."""
    handler = type("Handler", (_Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def source_file(name: str, content: bytes, *urls: str) -> SourceFile:
    """A pinned file with this content."""
    return SourceFile(name, hashlib.sha256(content).hexdigest(), len(content), urls)


def jpeg(rng: np.random.Generator, height: int, width: int) -> bytes:
    """An image of random blocks, unlike every other one."""
    blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((width, height), Image.Resampling.BILINEAR).save(file, "JPEG", quality=85)
    return file.getvalue()


def image_folder(root: Path, n_train: int, n_test: int, classes: tuple[str, ...] = ("cat", "dog", "fox")) -> Path:
    """`train/` and `test/` with JPEG files of mixed sizes, the classes in turn."""
    rng = np.random.default_rng(0)
    for split, n_images in (("train", n_train), ("test", n_test)):
        for number in range(n_images):
            folder = root / split / classes[number % len(classes)]
            folder.mkdir(parents=True, exist_ok=True)
            height, width = (int(side) for side in rng.integers(20, 60, 2))
            (folder / f"{number:03d}.jpg").write_bytes(jpeg(rng, height, width))
    return root


@dataclass
class Steps:
    """The three steps on one dataset, with all their files in one folder."""

    cfg: DatasetConfig
    folder: Path
    threads: int = 1

    @property
    def prepared(self) -> Path:
        return self.folder / "prepared"

    def audit(self, mirror: str | None = None) -> None:
        """`download` and `audit`."""
        raw, manifest = self.folder / "raw", self.folder / "download.json"
        download(self.cfg, raw, manifest, mirror, threads=self.threads)
        audit(self.cfg, raw, manifest, self.folder / "audit.json", self.folder / "audit.parquet", threads=self.threads)

    def preprocess(self) -> None:
        preprocess(
            self.cfg,
            raw=self.folder / "raw",
            audit_json=self.folder / "audit.json",
            audit_parquet=self.folder / "audit.parquet",
            labels=self.prepared / "labels.npy",
            index=self.prepared / "index.parquet",
            stats=self.prepared / "stats.json",
            shards=self.prepared / "shards",
            threads=self.threads,
        )

    def run(self, mirror: str | None = None) -> Path:
        """All three; returns the prepared folder."""
        self.audit(mirror)
        self.preprocess()
        return self.prepared

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from data_fixtures import Site, serve, source_file
from urllib3.util import Retry

from slimline.config.dataset import DatasetConfig
from slimline.data import download as download_module
from slimline.data.download import download
from slimline.data.sources import SOURCES
from slimline.data.transfer import fetch
from slimline.errors import SlimlineError
from slimline.files import read_json

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2
AT_ONCE = Retry(total=3, connect=0, backoff_factor=0, status_forcelist=(503,), raise_on_status=False)


@pytest.fixture
def site():
    with serve(Site(files={"/a/data.gz": CONTENT})) as running:
        yield running


def bring(folder: Path, *locations: str, content: bytes = CONTENT, part: bytes | None = None) -> Path:
    target = folder / "data.gz"
    if part is not None:
        (folder / "data.gz.part").write_bytes(part)
    fetch(source_file("data.gz", content), locations, target, folder / "data.gz.part", retry=AT_ONCE, hint="try again")
    assert not (folder / "data.gz.part").exists()
    return target


def test_half_a_file_is_resumed_where_it_ended(site, tmp_path):
    target = bring(tmp_path, f"{site.url}/a/data.gz", part=CONTENT[:HALF])
    assert target.read_bytes() == CONTENT
    assert site.requests == [("/a/data.gz", f"bytes={HALF}-")]


def test_a_server_without_ranges_sends_everything_again(site, tmp_path):
    site.ranges = False
    assert bring(tmp_path, f"{site.url}/a/data.gz", part=CONTENT[:HALF]).read_bytes() == CONTENT


def test_a_whole_part_needs_no_request(site, tmp_path):
    assert bring(tmp_path, f"{site.url}/a/data.gz", part=CONTENT).read_bytes() == CONTENT
    assert site.requests == []


def test_remains_of_another_file_are_thrown_away(site, tmp_path):
    assert bring(tmp_path, f"{site.url}/a/data.gz", part=b"x" * HALF).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [f"bytes={HALF}-", None]


def test_remains_that_are_too_long_are_thrown_away(site, tmp_path):
    assert bring(tmp_path, f"{site.url}/a/data.gz", part=CONTENT + b"x").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_dropped_connection_is_taken_up_again(site, tmp_path):
    site.breaks["/a/data.gz"] = [HALF, 1000, 1000]
    assert bring(tmp_path, f"{site.url}/a/data.gz").read_bytes() == CONTENT
    starts = [None, HALF, HALF + 1000, HALF + 2000]
    assert [wanted for _, wanted in site.requests] == [None] + [f"bytes={start}-" for start in starts[1:]]


def test_breaks_without_progress_end_with_an_error_that_keeps_the_part(site, tmp_path):
    site.breaks["/a/data.gz"] = [HALF] + [0] * 20
    with pytest.raises(SlimlineError, match="could not be had") as caught:
        bring(tmp_path, f"{site.url}/a/data.gz")
    assert "again and again" in caught.value.got
    assert (tmp_path / "data.gz.part").stat().st_size == HALF
    assert len(site.requests) == 5


def test_a_wrong_checksum_names_file_expected_and_got(site, tmp_path):
    site.files["/a/data.gz"] = b"an error page"
    wanted = source_file("data.gz", CONTENT)
    with pytest.raises(SlimlineError) as caught:
        bring(tmp_path, f"{site.url}/a/data.gz")
    assert caught.value.where == "data.gz"
    assert wanted.sha256 in caught.value.expected
    assert source_file("", b"an error page").sha256 in caught.value.got
    assert caught.value.next_step == "try again"
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_too_long_is_cut_off(site, tmp_path):
    site.files["/a/data.gz"] = CONTENT * 20
    with pytest.raises(SlimlineError):
        bring(tmp_path, f"{site.url}/a/data.gz", content=CONTENT[:10])
    assert not list(tmp_path.iterdir())


def test_the_next_address_is_asked_after_a_404(site, tmp_path):
    assert bring(tmp_path, f"{site.url}/gone/data.gz", f"{site.url}/a/data.gz").read_bytes() == CONTENT


def test_the_next_address_gets_what_the_first_had_begun(site, tmp_path):
    site.files["/b/data.gz"] = CONTENT
    site.breaks["/a/data.gz"] = [HALF] + [0] * 20
    assert bring(tmp_path, f"{site.url}/a/data.gz", f"{site.url}/b/data.gz").read_bytes() == CONTENT
    assert site.requests[-1] == ("/b/data.gz", f"bytes={HALF}-")


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.statuses["/a/data.gz"] = [503, 503]
    assert bring(tmp_path, f"{site.url}/a/data.gz").read_bytes() == CONTENT


def test_all_failures_are_named(site, tmp_path):
    site.statuses["/b/data.gz"] = [503] * 10
    with pytest.raises(SlimlineError) as caught:
        bring(tmp_path, f"{site.url}/gone/data.gz", f"{site.url}/b/data.gz", "http://127.0.0.1:1/x", "/no/such/file")
    for reason in ("HTTP 404 Not Found", "HTTP 503", "Connection refused", "/no/such/file: No such file"):
        assert reason in caught.value.got


def test_passwords_in_addresses_are_not_shown(site, tmp_path, caplog):
    host = site.url.removeprefix("http://")
    with pytest.raises(SlimlineError) as caught:
        bring(tmp_path, f"http://me:secret@{host}/gone", "http://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value) + caplog.text


def test_a_right_file_is_left_alone(site, tmp_path):
    (tmp_path / "data.gz").write_bytes(CONTENT)
    bring(tmp_path, f"{site.url}/a/data.gz")
    assert site.requests == []


def test_public_addresses_are_https_and_files_are_pinned():
    for files in SOURCES.values():
        for file in files:
            assert file.urls
            assert all(url.startswith("https://") and url.endswith("/" + file.name) for url in file.urls)
            assert len(bytes.fromhex(file.sha256)) == 32


@pytest.fixture
def small_mnist(monkeypatch):
    """Two small files in place of MNIST's."""
    contents = {"images.gz": b"images" * 100, "labels.gz": b"labels" * 100}
    monkeypatch.setitem(SOURCES, "mnist", tuple(source_file(*item, "https://invalid./x") for item in contents.items()))
    return contents


def test_a_folder_mirror_replaces_the_public_addresses(small_mnist, tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "mnist").mkdir(parents=True)
    for name, content in small_mnist.items():
        (mirror / "mnist" / name).write_bytes(content)
    data = tmp_path / "mnist"
    download(DatasetConfig(name="mnist"), data / "raw", data / "download.json", str(mirror))
    assert {path.name: path.read_bytes() for path in (data / "raw").iterdir()} == small_mnist
    manifest = read_json(data / "download.json")
    assert [file["file"] for file in manifest["files"]] == ["images.gz", "labels.gz"]
    assert str(mirror) not in (data / "download.json").read_text()


def test_a_file_that_the_mirror_lacks_is_named(small_mnist, tmp_path):
    (tmp_path / "mirror/mnist").mkdir(parents=True)
    (tmp_path / "mirror/mnist/images.gz").write_bytes(small_mnist["images.gz"])
    with pytest.raises(SlimlineError) as caught:
        download(DatasetConfig(name="mnist"), tmp_path / "raw", tmp_path / "d.json", str(tmp_path / "mirror"))
    assert caught.value.where == "labels.gz"
    assert "mirror/mnist/labels.gz: No such file" in caught.value.got
    assert "SLIMLINE_MIRROR" in caught.value.next_step
    assert not (tmp_path / "d.json").exists()


def test_a_mirror_of_another_kind_is_refused(small_mnist, tmp_path):
    with pytest.raises(SlimlineError, match="unknown kind"):
        download(DatasetConfig(name="mnist"), tmp_path / "raw", tmp_path / "d.json", "ftp://example.org")


def test_an_interrupted_download_goes_on_after_snakemake_removed_raw(small_mnist, site, tmp_path):
    site.files |= {f"/mnist/{name}": content for name, content in small_mnist.items()}
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial/images.gz.part").write_bytes(small_mnist["images.gz"][:250])
    download(DatasetConfig(name="mnist"), tmp_path / "raw", tmp_path / "d.json", site.url + "/")
    assert site.requests[0] == ("/mnist/images.gz", "bytes=250-")


def test_whole_files_survive_the_failure_of_a_later_one(small_mnist, site, tmp_path):
    site.files["/mnist/images.gz"] = small_mnist["images.gz"]
    cfg, raw, manifest = DatasetConfig(name="mnist"), tmp_path / "raw", tmp_path / "d.json"
    with pytest.raises(SlimlineError):
        download(cfg, raw, manifest, site.url)
    raw.rmdir()
    site.files["/mnist/labels.gz"] = small_mnist["labels.gz"]
    download(cfg, raw, manifest, site.url)
    assert [path for path, _ in site.requests] == ["/mnist/images.gz", "/mnist/labels.gz", "/mnist/labels.gz"]
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == small_mnist
    assert [path.name for path in (tmp_path / ".partial").iterdir()] == ["lock"]


def test_two_downloads_at_once_fetch_every_file_once(small_mnist, site, tmp_path, monkeypatch):
    site.files |= {f"/mnist/{name}": content for name, content in small_mnist.items()}
    barrier = threading.Barrier(2, timeout=30)
    locked = download_module._locked

    def meet_before_the_lock(*args):
        barrier.wait()
        return locked(*args)

    monkeypatch.setattr(download_module, "_locked", meet_before_the_lock)
    failures = []

    def work(manifest: str) -> None:
        try:
            download(DatasetConfig(name="mnist"), tmp_path / "raw", tmp_path / manifest, site.url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one.json", "two.json")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(path for path, _ in site.requests) == ["/mnist/images.gz", "/mnist/labels.gz"]
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()

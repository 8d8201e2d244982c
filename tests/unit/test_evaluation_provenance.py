"""Where figures come from."""

import json
import subprocess
from importlib import metadata

import pytest
from evaluation_fixtures import make_experiment, write_prepared

from slimline.evaluation import provenance
from slimline.evaluation.provenance import collect_provenance, git_state, installed_versions
from slimline.files import sha256_file


def write_manifest(path, files):
    path.write_text(json.dumps({"format": 1, "dataset": "tiny", "dataset_id": "tiny", "files": files}))
    return path


def collect(tmp_path, files):
    stats = write_prepared(tmp_path / "prepared") / "stats.json"
    manifest = write_manifest(tmp_path / "download.json", files)
    return collect_provenance(
        make_experiment(), [0, 1], manifest, stats, tmp_path / "requirements.lock", "snakemake --cores 2"
    )


def test_everything_is_collected(tmp_path):
    (tmp_path / "requirements.lock").write_text("locked")
    file = {"file": "images.gz", "sha256": "e" * 64, "size_bytes": 12, "source": "https://example.org/images.gz"}
    record = collect(tmp_path, [file])
    assert record.command == "snakemake --cores 2"
    assert record.data.files[0].model_dump() == {"file": "images.gz", "sha256": "e" * 64, "size_bytes": 12}
    assert record.data.split_sha256["test"] == "c" * 64
    assert record.lock_sha256 == sha256_file(tmp_path / "requirements.lock")
    assert record.config["variants"]["pruned"]["from"] == "dense"
    assert record.created_utc.endswith("+00:00")
    assert record.device


def test_no_lock_file_is_no_digest(tmp_path):
    assert collect(tmp_path, []).lock_sha256 is None


def test_a_folder_of_images_is_one_entry(tmp_path):
    files = [{"file": f"{number}.png", "sha256": "f" * 64, "size_bytes": 10} for number in range(500)]
    (entry,) = collect(tmp_path, files).data.files
    assert entry.file == "download.json (500 files)"
    assert entry.size_bytes == 5000
    assert entry.sha256 == sha256_file(tmp_path / "download.json")


def test_an_unreadable_image_has_no_digest(tmp_path):
    record = collect(tmp_path, [{"file": "broken.png", "sha256": None, "size_bytes": 0}])
    assert record.data.files[0].sha256 is None


def test_versions_are_those_installed():
    versions = installed_versions()
    assert versions["onnxruntime"] == metadata.version("onnxruntime")
    assert {"slimline", "torch", "numpy"} <= set(versions)
    assert "mypy" not in versions


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (folder / "code.py").write_text("one")
    git("add", "code.py")
    git("commit", "-m", "First")
    return folder, git("rev-parse", "HEAD")


def test_a_clean_repository(repository):
    folder, sha = repository
    assert git_state(folder) == (sha, False)


def test_a_changed_repository_is_dirty(repository):
    folder, sha = repository
    (folder / "code.py").write_text("two")
    assert git_state(folder) == (sha, True)


def test_no_repository_is_no_commit(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == (None, None)
    assert capfd.readouterr() == ("", "")


def test_no_git_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state(repository[0]) == (None, None)


def test_a_hanging_git_is_given_up(repository, monkeypatch):
    def hang(*_, **options):
        raise subprocess.TimeoutExpired("git", options["timeout"])

    monkeypatch.setattr(provenance.subprocess, "run", hang)
    assert git_state(repository[0]) == (None, None)

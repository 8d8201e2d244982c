import shutil
from pathlib import Path

import pytest

from slimline import code_hash as module
from slimline.code_hash import LIBRARY, code_hash, reachable_files

SCRIPTS = LIBRARY.parent


def names(script):
    return {str(path.relative_to(SCRIPTS)) for path in reachable_files(SCRIPTS / script)}


def test_a_rule_reaches_what_it_uses_and_nothing_else():
    assert "slimline/compression/quantize.py" in names("quantize.py")
    assert "slimline/training/loop.py" not in names("quantize.py")
    assert "slimline/evaluation/predictions.py" in names("predict.py")
    opening = {f"slimline/models/{name}.py" for name in ("session", "target", "openvino_session", "openvino_library")}
    assert {name for name in names("predict.py") if name.startswith("slimline/models")} - opening <= {
        "slimline/models/__init__.py"
    }
    assert not any(name.startswith("slimline/reporting") for name in names("predict.py"))
    assert not any(name.startswith("slimline/evaluation") for name in names("train.py"))


@pytest.mark.parametrize(
    ("script", "entry"),
    [("train.py", "training/job.py"), ("prune.py", "compression/prune.py"), ("distil.py", "compression/distil.py")],
)
def test_an_entry_point_named_in_a_string_counts_as_an_import(script, entry):
    assert f"slimline/{entry}" in names(script)
    assert "slimline/training/loop.py" in names(script)


@pytest.mark.parametrize(
    ("script", "worker"),
    [
        ("prove.py", {"proof_worker.py", "graph.py"}),
        ("latency.py", {"latency_worker.py"}),
    ],
)
def test_what_a_process_of_its_own_runs_counts_as_an_import(script, worker):
    assert {f"slimline/evaluation/{name}" for name in worker} <= names(script)
    assert "slimline/models/session.py" in names(script)


def test_every_module_of_the_library_is_reached_by_some_rule_or_is_a_command():
    rules = {path for script in SCRIPTS.glob("*.py") for path in reachable_files(script)}
    commands = {path for path in LIBRARY.rglob("*.py") if '__name__ == "__main__"' in path.read_text()}
    commands |= set(LIBRARY.rglob("__main__.py"))
    commands |= {path for command in commands for path in reachable_files(command)}
    names = ("code_hash", "config/load", "config/recipes", "launch/memory", "launch/stale_lock", "status_line")
    workflow = {LIBRARY / f"{name}.py" for name in names}
    workflow |= {path for file in workflow for path in reachable_files(file)}
    library = {path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py"}
    assert library - rules - commands - workflow == set()


def test_the_digest_follows_the_content_of_what_is_reached(tmp_path, monkeypatch):
    shutil.copytree(LIBRARY, tmp_path / "slimline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "LIBRARY", tmp_path / "slimline")
    script = tmp_path / "predict.py"
    shutil.copy(SCRIPTS / "predict.py", script)
    try:
        before = digest(script)
        append(tmp_path / "slimline/reporting/page.py")
        assert digest(script) == before
        append(tmp_path / "slimline/reporting/templates/report.css")
        assert digest(script) == before
        append(tmp_path / "slimline/evaluation/predictions.py")
        assert digest(script) != before
        shutil.copy(SCRIPTS / "report.py", script)
        before = digest(script)
        append(tmp_path / "slimline/reporting/templates/report.css")
        assert digest(script) != before
    finally:
        forget()


def digest(script: Path) -> str:
    forget()
    return code_hash(script)


def append(path: Path) -> None:
    path.write_text(path.read_text() + "\n# changed\n")


def forget() -> None:
    module._module_file.cache_clear()
    module._imported_files.cache_clear()
    module._data_files.cache_clear()

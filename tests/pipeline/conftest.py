"""Workflows to run tests on."""

import pytest
from pipeline.clones import TINY, clone_into


@pytest.fixture
def clone(tmp_path):
    return clone_into(tmp_path / "clone")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The embedded default, run to its end. Tests that change anything take a copy."""
    clone = clone_into(tmp_path_factory.mktemp("default") / "clone")
    result = clone.snakemake("--cores", 4)
    (clone.folder / "first-run.txt").write_text(result.stdout)
    return clone


@pytest.fixture
def finished_copy(finished, tmp_path):
    return finished.copy(tmp_path / "clone")


@pytest.fixture
def tiny():
    """Content of a config that takes seconds: one seed, few epochs, one variant."""
    return TINY


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory):
    """The tiny config, run to its end without a break."""
    clone = clone_into(tmp_path_factory.mktemp("unbroken") / "clone")
    clone.snakemake("--cores", 2, *clone.write_config("tiny", **TINY))
    return clone

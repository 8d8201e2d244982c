"""Real data that several tests share: made once per session by the real steps."""

import os
import signal
import sys

import pytest
from hypothesis import settings

from slimline.config.dataset import DatasetConfig
from slimline.data.audit import audit
from slimline.data.download import download
from slimline.data.preprocess import preprocess

# A commit hook hands these to the tests; git commands in their scratch folders would then write to this repository.
for name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[name]

# Started in the background by a shell or under nohup, tests have interrupts ignored, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Hypothesis fails what takes more than 200 ms, which says how busy the machine is.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Folder of the prepared digits."""
    folder = tmp_path_factory.mktemp("digits")
    cfg = DatasetConfig(name="digits")
    raw, manifest, report, table = folder / "raw", folder / "download.json", folder / "audit.json", folder / "a.parquet"
    prepared = folder / "prepared"
    download(cfg, raw=raw, manifest=manifest, mirror=None)
    audit(cfg, raw=raw, manifest=manifest, audit_json=report, audit_parquet=table)
    preprocess(
        cfg,
        raw=raw,
        audit_json=report,
        audit_parquet=table,
        labels=prepared / "labels.npy",
        index=prepared / "index.parquet",
        stats=prepared / "stats.json",
        shards=prepared / "shards",
    )
    return prepared


@pytest.fixture
def say(capfd):
    """Prints a line past pytest, which shows output of failed tests only."""

    def show(line):
        with capfd.disabled():
            sys.stdout.write(f"\n    {line}")
            sys.stdout.flush()

    return show

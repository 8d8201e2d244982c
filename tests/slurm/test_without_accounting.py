"""The whole chain on a cluster that keeps no accounts: no slurmdbd, so no sacct."""

import pytest
from pipeline.clones import TINY, clone_into
from test_profile import PROFILE, metrics

from slimline.files import read_json

pytestmark = pytest.mark.slurm


@pytest.fixture
def no_accounts(slurm):
    slurm.run("down")
    slurm.run("up", "--slurmdbd", "no")
    yield slurm
    slurm.run("down")
    slurm.run("up")


def test_the_whole_chain_ends(no_accounts, tmp_path):
    clone = clone_into(tmp_path / "clone")
    train = TINY["train"] | {"epochs": 2, "ranks": 2}
    config = clone.write_config("tiny", **TINY | {"train": train})
    clone.snakemake(*PROFILE, *config)
    assert (clone.folder / "results/tiny/report.html").exists()
    for variant in ("dense", "pruned"):
        (attempt,) = read_json(clone.folder / f"results/tiny/{variant}/seed-0/job.json")["attempts"]
        assert attempt["state"] == "COMPLETED"
    assert set(metrics(clone).index) == {"dense", "pruned"}

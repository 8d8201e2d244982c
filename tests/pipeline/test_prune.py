"""Pruning in all its ways, through Snakemake and submitit, to the report."""

import json

import pandas as pd
import pytest
from pipeline.clones import TINY, clone_into

from slimline.files import read_json

pytestmark = pytest.mark.pipeline

VARIANTS = {
    # In steps of 8 channels, so small a network is where the second round should bring it after the first already.
    "rounds": {
        "from": "dense",
        "prune": {
            "allocation": "sensitivity", "iterations": 2, "epochs": 2, "round_to": 2, "teacher_weight": 0.5
        },
    },
    "untrained": {"from": "dense", "prune": {"epochs": 0}},
    "sparse": {"from": "untrained", "prune": {"granularity": "weights", "ratio": 0.8, "epochs": 1}},
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Folder of the tiny experiment with these variants."""
    clone = clone_into(tmp_path_factory.mktemp("pruned") / "clone")
    clone.snakemake("--cores", 2, *clone.write_config("pruned", **TINY | {"variants": VARIANTS}))
    return clone.folder / "results/pruned"


def test_rounds_are_one_course_and_say_what_they_removed(results):
    job = read_json(results / "rounds/seed-0/job.json")
    first, second = job["rounds"]
    assert first["after"] == second["before"]
    assert second["after"]["macs"] < first["after"]["macs"] < first["before"]["macs"]
    assert all(note["sensitivity"] for note in job["rounds"])
    lines = (results / "rounds/seed-0/history.jsonl").read_text().splitlines()
    kinds = [record["kind"] for record in map(json.loads, lines) if record["kind"] != "step"]
    assert kinds == ["round", "epoch", "round", "epoch"]


def test_the_plan_knows_who_teaches(results):
    teachers = {name: read_json(results / name / "plan.json")["teachers"] for name in ("dense", "rounds", "sparse")}
    assert teachers["dense"] is teachers["sparse"] is None
    assert teachers["rounds"]["macs"] == read_json(results / "dense/plan.json")["macs"]


def test_without_epochs_the_chain_goes_through(results):
    assert read_json(results / "untrained/plan.json")["basis"]["epochs"] == 0
    job = read_json(results / "untrained/seed-0/job.json")
    assert (job["images_per_s"], len(job["rounds"])) == (None, 1)


def test_zeros_reach_the_file_the_metrics_and_the_report(results):
    assert read_json(results / "sparse/seed-0/model.json")["sparsity"] == pytest.approx(0.8, abs=1e-3)
    metrics = pd.read_csv(results / "metrics.csv").set_index("variant")
    assert metrics.sparsity["sparse"] == pytest.approx(0.8, abs=0.01)
    assert metrics.size_bytes["sparse"] == metrics.size_bytes["untrained"]
    assert metrics.size_gzip_bytes["sparse"] < 0.5 * metrics.size_gzip_bytes["untrained"]
    assert metrics.macs["sparse"] == metrics.macs["untrained"] < metrics.macs["dense"]
    assert "smaller only when compressed" in (results / "report.html").read_text()

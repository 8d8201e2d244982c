"""`snakemake --profile slurm` on a real Slurm: the whole chain, with training on two nodes with two ranks each."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import yaml
from pipeline.clones import TINY, clone_into
from safetensors.numpy import load_file

from slimline.files import read_json

pytestmark = pytest.mark.slurm

RANKS = 4
# Every kind of step.
VARIANTS = TINY["variants"] | {
    "int8": {"from": "pruned", "quantize": {"dtype": "int8"}},
    "student": {"from": "dense", "distil": {"model": {"name": "convnet", "width": 0.25}, "epochs": 1}},
}
CONFIG = TINY | {"train": TINY["train"] | {"epochs": 2, "ranks": RANKS}, "variants": VARIANTS}
# Nothing here lasts as long as Snakemake would wait before it asks.
PROFILE = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", 2)
TRAINED = ("dense", "pruned", "student")
SITE = {"account": "local", "partition": "urgent"}


@pytest.fixture(scope="module")
def on_slurm(slurm, tmp_path_factory):
    """A fresh clone in which the chain has run on the cluster."""
    clone = clone_into(tmp_path_factory.mktemp("on-slurm") / "clone")
    site = clone.folder / "config/clusters/slurm.yaml"
    site.write_text(yaml.safe_dump(yaml.safe_load(site.read_text()) | SITE))
    output = clone.snakemake(*PROFILE, *clone.write_config("tiny", **CONFIG)).stdout
    (clone.folder / "output.txt").write_text(output)
    return clone


@pytest.fixture(scope="module")
def on_this_machine(tmp_path_factory):
    """The same with as many ranks and threads, as processes of this machine, as far as the metrics."""
    clone = clone_into(tmp_path_factory.mktemp("local") / "clone")
    wide = {
        "name": "wide", "executor": "local", "cpus_per_node": 8, "cpus_per_task": 2, "memory_mb_per_node": 8000,
        "cpu_bf16": False,
    }  # fmt: skip
    (clone.folder / "config/clusters/wide.yaml").write_text(yaml.safe_dump(wide))
    config = clone.write_config("tiny", **CONFIG, cluster="wide")
    clone.snakemake("results/tiny/metrics.csv", "--cores", 2, *config)
    return clone


def metrics(clone):
    return pd.read_csv(clone.folder / "results/tiny/metrics.csv").set_index("variant")


def receipt(clone, variant):
    return read_json(clone.folder / f"results/tiny/{variant}/seed-0/job.json")


def test_the_chain_runs_to_the_report(on_slurm):
    assert (on_slurm.folder / "results/tiny/report.html").exists()
    assert set(metrics(on_slurm).index) == {"dense", *VARIANTS}
    assert "cluster slurm (slurm)" in (on_slurm.folder / "output.txt").read_text()


@pytest.mark.parametrize("variant", TRAINED)
def test_a_training_job_gets_what_was_planned(slurm, on_slurm, variant):
    plan = read_json(on_slurm.folder / f"results/tiny/{variant}/plan.json")
    assert (plan["nodes"], plan["tasks_per_node"]) == (2, 2)
    (attempt,) = receipt(on_slurm, variant)["attempts"]
    allocation, *steps = slurm.sacct(
        attempt["job_id"], "jobname", "state", "nnodes", "alloctres", "timelimitraw", "ntasks", steps=True
    )
    cpus = RANKS * plan["cpus_per_task"]
    memory_mb = plan["memory_mb"] * plan["nodes"]
    granted = f"billing={cpus},cpu={cpus},mem={memory_mb}M,node={plan['nodes']}"
    assert allocation[:5] == (f"tiny-{variant}-seed0", "COMPLETED", "2", granted, str(plan["time_min"]))
    assert [tasks for *_, tasks in steps] == ["1", str(RANKS)]  # the batch script, and the ranks that it starts
    assert receipt(on_slurm, variant)["ranks"] == RANKS


def test_the_ranks_ran_on_two_nodes(on_slurm):
    (log,) = on_slurm.folder.glob(f".slimline/jobs/tiny-dense-seed0-*/submitit/*_{RANKS - 1}_log.out")
    assert "node=1(2), global_rank=3(4)" in log.read_text()


def test_all_jobs_go_where_the_cluster_file_says(slurm, on_slurm):
    form = ["--noheader", "--parsable2", "--allocations", "--format=jobname,account,partition"]
    jobs = [line.split("|") for line in slurm.command("sacct", *form).splitlines()]
    ours = [job for job in jobs if job[0].startswith(("slimline_", "tiny-"))]
    assert len(ours) > len(TRAINED)
    assert {tuple(job[1:]) for job in ours} == {("local", "urgent")}


def test_other_rules_are_jobs_with_the_resources_of_their_rule(slurm, on_slurm):
    form = ["--noheader", "--parsable2", "--allocations", "--format=jobname,comment,state,reqtres,timelimitraw"]
    jobs = [line.split("|") for line in slurm.command("sacct", *form).splitlines()]
    by_rule = {comment: job for name, comment, *job in jobs if name.startswith("slimline_")}
    assert by_rule["rule_export_wildcards_dense_0"] == ["COMPLETED", "billing=1,cpu=1,mem=4000M,node=1", "30"]
    assert "rule_download" not in by_rule  # where Snakemake runs, which has a network
    assert by_rule["rule_latency_wildcards_dense_0"][1] == "billing=4,cpu=4,mem=2000M,node=1"
    assert {"rule_train", "rule_plan"}.isdisjoint(by_rule)


@pytest.mark.parametrize("variant", TRAINED)
def test_it_learns_what_as_many_ranks_on_one_machine_learn(on_slurm, on_this_machine, variant):
    ours, theirs = metrics(on_slurm).loc[variant], metrics(on_this_machine).loc[variant]
    for column in ("accuracy", "n_test", "parameters", "size_bytes", "macs"):
        assert ours[column] == theirs[column]
    ours, theirs = (
        load_file(clone.folder / f"results/tiny/{variant}/seed-0/weights.safetensors")
        for clone in (on_slurm, on_this_machine)
    )
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        np.testing.assert_allclose(weights, theirs[name], rtol=1e-5, atol=1e-6)


def test_run_again_it_does_nothing(on_slurm):
    assert "Nothing to be done" in on_slurm.snakemake(*PROFILE, "--configfile", "tiny.yaml").stdout


@pytest.mark.parametrize(
    ("limits", "ranks", "reason"),
    [
        ({"partition": "nope"}, RANKS, "Invalid partition name specified"),
        ({"account": "nope"}, RANKS, "Invalid account or account/partition combination specified"),
        ({"constraint": "nope"}, RANKS, "Invalid feature specification"),
        ({"cpus_per_node": 8, "cpus_per_task": 8}, 1, "Requested node configuration is not available"),
        ({"nodes": 8}, 4 * RANKS, "it keeps the job back: Partition"),
    ],
    ids=["partition", "account", "constraint", "node size", "number of nodes"],
)
def test_a_request_that_cannot_be_granted_is_refused_with_slurms_reason(
    clean, on_slurm, tmp_path, limits, ranks, reason
):
    clone = on_slurm.copy(tmp_path / "clone")
    site = clone.folder / "config/clusters/slurm.yaml"
    site.write_text(yaml.safe_dump(yaml.safe_load(site.read_text()) | limits))
    config = clone.write_config("tiny", **CONFIG | {"train": CONFIG["train"] | {"seeds": [1], "ranks": ranks}})
    # The plan is made on this machine, to save a job: what counts is the job that is refused.
    result = clone.snakemake(
        "results/tiny/dense/seed-1/job.json", "--cores", 2, "--config", "cluster=slurm", *config, check=False
    )
    assert result.returncode != 0
    assert "slimline: train (variant dense, seed 1) stopped." in result.stdout
    assert "Slurm does not take the job." in result.stdout
    assert reason in result.stdout
    assert "Traceback" not in result.stdout
    assert clean.command("squeue", "--noheader", "--states=running,pending") == ""
    for receipt_path in clone.folder.glob(".slimline/jobs/tiny-dense-seed1-*/receipt.json"):
        for attempt in read_json(receipt_path)["attempts"]:  # one that sbatch itself refuses leaves none
            begin, end = (datetime.fromisoformat(attempt[f"{key}_utc"]) for key in ("submitted", "ended"))
            assert (end - begin).total_seconds() <= 60


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"partition": "nope"}, "invalid partition specified: nope"),
        ({"account": "nope"}, "The given account nope appears to be invalid"),
    ],
    ids=["partition", "account"],
)
def test_other_rules_that_slurm_refuses_say_why(clean, on_slurm, tmp_path, limits, reason):
    clone = on_slurm.copy(tmp_path / "clone")
    site = clone.folder / "config/clusters/slurm.yaml"
    site.write_text(yaml.safe_dump(yaml.safe_load(site.read_text()) | limits))
    target = "results/tiny/dense/seed-0/latency.json"
    (clone.folder / target).unlink()
    result = clone.snakemake(target, *PROFILE, "--configfile", "tiny.yaml", check=False)
    assert result.returncode != 0
    assert reason in result.stdout
    assert "Traceback" not in result.stdout
    assert clean.command("squeue", "--noheader", "--states=running,pending") == ""

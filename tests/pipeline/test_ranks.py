"""A training that is stopped and goes on with another number of ranks."""

import json
import os
import signal
import subprocess

import pytest

from slimline.data.batches import samples_digest
from slimline.data.prepared import PreparedDataset
from slimline.files import read_json
from slimline.training.spec import HEARTBEAT_FILE

pytestmark = pytest.mark.pipeline

JOB = "results/tiny/dense/seed-0/job.json"
EPOCHS = 60  # some seconds: long enough to be stopped in


def test_stopped_with_two_ranks_and_run_again_with_one_it_goes_on_where_it_was(clone, tiny):
    two, one = ({**tiny, "train": tiny["train"] | {"epochs": EPOCHS, "ranks": ranks}} for ranks in (2, 1))
    config = clone.write_config("tiny", **two)
    process = subprocess.Popen(
        clone.command(JOB, "--cores", 2, *config), cwd=clone.folder, env=clone.environment(), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    heartbeat = f".slimline/jobs/*/{HEARTBEAT_FILE}"
    while not any(read_json(path).get("epoch", 0) > 1 for path in clone.folder.glob(heartbeat)):
        assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
    process.communicate(timeout=60)
    assert process.returncode != 0
    (first,) = (clone.folder / ".slimline/jobs").iterdir()
    place = max(path.name for path in (first / "checkpoints").iterdir())

    clone.write_config("tiny", **one)
    clone.snakemake(JOB, "--cores", 2, *config)
    records = [json.loads(line) for line in (clone.folder / JOB).with_name("history.jsonl").read_text().splitlines()]
    (resume,) = (record for record in records if record["kind"] == "resume")
    assert place == f"epoch-{resume['epoch']:05d}-step-{resume['step']:07d}"
    assert (resume["epoch"], resume["step"]) > (0, 0)
    assert resume["ranks_before"] == 2
    epochs = [record for record in records if record["kind"] == "epoch"]
    assert [record["epoch"] for record in epochs] == list(range(EPOCHS))
    (stats,) = clone.folder.glob("data/*/*/stats.json")
    expected = samples_digest(PreparedDataset.open(stats.parent).rows("train"))
    assert {record["samples_digest"] for record in epochs} == {f"{expected:016x}"}
    receipt = read_json(clone.folder / JOB)
    assert [stage["ranks"] for stage in receipt["stages"]] == [2, 1]
    assert [attempt["earlier"] for attempt in receipt["attempts"]] == [[first.name]]
    log = (clone.folder / "results/tiny/logs/train/dense-seed-0.log").read_text()
    assert f"goes on from epoch {resume['epoch']}, step {resume['step']} of the run with 2 ranks (ddp" in log

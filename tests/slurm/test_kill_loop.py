"""One training on two nodes is hit by twenty faults of nine kinds, and gives the bits of an unbroken one.

Each fault strikes a job that trains, and the next one waits for the start that the one before has made necessary: no
clock decides when.
"""

import random
import re
import signal
import time
from datetime import datetime

import pytest
import torch
from conftest import MODEL, until
from training import TRAIN, Workplace

from slimline.config.model import ModelConfig
from slimline.data.batches import samples_digest, steps_per_epoch
from slimline.data.prepared import PreparedDataset
from slimline.models.artifact import build
from slimline.models.registry import architecture_for

pytestmark = pytest.mark.slurm

# What a rank computes without any fault: twenty faults strike within half of it.
COMPUTING_S = 75
MEASURED_STEPS = 30
SEED = 20_261_123


@pytest.fixture(scope="module")
def unbroken(slurm, with_data, tmp_path_factory):
    """The same training, left alone."""
    clone = with_data.copy(tmp_path_factory.mktemp("unbroken") / "clone")
    place = Workplace.make(clone, slurm, "unbroken", epochs=epochs_here(clone))
    place.clone.snakemake(*place.arguments())
    return place


def epochs_here(clone):
    """As many as take a core of this machine about `COMPUTING_S`: one with AMX is several times as fast as others."""
    prepared = prepared_data(clone)
    model = build(architecture_for(ModelConfig.model_validate(MODEL), prepared.stats))
    stats, batch = prepared.stats, TRAIN["batch_size"] // TRAIN["ranks"]
    images = torch.zeros(batch, stats.channels, stats.height, stats.width, dtype=torch.uint8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    begin_s = time.process_time()
    for _ in range(MEASURED_STEPS):
        model(images).sum().backward()
    step_s = (time.process_time() - begin_s) / MEASURED_STEPS
    torch.set_num_threads(threads)
    return round(COMPUTING_S / (step_s * steps_per_epoch(len(prepared.rows("train")), TRAIN["batch_size"])))


def prepared_data(clone):
    """What the trainings of a clone learn from."""
    (stats,) = clone.folder.glob("data/*/*/stats.json")
    return PreparedDataset.open(stats.parent)


def kill_a_rank(place, random):
    place.signal_rank(random.choice([0, 1]), signal.SIGKILL)


def stop_a_rank(place, random):
    place.signal_rank(random.choice([0, 1]), signal.SIGSTOP)


def announce_the_end(place, random):
    place.signal_rank(random.choice([0, 1]), signal.SIGUSR2)


def terminate_a_rank(place, random):
    place.signal_rank(random.choice([0, 1]), signal.SIGTERM)


def requeue(place, random):
    place.slurm.command("scontrol", "requeue", place.job_id)


def preempt(place, random):
    """A job of the other partition takes all nodes, and leaves when it has had them."""
    urgent = place.slurm.submit("true", "--partition=urgent", "--nodes=4", "--exclusive", folder=place.clone.folder)
    place.slurm.wait_for(urgent, "COMPLETED")


def kill_a_node(place, random):
    """A node dies, Slurm is told, and it comes back."""
    node = random.choice(place.nodes())
    place.slurm.run("kill-node", node)
    place.slurm.run("down-node", node)
    place.slurm.run("resume-node", node)


def shorten_the_time(place, random):
    """The time limit comes down to the next full minute; the job goes before it, and another one goes on."""
    job = place.job_id
    elapsed = place.slurm.command("squeue", "--noheader", f"--jobs={place.job_id}", "--format=%M").strip()
    minutes = int(elapsed.split(":")[-2]) + 1
    place.slurm.command("scontrol", "update", f"jobid={job}", f"timelimit={minutes}")
    until(lambda: place.job_id != job, 120, lambda: place.log[-2000:])


def kill_all_ranks(place, random):
    for process in place.ranks().values():
        process.kill()


FAULTS = (
    [kill_a_rank] * 4 + [terminate_a_rank] * 4 + [stop_a_rank] * 2 + [announce_the_end] * 2 + [requeue] * 2
    + [preempt] * 2 + [kill_all_ranks] * 2 + [kill_a_node, shorten_the_time]
)  # fmt: skip


def test_twenty_faults_change_nothing_but_the_time(unbroken, slurm, clean, with_data, tmp_path, say):
    assert len(FAULTS) == 20
    chance = random.Random(SEED)
    faults = chance.sample(FAULTS, len(FAULTS))
    n_epochs = len(unbroken.history())
    place = Workplace.make(with_data.copy(tmp_path / "clone"), slurm, "unbroken", epochs=n_epochs)
    process = place.start()
    place.wait_until_training()
    for number, fault in enumerate(faults):
        assert place.wait_for_progress(process), f"it ended after {number} faults, raise COMPUTING_S: {place.output}"
        say(f"{number + 1:>2} {fault.__name__:<17} job {place.job_id}, at {place.checkpoint}")
        starts = place.n_starts
        fault(place, chance)
        assert place.wait_for_start(process, starts + 1), f"{fault.__name__} came too late: {place.output}"
    place.wait_for_the_end(process)
    assert process.returncode == 0, place.output
    # Faults that hit nothing would prove nothing.
    assert len(place.receipt()["starts"]) >= 1 + len(FAULTS)
    assert_the_time_limit_is_followed_by_the_time_that_is_left(place)
    assert place.weights() == unbroken.weights()
    assert_every_sample_was_seen_once(place, n_epochs)
    assert_the_same_history(place.history(), unbroken.history())
    say(
        f"{useful_s(place):.0f} s of training; useful time: {useful_share(place):.0%} with 20 faults, "
        f"{useful_share(unbroken):.0%} without"
    )


def assert_the_time_limit_is_followed_by_the_time_that_is_left(place):
    attempts = place.receipt()["attempts"]
    number = [attempt["state"] for attempt in attempts].index("TIMEOUT")
    told = re.search(r"over and ([\d.]+) min of training are left; it goes on with (\d+) min", place.log)
    left_min, time_min = float(told[1]), int(told[2])
    assert left_min > 0
    assert abs(time_min - (1.5 * left_min + 5)) <= 1.1  # rounded up, from what the log rounds to a tenth
    assert attempts[number + 1]["time_min"] == time_min
    assert place.slurm.sacct(attempts[number + 1]["job_id"], "timelimitraw")[0] == (str(time_min),)


def assert_every_sample_was_seen_once(place, n_epochs):
    """By the digest that each epoch leaves, computed here from the data."""
    rows = prepared_data(place.clone).rows("train")
    epochs = place.history()
    assert [record["epoch"] for record in epochs] == list(range(n_epochs))
    assert {record["samples_digest"] for record in epochs} == {f"{samples_digest(rows):016x}"}
    assert len(set(rows.tolist())) == len(rows)


def assert_the_same_history(ours, theirs):
    for key in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert [record[key] for record in ours] == [record[key] for record in theirs]


def useful_share(place):
    """Time in steps that count, of the time from the first submission to the end."""
    attempts = place.receipt()["attempts"]
    begin, end = (datetime.fromisoformat(attempts[n][f"{key}_utc"]) for n, key in ((0, "submitted"), (-1, "ended")))
    return useful_s(place) / (end - begin).total_seconds()


def useful_s(place):
    """Time in steps that count."""
    return sum(record["seconds"] + record["validation_seconds"] for record in place.history())

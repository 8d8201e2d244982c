"""Training jobs on a real Slurm that lose their Snakemake, their controller, their memory or their time."""

import os
import re
import signal
import time
from datetime import datetime, timedelta

import psutil
import pytest
from conftest import until
from training import Workplace, end

from slimline.files import read_json, write_json

pytestmark = pytest.mark.slurm


@pytest.fixture
def workplace(clean, with_data, tmp_path):
    """A working copy with a short training of its own."""

    def make(name="short", **options):
        return Workplace.make(with_data.copy(tmp_path / name), clean, name, **({"epochs": 60} | options))

    return make


@pytest.fixture
def training(workplace):
    """A training that runs for a while, and the Snakemake that waits for it."""
    place = workplace("long", epochs=10_000)
    process = place.start()
    place.wait_until_training()
    yield place, process
    if process.poll() is None:
        end(process, signal.SIGKILL)


def states(receipt):
    return [attempt["state"] for attempt in receipt["attempts"]]


def queue(slurm):
    return slurm.command("squeue", "--noheader", "--states=all", "--format=%i %T").split("\n")[:-1]


def rules_of(place):
    """Processes that work in the working copy, on this machine or in a job."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(place.clone.folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_killed_snakemake_is_joined_by_the_next(workplace):
    place = workplace("killed", epochs=120)
    first = place.start()
    place.wait_until_training()
    job = place.job_id
    first.kill()
    first.wait()
    place.clone.snakemake(*place.arguments())
    assert [attempt["job_id"] for attempt in place.receipt()["attempts"]] == [job]
    assert states(place.receipt()) == ["COMPLETED"]
    records = place.slurm.command("sacct", "--noheader", "--allocations", "--format=jobid", f"--name={place.job_name}")
    assert len(records.split()) == 1


def test_what_a_killed_snakemake_leaves_does_not_wait_on(training):
    place, process = training
    process.kill()
    process.wait()
    ranks = {rank.pid for rank in place.ranks().values()}

    def waiting():
        return [
            process.cmdline() for process in rules_of(place) if ".snakemake/scripts/" in " ".join(process.cmdline())
        ]

    until(lambda: not waiting(), 60, waiting)
    assert {rank.pid for rank in place.ranks().values()} == ranks
    assert "goes on, and the next run joins it" in place.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_no_job_and_no_process(training, number):
    place, process = training
    job, ranks = place.job_id, list(place.ranks().values())
    signalled_unix_s = time.time()
    assert end(process, number) != 0
    _, alive = psutil.wait_procs(ranks, timeout=5)
    assert not alive
    assert place.slurm.states(job) == ["CANCELLED"]
    assert rules_of(place) == []
    # By Slurm's own record, in full seconds, and not by when this process on a busy machine comes to look.
    ((cancelled_unix_s,),) = place.slurm.sacct(job, "end", env=os.environ | {"SLURM_TIME_FORMAT": "%s"})
    assert int(cancelled_unix_s) - int(signalled_unix_s) <= 5


def test_interrupted_while_it_waits_in_the_queue_the_job_is_cancelled(workplace, clean, tmp_path):
    blocker = clean.submit("sleep 600", "--nodes=4", "--exclusive", folder=tmp_path)
    clean.wait_for(blocker, "RUNNING")
    place = workplace()
    process = place.start()
    until(lambda: clean.command("squeue", "--noheader", f"--name={place.job_name}"), 120, lambda: place.output)
    end(process, signal.SIGINT)
    until(
        lambda: not clean.command("squeue", "--noheader", f"--name={place.job_name}"),
        5,
        lambda: clean.command("squeue"),
    )


def test_two_snakemakes_at_once_submit_one_job(workplace):
    place = workplace("twice")
    place.prepare()
    both = [place.start(), place.start("--nolock")]
    assert [process.wait(timeout=300) for process in both] == [0, 0], place.output
    records = place.slurm.command("sacct", "--noheader", "--allocations", "--format=jobid", f"--name={place.job_name}")
    assert len(records.split()) == 1
    assert states(place.receipt()) == ["COMPLETED"]


def wait_until_saved(slurm, job):
    """Returns when the controller has a job's state on disk: it writes some seconds late, and forgets the rest."""
    before_s = time.time()
    slurm.command("scontrol", "update", f"jobid={job}", "comment=seen")
    state = slurm.folder.state / "slurmctld/job_state"
    until(lambda: state.stat().st_mtime > before_s, 60, lambda: f"{state} is not written")


def test_the_controller_may_be_away_for_half_a_minute(workplace, slurm):
    place = workplace(epochs=300)
    process = place.start()
    place.wait_until_training()
    wait_until_saved(slurm, place.job_id)
    slurm.run("kill-controller")
    back = datetime.now() + timedelta(seconds=30)
    until(lambda: datetime.now() >= back, 60, "the clock stands still")
    slurm.run("start-controller")
    place.wait_for_the_end(process)
    assert process.returncode == 0, place.output
    assert states(place.receipt()) == ["COMPLETED"]
    assert "Slurm does not answer" in place.log


def test_a_job_that_is_submitted_while_the_controller_is_away_waits_for_it(workplace, slurm):
    place = workplace()
    place.prepare()
    slurm.run("kill-controller")
    process = place.start()
    log = place.clone.folder / "results/short/logs/train/dense-seed-0.log"
    until(lambda: log.exists() and "the job is submitted again" in log.read_text(), 180, lambda: place.output)
    slurm.run("start-controller")
    assert process.wait(timeout=300) == 0, place.output
    assert states(place.receipt()) == ["COMPLETED"]


def test_too_little_memory_is_raised(workplace):
    place = workplace()
    place.prepare()
    change_plan(place, memory_mb=200)
    place.clone.snakemake(*place.arguments())
    attempts = place.receipt()["attempts"]
    assert states(place.receipt())[0] == "OUT_OF_MEMORY"
    assert states(place.receipt())[-1] == "COMPLETED"
    memory_mb = [attempt["memory_mb"] for attempt in attempts]
    assert memory_mb[:2] == [200, 300]
    assert [place.slurm.sacct(attempt["job_id"], "reqmem")[0][0] for attempt in attempts] == [
        f"{2 * mb}M" for mb in memory_mb
    ]
    assert "it ran out of memory with 200 MB per node; it goes on with 300 MB" in place.log


def test_a_short_time_limit_is_followed_by_one_for_the_rest(workplace):
    place = workplace(epochs=400)
    place.prepare()
    change_plan(place, time_min=1)
    place.clone.snakemake(*place.arguments())
    first, *_, last = place.receipt()["attempts"]
    assert (first["state"], first["time_min"]) == ("TIMEOUT", 1)
    assert last["state"] == "COMPLETED"
    assert last["time_min"] > 1
    assert "its time limit of 1 min is over" in place.log


def change_plan(place, **values):
    """Gives the plan other figures, as a forecast that was wrong would."""
    path = place.clone.folder / f"results/{place.name}/dense/plan.json"
    times = path.stat()
    write_json(path, read_json(path) | values)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_python_error_is_told_and_not_tried_again(workplace, slurm):
    place = workplace()
    place.prepare()
    library = place.clone.folder / "scripts/slimline/training/losses.py"
    library.write_text(library.read_text() + '\n\nraise OSError("the disk is gone")\n')
    result = place.clone.snakemake(*place.arguments(), check=False)
    assert result.returncode != 0
    for said in (
        "variant dense, seed 0, job ",
        "FAILED, exit code 1",
        "OSError: the disk is gone",
        "snakemake results/",
    ):
        assert said in result.stdout
    assert states(read_json(place.job_folder / "receipt.json")) == ["FAILED"]


def test_a_held_job_is_named(workplace, slurm, tmp_path):
    blocker = slurm.submit("sleep 600", "--nodes=4", "--exclusive", folder=tmp_path)
    slurm.wait_for(blocker, "RUNNING")
    place = workplace()
    process = place.start()
    until(lambda: slurm.command("squeue", "--noheader", f"--name={place.job_name}"), 120, lambda: place.output)
    slurm.command("scontrol", "hold", place.job_id)
    until(lambda: "PENDING, JobHeld" in place.log, 60, lambda: place.log)
    slurm.command("scontrol", "release", place.job_id)
    slurm.command("scancel", blocker)
    assert process.wait(timeout=300) == 0, place.output


def test_a_suspended_job_is_not_taken_for_stuck(training):
    place, process = training
    place.slurm.command("scontrol", "suspend", place.job_id)
    until(lambda: "is SUSPENDED" in place.log, 60, lambda: place.log)
    place.slurm.command("scontrol", "resume", place.job_id)
    assert place.wait_for_progress(process)
    assert len(read_json(place.job_folder / "receipt.json")["attempts"]) == 1


def test_many_jobs_ask_politely_and_run_side_by_side(workplace, slurm):
    seeds = list(range(20))
    place = workplace("many", epochs=1, ranks=1, seeds=seeds, site={"poll_interval_s": 15})
    place.prepare()
    before = questions(slurm)
    begin = datetime.now()
    arguments = [argument for argument in place.arguments(*seeds) if argument not in ("--cores", 2)]
    place.clone.snakemake(*arguments, "--profile", "slurm")
    elapsed_s = (datetime.now() - begin).total_seconds()
    assert questions(slurm) - before <= elapsed_s / 15 + 1
    receipts = [place.receipt(seed) for seed in seeds]
    assert {state for receipt in receipts for state in states(receipt)} == {"COMPLETED"}
    assert most_at_once(receipts) > 2


def questions(slurm):
    """How often Slurm was asked about jobs, by its own count: its controller by squeue, its accounts by sacct."""
    asked = re.findall(r"REQUEST_JOB_(?:USER_)?INFO\w*\s+\(\s*\d+\) count:(\d+)", slurm.command("sdiag"))
    accounts = slurm.command("sacctmgr", "show", "stats")
    assert asked
    assert "Procedure Call statistics" in accounts
    asked += re.findall(r"DBD_GET_JOBS_COND\s+\(\s*\d+\) count:(\d+)", accounts)
    return sum(map(int, asked))


def test_the_count_of_questions_sees_all_of_them(slurm):
    before = questions(slurm)
    slurm.command("squeue", "--me")
    slurm.command("sacct")
    assert questions(slurm) == before + 2


def most_at_once(receipts):
    """The largest number of jobs that ran at one time."""
    spans = [(attempt["started_utc"], attempt["ended_utc"]) for receipt in receipts for attempt in receipt["attempts"]]
    return max(sum(start <= moment < stop for start, stop in spans) for moment, _ in spans)


def test_one_rank_too_ends_with_the_bits_of_an_unbroken_training(workplace):
    alone, hit = (workplace(name, epochs=60, ranks=1) for name in ("alone", "hit"))
    processes = [place.start() for place in (alone, hit)]
    hit.wait_until_training()
    assert hit.wait_for_progress(processes[1]), hit.output
    hit.signal_rank(0, signal.SIGKILL)
    assert hit.wait_for_progress(processes[1]), hit.output
    hit.slurm.command("scontrol", "requeue", hit.job_id)
    assert [process.wait(timeout=400) for process in processes] == [0, 0], hit.output
    assert len(hit.receipt()["starts"]) == 3
    assert hit.weights() == alone.weights()

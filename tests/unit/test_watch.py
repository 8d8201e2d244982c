"""What the watchdog makes of a job's files and of what the queue says."""

import shutil

import pytest

from slimline.config.cluster import ClusterConfig
from slimline.files import write_json
from slimline.launch import watch as module
from slimline.launch.leaving import LEFT_FILE
from slimline.launch.states import JobState
from slimline.launch.watch import SnakemakeGoneError, Watch, progress_line

CLUSTER = ClusterConfig(
    name="slurm", executor="slurm", cpus_per_node=1, memory_mb_per_node=1000, stall_timeout_s=10, poll_interval_s=1
)
BEAT = {
    "phase": "train", "epoch": 2, "epochs": 5, "step": 3, "steps": 10, "loss": 0.5, "images_per_s": 100.0,
    "eta_s": 42.0,
}  # fmt: skip


class Script:
    """A backend whose job goes through states, one for each look; the last one lasts."""

    def __init__(self, *states):
        self.states = list(states)

    def look(self, job_id):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """What takes its time otherwise takes none here."""
    monkeypatch.setattr(module, "FILE_POLL_S", 0.0)
    for name in ("RESULT_DELAY_S", "FAILURE_DELAY_S"):
        monkeypatch.setattr(module, name, {"local": 0.0, "slurm": 0.0})


def follow(folder, *states):
    return Watch(folder, Script(*states), CLUSTER, "dense seed 0").follow("7")


def fail(folder, rank, kind, at_s):
    failure = {"rank": rank, "kind": kind, "text": "", "traceback": "", "failed_unix_s": at_s}
    write_json(folder / f"failure-rank-{rank}.json", failure)


def test_a_result_is_the_end_whatever_the_queue_says(tmp_path):
    (tmp_path / "result").mkdir()
    assert follow(tmp_path, None).has_result


@pytest.mark.parametrize("state", ["FAILED", "NODE_FAIL", "PREEMPTED", "TIMEOUT", "OUT_OF_MEMORY", "LOST", "CANCELLED"])
def test_the_end_that_the_queue_tells_is_the_end(tmp_path, state):
    states = [None, JobState("PENDING", "Resources"), JobState("RUNNING"), JobState(state)]
    assert follow(tmp_path, *states).state.state == state


def test_a_requeued_job_is_not_over(tmp_path):
    states = [JobState("RUNNING"), JobState("COMPLETING"), JobState("PENDING", "BeginTime"), JobState("RUNNING")]
    assert follow(tmp_path, *states, JobState("FAILED")).state.state == "FAILED"


@pytest.mark.parametrize(
    "reason",
    ["PartitionNodeLimit", "BadConstraints", "InvalidAccount", "QOSMaxCpuPerJobLimit", "launch failed requeued held"],
)
def test_what_can_never_start_is_told(tmp_path, reason):
    assert follow(tmp_path, JobState("PENDING", reason)).state.reason == reason


@pytest.mark.parametrize("reason", ["Resources", "Priority", "Dependency", "ReqNodeNotAvail", "JobHeldUser"])
def test_what_may_still_start_is_waited_for(tmp_path, reason):
    assert follow(tmp_path, *[JobState("PENDING", reason)] * 5, JobState("FAILED")).state.state == "FAILED"


def test_held_for_too_long_it_is_left_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HELD_LIMIT_S", -1.0)
    assert follow(tmp_path, JobState("PENDING", "JobHeldAdmin")).state.is_held


def test_suspended_for_too_long_it_counts_as_stuck(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SUSPENDED_LIMIT_S", -1.0)
    assert follow(tmp_path, JobState("SUSPENDED")).state.state == "STALLED"


def test_a_running_job_without_a_step_is_stuck(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    write_json(tmp_path / "heartbeat.json", BEAT)
    ending = follow(tmp_path, JobState("RUNNING"))
    assert ending.state == JobState("STALLED", "no step within 10 s")
    assert ending.remaining_s == 42.0


def test_a_queue_that_answers_late_makes_no_job_stuck(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    class Slow(Script):
        def look(self, job_id):
            # One long wait for an answer, during which the job makes steps; then short ones without a new step.
            if len(self.states) == 4:
                clock[0] += 60.0
                write_json(tmp_path / "heartbeat.json", BEAT | {"step": 4})
            clock[0] += 0.5
            return super().look(job_id)

    write_json(tmp_path / "heartbeat.json", BEAT)
    running = JobState("RUNNING")
    watch = Watch(tmp_path, Slow(running, running, running, running, JobState("FAILED")), CLUSTER, "dense seed 0")
    assert watch.follow("7").state.state == "FAILED"


def test_a_job_that_starts_gets_more_patience(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    write_json(tmp_path / "heartbeat.json", BEAT | {"phase": "start"})
    assert follow(tmp_path, JobState("RUNNING")).state.reason == f"no step within {module.START_S:.0f} s"


def test_the_rank_that_failed_first_is_the_one_that_counts(tmp_path):
    fail(tmp_path, 0, "peer", at_s=1.0)
    fail(tmp_path, 2, "error", at_s=3.0)
    fail(tmp_path, 1, "error", at_s=2.0)
    assert follow(tmp_path, JobState("RUNNING")).failure["rank"] == 1


def test_complaints_of_peers_do_not_end_a_job_that_the_queue_still_has(tmp_path):
    fail(tmp_path, 0, "peer", at_s=1.0)
    assert (
        follow(tmp_path, JobState("RUNNING"), JobState("PENDING", "BeginTime"), JobState("NODE_FAIL")).failure["rank"]
        == 0
    )


@pytest.mark.parametrize(("at_limit", "state"), [(True, "TIMEOUT"), (False, "STOPPED")])
def test_a_job_that_left_as_it_was_asked_to_says_why(tmp_path, at_limit, state):
    write_json(tmp_path / LEFT_FILE, {"at_time_limit": at_limit})
    assert follow(tmp_path, JobState("COMPLETED")).state.state == state


def test_a_job_that_ends_well_without_a_result_has_none(tmp_path):
    ending = follow(tmp_path, JobState("COMPLETED"))
    assert (ending.state.state, ending.has_result) == ("COMPLETED", False)


def test_a_cancelled_job_is_cancelled_though_it_left_in_order(tmp_path):
    write_json(tmp_path / LEFT_FILE, {"at_time_limit": False})
    assert follow(tmp_path, JobState("CANCELLED", "by 1000")).state.state == "CANCELLED"


def test_without_control_groups_the_log_tells_of_memory(tmp_path):
    (tmp_path / "submitit").mkdir()
    (tmp_path / "submitit/7_0_log.out").write_text(
        "slurmstepd: error: Step 7.0 exceeded memory limit (9 > 8), being killed"
    )
    assert follow(tmp_path, JobState("FAILED")).state.state == "OUT_OF_MEMORY"


def test_without_its_snakemake_it_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(module.Owner, "is_gone", True)
    with pytest.raises(SnakemakeGoneError):
        follow(tmp_path, JobState("RUNNING"))
    shutil.rmtree(tmp_path)


def test_progress_is_one_line():
    assert progress_line(BEAT) == "epoch 2 of 5, step 3 of 10, loss 0.5, 100 img/s, about 42 s left"
    assert progress_line(BEAT | {"loss": None, "eta_s": None}) == "epoch 2 of 5, step 3 of 10, 100 img/s"

"""What the watchdog makes of a job's files and of what the queue says."""

import itertools
import json
import shutil

import pytest

from slimline.config.cluster import ClusterConfig
from slimline.files import write_json
from slimline.launch import watch as module
from slimline.launch.leaving import LEFT_FILE
from slimline.launch.owner import Owner, SnakemakeGoneError
from slimline.launch.patience import DAY_S, HELD_LIMIT_S, SILENT_LIMIT_S, START_LIMIT_S
from slimline.launch.states import JobState
from slimline.launch.watch import Watch, progress_line

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
    monkeypatch.setattr(module, "LOST_DELAY_S", 0.0)
    for name in ("FILE_POLL_S", "RESULT_DELAY_S", "FAILURE_DELAY_S"):
        monkeypatch.setattr(module, name, {"local": 0.0, "slurm": 0.0})


def follow(folder, *states):
    return Watch(folder, Script(*states), CLUSTER, "dense seed 0", Owner()).follow("7")


def fail(folder, rank, kind, at_s):
    failure = {"rank": rank, "kind": kind, "text": "", "traceback": "", "failed_unix_s": at_s}
    write_json(folder / f"failure-rank-{rank}.json", failure)


def test_a_result_is_the_end_whatever_the_queue_says(tmp_path):
    (tmp_path / "result").mkdir()
    assert follow(tmp_path, None).has_result


@pytest.mark.parametrize(
    "state", ["FAILED", "NODE_FAIL", "PREEMPTED", "TIMEOUT", "OUT_OF_MEMORY", "LOST", "CANCELLED", "REVOKED"]
)
def test_the_end_that_the_queue_tells_is_the_end(tmp_path, state):
    states = [None, JobState("PENDING", "Resources"), JobState("RUNNING"), JobState(state)]
    assert follow(tmp_path, *states).state.state == state


def test_a_requeued_job_is_not_over(tmp_path):
    states = [JobState("RUNNING"), JobState("COMPLETING"), JobState("PENDING", "BeginTime"), JobState("RUNNING")]
    assert follow(tmp_path, *states, JobState("FAILED")).state.state == "FAILED"


def test_a_job_that_could_not_start_is_told(tmp_path):
    ending = follow(tmp_path, JobState("PENDING", "launch failed requeued held"))
    assert ending.state == JobState("STALLED", "launch failed requeued held")


def simulated(folder, *states, step_s=60.0, limit_s=30 * DAY_S, cluster=CLUSTER, owner=None):
    """Follows a job on a clock of its own, one look in `step_s`; the ending, and the seconds until then."""
    watch = Watch(folder, Script(*states), cluster, "dense seed 0", owner or Owner())
    with pytest.MonkeyPatch.context() as patch:
        clock = [0.0]
        patch.setattr(module.time, "monotonic", lambda: clock[0])
        watch._begin("7")
        while clock[0] < limit_s:
            ending = watch._look("7")
            if ending is not None:
                return ending, clock[0]
            clock[0] += step_s
    return None, clock[0]


def test_what_slurm_will_never_grant_is_refused(tmp_path):
    ending, after_s = simulated(tmp_path, JobState("PENDING", "QOSMaxCpuPerJobLimit"), step_s=15.0)
    assert ending.is_refused
    assert (ending.state.reason, after_s) == ("QOSMaxCpuPerJobLimit", 15.0)


@pytest.mark.parametrize("seen", ["here", "in an earlier run", "never"])
def test_a_job_that_has_run_is_not_refused_while_its_nodes_are_down(tmp_path, seen):
    states = [JobState("PENDING", "PartitionNodeLimit")] * 100
    if seen == "here":
        states.insert(0, JobState("RUNNING"))
    elif seen == "in an earlier run":
        (tmp_path / "starts.jsonl").write_text('{"job_id": "6"}\n{"job_id": "7"}\n')
    ending, _ = simulated(tmp_path, *states, JobState("RUNNING"), JobState("FAILED"))
    assert ending.is_refused == (seen == "never")


def test_held_for_too_long_it_is_left_where_it_is(tmp_path):
    ending, after_s = simulated(tmp_path, JobState("REQUEUE_HOLD"))
    assert ending.stays == "it is held until somebody lets it go, for 10 minutes now"
    assert after_s == HELD_LIMIT_S


def test_suspended_for_too_long_it_counts_as_stuck(tmp_path):
    ending, _ = simulated(tmp_path, JobState("STOPPED"))
    assert ending.state == JobState("STALLED", "STOPPED, for 60 minutes")


def test_a_controller_that_never_answers_again_leaves_the_job_in_the_queue_at_last(tmp_path):
    ending, after_s = simulated(tmp_path, JobState("PENDING", "Priority", "", 1.0), step_s=119.0)
    assert "Slurm does not answer" in ending.stays
    assert after_s >= SILENT_LIMIT_S


def test_a_running_job_needs_no_controller(tmp_path):
    class Beating(Script):
        steps = 0

        def look(self, job_id):
            self.steps += 1
            (tmp_path / "heartbeat.json").write_text(json.dumps(BEAT | {"step": self.steps}))
            if self.steps == 50:
                (tmp_path / "result").mkdir()
            return JobState("RUNNING", as_of_unix_s=1.0)

    watch = Watch(tmp_path, Beating(JobState("RUNNING")), CLUSTER, "dense seed 0", Owner())
    with pytest.MonkeyPatch.context() as patch:
        clock = itertools.count(0, 100)
        patch.setattr(module.time, "monotonic", lambda: float(next(clock)))
        assert watch.follow("7").has_result


def test_a_job_that_slurm_has_forgotten_but_that_makes_steps_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOST_DELAY_S", 60.0)
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    watch = Watch(tmp_path, Script(JobState("RUNNING"), JobState("LOST")), CLUSTER, "dense seed 0", Owner())
    watch._begin("7")
    for step in range(10):
        write_json(tmp_path / "heartbeat.json", BEAT | {"step": step})
        assert watch._look("7") is None
        clock[0] += 10
    clock[0] += 60
    assert watch._look("7").state.state == "LOST"


def test_a_hung_job_on_this_machine_is_stuck_too(tmp_path):
    local = ClusterConfig(name="local", executor="local", cpus_per_node=1, memory_mb_per_node=1000, stall_timeout_s=300)
    write_json(tmp_path / "heartbeat.json", BEAT)
    ending, after_s = simulated(tmp_path, JobState("RUNNING"), step_s=10.0, cluster=local)
    assert (ending.state.reason, after_s) == ("no step within 300 s", 300.0)


def test_the_time_in_which_nobody_could_look_is_not_held_against_the_job(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    write_json(tmp_path / "heartbeat.json", BEAT)
    watch = Watch(tmp_path, Script(JobState("RUNNING")), CLUSTER, "dense seed 0", Owner())
    watch._begin("7")
    watch._look("7")
    clock[0] += 8 * 3600  # the laptop was closed, or this process stopped
    assert watch._look("7") is None
    clock[0] += 11
    assert watch._look("7").state.state == "STALLED"


@pytest.mark.parametrize("error", [OSError(116, "Stale file handle"), FileNotFoundError()])
@pytest.mark.parametrize("name", ["heartbeat.json", "failure-rank-0.json"])
def test_files_that_cannot_be_read_just_now_end_nothing(tmp_path, monkeypatch, error, name):
    (tmp_path / name).write_text("{}")

    def fail(path):
        raise error

    monkeypatch.setattr(module, "read_json", fail)
    assert follow(tmp_path, *[JobState("RUNNING")] * 3, JobState("FAILED")).state.state == "FAILED"


def test_a_failure_that_vanishes_between_two_looks_at_it_ends_nothing(tmp_path):
    (tmp_path / "failure-rank-0.json").symlink_to(tmp_path / "gone")
    assert follow(tmp_path, *[JobState("RUNNING")] * 3, JobState("FAILED")).state.state == "FAILED"


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
    watch = Watch(
        tmp_path, Slow(running, running, running, running, JobState("FAILED")), CLUSTER, "dense seed 0", Owner()
    )
    assert watch.follow("7").state.state == "FAILED"


def test_a_job_that_starts_gets_more_patience(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    write_json(tmp_path / "heartbeat.json", BEAT | {"phase": "start"})
    assert follow(tmp_path, JobState("RUNNING")).state.reason == f"no step within {START_LIMIT_S:.0f} s"


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


@pytest.mark.parametrize(("at_limit", "state"), [(True, "TIMEOUT"), (False, "LEFT")])
def test_a_job_that_left_as_it_was_asked_to_says_why(tmp_path, at_limit, state):
    write_json(tmp_path / LEFT_FILE, {"at_time_limit": at_limit})
    assert follow(tmp_path, JobState("COMPLETED")).state.state == state


def test_a_job_that_ends_well_without_a_result_has_none(tmp_path):
    ending = follow(tmp_path, JobState("COMPLETED"))
    assert (ending.state.state, ending.has_result) == ("COMPLETED", False)


def test_a_cancelled_job_is_cancelled_though_it_left_in_order(tmp_path):
    write_json(tmp_path / LEFT_FILE, {"at_time_limit": False})
    assert follow(tmp_path, JobState("CANCELLED", "by 1000")).state.state == "CANCELLED"


OVER = "slurmstepd: error: Step 7.0 exceeded memory limit (9 > 8), being killed\n"
STARTED = "submitit INFO (2026-11-23 22:38:21,000) - Starting with JobEnvironment(job_id=7, ...)\n"


def write_log(folder, name, text):
    (folder / "submitit").mkdir(exist_ok=True)
    (folder / "submitit" / name).write_text(text)


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("state", ["FAILED", "LOST"])
def test_without_control_groups_the_log_tells_of_memory(tmp_path, state, rank):
    for other in range(4):
        write_log(tmp_path, f"7_{other}_log.out", STARTED + (OVER if other == rank else "") + "the last word\n")
    assert follow(tmp_path, JobState(state)).state.state == "OUT_OF_MEMORY"


@pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL", "PREEMPTED", "TIMEOUT"])
def test_a_job_that_says_why_it_ended_is_believed(tmp_path, state):
    write_log(tmp_path, "7_0_log.out", STARTED + OVER)
    assert follow(tmp_path, JobState(state, "by 1000")).state.state == state


@pytest.mark.parametrize("rank", [0, 1])
def test_memory_of_one_rank_counts_more_than_the_note_of_its_peers_that_were_asked_to_leave(tmp_path, rank):
    write_json(tmp_path / LEFT_FILE, {"at_time_limit": False})
    for other in range(2):
        said = "srun: error: node2: task 1: Out Of Memory\n" if other == rank else ""
        # On a busy machine a rank may start after another has been killed.
        write_log(tmp_path, f"7_{other}_log.out", said + STARTED + "stopped before the first step\n")
    assert follow(tmp_path, JobState("FAILED", "NonZeroExitCode", "143:0")).state.state == "OUT_OF_MEMORY"


def test_memory_of_another_attempt_or_of_an_earlier_start_is_not_held_against_this_one(tmp_path):
    write_log(tmp_path, "6_0_log.out", STARTED + OVER)
    write_log(tmp_path, "7_0_log.out", STARTED + OVER + STARTED + "another reason\n")
    (tmp_path / "starts.jsonl").write_text('{"job_id": "7"}\n' * 2)
    assert follow(tmp_path, JobState("FAILED")).state.state == "FAILED"


def test_without_its_snakemake_it_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(Owner, "is_gone", True)
    with pytest.raises(SnakemakeGoneError):
        follow(tmp_path, JobState("RUNNING"))
    shutil.rmtree(tmp_path)


def test_progress_is_one_line():
    assert progress_line(BEAT) == "epoch 2 of 5, step 3 of 10, loss 0.5, 100 img/s, about 42 s left"
    assert progress_line(BEAT | {"loss": None, "eta_s": None}) == "epoch 2 of 5, step 3 of 10, 100 img/s"

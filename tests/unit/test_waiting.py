"""How long a job may stand as it does: every kind of wait has its bound, on a clock that costs no time."""

import pytest

from slimline.launch.patience import (
    BLOCKED_LIMIT_S,
    COMPLETING_LIMIT_S,
    DAY_S,
    DEPENDENCY_LIMIT_S,
    HELD_LIMIT_S,
    PASSING_LIMIT_S,
    SILENT_LIMIT_S,
    START_LIMIT_S,
    SUSPENDED_LIMIT_S,
    After,
)
from slimline.launch.states import JobState
from slimline.launch.waiting import Waiting, span

STALL_S, POLL_S = 300.0, 15.0


def wait(*states, phase="train", has_run=False, step_s=50.0, limit_s=30 * DAY_S, news_until_s=30 * DAY_S):
    """What follows, and after how many seconds, when the job goes through states over and over, one in `step_s`."""
    waiting, now_s, n = Waiting("job 7", STALL_S, POLL_S, 0.0), 0.0, 0
    while now_s < limit_s:
        state, is_news = states[n % len(states)], now_s <= news_until_s
        waiting.forgive_absence(now_s)
        over = waiting.is_over(state, phase, now_s, is_news=is_news, has_run=has_run)
        if over is not None:
            return over.after, now_s
        now_s, n = now_s + step_s, n + 1
    return None, now_s


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


NEVER = [
    "PartitionNodeLimit", "PartitionConfig", "BadConstraints", "InvalidAccount", "QOSMaxCpuPerJobLimit",
    "AssocMaxCpuPerNode", "QOSMaxCpuPerNode", "QOSMinGRES", "QOSMinCpuNotSatisfied", "DependencyNeverSatisfied",
    "MaxMemPerLimit", "MaxMemPerCPU", "AssocMaxWallDurationPerJobLimit", "PartitionTimeLimit",
]  # fmt: skip
NODES_MAY_BE_DOWN = NEVER[:3]


@pytest.mark.parametrize("reason", NEVER)
def test_what_can_never_start_is_refused_at_the_second_answer(reason):
    assert wait(JobState("PENDING", reason), step_s=POLL_S) == (After.REFUSE, POLL_S)


@pytest.mark.parametrize("reason", NEVER)
def test_one_answer_is_not_enough(reason):
    once = [JobState("PENDING", reason), JobState("PENDING", "Priority")]
    assert wait(*once, step_s=POLL_S, limit_s=DAY_S)[0] is None


@pytest.mark.parametrize("reason", NODES_MAY_BE_DOWN)
def test_what_has_run_may_wait_for_its_nodes_to_come_back(reason):
    assert wait(JobState("PENDING", reason), has_run=True) == (After.KEEP, BLOCKED_LIMIT_S)


@pytest.mark.parametrize("reason", ["Resources", "Priority", "None", "", "BeginTime"])
def test_for_its_turn_a_job_waits_as_long_as_it_takes(reason, caplog):
    assert wait(JobState("PENDING", reason))[0] is None
    assert warnings(caplog) == []


BOUNDS = [
    ("PENDING", "JobHeldUser", After.KEEP, HELD_LIMIT_S),
    ("PENDING", "JobHeldAdmin", After.KEEP, HELD_LIMIT_S),
    ("SPECIAL_EXIT", "", After.KEEP, HELD_LIMIT_S),
    ("REQUEUE_HOLD", "JobHeldUser", After.KEEP, HELD_LIMIT_S),
    ("RESV_DEL_HOLD", "", After.KEEP, HELD_LIMIT_S),
    ("PENDING", "Dependency", After.KEEP, DEPENDENCY_LIMIT_S),
    ("PENDING", "AssocGrpCPUMinutesLimit", After.KEEP, BLOCKED_LIMIT_S),
    ("PENDING", "AccountingPolicy", After.KEEP, BLOCKED_LIMIT_S),
    ("PENDING", "QOSUsageThreshold", After.KEEP, BLOCKED_LIMIT_S),
    ("PENDING", "QOSMaxCpuPerUserLimit", After.KEEP, BLOCKED_LIMIT_S),
    ("PENDING", "PartitionDown", After.KEEP, BLOCKED_LIMIT_S),
    ("PENDING", "Reservation", After.KEEP, BLOCKED_LIMIT_S),
    ("PENDING", "ReqNodeNotAvail, UnavailableNodes:node1", After.KEEP, BLOCKED_LIMIT_S),
    ("PENDING", "a reason that Slurm will have one day", After.KEEP, BLOCKED_LIMIT_S),
    ("SUSPENDED", "", After.TRY_AGAIN, SUSPENDED_LIMIT_S),
    ("STOPPED", "", After.TRY_AGAIN, SUSPENDED_LIMIT_S),
    ("COMPLETING", "", After.TRY_AGAIN, COMPLETING_LIMIT_S),
    ("CONFIGURING", "", After.TRY_AGAIN, PASSING_LIMIT_S),
    ("SIGNALING", "", After.TRY_AGAIN, PASSING_LIMIT_S),
    ("REQUEUED", "", After.TRY_AGAIN, PASSING_LIMIT_S),
    ("RESIZING", "", After.TRY_AGAIN, PASSING_LIMIT_S),
    ("STAGE_OUT", "", After.TRY_AGAIN, PASSING_LIMIT_S),
    ("A STATE THAT SLURM WILL HAVE ONE DAY", "", After.TRY_AGAIN, PASSING_LIMIT_S),
    ("RUNNING", "None", After.TRY_AGAIN, STALL_S),
]


@pytest.mark.parametrize(("state", "reason", "after", "limit_s"), BOUNDS)
def test_every_other_wait_has_its_bound_and_is_told_of_well_before(state, reason, after, limit_s, caplog):
    assert wait(JobState(state, reason)) == (after, limit_s)
    (warning,) = warnings(caplog)
    assert (state if state == "RUNNING" else reason or state) in warning
    assert after.value in warning
    caplog.clear()
    wait(JobState(state, reason), limit_s=min(limit_s / 2, 600.0) + 1)
    assert len(warnings(caplog)) == 1


def test_a_warning_says_what_the_job_waits_for_and_what_follows(caplog):
    wait(JobState("PENDING", "PartitionDown"), limit_s=601)
    (warning,) = warnings(caplog)
    assert warning == (
        "job 7 (PENDING, PartitionDown) is kept back by Slurm, for 10 minutes; "
        "after 7 days the job stays in the queue, and the next run joins it"
    )


def test_reasons_that_alternate_share_one_bound():
    states = [JobState("PENDING", reason) for reason in ("PartitionDown", "Reservation")]
    assert wait(*states) == (After.KEEP, BLOCKED_LIMIT_S)


def test_a_job_that_could_not_start_is_tried_again_at_once():
    assert wait(JobState("PENDING", "launch failed requeued held")) == (After.TRY_AGAIN, 0.0)
    assert wait(JobState("REQUEUE_HOLD", "JobHoldMaxRequeue")) == (After.TRY_AGAIN, 0.0)


@pytest.mark.parametrize("state", [JobState("PENDING", "Priority"), JobState("RUNNING")])
def test_a_controller_that_is_silent_for_ever_has_a_bound_of_its_own(state, caplog):
    assert wait(state, step_s=60.0, news_until_s=60.0) == (After.KEEP, SILENT_LIMIT_S + 60.0)
    (warning,) = warnings(caplog)
    assert "Slurm does not answer" in warning


def test_ranks_that_start_get_more_time():
    waiting = Waiting("job 7", 15.0, POLL_S, 0.0)
    states = [
        waiting.is_over(JobState("RUNNING"), "start", now_s, is_news=True, has_run=False)
        for now_s in (0.0, START_LIMIT_S - 1, START_LIMIT_S)
    ]
    assert [over is not None for over in states] == [False, False, True]


def test_steps_that_go_on_are_warned_of_again_when_they_stop_again(caplog):
    waiting = Waiting("job 7", STALL_S, POLL_S, 0.0)
    for now_s in range(0, 1000, 10):
        if now_s in (200, 400, 600, 800):
            waiting.moved_s = float(now_s)
        assert waiting.is_over(JobState("RUNNING"), "train", now_s, is_news=True, has_run=True) is None
    assert len(warnings(caplog)) == 5


def test_the_time_in_which_nobody_could_look_does_not_count():
    waiting = Waiting("job 7", STALL_S, POLL_S, 0.0)
    asleep = range(20, 8 * 3600)
    for now_s in (now_s for now_s in range(0, 9 * 3600, 10) if now_s not in asleep):
        waiting.forgive_absence(now_s)
        if waiting.is_over(JobState("RUNNING"), "train", now_s, is_news=True, has_run=True):
            break
    assert now_s == asleep.stop - 10 + STALL_S


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (600, "10 minutes"), (7200, "2 hours"), (604_800, "7 days")]
)
def test_spans_are_read_by_people(seconds, text):
    assert span(seconds) == text

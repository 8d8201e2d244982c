"""One question to Slurm for all watchers, and what is made of the answers."""

import itertools
import time

import pytest

from slimline.launch import queue as module
from slimline.launch.queue import Queue, UnansweredError
from slimline.launch.states import JobState

LONG_AGO = 0.0


class Cluster:
    """Answers questions, and remembers them."""

    def __init__(self):
        self.questions, self.queue, self.accounts, self.error = [], {}, {}, None

    def answer(self, command):
        self.questions.append(command)
        if self.error:
            return self.error, {}
        return None, dict(self.queue if command[0] == "squeue" else self.accounts)


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setattr(module, "query", cluster.answer)
    return cluster


def queue(folder, interval_s=3600.0):
    return Queue(interval_s, folder)


def test_many_watchers_ask_once(cluster, tmp_path):
    cluster.queue = {str(n): ["RUNNING", "None", "0", ""] for n in range(50)}
    states = {str(queue(tmp_path).look(str(n), LONG_AGO)) for n in range(50)}
    assert states == {"RUNNING"}
    assert len(cluster.questions) == 1


def test_an_answer_from_before_the_job_says_nothing(cluster, tmp_path):
    queue(tmp_path).look("1", LONG_AGO)
    assert queue(tmp_path).look("7", time.time()) is None
    assert len(cluster.questions) == 1


def test_a_job_that_the_queue_has_forgotten_is_looked_up_in_the_accounts_in_the_next_turn(cluster, tmp_path):
    cluster.accounts = {"7": ["OUT_OF_MEMORY", "None", "0:125", ""]}
    assert queue(tmp_path, 0.0).look("7", LONG_AGO) is None
    assert queue(tmp_path, 0.0).look("7", LONG_AGO) == JobState("OUT_OF_MEMORY", "None", "0:125")
    assert [command[0] for command in cluster.questions] == ["squeue", "sacct"]
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "OUT_OF_MEMORY"
    assert cluster.questions[-1][0] == "squeue"


@pytest.mark.parametrize("accounts", [{}, {"7": ["PENDING", "", "0:0", ""]}, {"7": ["RUNNING", "", "0:0", ""]}])
def test_a_job_that_nobody_knows_is_lost_once_the_queue_has_been_asked_again(cluster, tmp_path, accounts):
    cluster.accounts = accounts
    for _ in ("squeue", "sacct"):
        assert queue(tmp_path, 0.0).look("7", LONG_AGO) is None
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "LOST"
    assert [command[0] for command in cluster.questions] == ["squeue", "sacct", "squeue"]


def test_a_job_that_the_queue_has_again_was_never_lost(cluster, tmp_path):
    for _ in ("squeue", "sacct"):
        queue(tmp_path, 0.0).look("7", LONG_AGO)
    cluster.queue = {"7": ["RUNNING", "None", "0", ""]}
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "RUNNING"
    cluster.queue = {}
    assert queue(tmp_path, 0.0).look("7", LONG_AGO) is None
    cluster.accounts = {"7": ["COMPLETED", "None", "0:0", ""]}
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "COMPLETED"


def test_a_job_of_somebody_who_joins_soon_after_the_submission_is_not_lost(cluster, tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: clock[0])
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    queue(tmp_path, 15.0).look("1", LONG_AGO)
    # Submitted at 1002, its launcher killed, joined at 1008: the answer of 1000 cannot know it.
    cluster.queue = {"7": ["PENDING", "Priority", "0", ""]}
    cluster.accounts = {"7": ["PENDING", "None", "0:0", ""]}
    joined = queue(tmp_path, 15.0)
    states = []
    for clock[0] in range(1008, 1060):
        states.append(joined.look("7", 1008.0))
    assert {str(state) for state in states if state} == {"PENDING, Priority"}


def test_who_looks_for_a_job_waits_for_an_answer_that_can_know_it(cluster, tmp_path, monkeypatch):
    clock = itertools.count(1000)
    monkeypatch.setattr(module.time, "time", lambda: float(next(clock)))
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    queue(tmp_path, 5.0).look("1", LONG_AGO)
    cluster.queue = {
        "6": ["CANCELLED", "", "0", "mine"],
        "7": ["RUNNING", "", "0", "mine"],
        "8": ["RUNNING", "", "0", ""],
    }
    assert queue(tmp_path, 5.0).find("mine", float(next(clock)), 60.0) == "7"
    assert queue(tmp_path, 5.0).find("not mine", float(next(clock)), 60.0) is None


def test_who_looks_for_a_job_while_nobody_answers_is_not_told_that_there_is_none(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    cluster.error = "Unable to contact slurm controller"
    with pytest.raises(UnansweredError, match="is not known") as caught:
        queue(tmp_path, 0.0).find("mine", LONG_AGO, -1.0)
    assert "Unable to contact" in str(caught.value)


def test_a_full_disk_or_a_damaged_answer_is_no_end_of_anything(cluster, tmp_path, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device")

    cluster.queue = {"7": ["RUNNING", "None", "0", ""]}
    (tmp_path / "answer.json").write_text("{")
    monkeypatch.setattr(module, "write_json", full)
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "RUNNING"


def test_an_absent_controller_is_told_of_once_and_then_now_and_again(cluster, tmp_path, caplog, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    cluster.error = "Unable to contact slurm controller"
    asking = queue(tmp_path, 0.0)
    for clock[0] in range(1000):
        asking.look("7", LONG_AGO)
    assert len(cluster.questions) == 1000
    assert caplog.text.count("Slurm does not answer") == 2


def test_a_silent_controller_leaves_jobs_as_they_were(cluster, tmp_path, caplog):
    cluster.queue = {"7": ["RUNNING", "None", "0", ""]}
    queue(tmp_path, 0.0).look("7", LONG_AGO)
    cluster.error = "Unable to contact slurm controller"
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "RUNNING"
    assert queue(tmp_path, 0.0).look("8", LONG_AGO) is None
    assert "Unable to contact" in caplog.text
    assert {command[0] for command in cluster.questions} == {"squeue"}


def test_of_an_answer_what_are_jobs_is_read(monkeypatch):
    class Answer:
        returncode, stderr = 0, ""
        stdout = (
            "CLUSTER: alps\n7|CANCELLED by 1000|0:0|None\n"
            "8  |FAILED  |35072 |NonZeroExitCode   |slimline /home/a|b   |\n"
            "9 |RUNNING |0 |None |the first line\nand | the | next | of a comment\n||||\n"
        )

    monkeypatch.setattr(module.subprocess, "run", lambda *arguments, **options: Answer)
    error, rows = module.query(["sacct"])
    assert error is None
    assert rows == {
        "7": ["CANCELLED", "by 1000", "0:0", ""],
        "8": ["FAILED", "NonZeroExitCode", "137:0", "slimline /home/a|b"],
        "9": ["RUNNING", "None", "0:0", "the first line"],
    }

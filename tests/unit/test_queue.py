"""One question to Slurm for all watchers, and what is made of the answers."""

import time

import pytest

from slimline.launch import queue as module
from slimline.launch.queue import Queue
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
    monkeypatch.setattr(module, "_rows", cluster.answer)
    return cluster


def queue(folder, interval_s=3600.0):
    return Queue(interval_s, folder)


def test_many_watchers_ask_once(cluster, tmp_path):
    cluster.queue = {str(n): ["RUNNING", "None", "0"] for n in range(50)}
    states = {str(queue(tmp_path).look(str(n), LONG_AGO)) for n in range(50)}
    assert states == {"RUNNING"}
    assert len(cluster.questions) == 1


def test_an_answer_from_before_the_job_says_nothing(cluster, tmp_path):
    queue(tmp_path).look("1", LONG_AGO)
    assert queue(tmp_path).look("7", time.time()) is None
    assert len(cluster.questions) == 1


def test_a_job_that_the_queue_has_forgotten_is_looked_up_in_the_accounts_in_the_next_turn(cluster, tmp_path):
    cluster.accounts = {"7": ["OUT_OF_MEMORY", "None", "0:125"]}
    assert queue(tmp_path, 0.0).look("7", LONG_AGO) is None
    assert queue(tmp_path, 0.0).look("7", LONG_AGO) == JobState("OUT_OF_MEMORY", "None", "0:125")
    assert [command[0] for command in cluster.questions] == ["squeue", "sacct"]
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "OUT_OF_MEMORY"
    assert cluster.questions[-1][0] == "squeue"


@pytest.mark.parametrize("accounts", [{}, {"7": ["PENDING", "None", "0:0"]}])
def test_a_job_that_nobody_knows_is_lost(cluster, tmp_path, accounts):
    cluster.accounts = accounts
    queue(tmp_path, 0.0).look("7", LONG_AGO)
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "LOST"


def test_a_silent_controller_leaves_jobs_as_they_were(cluster, tmp_path, caplog):
    cluster.queue = {"7": ["RUNNING", "None", "0"]}
    queue(tmp_path, 0.0).look("7", LONG_AGO)
    cluster.error = "Unable to contact slurm controller"
    assert queue(tmp_path, 0.0).look("7", LONG_AGO).state == "RUNNING"
    assert queue(tmp_path, 0.0).look("8", LONG_AGO) is None
    assert "Unable to contact" in caplog.text
    assert {command[0] for command in cluster.questions} == {"squeue"}


def test_a_users_cancellation_says_whose(monkeypatch):
    class Answer:
        returncode, stdout, stderr = 0, "7|CANCELLED by 1000|0:0|None\n8|FAILED|35072|NonZeroExitCode\n", ""

    monkeypatch.setattr(module.subprocess, "run", lambda *arguments, **options: Answer)
    error, rows = module._rows(["sacct"])
    assert error is None
    assert rows == {"7": ["CANCELLED", "by 1000", "0:0"], "8": ["FAILED", "NonZeroExitCode", "137:0"]}

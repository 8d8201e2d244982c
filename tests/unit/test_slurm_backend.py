"""Submitting to Slurm and cancelling there, with its commands played."""

import subprocess
from pathlib import Path

import pytest
import submitit

from slimline.config.cluster import ClusterConfig
from slimline.errors import SlimlineError
from slimline.launch import slurm as module
from slimline.launch.queue import UnansweredError
from slimline.launch.resources import Resources
from slimline.launch.slurm import SlurmBackend

CLUSTER = ClusterConfig(name="slurm", executor="slurm", cpus_per_node=1, memory_mb_per_node=1000, poll_interval_s=1)
FOLDER = Path("jobs/x")
LOST_ANSWER = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


class Slurm:
    """Answers requests and questions as it is told to; the last answer lasts."""

    def __init__(self, monkeypatch):
        self.requests, self.arrived, self.questions, self.cancelled = [], [], [], []
        self.sbatch, self.squeue, self.scancel = ["accept"], ["answer"], "answer"
        monkeypatch.setattr(SlurmBackend, "_executor", lambda *_: self)
        monkeypatch.setattr(subprocess, "run", self._run)
        monkeypatch.setattr(module.time, "sleep", lambda _: None)
        self.now_s = 1000.0
        for clock in ("time", "monotonic"):
            monkeypatch.setattr(module.time, clock, self._clock)

    def _clock(self):
        self.now_s += 0.5
        return self.now_s

    @staticmethod
    def _next(answers):
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def submit(self, entry):
        answer = self._next(self.sbatch)
        self.requests.append(answer)
        if answer in ("accept", "arrive"):
            self.arrived.append(str(len(self.arrived) + 1))
        if answer != "accept":
            raise submitit.core.utils.FailedJobError(LOST_ANSWER if answer in ("arrive", "lose") else answer)
        return type("Job", (), {"job_id": self.arrived[-1]})

    def _run(self, command, **options):
        if command[0] == "scancel":
            if self.scancel == "away":
                raise subprocess.TimeoutExpired(command, options["timeout"])
            self.cancelled.append(command[1])
            return subprocess.CompletedProcess(command, 0, "", "")
        self.questions.append(command)
        if self._next(self.squeue) == "away":
            return subprocess.CompletedProcess(command, 1, "", AWAY)
        jobs = [
            f"{job}|RUNNING|0|None|slimline {FOLDER.resolve()}|" for job in self.arrived if job not in self.cancelled
        ]
        return subprocess.CompletedProcess(command, 0, "\n".join(jobs), "")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Slurm(monkeypatch)


def submit(backend):
    return backend.submit(FOLDER, "name", Resources(1, 1, 1, 0, 100, 5))


def test_a_request_whose_answer_was_lost_is_not_made_again_before_slurm_says_that_it_has_not_arrived(slurm):
    slurm.sbatch, slurm.squeue = ["arrive", "accept"], ["away"] * 5 + ["answer"]
    assert submit(SlurmBackend(CLUSTER)) == "1"
    assert slurm.requests == ["arrive"]


def test_a_request_that_has_not_arrived_is_made_again(slurm, caplog):
    slurm.sbatch = ["lose", "lose", "accept"]
    assert submit(SlurmBackend(CLUSTER)) == "1"
    assert slurm.requests == ["lose", "lose", "accept"]
    assert "the job is submitted again" in caplog.text


def test_while_slurm_is_away_it_gets_one_request_and_the_questions_of_one(slurm):
    slurm.sbatch, slurm.squeue = ["arrive", "accept"], ["away"]
    began_s = slurm.now_s
    with pytest.raises(UnansweredError):
        submit(SlurmBackend(CLUSTER.model_copy(update={"poll_interval_s": 15.0})))
    assert slurm.requests == ["arrive"]
    assert len(slurm.questions) <= (slurm.now_s - began_s) / 15 + 1


def test_what_slurm_refuses_is_refused_at_once(slurm):
    slurm.sbatch = ["sbatch: error: invalid partition specified: nope"]
    with pytest.raises(SlimlineError, match="does not take the job") as caught:
        submit(SlurmBackend(CLUSTER))
    assert "invalid partition specified: nope" in str(caught.value)
    assert slurm.questions == []


def test_a_controller_that_takes_questions_but_no_jobs_is_given_up_at_last(slurm):
    slurm.sbatch = ["lose"]
    with pytest.raises(SlimlineError, match="does not take the job"):
        submit(SlurmBackend(CLUSTER))
    assert len(slurm.requests) > 2


def test_a_request_on_its_way_is_taken_back_if_it_has_arrived(slurm):
    slurm.arrived = ["1"]
    assert SlurmBackend(CLUSTER).withdraw(FOLDER)
    assert slurm.cancelled == ["1"]
    assert SlurmBackend(CLUSTER).withdraw(FOLDER)
    assert slurm.cancelled == ["1"]


def test_an_accepted_job_is_taken_back_without_a_question(slurm):
    backend = SlurmBackend(CLUSTER)
    submit(backend)
    assert backend.withdraw(FOLDER)
    assert (slurm.cancelled, slurm.questions) == (["1"], [])


def test_what_cannot_be_taken_back_is_said(slurm, caplog):
    slurm.squeue, slurm.scancel = ["away"], "away"
    backend = SlurmBackend(CLUSTER)
    assert not backend.withdraw(FOLDER)
    assert "the next run joins it" in caplog.text
    assert not backend.cancel("7")
    assert "`scancel 7` ends it" in caplog.text


def test_a_job_that_is_joined_is_not_judged_by_an_answer_from_before(slurm):
    SlurmBackend(CLUSTER).look("other")
    slurm.arrived = ["1"]
    joined = SlurmBackend(CLUSTER)
    states = [joined.look("1") for _ in range(20)]
    assert {state.state for state in states if state} == {"RUNNING"}

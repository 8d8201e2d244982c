"""How a job goes when it was asked to."""

import os

import pytest

from slimline.files import read_json, write_json
from slimline.launch import leaving
from slimline.launch.leaving import LEFT_FILE, await_note, duration_s, note_leaving, touch_watched
from slimline.training.stop import StoppedError

AT_LIMIT, WITHIN = "RunTime=00:08:31 TimeLimit=00:10:00", "RunTime=00:01:00 TimeLimit=1-00:10:00"


@pytest.fixture
def commands(monkeypatch):
    said = []

    def slurm(*command):
        said.append(command[1])
        return said_of_the_job[0] if command[1] == "--oneliner" else ""

    said_of_the_job = [WITHIN]
    monkeypatch.setattr(leaving, "_slurm", slurm)
    slurm.said, slurm.job = said, said_of_the_job
    return slurm


def leave(folder, *, announced, job_id="7"):
    note_leaving(folder, job_id, StoppedError("", announced=announced, saved=True))
    path = folder / LEFT_FILE
    return read_json(path)["at_time_limit"] if path.exists() else None


def test_preempted_it_queues_itself_again(commands, tmp_path):
    assert leave(tmp_path, announced=True) is None
    assert "requeue" in commands.said


def test_at_its_time_limit_it_leaves_the_rest_to_the_launcher(commands, tmp_path):
    commands.job[0] = AT_LIMIT
    touch_watched(tmp_path)
    assert leave(tmp_path, announced=True) is True
    assert "requeue" not in commands.said


def test_at_its_time_limit_with_nobody_there_it_queues_itself_again(commands, tmp_path):
    commands.job[0] = AT_LIMIT
    touch_watched(tmp_path)
    os.utime(tmp_path / "watched", (0, 0))
    assert leave(tmp_path, announced=True) is None
    assert "requeue" in commands.said


def test_told_to_go_it_goes(commands, tmp_path):
    assert leave(tmp_path, announced=False) is False
    assert commands.said == []


def test_without_slurm_the_announced_end_is_the_time_limit(commands, tmp_path):
    assert leave(tmp_path, announced=True, job_id=None) is True
    assert commands.said == []


@pytest.mark.parametrize("noted_after_polls", [3, None])
def test_other_ranks_stay_until_the_main_one_has_left_word_or_has_had_its_time(
    tmp_path, monkeypatch, noted_after_polls
):
    class Clock:
        def __init__(self):
            self.polls = 0

        def monotonic(self):
            return self.polls * leaving.NOTE_POLL_S

        def sleep(self, seconds):
            self.polls += 1
            if self.polls == noted_after_polls:
                write_json(tmp_path / LEFT_FILE, {"at_time_limit": True})

    clock = Clock()
    monkeypatch.setattr(leaving, "time", clock)
    await_note(tmp_path)
    assert clock.polls == (noted_after_polls or round(leaving.NOTE_WAIT_S / leaving.NOTE_POLL_S))


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:01:30", 90.0), ("1-02:00:01", 93_601.0), ("UNLIMITED", None), ("", None)]
)
def test_durations(text, seconds):
    assert duration_s(text) == seconds

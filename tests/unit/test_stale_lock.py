"""Locks of Snakemakes that are gone, and of those that are not."""

import subprocess
import sys

import psutil
import pytest

from slimline.files import read_json, write_json
from slimline.launch.stale_lock import LOCKS, NOTES, enter
from slimline.processes import start_mark

ENTER = "from slimline.launch.stale_lock import enter; enter(runs=True)"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOCKS.mkdir(parents=True)


@pytest.fixture
def start():
    """Starts a run that has entered the folder, and stays."""
    runs = []

    def start():
        code = f"{ENTER}; print(flush=True); input()"
        run = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        run.stdout.readline()
        runs.append(run)
        return run

    yield start
    for run in runs:
        run.kill()
        run.communicate()


def kill(run):
    run.kill()
    run.wait()


def end(run):
    run.communicate(b"\n")
    assert run.returncode == 0


def lock():
    (LOCKS / "0.input.lock").touch()


def is_locked():
    return any(LOCKS.iterdir())


def notes():
    return list(NOTES.glob("*.json"))


def change(note, **values):
    write_json(note, read_json(note) | values)


def test_the_lock_of_a_run_that_was_killed_is_removed(start):
    run = start()
    lock()
    kill(run)
    assert enter(runs=False)
    assert not is_locked()
    assert not notes()


def test_the_lock_of_a_living_run_stays(start):
    start()
    lock()
    assert not enter(runs=False)
    assert is_locked()


def test_of_two_that_came_together_the_one_that_gives_way_does_not_take_the_lock_along(start):
    holder, other = start(), start()
    lock()
    kill(other)
    assert not enter(runs=False)
    assert is_locked()
    kill(holder)
    assert enter(runs=False)


def test_who_comes_to_a_locked_folder_and_gives_way_changes_nothing(start):
    holder = start()
    lock()
    end(start())
    assert not enter(runs=False)
    kill(holder)
    assert enter(runs=False)


def test_who_ends_well_leaves_no_note(start):
    run = start()
    assert len(notes()) == 1
    end(run)
    assert not notes()


def test_a_clock_that_is_set_makes_no_living_run_gone(start, monkeypatch):
    start()
    lock()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert not enter(runs=False)


def test_a_lock_of_nobody_known_stays():
    lock()
    assert not enter(runs=False)
    assert is_locked()


def test_a_lock_that_a_run_on_another_machine_may_hold_stays(start):
    run = start()
    lock()
    kill(run)
    change(*notes(), host="elsewhere")
    assert not enter(runs=False)
    assert is_locked()


def test_a_lock_that_a_run_in_a_container_of_the_same_name_may_hold_stays(start):
    run = start()
    lock()
    kill(run)
    change(*notes(), pids_of="pid:[4026532000]")
    assert not enter(runs=False)
    assert is_locked()


def test_what_another_machine_has_noted_is_forgotten_once_nothing_is_locked(start):
    run = start()
    kill(run)
    change(*notes(), host="elsewhere")
    second = start()
    lock()
    kill(second)
    assert enter(runs=False)


def test_a_note_that_cannot_be_read_keeps_the_lock(start):
    run = start()
    lock()
    kill(run)
    notes()[0].write_text("{")
    assert not enter(runs=False)


def test_a_number_that_went_to_another_process_is_not_the_run(start):
    run = start()
    lock()
    kill(run)
    change(*notes(), pid=1)
    assert enter(runs=False)


def test_a_dry_run_leaves_nothing():
    enter(runs=False)
    assert not NOTES.exists()


def test_two_processes_differ_in_their_mark_and_one_does_not(start):
    first, second = start(), start()
    assert start_mark(first.pid) == start_mark(first.pid)
    assert start_mark(first.pid).rpartition("/")[2].isdecimal()
    kill(second)
    with pytest.raises(psutil.NoSuchProcess):
        start_mark(second.pid)

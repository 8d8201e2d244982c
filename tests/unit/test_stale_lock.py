import subprocess
import sys

import pytest

from slimline.files import read_json, write_json
from slimline.launch.stale_lock import LOCKS, OWNER, note_owner, remove_stale_locks


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOCKS.mkdir(parents=True)


def lock():
    (LOCKS / "0.input.lock").touch()


def note_from_a_process_that_ends():
    code = "from slimline.launch.stale_lock import note_owner; note_owner()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_lock_of_a_process_that_is_gone_is_removed():
    note_from_a_process_that_ends()
    lock()
    assert remove_stale_locks()
    assert not list(LOCKS.iterdir())


def test_who_comes_to_a_locked_folder_does_not_become_its_owner():
    lock()
    note_from_a_process_that_ends()
    assert not OWNER.exists()


def test_the_lock_of_a_living_process_stays():
    note_owner()
    lock()
    assert not remove_stale_locks()
    assert list(LOCKS.iterdir())


def test_a_lock_of_nobody_known_stays():
    lock()
    assert not remove_stale_locks()
    assert list(LOCKS.iterdir())


def test_the_lock_of_another_machine_stays():
    note_from_a_process_that_ends()
    lock()
    write_json(OWNER, read_json(OWNER) | {"host": "elsewhere"})
    assert not remove_stale_locks()
    assert list(LOCKS.iterdir())


def test_a_number_that_went_to_another_process_is_not_the_owner():
    note_owner()
    lock()
    write_json(OWNER, read_json(OWNER) | {"pid": 1})
    assert remove_stale_locks()

"""Work on many items: wherever it is done, results come in order, and warnings and errors arrive."""

import os
import threading
import warnings

import pytest

from slimline.data import side_by_side
from slimline.data.side_by_side import BLOCK, map_in_order
from slimline.errors import SlimlineError

N = 5 * BLOCK + 3


def place():
    return os.getpid(), threading.get_ident()


def run(threads=2, items=range(N)):
    """The numbers that came back, and the places of those after the first block."""
    results = list(map_in_order(lambda item: (item, place()), items, threads=threads, what="test"))
    return [item for item, _ in results], {where for _, where in results[BLOCK:]}


@pytest.fixture
def takes(monkeypatch):
    """Sets how long each item of the first block takes, by a clock that nobody else asks."""

    def take(*seconds):
        readings = iter([now for item_s in seconds for now in (0.0, item_s)])
        monkeypatch.setattr(side_by_side.time, "perf_counter", lambda: next(readings))

    return take


def test_small_items_of_little_work_are_done_here(takes):
    takes(*[1e-5] * BLOCK)
    assert run() == (list(range(N)), {place()})


def test_one_thread_does_all_itself(takes):
    takes(*[1.0] * BLOCK)
    assert run(threads=1) == (list(range(N)), {place()})


def test_a_few_large_items_go_to_threads(takes):
    takes(*[1e-3] * BLOCK)
    numbers, places = run()
    assert numbers == list(range(N))
    assert place() not in places
    assert {pid for pid, _ in places} == {os.getpid()}


def test_much_work_goes_to_processes(takes, monkeypatch):
    monkeypatch.setattr(side_by_side, "LEAST_TOTAL_S", 0.01)
    takes(*[1e-4] * BLOCK)
    numbers, places = run()
    assert numbers == list(range(N))
    assert os.getpid() not in {pid for pid, _ in places}


def test_a_slow_first_item_says_nothing_about_the_others(takes):
    """It imports what the others use."""
    takes(0.5, *[1e-5] * (BLOCK - 1))
    assert run()[1] == {place()}


def test_fewer_items_than_a_block_and_none():
    assert run(items=range(3)) == ([0, 1, 2], set())
    assert run(items=[]) == ([], set())


def test_much_work_goes_to_threads_where_processes_are_no_copies(takes, monkeypatch):
    monkeypatch.setattr(side_by_side.sys, "platform", "darwin")
    takes(*[0.1] * BLOCK)
    assert {pid for pid, _ in run()[1]} == {os.getpid()}


@pytest.fixture
def by_processes(takes, monkeypatch):
    monkeypatch.setattr(side_by_side, "LEAST_TOTAL_S", 0.01)
    takes(*[1e-4] * BLOCK)


def test_warnings_of_processes_arrive(by_processes):
    def work(item):
        if item == BLOCK + 1:
            warnings.warn("a strange image", stacklevel=1)
        return item

    with pytest.warns(UserWarning, match="a strange image"):
        assert list(map_in_order(work, range(N), threads=2, what="test")) == list(range(N))


def test_errors_of_processes_arrive_whole(by_processes):
    def work(item):
        if item == N - 1:
            raise SlimlineError("It changed.", where=str(item), next_step="run again")
        return item

    with pytest.raises(SlimlineError) as error:
        list(map_in_order(work, range(N), threads=2, what="test"))
    assert (error.value.what, error.value.where, error.value.next_step) == ("It changed.", str(N - 1), "run again")


def test_processes_end_with_the_reader(by_processes):
    results = map_in_order(lambda item: os.getpid(), range(N), threads=2, what="test")
    pids = {next(results) for _ in range(BLOCK + 1)} - {os.getpid()}
    results.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

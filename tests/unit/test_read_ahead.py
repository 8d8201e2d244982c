"""Images read by threads come as those read directly do; errors and ends pass through."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from slimline.training import read_ahead as module


class Numbers:
    """A dataset whose image in a row is that row's number; notes what is read, and may fail."""

    stats = SimpleNamespace(image_shape=(1, 1, 1))

    def __init__(self, bad_row=None):
        self.bad_row, self.seen = bad_row, []

    def read(self, rows):
        self.seen.append(rows.tolist())
        if self.bad_row in rows:
            raise ZeroDivisionError(f"row {self.bad_row}")
        return rows.astype(np.uint8).reshape(-1, 1, 1, 1)


def read_ahead(data, parts, workers, beside=lambda part, rows: rows):
    return module.read_ahead(data, parts, workers, pinned=False, beside=beside)


def parts(n_parts, n_rows=6):
    return [(f"part {n}", np.arange(n * n_rows, (n + 1) * n_rows)) for n in range(n_parts)]


def workers_alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.mark.parametrize("workers", [1, 2, 4, 100])
def test_order_and_images_are_the_same_whatever_the_number_of_workers(workers):
    found = list(read_ahead(Numbers(), parts(5), workers))
    assert [part for part, _, _ in found] == [f"part {n}" for n in range(5)]
    for (_, expected), (_, images, rows) in zip(parts(5), found, strict=True):
        assert rows.tolist() == expected.tolist()
        assert images.flatten().tolist() == expected.tolist()


def test_a_batch_is_cut_among_the_workers_and_no_more_than_two_are_taken_up():
    data, taken = Numbers(), []

    def noted():
        for part in parts(10):
            taken.append(part)
            yield part

    reading = read_ahead(data, noted(), 3)
    next(reading)
    assert len(taken) == 2
    assert all(run in data.seen for run in ([0, 1], [2, 3], [4, 5]))
    reading.close()


def test_parts_without_rows_are_passed_on():
    found = list(read_ahead(Numbers(), [("none", np.arange(0)), *parts(1)], 2))
    assert [len(images) for _, images, _ in found] == [0, 6]


def test_an_error_of_a_worker_is_raised_where_its_batch_would_come():
    reading = read_ahead(Numbers(bad_row=10), parts(5), 2)
    assert next(reading)[0] == "part 0"
    with pytest.raises(ZeroDivisionError, match="row 10"):
        next(reading)
    assert not workers_alive()


def test_an_error_in_what_is_to_be_read_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(Numbers(), ((1 // n, np.arange(2)) for n in (1, 1, 0)), 2))
    assert not workers_alive()


def test_closing_ends_the_workers():
    data = Numbers()
    reading = read_ahead(data, parts(1000), 2)
    next(reading)
    assert workers_alive()
    reading.close()
    assert not workers_alive()
    assert len(data.seen) <= 4
    assert list(reading) == []


def test_what_comes_beside_is_made_by_a_worker_and_its_errors_come_with_its_batch():
    def beside(part, rows):
        if part == "part 1":
            raise ZeroDivisionError(part)
        return part, rows.sum(), threading.current_thread().name

    reading = read_ahead(Numbers(), parts(3), 1, beside)
    part, _, (made_for, total, worker) = next(reading)
    assert (part, total) == (made_for, 15)
    assert worker.startswith("read-ahead")
    with pytest.raises(ZeroDivisionError, match="part 1"):
        next(reading)
    assert not workers_alive()

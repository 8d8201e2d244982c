"""How much else a machine does during a measurement."""

import os
from types import SimpleNamespace

import pytest

from slimline.evaluation import other_work
from slimline.evaluation.other_work import OtherWork

WORKER = 7


class Machine:
    """Clocks that go as far as a test says; what is done before a measurement begins is its own affair."""

    def __init__(self):
        self.s, self.busy_s, self.ours_s = 0.0, 1_000.0, {os.getpid(): 20.0, WORKER: 300.0}

    def monotonic(self):
        return self.s

    def cpu_times(self):
        return SimpleNamespace(user=self.busy_s - 2, nice=0.0, system=1.0, idle=5e6, iowait=9e6, steal=1.0)

    def Process(self, pid):  # noqa: N802 (psutil's name)
        return SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=self.ours_s[pid] - 1, system=1.0))


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(other_work, "time", machine)
    monkeypatch.setattr(other_work, "psutil", machine)
    return machine


@pytest.mark.parametrize(("busy_s", "ours_s", "worker_s", "cores"), [(7.0, 1.0, 3.0, 1.5), (3.9, 1.0, 3.0, 0.0)])
def test_what_this_measurement_does_not_use_is_used_by_others(machine, busy_s, ours_s, worker_s, cores):
    work = OtherWork([WORKER])
    machine.s += 2.0
    machine.busy_s += busy_s
    machine.ours_s[os.getpid()] += ours_s
    machine.ours_s[WORKER] += worker_s
    assert work.cores() == pytest.approx(cores)

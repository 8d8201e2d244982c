"""Interrupts of a launcher, and the announced end of a rank that only starts."""

import signal
import subprocess
import sys

import pytest

from slimline.launch import begin_rank
from slimline.launch.signals import interrupts_ignored, interrupts_raised

RAISED = [signal.SIGTERM, signal.SIGHUP]
ANNOUNCED_AT_THE_START = """
import signal
signal.raise_signal(signal.SIGUSR2)
from slimline.training.stop import StoppedError, stop_at_once
try:
    stop_at_once()
except StoppedError as stopped:
    assert stopped.announced and not stopped.saved
    print("stopped")
"""


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.signal(number, signal.SIG_DFL) for number in RAISED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", RAISED)
def test_an_interrupt_raises_what_a_shell_calls_it(number):
    with pytest.raises(SystemExit) as caught, interrupts_raised():
        signal.raise_signal(number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize("number", RAISED)
def test_what_nohup_has_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with interrupts_raised():
        signal.raise_signal(number)
    assert signal.getsignal(number) == signal.SIG_IGN


def test_on_the_way_out_nothing_interrupts():
    with interrupts_raised(), interrupts_ignored():
        for number in RAISED:
            signal.raise_signal(number)


def test_an_end_announced_while_a_rank_starts_is_answered_when_it_can_be():
    held = [sys.executable, "-I", "-S", begin_rank.__file__, "-c", ANNOUNCED_AT_THE_START]
    assert subprocess.run(held, capture_output=True, text=True, check=True).stdout == "stopped\n"
    unheld = subprocess.run([sys.executable, "-c", ANNOUNCED_AT_THE_START])
    assert unheld.returncode == -signal.SIGUSR2

"""Interrupts of a launcher."""

import signal

import pytest

from slimline.launch.signals import interrupts_ignored, interrupts_raised

RAISED = [signal.SIGTERM, signal.SIGHUP]


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

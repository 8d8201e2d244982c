"""What a user sees on a terminal while a training runs."""

import os
import pty
import re
import subprocess

from pipeline.clones import TINY


def test_a_training_shows_on_the_terminal_how_far_it_is(clone):
    config = clone.write_config("tiny", **TINY | {"train": TINY["train"] | {"epochs": 60}})
    command = clone.command("results/tiny/dense/seed-0/job.json", "--cores", 2, *config)
    ours, theirs = pty.openpty()
    environment = clone.environment(TERM="xterm", COLUMNS="200")
    with subprocess.Popen(
        command, cwd=clone.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        shown = read_until_closed(ours)
    assert run.returncode == 0, shown
    places = [
        int(epoch) for epoch in re.findall(r"running +train dense seed 0 \(\d+ s\): epoch (\d+) of 60, step", shown)
    ]
    assert places, shown
    assert places == sorted(places)
    # The line is written over again, and gone when the job has ended.
    assert "\r" in shown
    assert re.search(r"\[\d+/\d+\] +train", shown.replace("\033[K", "")), shown


def read_until_closed(terminal):
    """All that was written to a terminal; it is closed when nobody holds its other end any more."""
    shown = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:
            chunk = b""
        if not chunk:
            os.close(terminal)
            return shown.decode()
        shown += chunk

"""Starts a rank's Python with the announcement of the job's end held back until the rank can answer it.

Run as a script, with the arguments of a Python. Until training has its handlers, which lasts as long as the imports
do, SIGUSR2 would end the process, and the job would count as failed. The mask outlives the exec; the rank lifts it.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2,))
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])

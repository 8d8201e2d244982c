"""A process of its own that runs one artifact and times it: `python -m slimline.evaluation.latency_worker`.

It holds one session and nothing else, so that no other model warms its caches or takes its threads between runs. Lines
of JSON come on standard input and go on standard output: first the runtime and its version or
`{"error": …}`, then one answer for each request.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from slimline.errors import SlimlineError
from slimline.models.session import Session, open_session
from slimline.models.target import Target


def time_runs(
    session: Session, images: npt.NDArray[np.uint8], *, timed: int, untimed: int, settle_ms: float
) -> dict[str, list[int]]:
    """Wall and CPU time in nanoseconds of each of `timed` runs, after others that are not timed.

    Args:
        session: from `open_session`.
        images: uint8 [batch, C, H, W].
        timed: runs to time.
        untimed: least number of runs before them.
        settle_ms: least time that those take.
    """
    settled_ns = time.perf_counter_ns() + settle_ms * 1e6
    while untimed > 0 or time.perf_counter_ns() < settled_ns:
        session.run(images)
        untimed -= 1
    wall_ns, cpu_ns = [], []
    for _ in range(timed):
        cpu_start = time.process_time_ns()
        wall_start = time.perf_counter_ns()
        session.run(images)
        wall_ns.append(time.perf_counter_ns() - wall_start)
        cpu_ns.append(time.process_time_ns() - cpu_start)
    return {"wall_ns": wall_ns, "cpu_ns": cpu_ns}


def serve(conditions: dict[str, Any], requests: Iterable[str], answers: TextIO) -> None:
    """Opens the session that `conditions` ask for and answers each request until there are no more.

    Args:
        conditions: `onnx` (path), `target` (runtime and precision), `threads`, `shape`
            ([batch, C, H, W]) and `seed` of the random images.
        requests: lines such as `{"timed": 40, "untimed": 1, "settle_ms": 5}`.
        answers: gets one line for each.
    """

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    images = np.random.default_rng(conditions["seed"]).integers(0, 256, conditions["shape"], dtype=np.uint8)
    try:
        session = open_session(Path(conditions["onnx"]), conditions["threads"], Target(**conditions["target"]))
    except SlimlineError as error:
        answer({"error": str(error)})
        return
    runtime, precision = session.target.runtime, session.target.precision
    version = session.version
    answer({"runtime": runtime, "precision": precision, "runtime_version": version, "provider": session.provider})
    for request in requests:
        try:
            answer(time_runs(session, images, **json.loads(request)))
        except Exception as error:  # whatever the runtime raises belongs in the parent's message
            answer({"error": str(error)})


if __name__ == "__main__":
    gc.disable()  # a collection in the middle of a run of 50 microseconds would be all of its p99
    serve(json.loads(sys.argv[1]), sys.stdin, sys.stdout)

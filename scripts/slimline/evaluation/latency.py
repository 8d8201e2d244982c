"""How long the shipped file takes, in turns with the dense model of the same seed and with its own parent.

A latency alone says as much about the machine and its other guests as about the model. The ratio to a baseline that
was timed in turns with it holds on a busy machine too; the tail (p99) does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from slimline.config.evaluation import LatencyConfig
from slimline.config.variants import DENSE
from slimline.cpu import cpu_name
from slimline.errors import SlimlineError
from slimline.evaluation.latency_record import Baseline, FloatBaseline, LatencyRecord
from slimline.evaluation.other_work import OtherWork
from slimline.evaluation.record_base import write_record
from slimline.files import read_json
from slimline.models.target import Target

# A process that waited for its turn finds cold caches and a slow clock; the runs of its first moments are not timed.
SETTLE_MS = 5.0
SETTLING_RUNS = 1
ROUNDS = 25
IMAGE_SEED = 0
# All timed runs of the artifact and its references together are to fit in this, down to FEWEST_RUNS.
BUDGET_S = 60.0
FEWEST_RUNS = 100
STOP_TIMEOUT_S = 10
NS_PER_MS = 1e6
STDERR_TAIL = 2000


class Times(NamedTuple):
    """Wall and CPU time of each run in milliseconds, [runs]."""

    wall_ms: npt.NDArray[np.float64]
    cpu_ms: npt.NDArray[np.float64]


class Worker:
    """One artifact in a fresh process, in the runtime of `target`; see `latency_worker`."""

    def __init__(self, onnx: Path, target: Target, threads: int, shape: tuple[int, ...]) -> None:
        conditions = {
            "onnx": str(onnx), "target": asdict(target), "threads": threads, "shape": shape, "seed": IMAGE_SEED
        }  # fmt: skip
        self._onnx = onnx
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "slimline.evaluation.latency_worker", json.dumps(conditions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The worker ends when its input does; one that is stuck in a run is killed."""
        if kind is not None:
            self._process.kill()
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._stderr.close()

    def start(self) -> dict[str, Any]:
        """Waits until the session is open; the runtime, its version and its provider, by their names in the record."""
        return self._answer()

    def time(self, timed: int, *, untimed: int = SETTLING_RUNS, settle_ms: float = SETTLE_MS) -> Times:
        """Times `timed` runs after at least `untimed` others that take at least `settle_ms`."""
        assert self._process.stdin is not None
        try:
            request = {"timed": timed, "untimed": untimed, "settle_ms": settle_ms}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        answer = self._answer()
        return Times(np.array(answer["wall_ns"]) / NS_PER_MS, np.array(answer["cpu_ns"]) / NS_PER_MS)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SlimlineError("An artifact cannot be timed.", where=str(self._onnx), got=answer["error"])
        return answer

    def _died(self) -> SlimlineError:
        exit_code = self._process.wait()
        self._stderr.seek(0)
        tail = self._stderr.read().decode(errors="replace")[-STDERR_TAIL:].strip()
        return SlimlineError(
            "The process that times an artifact died.",
            where=str(self._onnx),
            got=f"exit code {exit_code}" + (f": {tail}" if tail else ""),
        )


def read_image_shape(stats: Path) -> tuple[int, int, int]:
    """Channels, height and width of the images of a prepared dataset, from its `stats.json`."""
    value = read_json(stats)
    return value["channels"], value["height"], value["width"]


@dataclass(frozen=True)
class References:
    """What an artifact is timed in turns with.

    Attributes:
        dense: the dense model's file.
        parent: name of the variant that the artifact was made of; None for `dense`.
        parent_onnx: its file, which may be that of `dense`; None for `dense`.
        dtype: type that the artifact was quantized to; None where it was not.
    """

    dense: Path
    parent: str | None = None
    parent_onnx: Path | None = None
    dtype: str | None = None

    @property
    def by_name(self) -> dict[str, Path]:
        """Each once: `dense` first, then the parent if it is another."""
        files = {DENSE: self.dense}
        if self.parent is not None and self.parent_onnx is not None:
            files.setdefault(self.parent, self.parent_onnx)
        return files

    def floats(self, target: Target) -> list[Target]:
        """How the parent is opened to be what an artifact for `target` would be in float, in the same runtime."""
        if self.dtype is None:
            return []
        in_bf16 = [Target("openvino", "bf16")] if self.dtype != "bf16" and target.runtime == "openvino" else []
        return [Target(target.runtime, "f32"), *(each for each in in_bf16 if _has_bf16())]


def measure_latency(
    onnx: Path,
    references: References,
    settings: LatencyConfig,
    image_shape: tuple[int, int, int],
    output: Path,
    variant: str,
    seed: int,
) -> None:
    """Times an artifact against the dense model and its own parent of the same seed and writes `latency.json`.

    A quantized one is timed against its parent in its own runtime as well, in each float precision that the CPU has:
    a runtime that is faster in float already is no merit of int8.

    Each has a process of its own. After the warm-ups they take turns in rounds, the references first and last. For
    `dense` both are the same file: the ratio is then an A/A measurement, whose distance from 1 is its own error.

    Args:
        onnx: the shipped file.
        references: the dense model's and the parent's, and what the artifact was quantized to.
        settings: batch size, threads and numbers of runs.
        image_shape: (C, H, W) of the random uint8 images.
        output: `latency.json`.
        variant: name for the record.
        seed: seed of the model, for the record.

    Raises:
        SlimlineError: one of them cannot be loaded or run, or its process died.
    """
    shape = (settings.batch_size, *image_shape)
    target, files = Target.read(onnx), references.by_name
    as_shipped = {name: (path, Target.read(path)) for name, path in files.items()}
    parent = references.parent
    floats = [(files[parent], each) for each in references.floats(target)] if parent is not None else []
    opened = list(dict.fromkeys([*as_shipped.values(), *floats]))  # each once: often the parent is in that runtime
    with ExitStack() as stack:
        artifact, *others = [
            stack.enter_context(Worker(*each, settings.threads, shape)) for each in [(onnx, target), *opened]
        ]
        runtime = artifact.start()
        for other in others:
            other.start()
        other_work = OtherWork([worker.pid for worker in (artifact, *others)])
        artifact_rounds, others_rounds = _take_turns(artifact, others, settings)
        other_cores = other_work.cores()
    rounds = dict(zip(opened, others_rounds, strict=True))
    rounds_of = {name: rounds[each] for name, each in as_shipped.items()}
    in_float = [
        _summarise_float(parent, each.precision, artifact_rounds, rounds[path, each])
        for path, each in floats
        if parent is not None
    ]
    wall_ms = np.concatenate([times.wall_ms for times in artifact_rounds])
    p50_ms, p95_ms, p99_ms = (float(value) for value in np.percentile(wall_ms, [50, 95, 99]))
    record = LatencyRecord(
        format=1,
        variant=variant,
        seed=seed,
        **runtime,
        device=cpu_name(),
        threads=settings.threads,
        batch_size=settings.batch_size,
        warmup_runs=settings.warmup_runs,
        timed_runs=len(wall_ms),
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        mean_ms=float(wall_ms.mean()),
        cpu_p50_ms=float(np.median(np.concatenate([times.cpu_ms for times in artifact_rounds]))),
        other_cores=other_cores,
        baseline=_summarise(DENSE, rounds_of[DENSE]),
        ratio_p50=_ratio(artifact_rounds, rounds_of[DENSE]),
        parent=_summarise(parent, rounds_of[parent]) if parent is not None else None,
        ratio_parent_p50=_ratio(artifact_rounds, rounds_of[parent]) if parent is not None else None,
        floats=in_float,
        ratio_float_p50=max((each.ratio_p50 for each in in_float), default=None),
    )
    write_record(output, record)


def _summarise(variant: str, rounds: list[Times]) -> Baseline:
    """Median over all rounds, and how far the last round's is from the first's."""
    first_ms, last_ms = (float(np.median(rounds[index].wall_ms)) for index in (0, -1))
    p50_ms = float(np.median(np.concatenate([times.wall_ms for times in rounds])))
    return Baseline(variant=variant, p50_ms=p50_ms, drift=last_ms / first_ms - 1)


def _summarise_float(variant: str, precision: str, artifact_rounds: list[Times], rounds: list[Times]) -> FloatBaseline:
    summary = _summarise(variant, rounds).model_dump()
    return FloatBaseline(**summary, precision=precision, ratio_p50=_ratio(artifact_rounds, rounds))


def _has_bf16() -> bool:
    from slimline.models.openvino_session import has_bf16  # not where no file is for OpenVINO: it takes half a second

    return has_bf16()


def _ratio(artifact_rounds: list[Times], baseline_rounds: list[Times]) -> float:
    """The median over the rounds of the artifact's median over that of the baseline just before and after.

    Where a neighbour on the machine comes and goes, the medians of all runs of either fall into its busy or its quiet
    time by chance, and their quotient with them. The quotient of a moment does not.
    """
    artifact_ms, baseline_ms = (
        np.array([np.median(times.wall_ms) for times in rounds]) for rounds in (artifact_rounds, baseline_rounds)
    )
    return float(np.median(artifact_ms / np.sqrt(baseline_ms[:-1] * baseline_ms[1:])))


def _take_turns(
    artifact: Worker, references: Sequence[Worker], settings: LatencyConfig
) -> tuple[list[Times], list[list[Times]]]:
    """Warm-ups of all, then ROUNDS rounds of the artifact between ROUNDS + 1 of each reference."""
    # The last of the warm-ups are timed as well: they tell how many runs fit in the budget.
    warmups = [worker.time(1, untimed=settings.warmup_runs - 1, settle_ms=0) for worker in (*references, artifact)]
    run_s = sum(float(times.wall_ms[0]) for times in warmups) / 1000
    timed_runs = runs_within(BUDGET_S, run_s, settings.timed_runs)
    sizes = [timed_runs // ROUNDS + (index < timed_runs % ROUNDS) for index in range(ROUNDS)]
    references_rounds, artifact_rounds = [[reference.time(sizes[0])] for reference in references], []
    for size in sizes:
        artifact_rounds.append(artifact.time(size))
        for reference, rounds in zip(references, references_rounds, strict=True):
            rounds.append(reference.time(size))
    return artifact_rounds, references_rounds


def runs_within(budget_s: float, run_s: float, wanted: int) -> int:
    """How many runs of `run_s` seconds fit in the budget: at most `wanted`, at least FEWEST_RUNS."""
    return max(FEWEST_RUNS, min(wanted, int(budget_s / run_s)))

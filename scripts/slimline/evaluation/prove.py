"""Proving a shipped file: reloaded in a fresh process, run on real images, held against what it is said to be."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict

from slimline.errors import NotSupportedError
from slimline.evaluation.proof import find_problems, problem
from slimline.evaluation.proof_record import Facts, Problem, Proof
from slimline.evaluation.record_base import read_record, write_record
from slimline.files import read_json

log = logging.getLogger("slimline")

# How a runtime dies of a file; other signals come from outside.
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGBUS}
STDERR_TAIL = 2000
# Without which there is nothing to measure.
FATAL = ("wrong-batch",)


class _Parity(BaseModel):
    model_config = ConfigDict(frozen=True)

    tolerance: float | None


class _Claim(BaseModel):
    """The part of `export.json` that is held against the file."""

    model_config = ConfigDict(frozen=True)

    dtype: str
    size_bytes: int
    parity: _Parity


def prove(
    onnx: Path, report: Path, reference: Path, parent_report: Path | None, output: Path, *, variant: str, seed: int
) -> None:
    """Writes `proof.json`: the facts of a file, and what is wrong with it.

    Args:
        onnx: the file that ships.
        report: its `export.json`.
        reference: real images, and the logits that PyTorch gives for them.
        parent_report: `export.json` of the float file that a quantized one was made of; None for others.
        output: `proof.json`.
        variant: for the record.
        seed: likewise.

    Raises:
        NotSupportedError: the file cannot be run in batches of any size, or a batch changes its answers.
    """
    claim = read_record(report, _Claim)
    float_size_bytes = read_record(parent_report, _Claim).size_bytes if parent_report else None
    facts = establish_afresh(onnx, reference, output.parent)
    problems = find_problems(facts, claim.dtype, claim.parity.tolerance, float_size_bytes)
    for found in problems:
        log.warning("%s: %s", found.code, found.message)
        if found.code in FATAL:
            raise _unusable(onnx, found)
    proof = Proof(
        **facts.model_dump(),
        format=1,
        variant=variant,
        seed=seed,
        dtype=claim.dtype,
        tolerance=claim.parity.tolerance,
        float_size_bytes=float_size_bytes,
        problems=problems,
    )
    write_record(output, proof)


def establish_afresh(onnx: Path, reference: Path, folder: Path) -> Facts:
    """The facts of a file, from a process that knows nothing of how it was made.

    Args:
        onnx: the file.
        reference: images and PyTorch's logits.
        folder: where a temporary folder may be made.

    Raises:
        NotSupportedError: the file cannot be loaded or run, or the runtime dies of it.
        RuntimeError: the process failed for another reason.
    """
    with TemporaryDirectory(dir=folder, prefix=".proof-") as temporary:
        output = Path(temporary, "facts.json")
        paths = {"onnx": onnx, "reference": reference, "output": output}
        task = json.dumps({name: str(path) for name, path in paths.items()})
        command = [sys.executable, "-m", "slimline.evaluation.proof_worker", task]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        found = read_json(output) if output.exists() else None
    if found is None:
        tail = done.stderr.decode(errors="replace")[-STDERR_TAIL:].strip()
        if -done.returncode in CRASHES:
            how = signal.Signals(-done.returncode).name
            raise _unusable(onnx, problem("crashed", f"the runtime dies of the file ({how})"))
        raise RuntimeError(f"The process that proves {onnx} ended with exit code {done.returncode}:\n{tail}")
    if "problem" in found:
        raise _unusable(onnx, Problem.model_validate(found["problem"]))
    return Facts.model_validate(found["facts"])


def _unusable(onnx: Path, found: Problem) -> NotSupportedError:
    return NotSupportedError(
        "The exported file cannot be used.",
        where=str(onnx),
        got=found.message,
        next_step="leave this variant out, or compress the model another way",
        code=found.code,
    )

"""A process of its own that finds out what a shipped file is: `python -m slimline.evaluation.proof_worker`.

It gets paths and nothing else of what made the file. The facts, or the one problem that keeps it from being run, come
as JSON in a file of their own: runtimes may print what they like, and may die.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimline.errors import SlimlineError
from slimline.evaluation.graph import read_graph
from slimline.evaluation.proof import problem
from slimline.evaluation.proof_record import Facts, Problem
from slimline.evaluation.statistics import tied_share, top1
from slimline.failed import is_of_the_machine
from slimline.files import sha256_file, write_json
from slimline.models.onnx_file import load_reference
from slimline.models.session import Session, open_session

Logits = npt.NDArray[np.float32]
SMALL_BATCHES = (1, 2, 7)
# As many images as come out even with each size of batch.
N_SMALL = 14
THREADS = 1


def establish(onnx: Path, reference: Path) -> Facts | Problem:
    """The facts of a file, or why there are none.

    Args:
        onnx: the file.
        reference: images and PyTorch's logits, see `save_reference`.
    """
    try:
        session = open_session(onnx, THREADS)
    except SlimlineError as error:
        if error.__cause__ is not None and is_of_the_machine(error.__cause__):
            raise
        return problem("not-loaded", f"{error.what.removesuffix('.')}: {error.got}".partition("\n")[0])
    images, expected = load_reference(reference)
    answers = _in_batches(session, images)
    if isinstance(answers, Problem):
        return answers
    logits = answers[len(images)]
    if not all(np.isfinite(values).all() for values in answers.values()):
        return problem("not-finite", f"logits of {len(images)} training images are NaN or infinite")
    return Facts(
        **asdict(read_graph(onnx)),
        **asdict(session.execution()),
        onnx_sha256=sha256_file(onnx),
        size_bytes=onnx.stat().st_size,
        n_images=len(images),
        batch_sizes=sorted(answers),
        batch_difference=max(_difference(values, logits[: len(values)]) for values in answers.values()),
        max_abs=float(np.abs(logits - expected).max()),
        relative_error=_spread(_centred(logits) - _centred(expected)) / (_spread(_centred(expected)) or 1.0),
        argmax_agreement=float((logits.argmax(1) == expected.argmax(1)).mean()),
        tied_share=tied_share(top1(logits)[np.newaxis]),
    )


def _in_batches(session: Session, images: npt.NDArray[np.uint8]) -> dict[int, Logits] | Problem:
    """Logits of the first images by size of batch, and of all of them in one; or what went wrong."""
    some = images[:N_SMALL]
    answers: dict[int, Logits] = {}
    errors: dict[int, str] = {}
    for size in sorted({*(size for size in SMALL_BATCHES if size < len(images)), len(images)}):
        of_size = images if size == len(images) else some
        try:
            parts = [_run(session, of_size[start : start + size]) for start in range(0, len(of_size), size)]
            answers[size] = np.concatenate(parts)
        except Exception as error:  # the runtime's exceptions have no common base of their own
            if is_of_the_machine(error):
                raise
            errors[size] = str(error).partition("\n")[0]
    if not answers:
        return problem("does-not-run", f"the file cannot be run on the dataset's images: {errors[len(images)]}")
    if errors:
        able, unable = (", ".join(map(str, sorted(sizes))) for sizes in (answers, errors))
        first = next(iter(errors.values()))
        return problem("wrong-batch", f"the file takes batches of {able} images, and fails with {unable}: {first}")
    return answers


def _run(session: Session, images: npt.NDArray[np.uint8]) -> Logits:
    logits = session.run(images)
    if len(logits) != len(images):
        raise ValueError(f"it gives {len(logits)} rows for {len(images)} images")
    return np.asarray(logits, dtype=np.float32)


def _difference(some: Logits, others: Logits) -> float:
    """Largest difference over the spread of the logits, or as it is where they have none."""
    return float(np.abs(some - others).max()) / (_spread(_centred(others)) or 1.0)


def _centred(logits: Logits) -> Logits:
    """Without the mean over classes, which no softmax sees."""
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def _spread(values: Logits) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    found = establish(Path(task["onnx"]), Path(task["reference"]))
    key = "problem" if isinstance(found, Problem) else "facts"
    write_json(Path(task["output"]), {key: found.model_dump(mode="json")})

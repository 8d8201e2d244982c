"""Scoring the file that ships on the whole test split, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimline.data.prepared import PreparedDataset, Split
from slimline.errors import NotSupportedError, SlimlineError
from slimline.evaluation.prediction_file import Predictions, write_predictions
from slimline.failed import is_of_the_machine
from slimline.models.session import Session, open_session


def predict(onnx: Path, prepared: Path, output: Path, split: Split, batch_size: int, threads: int) -> None:
    """Writes the logits of every image of a split, from the artifact that ships.

    Equal files, batch size and threads give equal bytes.

    Args:
        onnx: the shipped file.
        prepared: folder of the prepared dataset.
        output: `predictions.parquet`.
        split: `test`, or `validation` for choices that the test split must have no part in.
        batch_size: images per run.
        threads: threads of the runtime.

    Raises:
        SlimlineError: the split is empty, or the model cannot be loaded or answers with another number of classes.
        NotSupportedError: the runtime fails on images, or the model answers with NaN or infinity.
    """
    dataset = PreparedDataset.open(prepared)
    rows = dataset.rows(split)
    if len(rows) == 0:
        raise SlimlineError(f"The {split} split has no images, so nothing can be measured.", where=str(prepared))
    classes = dataset.stats.num_classes
    session = open_session(onnx, threads)
    logits = np.empty((len(rows), classes), dtype=np.float32)
    for start in range(0, len(rows), batch_size):
        images = dataset.read(rows[start : start + batch_size])
        logits[start : start + len(images)] = _run(session, images, classes, onnx)
    predictions = Predictions(dataset.sample_ids(rows), dataset.labels[rows], logits)
    _refuse_non_finite(predictions, onnx)
    write_predictions(output, predictions)


def _run(session: Session, images: npt.NDArray[np.uint8], classes: int, onnx: Path) -> npt.NDArray[np.float32]:
    """Logits [n, classes] of one batch [n, C, H, W]."""
    try:
        logits = session.run(images)
    except Exception as error:  # the runtime's exceptions have no common base of their own
        if is_of_the_machine(error):
            raise
        raise NotSupportedError(
            "A model fails on images of the dataset.",
            where=str(onnx),
            got=str(error),
            expected=f"images of shape [batch, {', '.join(map(str, images.shape[1:]))}] to be accepted",
            code="does-not-run",
        ) from error
    if logits.shape != (len(images), classes):
        raise SlimlineError(
            "A model answers with another number of classes than the dataset has.",
            where=str(onnx),
            got=f"logits of shape {logits.shape} for {len(images)} images",
            expected=f"({len(images)}, {classes})",
        )
    return np.asarray(logits, dtype=np.float32)


def _refuse_non_finite(predictions: Predictions, onnx: Path) -> None:
    """NaN compares false with everything, so it would count as just another wrong answer."""
    broken = np.flatnonzero(~np.isfinite(predictions.logits).all(axis=1))
    if len(broken):
        raise NotSupportedError(
            "A model answers with NaN or infinity.",
            where=str(onnx),
            got=f"{len(broken)} of {len(predictions.logits)} images, first {predictions.sample_ids[broken[0]]}",
            expected="finite logits",
            next_step="look for a diverged training in history.jsonl, or for a failed quantization in export.json",
            code="not-finite",
        )

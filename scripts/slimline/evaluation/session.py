"""Opening the file that ships in ONNX Runtime, under fixed conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from slimline.errors import SlimlineError

PROVIDER = "CPUExecutionProvider"
INPUT = "images"
OUTPUT = "logits"
ERRORS_ONLY = 3


def open_session(onnx: Path, threads: int) -> Any:
    """An inference session on the CPU with a fixed number of threads.

    The same file, threads and batch give the same logits to the bit.

    Args:
        onnx: a graph from `images`, uint8 [batch, C, H, W], to `logits`, float32 [batch, classes].
        threads: threads that work on one operator; operators run one after the other.

    Raises:
        SlimlineError: the runtime cannot load the file, or its input or output is another.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(onnx), options, providers=[PROVIDER])
    except Exception as error:  # the runtime's exceptions have no common base of their own
        raise SlimlineError(
            "ONNX Runtime cannot load a model.", where=str(onnx), got=str(error), next_step="export it again"
        ) from error
    _check_interface(session, onnx)
    return session


def _check_interface(session: Any, onnx: Path) -> None:
    """Refuses a graph that would take or give something else than a shipped one."""
    inputs = [(item.name, item.type, len(item.shape)) for item in session.get_inputs()]
    outputs = [(item.name, item.type, len(item.shape)) for item in session.get_outputs()]
    if inputs != [(INPUT, "tensor(uint8)", 4)] or outputs != [(OUTPUT, "tensor(float)", 2)]:
        raise SlimlineError(
            "A model does not have the input and output of a shipped one.",
            where=str(onnx),
            got=f"inputs {inputs}, outputs {outputs}",
            expected=f"`{INPUT}` uint8 [batch, C, H, W] and `{OUTPUT}` float32 [batch, classes]",
        )

"""Opening the file that ships in the runtime that it names, under fixed conditions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from slimline.errors import SlimlineError
from slimline.models.target import Target

PROVIDER = "CPUExecutionProvider"
INPUT, OUTPUT = "images", "logits"
INTERFACE = ([(INPUT, "uint8", 4)], [(OUTPUT, "float32", 2)])  # name, type and rank of inputs and outputs
ERRORS_ONLY = 3
# What ONNX Runtime calls convolutions and products of integers; sums of integers alone make nothing faster.
INTEGER_OPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "QGemm")

Endpoint = tuple[str, str, int]


@dataclass(frozen=True)
class Execution:
    """What a runtime executes, after its own optimisation: what int8 really runs as int8.

    Attributes:
        operators: number of each operator, by the runtime's own names.
        integer_operators: number of those that compute in integers.
        fused_operators: number of those that do the work of several of the file's.
    """

    operators: dict[str, int]
    integer_operators: int
    fused_operators: int


class Session(Protocol):
    """A model that is ready to run on the CPU, with a fixed number of threads.

    Attributes:
        target: the runtime, and the precision that it was told.
        version: version of the runtime.
        provider: what in the runtime executes the graph.
    """

    target: Target
    version: str
    provider: str

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits [batch, k] of images [batch, c, h, w]."""

    def execution(self) -> Execution:
        """What the runtime executes."""


def open_session(path: Path, threads: int, target: Target | None = None) -> Session:
    """The model in a file, ready to run; the same file, threads and batch give the same logits to the bit.

    Args:
        path: a graph from `images`, uint8 [batch, c, h, w], to `logits`, float32 [batch, k].
        threads: threads that work on one operator; operators run one after the other.
        target: runtime and precision; those that the file names where None.

    Raises:
        SlimlineError: the runtime cannot load the file, its input or output is another, or this CPU does not have
            the precision.
    """
    target = target or Target.read(path)
    if target.runtime == "openvino":
        from slimline.models.openvino_session import OpenVinoSession  # takes half a second, and not all files need it

        return OpenVinoSession(path, threads, target)
    return OnnxRuntimeSession(path, threads, target)


class OnnxRuntimeSession:
    """See `Session`."""

    def __init__(self, path: Path, threads: int, target: Target) -> None:
        self.target, self.version, self.provider = target, onnxruntime.__version__, PROVIDER
        self._path = path
        options = _options(threads)
        options.use_deterministic_compute = True
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
        except Exception as error:  # the runtime's exceptions have no common base of their own
            raise cannot_load("ONNX Runtime", path, error) from error
        check_interface(path, _endpoints(self._session.get_inputs()), _endpoints(self._session.get_outputs()))

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Session`."""
        logits: npt.NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: images})[0]
        return logits

    def execution(self) -> Execution:
        """See `Session`; the runtime tells it in a graph that it writes."""
        with TemporaryDirectory() as folder:
            optimised = Path(folder, "optimised.onnx")
            options = _options(1)
            options.optimized_model_filepath = str(optimised)
            onnxruntime.InferenceSession(str(self._path), options, providers=[PROVIDER])
            nodes = list(onnx.load(optimised).graph.node)
        counts = Counter(node.op_type for node in nodes)
        return Execution(
            operators=dict(sorted(counts.items())),
            integer_operators=sum(counts[name] for name in INTEGER_OPERATORS),
            fused_operators=sum(_is_fused(node) for node in nodes),
        )


def check_interface(path: Path, inputs: list[Endpoint], outputs: list[Endpoint]) -> None:
    """Refuses a graph that would take or give something else than a shipped one."""
    if (inputs, outputs) != INTERFACE:
        raise SlimlineError(
            "A model does not have the input and output of a shipped one.",
            where=str(path),
            got=f"inputs {inputs}, outputs {outputs}",
            expected=f"`{INPUT}` uint8 [batch, C, H, W] and `{OUTPUT}` float32 [batch, classes]",
        )


def cannot_load(runtime: str, path: Path, error: Exception) -> SlimlineError:
    """The error for a file that a runtime refuses."""
    return SlimlineError(
        f"{runtime} cannot load a model.", where=str(path), got=str(error).strip(), next_step="export it again"
    )


def _is_fused(node: onnx.NodeProto) -> bool:
    """An integer operator is one with its q/dq nodes; a blocked convolution may have an activation in it."""
    is_fused = node.op_type in INTEGER_OPERATORS or "Fused" in node.op_type
    return is_fused or any(attribute.name == "activation" for attribute in node.attribute)


def _endpoints(arguments: list[Any]) -> list[Endpoint]:
    kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
    return [(item.name, kinds.get(item.type, item.type), len(item.shape)) for item in arguments]


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = ERRORS_ONLY  # that a graph it writes fits this machine alone is known
    return options

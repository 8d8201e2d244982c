"""OpenVINO as a runtime of shipped files. It reads ONNX directly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimline.errors import NotSupportedError
from slimline.models.openvino_library import openvino
from slimline.models.session import INPUT, OUTPUT, Endpoint, Execution, cannot_load, check_interface
from slimline.models.target import Target

DEVICE = "CPU"
# Nodes of an executed graph that compute nothing.
PASSIVE = frozenset({"Const", "Input", "Output", "Parameter", "Result"})
# Those that carry the work; pooling and the like run in int8 as a consequence.
WORKING = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
INTEGERS = ("i8", "u8")


class OpenVinoSession:
    """See `slimline.models.session.Session`."""

    def __init__(self, path: Path, threads: int, target: Target) -> None:
        self.target, self.version, self.provider = target, openvino.__version__.split("-")[0], DEVICE
        core = openvino.Core()
        if target.precision == "bf16":
            refuse_without_bf16(str(path))
        try:
            self._model = core.compile_model(core.read_model(path), DEVICE, conditions(threads, target))
        except Exception as error:  # the runtime's exceptions are of many types
            raise cannot_load("OpenVINO", path, error) from error
        check_interface(path, _endpoints(self._model.inputs), _endpoints(self._model.outputs))
        self._request = self._model.create_infer_request()

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Session`; the logits are a copy, which the next run does not touch."""
        return np.asarray(self._request.infer({INPUT: images}, share_inputs=True)[OUTPUT])

    def execution(self) -> Execution:
        """See `Session`; names say in which precision an operator computes, such as `Convolution u8`."""
        layers = [_facts(layer) for layer in self._model.get_runtime_model().get_ordered_ops()]
        active = [facts for facts in layers if facts["layerType"] not in PASSIVE]
        counts = Counter(f"{facts['layerType']} {facts['runtimePrecision']}" for facts in active)
        return Execution(
            operators=dict(sorted(counts.items())),
            integer_operators=sum(counts[f"{kind} {precision}"] for kind in WORKING for precision in INTEGERS),
            fused_operators=sum("," in facts["originalLayersNames"] for facts in active),
        )


def conditions(threads: int, target: Target) -> dict[str, str]:
    """Properties of a compiled model that would otherwise depend on the machine.

    Without a hint, OpenVINO computes in bf16 wherever the CPU can, whatever is in the file.
    """
    return {
        "INFERENCE_PRECISION_HINT": target.precision,
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": "NO",
    }


def has_bf16() -> bool:
    """Whether this CPU has instructions for bf16, by what OpenVINO finds."""
    return "BF16" in openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


def refuse_without_bf16(where: str) -> None:
    """Makes sure that this CPU computes in bf16.

    Raises:
        NotSupportedError: it does not; the runtime would emulate it, or silently use f32.
    """
    if not has_bf16():
        capabilities = openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        raise NotSupportedError(
            "This CPU has no instructions for bf16.",
            where=where,
            got=f"a CPU with {', '.join(sorted(capabilities))}",
            expected="AVX512_BF16 or AMX",
            next_step="run on another machine, or quantize to int8",
            code="no-bf16",
        )


def _facts(layer: openvino.Node) -> dict[str, str]:
    facts = layer.get_rt_info()
    return {name: str(facts[name].value) for name in ("layerType", "runtimePrecision", "originalLayersNames")}


def _endpoints(ports: list[openvino.ConstOutput]) -> list[Endpoint]:
    return [(port.any_name, port.element_type.to_dtype().name, len(port.partial_shape)) for port in ports]

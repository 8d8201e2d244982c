"""Which runtime an ONNX file is meant for and in which precision it is run: the file itself says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import onnx

from slimline.config.runtime import Runtime
from slimline.errors import SlimlineError

Precision = Literal["f32", "bf16"]
RUNTIME_KEY, PRECISION_KEY = "slimline.runtime", "slimline.precision"


@dataclass(frozen=True)
class Target:
    """How a file is opened.

    Args:
        runtime: the library that executes it.
        precision: of what is not quantized.
    """

    runtime: Runtime = "onnxruntime"
    precision: Precision = "f32"

    def write(self, model: onnx.ModelProto) -> None:
        """Notes it among the properties of a model; the default needs no note."""
        for key, value, default in (
            (RUNTIME_KEY, self.runtime, Target.runtime),
            (PRECISION_KEY, self.precision, Target.precision),
        ):
            if value != default:
                model.metadata_props.add(key=key, value=value)

    @classmethod
    def read(cls, path: Path) -> Target:
        """What a file says of itself.

        Raises:
            SlimlineError: it names a runtime or a precision that is not known here, or it is no ONNX file.
        """
        try:
            properties = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
        except Exception as error:  # protobuf's errors are of a type that depends on its implementation
            raise SlimlineError(
                "A model cannot be read.", where=str(path), got=str(error), expected="an ONNX file",
                next_step="export it again",
            ) from error  # fmt: skip
        runtime, precision = properties.get(RUNTIME_KEY, cls.runtime), properties.get(PRECISION_KEY, cls.precision)
        for key, value, known in ((RUNTIME_KEY, runtime, Runtime), (PRECISION_KEY, precision, Precision)):
            if value not in get_args(known):
                raise SlimlineError(
                    "A model names a runtime or precision that slimline does not know.",
                    where=f"{path}, property {key}",
                    got=repr(value),
                    expected=f"one of {', '.join(get_args(known))}",
                    next_step="open it with the version of slimline that wrote it",
                )
        return cls(runtime, precision)

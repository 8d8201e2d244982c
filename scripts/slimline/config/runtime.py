"""The runtimes that shipped files are made for; apart, since files are opened where no config is known."""

from __future__ import annotations

from typing import Any, Literal

Runtime = Literal["onnxruntime", "openvino"]


def default_runtime(dtype: Any) -> Runtime:
    """The runtime for a type of numbers where the config names none."""
    return "openvino" if dtype == "bf16" else "onnxruntime"

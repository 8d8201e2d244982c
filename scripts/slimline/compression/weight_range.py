"""How many of the eight bits int8 weights use.

x86 processors without VNNI multiply unsigned by signed bytes in pairs and add each pair in 16 bits (`vpmaddubsw`),
where 255 * 127 * 2 does not fit: sums are cut off without a word, and the file is less accurate than its numbers are.
With weights of 7 bits they fit. See "reduce range" in ONNX Runtime's documentation of quantization, and `OverflowFix`
in NNCF's.
"""

from __future__ import annotations

from slimline.config.runtime import Runtime
from slimline.config.variants import QuantizeConfig
from slimline.cpu import cpu_has_any, cpu_is_x86

# Instructions that add such products in 32 bits; by Linux's names.
VNNI_CAPABILITIES = ("avx512_vnni", "avx_vnni", "amx_int8")
# What the largest weight of a channel becomes before it is rounded, with 8 bits; and with 7, by each runtime's tool.
FULL = 127.0
REDUCED: dict[Runtime, float] = {"onnxruntime": 64.0, "openvino": 63.5}


def reduces_range(config: QuantizeConfig) -> bool:
    """Whether weights have 7 bits: by this CPU where the config is silent."""
    return _sums_overflow() if config.reduce_range is None else config.reduce_range


def largest_weight(config: QuantizeConfig) -> float:
    """The number to which the largest weight of a channel is scaled."""
    return REDUCED[config.target_runtime] if reduces_range(config) else FULL


def _sums_overflow() -> bool:
    return cpu_is_x86() and not cpu_has_any(VNNI_CAPABILITIES)

"""How many of the eight bits int8 weights use.

x86 processors without VNNI multiply unsigned by signed bytes in pairs and add each pair in 16 bits (`vpmaddubsw`),
where 255 * 127 * 2 does not fit: sums are cut off without a word, and the file is less accurate than its numbers are.
With weights of 7 bits they fit. See "reduce range" in ONNX Runtime's documentation of quantization.
"""

from __future__ import annotations

import torch

from slimline.config.variants import QuantizeConfig
from slimline.cpu import cpu_has_any

# Instructions that add such products in 32 bits; by torch's names.
VNNI_CAPABILITIES = ("avx512_vnni", "avx_vnni", "amx_int8")
# Largest weight with 8 and with 7 bits; both are used symmetrically.
FULL, REDUCED = 127, 64


def largest_weight(config: QuantizeConfig) -> int:
    """The whole number to which the largest weight of a channel is rounded, by this CPU where the config is silent.

    OpenVINO's weights have 8 bits: NNCF sees to its sums itself.
    """
    if config.target_runtime == "openvino":
        return FULL
    reduces = _sums_overflow() if config.reduce_range is None else config.reduce_range
    return REDUCED if reduces else FULL


def _sums_overflow() -> bool:
    is_x86 = torch.cpu.get_capabilities().get("architecture") == "x86_64"
    return is_x86 and not cpu_has_any(VNNI_CAPABILITIES)

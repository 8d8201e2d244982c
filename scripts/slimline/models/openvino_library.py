"""OpenVINO and NNCF, without their telemetry. Import them from here.

Both note on disk that they were imported and report over the network what they were used for, unless the user has
declined. Both do without where the package that does it cannot be imported.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["load_nncf", "openvino"]


def load_nncf() -> Any:
    """The library NNCF, silent; it takes a second to import, and only quantization needs it."""
    import nncf

    # Not `nncf.set_log_level`: that also changes handlers of others which its logger has been given.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf

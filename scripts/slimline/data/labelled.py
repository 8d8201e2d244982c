"""Images with labels, in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class LabelledImages(NamedTuple):
    """uint8 images [N, C, H, W] and int64 labels [N]."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

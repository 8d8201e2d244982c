"""The digits that scikit-learn carries."""

from __future__ import annotations

import numpy as np

from slimline.data.labelled import LabelledImages


def read_digits() -> LabelledImages:
    """The 1,797 hand-written digits that scikit-learn carries (UCI, 1998), 8x8 pixels, 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits  # a second of imports that the other datasets need not pay

    digits = load_digits()
    sixteenths = digits.images.astype(np.uint16)[:, None]
    return LabelledImages(((sixteenths * 255 + 8) // 16).astype(np.uint8), digits.target.astype(np.int64))

"""Memory that a rule asks a cluster for, from the sizes of the model files that it opens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

# Beside the files: libraries, images of a batch and what layers make of them. VGG-16, whose first maps are the largest
# of torchvision's models, needs 600 MB beside a session with its weights.
BESIDE_FILES_MB = 1200
# Copies of a file that are in memory at the same time, at most. VGG-16, 537 MB as a file, took 1,140 MB to open, 2,240
# with three sessions side by side, 4,500 to export and 4,000 to quantize.
COPIES_TO_OPEN = 2.0
COPIES_SIDE_BY_SIDE = 1.5
COPIES_TO_CONVERT = 7.0


def memory_mb(files: Iterable[str], copies: float, at_least: int) -> int:
    """Megabytes that a rule needs which holds each of its model files so many times.

    Args:
        files: those files.
        copies: how many times, see above.
        at_least: megabytes that the rule needs with the smallest of models.

    Raises:
        FileNotFoundError: a file is not there yet. Snakemake then asks again before the rule starts.
    """
    size_bytes = sum(Path(file).stat().st_size for file in files)
    return max(at_least, BESIDE_FILES_MB + round(copies * size_bytes / 1e6))

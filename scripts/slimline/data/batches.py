"""Which samples each step sees: pure functions of seed, epoch and sample.

Nothing here has state. The position in the data is the number of the step, the order of an epoch follows from
(seed, epoch), and so does every random number of a sample: a run can stop anywhere and go on exactly, with any
number of ranks and workers.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment: no state that is hashed stays 0


class Draw(IntEnum):
    """What a random number is for: one stream of them each."""

    ORDER = 0
    CROP_Y = 1
    CROP_X = 2
    MIRROR = 3
    STEP = 4
    ERASE = 5
    ERASE_AREA = 6
    ERASE_RATIO = 7
    ERASE_Y = 8
    ERASE_X = 9
    CUTOUT_Y = 10
    CUTOUT_X = 11
    PARTNER = 12
    MIX_SHARE = 13
    MIX_KIND = 14
    MIX_Y = 15
    MIX_X = 16
    PART_AREA = 17
    PART_RATIO = 18
    PART_Y = 19
    PART_X = 20
    SAMPLE = 21


def mix64(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection that scatters its input's bits."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def random_words(seed: int, epoch: int, rows: Rows, draw: int) -> Words:
    """One 64-bit random word per row [n], a function of (seed, epoch, row, draw) alone."""
    state = np.zeros(len(rows), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in (np.uint64(seed), np.uint64(epoch), rows.astype(np.uint64), np.uint64(draw)):
            state = mix64(state + part + GOLDEN)
    return state


def random_floats(seed: int, epoch: int, rows: Rows, draw: int) -> Floats:
    """One number per row [n], uniform in [0, 1): the upper 53 bits of its random word."""
    return _floats(random_words(seed, epoch, rows, draw))


def random_trials(seed: int, epoch: int, rows: Rows, draw: int, trials: int) -> Floats:
    """Several numbers per row [trials, n], uniform in [0, 1), for what is drawn until it fits."""
    words = random_words(seed, epoch, rows, draw)
    with np.errstate(over="ignore"):
        return _floats(mix64(words + np.arange(trials, dtype=np.uint64)[:, None] + GOLDEN))


def _floats(words: Words) -> Floats:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def steps_per_epoch(n_samples: int, batch_size: int) -> int:
    """Steps in an epoch that sees every sample once in batches of at most `batch_size`."""
    return -(-n_samples // batch_size)


def epoch_order(rows: Rows, seed: int, epoch: int) -> Rows:
    """The rows [n] of a split in the order of an epoch: sorted by a random word each."""
    return rows[np.argsort(random_words(seed, epoch, rows, Draw.ORDER), kind="stable")]


def random_sample(rows: Rows, n_samples: int, seed: int) -> Rows:
    """At most `n_samples` of the rows [n], chosen by the seed, in ascending order."""
    return np.sort(rows[np.argsort(random_words(seed, 0, rows, Draw.SAMPLE), kind="stable")][:n_samples])


def step_seeds(seed: int, epoch: int, n_steps: int, rank: int, ranks: int) -> list[int]:
    """Seeds for the generator of a rank's device, one for each step of an epoch.

    Dropout draws from that generator: seeded by position, it needs no place in a checkpoint.
    """
    steps = np.arange(epoch * n_steps, (epoch + 1) * n_steps)
    return [int(word) for word in random_words(seed, epoch, steps * ranks + rank, Draw.STEP) >> np.uint64(1)]


def share(rows: Rows, parts: int, part: int) -> Rows:
    """Part `part` of `rows` cut into `parts` runs whose lengths differ by at most one."""
    start, stop = len(rows) * part // parts, len(rows) * (part + 1) // parts
    return rows[start:stop]


def samples_digest(rows: Rows) -> int:
    """A number of 64 bits that tells which rows [n], and how often each, whatever their order.

    Digests of the parts of an epoch add up, modulo 2^64, to that of the whole: so ranks and resumed runs can prove
    that they have seen every sample once.
    """
    with np.errstate(over="ignore"):
        return int(mix64(rows.astype(np.uint64) + GOLDEN).sum(dtype=np.uint64))

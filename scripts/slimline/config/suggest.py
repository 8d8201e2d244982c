"""The nearest known spelling of what a user wrote."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHORTEST_START = 3
MOST_SUGGESTIONS = 2


def nearest(word: str, candidates: Iterable[str]) -> list[str]:
    """What `word` was most likely meant to be: one candidate, none, or a few that are equally near.

    Small and capital letters count as equal. First come candidates that one slip of a finger tells apart, then
    alike ones by difflib's ratio, then those of which `word` is the initials (`lr`) or the beginning (`memory`).
    """
    spellings = {candidate.lower(): candidate for candidate in candidates}
    word = word.lower()
    found = [word] if word in spellings else [spelling for spelling in spellings if _one_slip(word, spelling)]
    found = found or difflib.get_close_matches(word, spellings, n=1)
    found = found or [spelling for spelling in spellings if _initials(spelling) == word]
    if not found and len(word) >= SHORTEST_START:
        found = [spelling for spelling in spellings if spelling.startswith(word)]
    if len(found) > MOST_SUGGESTIONS:
        found = difflib.get_close_matches(word, found, n=MOST_SUGGESTIONS, cutoff=0.0)
    return [spellings[spelling] for spelling in found]


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The first of the nearest candidates, or None."""
    return next(iter(nearest(word, candidates)), None)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean …?` to put behind a sentence, or nothing."""
    names = [f"`{name}`" for name in nearest(word, candidates)]
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _one_slip(word: str, other: str) -> bool:
    """Whether one letter more, less or other, or two letters swapped, make one of the other."""
    pairs = enumerate(zip(word, other, strict=False))
    start = next((index for index, (one, two) in pairs if one != two), min(len(word), len(other)))
    rest, others = word[start:], other[start:]
    swapped = rest[:2] == others[:2][::-1] and rest[2:] == others[2:]
    return swapped or rest[1:] in (others, others[1:]) or rest == others[1:]


def _initials(key: str) -> str:
    return "".join(part[0] for part in key.split("_") if part)

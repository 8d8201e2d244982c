"""The nearest known spelling of what a user wrote."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was most likely meant to be, or None.

    Small and capital letters count as equal, and initials stand for their key: `lr` for `learning_rate`.
    """
    candidates = list(candidates)
    spellings = {candidate.lower(): candidate for candidate in candidates}
    if matches := difflib.get_close_matches(word.lower(), spellings, n=1):
        return spellings[matches[0]]
    initials = {"".join(part[0] for part in candidate.split("_") if part): candidate for candidate in candidates}
    return initials.get(word.lower())


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean …?` to put behind a sentence, or nothing."""
    match = closest(word, candidates)
    return f"; did you mean `{match}`?" if match else ""

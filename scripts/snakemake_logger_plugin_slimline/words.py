"""Times, names and reasons as people say them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

# How Snakemake begins a reason, and what that means here.
REASONS = {
    "Missing output files": "output is missing",
    "Incomplete output files": "output was left unfinished",
    "Forced execution": "forced, or left unfinished by the last run",
    "Params have changed": "settings have changed",
    "Code has changed": "the script of the rule has changed",
    "Set of input files has changed": "other input files than before",
    "Updated input files": "an input is newer than the output",
    "Software environment definition has changed": "the software environment has changed",
    "Rules with neither input nor output": "runs every time",
    "Rules with a run or shell declaration but no output": "runs every time",
}
FOLLOWS = "follows from other jobs"
# Every rule has the digest of the library files that it uses among its params.
DIGEST = r"'[0-9a-f]{16}'"
LIBRARY_CHANGED = re.compile(rf"before: {DIGEST} now: {DIGEST} *(;|$)")
LIBRARY_WORDS = "the library code behind the rule has changed"


def duration(seconds: float, decimals: int = 1) -> str:
    """As `9.4 s`, `2 min 05 s` or `1 h 02 min`; `decimals` where it is less than a minute."""
    if round(seconds, decimals) < 60:
        return f"{seconds:.{decimals}f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def count(number: int, noun: str) -> str:
    """As `1 job` or `2 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def wildcards_text(wildcards: Mapping[str, object] | None) -> str:
    """As `dense seed 0`: the variant says what it is by its name alone."""
    return " ".join(str(v) if name == "variant" else f"{name} {v}" for name, v in (wildcards or {}).items())


def reason_words(reason: str) -> list[str]:
    """The reasons in what Snakemake says about one job, without files.

    That other jobs come before is worth saying only where there is no other reason.
    """
    found = [words for start, words in REASONS.items() if start in reason]
    if LIBRARY_CHANGED.search(reason):
        found = [LIBRARY_WORDS if words == REASONS["Params have changed"] else words for words in found]
    return found or [FOLLOWS if "updated by another job" in reason else reason.partition(":")[0]]


def reasons_text(reasons: Iterable[str]) -> str:
    """The reasons of all jobs of a rule in one line, the most frequent first."""
    jobs = [reason_words(reason) for reason in reasons]
    counted = Counter(words for job in jobs for words in job).most_common()
    return ", ".join(words if n == len(jobs) else f"{words} ({n} of {len(jobs)})" for words, n in counted)

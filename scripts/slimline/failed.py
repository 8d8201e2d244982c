"""Models that could not be made: how that is handed on from rule to rule, and what counts as such.

Snakemake knows files only. So a rule whose step cannot be done for a model leaves a mark in each of its outputs, in
place of a model or of figures. A rule that finds a mark among its inputs does nothing but mark its own outputs. In the
end the comparison and the report read the marks and say what failed and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from slimline.errors import NotSupportedError, SlimlineError
from slimline.files import read_json, write_json

KEY = "not_made"
BEGINNING = f'{{\n  "{KEY}": '.encode()
# How libraries say that the machine, and not the model, set the limit; they have no types of their own for it.
MACHINE_WORDS = ("out of memory", "allocate memory", "not enough memory", "No space left on device", "bad_alloc")


@dataclass(frozen=True)
class Failure:
    """Why there is no model.

    Attributes:
        variant: the variant that was to be made.
        seed: its seed.
        step: the rule that could not be done.
        code: short name of the problem.
        reason: what is wrong, in one line.
    """

    variant: str
    seed: int
    step: str
    code: str
    reason: str

    def inherited(self, variant: str, seed: int) -> Failure:
        """The same failure as it is handed on to another rule of this model, or to a child."""
        if variant == self.variant:
            return self
        reason = f"its parent {self.variant} failed: {self.reason}"
        return replace(self, variant=variant, seed=seed, code="parent-failed", reason=reason)


def mark(paths: Iterable[Path], failure: Failure) -> None:
    """Puts the failure in place of each file."""
    for path in paths:
        write_json(path, {KEY: asdict(failure)})


def failure_in(path: Path) -> Failure | None:
    """The failure that stands in place of a file; None where the file is what it should be, or a folder."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(len(BEGINNING)) != BEGINNING:
            return None
    return Failure(**read_json(path)[KEY])


@contextmanager
def library_limits(what: str, *, where: str, next_step: str) -> Iterator[None]:
    """What a library raises inside becomes NotSupportedError: for calls that are nothing but the library's.

    Errors of ours, interrupts, and what the machine is to blame for (memory, disk) stay as they are.

    Args:
        what: one sentence that says what cannot be done.
        where: the model or file it is about.
        next_step: what to do now.
    """
    try:
        yield
    except SlimlineError:
        raise
    except Exception as error:
        if is_of_the_machine(error):
            raise
        got = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        raise NotSupportedError(what, where=where, got=got, next_step=next_step) from error


def is_of_the_machine(error: BaseException) -> bool:
    """Whether memory or disk ran out, or a file could not be read or written."""
    names = {base.__name__ for base in type(error).__mro__}
    if isinstance(error, MemoryError | OSError) or "OutOfMemoryError" in names:
        return True
    return any(words.lower() in str(error).lower() for words in MACHINE_WORDS)

"""The one exception that users see: what happened, where, what was expected, what to do next."""

from __future__ import annotations

from typing import TypedDict, Unpack


class Details(TypedDict, total=False):
    """What may be said of a mistake besides that it is one."""

    where: str | None
    got: str | None
    expected: str | None
    next_step: str | None


class SlimlineError(Exception):
    """A mistake that the user can mend, shown as one short screen without a traceback.

    Args:
        what: one sentence that says what is wrong.
        where: the file, key or object it is about.
        got: what was found there.
        expected: what would have been right.
        next_step: what to do now, a command where there is one.
    """

    def __init__(self, what: str, **details: Unpack[Details]) -> None:
        super().__init__(what)
        self.what = what
        self.where = details.get("where")
        self.got = details.get("got")
        self.expected = details.get("expected")
        self.next_step = details.get("next_step")

    def __str__(self) -> str:
        """The screen: the sentence, then one aligned line for each thing that is known."""
        details = {
            "where": self.where,
            "got": self.got,
            "expected": self.expected,
            "next": self.next_step,
        }
        lines = [f"  {label + ':':<10}{text}" for label, text in details.items() if text]
        return "\n".join([self.what, *lines])


class NotSupportedError(SlimlineError):
    """A step that cannot be done for one model: its variant ends as failed, with the reason, and the others go on.

    Only for what a library or a runtime cannot do, or did wrongly, and for a training that diverges. A user's mistake,
    a full disk or a fault of our own is another error, which ends the run.

    Args as for `SlimlineError`, and:
        code: short name of the problem.
    """

    def __init__(self, what: str, *, code: str = "not-supported", **details: Unpack[Details]) -> None:
        super().__init__(what, **details)
        self.code = code

    @property
    def reason(self) -> str:
        """What is wrong and what was found, in one line."""
        found = (self.got or "").strip().partition("\n")[0]
        return f"{self.what.removesuffix('.')}: {found}" if found else self.what.removesuffix(".")

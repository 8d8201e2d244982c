"""What all config models share: frozen, closed to unknown keys, strict about types; and mistakes of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
NAME_MAX_LENGTH = 64

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveFraction = Annotated[float, Field(gt=0.0, le=1.0)]
Temperature = Annotated[float, Field(gt=0.0, le=100.0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=NAME_MAX_LENGTH)]

Loc = tuple[str | int, ...]
T = TypeVar("T")

MISTAKE = "mistake"


class Config(BaseModel):
    """Base of every config model."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def mistake(got: str, expected: str) -> PydanticCustomError:
    """An error for a validator to raise, in the words that the user reads after "got" and "expected"."""
    return PydanticCustomError(MISTAKE, "got {got}, expected {expected}", {"got": got, "expected": expected})


def mistake_at(loc: Loc, got: str, expected: str) -> InitErrorDetails:
    """A mistake at a path below the value that is being validated."""
    return InitErrorDetails(type=mistake(got, expected), loc=loc, input=None)


def with_mistakes(validate: Callable[[], T], mistakes: Sequence[InitErrorDetails]) -> T:
    """The result of a validation, or all that is wrong: what it finds itself and `mistakes`.

    Pydantic skips a model's own checks when one of its fields is wrong; users would then see some of
    their mistakes only after mending others.

    Raises:
        ValidationError: anything is wrong.
    """
    found: list[InitErrorDetails] = []
    try:
        value = validate()
    except ValidationError as error:
        found = _details(error)
    else:
        if not mistakes:
            return value
    raise ValidationError.from_exception_data("config", [*found, *mistakes])


def _details(error: ValidationError) -> list[InitErrorDetails]:
    """The errors in the form from which a `ValidationError` can be made again."""
    details = []
    for line in error.errors(include_url=False):
        context = line.get("ctx", {})
        kind = mistake(**context) if line["type"] == MISTAKE else line["type"]
        details.append(InitErrorDetails(type=kind, loc=line["loc"], input=line["input"], ctx=context))
    return details

"""What the typed files of this room have in common: each field says its unit and meaning, once.

The reference page and the `metrics` section of `metrics.json` are made of these words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimline.errors import SlimlineError
from slimline.files import read_json, write_json

LISTED_PROBLEMS = 3


class Record(BaseModel):
    """Base of what is written and read here: frozen, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=BaseModel)


def read_record(path: Path, model: type[RecordT]) -> RecordT:
    """A JSON file as the record that it should hold.

    Raises:
        SlimlineError: the file is absent, not JSON, or of another form.
    """
    value = read_json(path)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise SlimlineError(
            "A result file does not have the form that this version of slimline writes.",
            where=str(path),
            got="; ".join(problems[:LISTED_PROBLEMS]),
            next_step=f"delete it and run snakemake again: rm '{path}'",
        ) from None


def write_record(path: Path, record: BaseModel) -> None:
    """Replaces `path` with the record as JSON."""
    write_json(path, record.model_dump(mode="json"))


def described(
    meaning: str, unit: str = "", *, label: str | None = None, higher_is_better: bool = False, ci: str | None = None
) -> Any:
    """A field with its unit; one with a label is also a metric that `metrics.json` describes."""
    extra: dict[str, Any] = {"unit": unit}
    if label is not None:
        extra |= {"label": label, "higher_is_better": higher_is_better, "ci": ci}
    return Field(description=meaning, json_schema_extra=extra)


def field_unit(model: type[BaseModel], name: str) -> str:
    """Unit of a record's field, empty where it has none."""
    extra = model.model_fields[name].json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""

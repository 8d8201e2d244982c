"""From validation errors to one screen: where, what was found, what would be right."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from slimline.config.base import MISTAKE, Loc
from slimline.config.remedies import describe, remedy
from slimline.config.suggest import nearest
from slimline.config.words import Schema, in_words
from slimline.config.yaml_file import YamlFile, dotted
from slimline.errors import SlimlineError

REFERENCE = "docs/reference/config.md"
WIDTH = 100

# What people call keys elsewhere, too far from ours for a likeness of letters.
SYNONYMS = {"parent": "from", "teacher": "from", "student": "model", "architecture": "model", "alpha": "weight"}


@dataclass(frozen=True)
class Problem:
    """One thing to mend: the path of the key, and a sentence about it."""

    path: Loc
    text: str


def problems_of(error: ValidationError, schema: Schema) -> list[Problem]:
    """All that a validation found, in plain words."""
    details = error.errors(include_url=False)
    unknown = [line["loc"] for line in details if line["type"] == "extra_forbidden"]
    # A misspelt key that must be there is one mistake, not two.
    explained = {(*loc[:-1], meant) for loc in unknown for meant in _meant(loc, schema)}
    return [_problem(line, schema) for line in details if not (line["type"] == "missing" and line["loc"] in explained)]


def screen(
    problems: Sequence[Problem], config: Mapping[str, Any], files: Sequence[YamlFile], *, what: str = "The config"
) -> SlimlineError:
    """The error that shows all problems, those with a line in the order of the file.

    Args:
        problems: at least one.
        config: the mapping that was validated.
        files: the files it was read from, later ones override.
        what: what to call it where no file is known.
    """
    located = [(_locate(problem.path, config, files), problem) for problem in problems]
    located.sort(key=lambda pair: (pair[0] is None, pair[0] or (Path(), 0)))
    names = ", ".join(_shown(file.path) for file in files) or what
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{names}: {count}. Nothing was run.", ""]
    for place, problem in located:
        key = dotted(problem.path)
        elsewhere = "  (not in the file: see --config)" if files and _value(config, problem.path) is not None else ""
        lines.append(f"  {_shown(place[0])}:{place[1]}  {key}" if place else f"  {key}{elsewhere}")
        indent = " " * 6
        lines += textwrap.wrap(
            problem.text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
    printable = "\n".join(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in lines
    )
    return SlimlineError(f"{printable}\n", next_step=f"mend these; every key is described in {REFERENCE}")


def _problem(line: ErrorDetails, schema: Schema) -> Problem:
    loc, value = line["loc"], line["input"]
    if line["type"] == MISTAKE:
        return Problem(loc, f"got {line['ctx']['got']}, expected {line['ctx']['expected']}")
    if line["type"] == "extra_forbidden":
        return Problem(loc, _unknown(loc, schema))
    if line["type"] == "invalid_key":
        return Problem(loc, f"got the key {describe(loc[-1])}, expected text as key")
    node = schema.at(loc) or {}
    expected = in_words(node, schema)
    if line["type"] == "missing":
        return Problem(loc, f"missing; expected {expected}")
    found = f"got {describe(value)}, expected {expected}{remedy(value, node)}"
    if loc[-1] == "[key]":
        return Problem(loc[:-1], found.replace("got", "got the name", 1))
    return Problem(loc, found)


def _meant(loc: Loc, schema: Schema) -> list[str]:
    """The keys of its own section that an unknown one was probably meant to be."""
    keys = _keys_beside(loc, schema)
    synonym = SYNONYMS.get(str(loc[-1]))
    return [synonym] if synonym in keys else nearest(str(loc[-1]), keys)


def _unknown(loc: Loc, schema: Schema) -> str:
    if meant := _meant(loc, schema):
        return f"unknown key; did you mean {' or '.join(f'`{key}`' for key in meant)}?"
    homes = [path for path, section in schema.sections() if path and loc[-1] in section["properties"]]
    near = [path for path in homes if path.startswith(str(loc[0]))] or homes
    if near:
        return f"unknown key; it belongs in {' or '.join(f'`{path}`' for path in near)}"
    return f"unknown key; expected one of {', '.join(f'`{key}`' for key in _keys_beside(loc, schema))}"


def _keys_beside(loc: Loc, schema: Schema) -> list[str]:
    section = schema.at(loc[:-1]) or {}
    return list(section.get("properties", {}))


def _locate(path: Loc, config: Mapping[str, Any], files: Sequence[YamlFile]) -> tuple[Path, int] | None:
    """File and line of a key: of the section around it where the key is missing.

    A value that no file has was given on the command line, so that no line is to blame.
    """
    value = _value(config, path)
    for length in range(len(path), 0 if value is None else len(path) - 1, -1):
        part = path[:length]
        for file in reversed(files):
            if part in file.lines and (length < len(path) or _same(_value(file.content, path), value)):
                return file.path, file.lines[part]
    return None


def _value(config: Any, path: Loc) -> Any:
    """What stands at `path`, or None."""
    try:
        for part in path:
            config = config[part]
    except (KeyError, IndexError, TypeError):
        return None
    return config


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or repr(one) == repr(other)  # not a number does not equal itself


def _shown(path: Path) -> str:
    """A path as short as it can be: from the working directory where it lies below."""
    working = Path.cwd()
    return str(path.relative_to(working) if path.is_relative_to(working) else path)

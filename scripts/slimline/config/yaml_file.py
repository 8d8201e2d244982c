"""YAML files that people write: read with the line of every key, and clear about what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slimline.config.base import Loc
from slimline.config.suggest import did_you_mean
from slimline.errors import SlimlineError

SUFFIXES = (".yaml", ".yml", ".json")
SIBLINGS_SHOWN = 8

ONE_A_LINE = "one `key: value` a line, keys of a section in the same column, text with a colon in quotes"
IN_QUOTES = "text in quotes where it starts with a special character"

# Part of what the parser says, what that means, and what would be right.
PARSER_ERRORS = (
    ("'\\t'", "a tab", "blanks: YAML is not indented with tabs"),
    ("mapping values are not allowed", "a colon where no key can be, or no colon in the line before", ONE_A_LINE),
    ("could not find expected ':'", "a key without a colon", "a colon and a blank behind the key"),
    ("expected <block end>", "a line that starts in another column", ONE_A_LINE),
    ("expected ',' or", "a bracket that is not closed, or no comma", "[a, b] or {a: 1, b: 2}"),
    ("found unexpected end of stream", "quotes that are not closed", "quotes on both sides of the text"),
    ("cannot start any token", "a special character", IN_QUOTES),
    ("undefined alias", "a star, which stands for an anchor that is not there", IN_QUOTES),
    ("for the tag", "an exclamation mark, which makes a tag that YAML does not know", IN_QUOTES),
    ("another document", "a second document", "one document per file, so no line `---` in between"),
    ("unhashable", "a list or mapping as key", "text as key"),
    ("special characters are not allowed", "a control character", "text that can be printed"),
)


@dataclass(frozen=True)
class Key:
    """A key or list item, and where it stood first in its section: YAML silently takes the last."""

    path: Loc
    first_line: int
    line: int


@dataclass(frozen=True)
class YamlFile:
    """A parsed file.

    Args:
        path: where it was read.
        content: its top-level mapping.
        lines: line, from 1, of each key and list item by its path.
        repeated: keys that stand twice.
    """

    path: Path
    content: dict[str, Any]
    lines: dict[Loc, int]
    repeated: list[Key]


def parse_file(path: Path) -> YamlFile:
    """Parses a file; keys that stand twice are told, not refused.

    Raises:
        SlimlineError: it cannot be read, is not UTF-8, not YAML, empty, or no mapping.
    """
    text = _text(path)
    lines: dict[Loc, int] = {}
    repeated: list[Key] = []
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        for key in _keys(loader, node, (), set()):
            lines[key.path] = key.line
            if key.first_line != key.line:
                repeated.append(key)
        content = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _not_yaml(path, text, error) from None
    if content is None:
        raise SlimlineError(
            "The file holds no keys.",
            where=str(path),
            got="an empty file" if not text.strip() else "comments only",
            expected="lines of `key: value`",
        )
    if not isinstance(content, dict):
        raise SlimlineError(
            "The file does not hold a mapping.",
            where=str(path),
            got="a list" if isinstance(content, list) else f"the {type(content).__name__} {str(content)[:40]!r}",
            expected="lines of `key: value`; keys are followed by a colon and a blank",
        )
    return YamlFile(path, content, lines, repeated)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        SlimlineError: as for `parse_file`, or a key stands twice in one section.
    """
    file = parse_file(path)
    if file.repeated:
        found = [f"`{dotted(key.path)}` in lines {key.first_line} and {key.line}" for key in file.repeated]
        raise SlimlineError(
            "A key stands twice in one section; only the last would count.",
            where=str(path),
            got="; ".join(found),
            expected="each key once",
            next_step="remove the line that is not meant",
        )
    return file.content


def dotted(path: Loc) -> str:
    """A path as people write it: `train.seeds[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) and text else f".{part}" if text else str(part)
    return text


def missing_file(path: Path, what: str) -> SlimlineError:
    """The error for a file that is not there, with the names of those that are."""
    if not path.parent.is_dir():
        expected = f"a file in an existing folder; {path.parent}/ does not exist either"
        return SlimlineError(what, where=str(path), expected=expected)
    siblings = sorted(file.name for file in path.parent.iterdir() if file.suffix in SUFFIXES)
    if match := did_you_mean(path.name, siblings):
        expected = f"an existing file{match}"
    elif siblings:
        expected = f"an existing file, such as {', '.join(siblings[:SIBLINGS_SHOWN])}"
    else:
        expected = f"an existing file; {path.parent}/ has no YAML files"
    return SlimlineError(what, where=str(path), expected=expected)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise missing_file(path, "The file does not exist.") from None
    except UnicodeDecodeError as error:
        raise SlimlineError(
            "The file is not UTF-8 text.",
            where=str(path),
            got=f"byte 0x{error.object[error.start]:02x} at byte offset {error.start}",
            expected="UTF-8",
            next_step="save it as UTF-8 in your editor",
        ) from None
    except OSError as error:
        raise SlimlineError(
            "The file cannot be read.", where=str(path), got=error.strerror, expected="a readable YAML file"
        ) from None


def _keys(loader: yaml.SafeLoader, node: yaml.Node | None, path: Loc, seen: set[int]) -> Iterator[Key]:
    """Every key and item below `node`; what an alias stands for is visited once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    children: list[tuple[Any, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [
            (loader.construct_object(key), key, value)
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge"
        ]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, item, item) for index, item in enumerate(node.value)]
    first_lines: dict[Any, int] = {}
    for name, start, value in children:
        line = start.start_mark.line + 1
        yield Key((*path, name), first_lines.setdefault(name, line), line)
        yield from _keys(loader, value, (*path, name), seen)


def _not_yaml(path: Path, text: str, error: Exception) -> SlimlineError:
    what = "The file is not valid YAML."
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        position = error.problem_mark.index
    elif isinstance(error, yaml.reader.ReaderError):
        position = error.position
    else:
        got = "sections nested too deep" if isinstance(error, RecursionError) else str(error)
        return SlimlineError(what, where=str(path), got=got, expected=ONE_A_LINE)
    line, column = text.count("\n", 0, position) + 1, position - (text.rfind("\n", 0, position) + 1) + 1
    said = str(error)
    got, expected = next(
        ((got, expected) for part, got, expected in PARSER_ERRORS if part in said), (said.splitlines()[0], ONE_A_LINE)
    )
    row = [*text.split("\n"), ""][line - 1]
    # Tabs one column wide, so that the caret stands below its character; nothing that moves the cursor.
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in row)
    return SlimlineError(
        what,
        where=f"{path}:{line}:{column} (line {line}, column {column})",
        got=f"{got}\n{'':12}{shown}\n{'':12}{'':{column - 1}}^",
        expected=expected,
    )

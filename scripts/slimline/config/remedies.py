"""From a wrong value to what the user most likely meant: the last words of an error."""

from __future__ import annotations

import math
import re
from typing import Any

from slimline.config.base import NAME_MAX_LENGTH, NAME_PATTERN
from slimline.config.suggest import closest, did_you_mean
from slimline.config.words import Node

SHOWN_LENGTH = 40

# Numbers to people, text to YAML 1.1, which wants both the point and the sign.
EXPONENT = re.compile(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)")
PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
DECIMAL_COMMA = re.compile(r"([-+]?\d+),(\d+)")


def describe(value: Any) -> str:
    """A value as it stands in the config, in a few words at most."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, str):
        return repr(value) if len(value) <= SHOWN_LENGTH else f"{value[:SHOWN_LENGTH]!r}…"
    if isinstance(value, float) and not math.isfinite(value):
        return "`.nan`" if math.isnan(value) else "`.inf`"
    if isinstance(value, list):
        return "an empty list" if not value else f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"a section with {', '.join(f'`{key}`' for key in list(value)[:3])}" if value else "an empty section"
    if isinstance(value, int | float):
        return str(value)
    return f"{str(value)[:SHOWN_LENGTH]} (a {type(value).__name__})"


def remedy(value: Any, node: Node) -> str:
    """What to write instead, to put behind a sentence; nothing where there is no telling.

    Args:
        value: what the config has.
        node: the schema of what it should be, references followed.
    """
    if "enum" in node or "const" in node:
        return _for_choice(value, node.get("enum", [node.get("const")]))
    match node.get("type"):
        case "integer" | "number":
            return _for_number(value, node)
        case "boolean" if isinstance(value, str) and value.lower() in ("true", "false"):
            return f"; write {value.lower()} without quotes"
        case "string":
            return _for_text(value, node)
        case "array" if isinstance(value, int | float | str) and not isinstance(value, bool):
            return f"; write [{value}]"
        case "object":
            return _for_section(value, node)
    return ""


def _for_choice(value: Any, choices: list[Any]) -> str:
    if isinstance(value, str) and len(choices) > 1:
        return did_you_mean(value, [str(choice) for choice in choices])
    if isinstance(value, bool):
        return "; YAML reads yes, no, on and off as `true` and `false`"
    return ""


def _for_number(value: Any, node: Node) -> str:
    whole = node["type"] == "integer"
    if isinstance(value, str) and (number := _as_written(value.strip(), whole)):
        return f"; this is text to YAML: write {number}"
    if whole and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    is_share = any(node[limit] <= 1.0 for limit in ("maximum", "exclusiveMaximum") if limit in node)
    if is_share and isinstance(value, int | float) and 2.0 <= value <= 100.0:
        return f"; as a share, {value:g} percent is {value / 100:g}"
    return ""


def _as_written(text: str, whole: bool) -> str | None:
    """The number that `text` means, as YAML reads it; None if it means none."""
    if percent := PERCENT.fullmatch(text):
        return f"{float(percent[1]) / 100:g}"
    text = DECIMAL_COMMA.sub(r"\1.\2", text)
    try:
        number = float(text)
    except ValueError:
        return None
    if whole:
        return str(int(number)) if number.is_integer() else None
    if exponent := EXPONENT.fullmatch(text):
        digits, fraction, sign, power = exponent.groups()
        return f"{digits}{fraction if fraction and len(fraction) > 1 else '.0'}e{sign or '+'}{power}"
    return f"{text} without quotes" if math.isfinite(number) else None


def _for_text(value: Any, node: Node) -> str:
    if isinstance(value, bool):
        return '; YAML reads yes, no, on and off as `true` and `false`: put text in "quotes"'
    if value is not None and not isinstance(value, str | list | dict):
        return f'; put it in quotes: "{value}"'
    if isinstance(value, str) and node.get("pattern") == NAME_PATTERN:
        name = re.sub(r"[^a-z0-9]+", "-", value.lower())[:NAME_MAX_LENGTH].strip("-")
        return f", such as `{name}`" if name else ""
    return ""


def _for_section(value: Any, node: Node) -> str:
    names = node.get("properties", {}).get("name", {}).get("enum", [])
    if isinstance(value, str) and names:
        return f"; write {{name: {closest(value, names) or value}}}"
    if value is None and not node.get("required"):
        return "; remove the key, or write {}"
    return ""

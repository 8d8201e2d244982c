"""What a key takes, in plain words: the same in error screens and in the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slimline.config.base import NAME_MAX_LENGTH, NAME_PATTERN, Config, Loc

Node = dict[str, Any]

# Longer lists of choices are shown by their first few.
CHOICES_SHOWN = 8
EXAMPLES_SHOWN = 3


class Schema:
    """The JSON schema of a config model, walked by the paths of its keys."""

    def __init__(self, model: type[Config]) -> None:
        self.root: Node = model.model_json_schema(by_alias=True)
        self.definitions: dict[str, Node] = self.root.get("$defs", {})

    def at(self, path: Loc) -> Node | None:
        """What stands at `path`, references followed; None where the schema knows no such key."""
        node = self.root
        for part in path:
            if part in node.get("properties", {}):
                child = node["properties"][part]
            elif part == "[key]":
                child = {"type": "string", "pattern": NAME_PATTERN}
            elif "patternProperties" in node:
                child = self.at_any_name(node)
            elif "items" in node and isinstance(part, int):
                child = node["items"]
            else:
                return None
            node = self.plain(child)
        return node

    def plain(self, node: Node) -> Node:
        """The node with its reference followed, and without the choice of leaving it empty."""
        if "$ref" in node:
            return {**self.definitions[node["$ref"].rpartition("/")[2]], **node}
        if "anyOf" in node:
            kept = [self.plain(choice) for choice in node["anyOf"] if choice.get("type") != "null"]
            return {**kept[0], **node} if len(kept) == 1 else node
        return node

    def sections(self) -> Iterator[tuple[str, Node]]:
        """Dotted path and node of every section: the whole file first (as ""), parents before children."""
        return self._sections("", self.root)

    def _sections(self, path: str, node: Node) -> Iterator[tuple[str, Node]]:
        yield path, node
        for key, raw in node["properties"].items():
            child_path, child = f"{path}.{key}".lstrip("."), self.plain(raw)
            if "patternProperties" in child:
                child_path, child = f"{child_path}.<name>", self.at_any_name(child)
            if "properties" in child:
                yield from self._sections(child_path, child)

    def at_any_name(self, node: Node) -> Node:
        """What stands under each name of a section whose names the user chooses."""
        (child,) = node["patternProperties"].values()
        return self.plain(child)


def in_words(node: Node, schema: Schema) -> str:
    """What a value must be: "a whole number from 1 to 64"."""
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return _choices(node["enum"])
    match node.get("type"):
        case "integer" | "number":
            kind = "a whole number" if node["type"] == "integer" else "a number"
            return f"{kind}{_range(node)}"
        case "boolean":
            return "`true` or `false`"
        case "string":
            is_name = node.get("pattern") == NAME_PATTERN
            return f"at most {NAME_MAX_LENGTH} lower-case letters, digits and dashes" if is_name else "text"
        case "array":
            item = in_words(schema.plain(node["items"]), schema).removeprefix("a ").replace("number", "numbers")
            return f"a list of {'one or more ' if node.get('minItems') else ''}{item}"
        case _ if "properties" in node:
            keys = node.get("required") or node["properties"]
            least = "at least" if "required" in node else "any of"
            return f"a section with {least} {', '.join(f'`{key}`' for key in keys)}"
        case "object" if isinstance(node.get("additionalProperties"), dict):
            return f"a section of names, each with {in_words(node['additionalProperties'], schema)}"
        case _:
            return "a section of names, each with a section of its own"


def _choices(values: list[Any]) -> str:
    quoted = [f"`{value}`" for value in values]
    if len(quoted) > CHOICES_SHOWN:
        return f"one of {len(quoted)} names, such as {', '.join(quoted[:EXAMPLES_SHOWN])}"
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _range(node: Node) -> str:
    limits = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']:g} to {node['maximum']:.10g}"
    words = [f"{word} {node[key]:.10g}" for key, word in limits.items() if key in node]
    return f" {' and '.join(words)}" if words else ""

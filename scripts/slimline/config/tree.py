"""The tree of variants: each has one parent, and `dense` is the root of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic_core import InitErrorDetails

from slimline.config.base import mistake_at
from slimline.config.suggest import did_you_mean
from slimline.config.variants import DENSE, STEPS, VariantConfig

# A variant is also a target on the command line, beside the workflow's own.
RESERVED = frozenset(
    {
        "all",
        "audit",
        "compare",
        "distil",
        "download",
        "export",
        "finetune",
        "latency",
        "plan",
        "predict",
        "preprocess",
        "prove",
        "prune",
        "quantize",
        "report",
        "search",
        "train",
        "validate",
    }
)
# Names of this form belong to the controls that the workflow adds.
CONTROL_PREFIX = "control-"
# And these to the trials of the target search.
TRIAL_PREFIX = "try-"
FLOAT_STEPS = tuple(step for step in STEPS if step != "quantize")


class Link(NamedTuple):
    """What the tree needs to know of a variant; None where the config does not say it in a usable way."""

    parent: str | None
    step: str | None


def tree_mistakes(variants: Any) -> list[InitErrorDetails]:
    """All that is wrong between variants, whatever else is wrong within them.

    Args:
        variants: the value of `variants` as it stands in the config, not validated yet.
    """
    if not isinstance(variants, Mapping):
        return []
    links = {name: _link(variant) for name, variant in variants.items() if isinstance(name, str)}
    return [*_reserved(links), *_unknown_parents(links), *_circles(links), *_after_quantize(links)]


def judged_without_validation(variants: Any) -> list[InitErrorDetails]:
    """Accuracy control where no image is held out to measure accuracy on.

    Args:
        variants: the value of `variants` as it stands in the config, not validated yet.
    """
    mistakes = []
    for name, variant in variants.items() if isinstance(variants, Mapping) else ():
        quantize = variant.get("quantize") if isinstance(variant, Mapping) else None
        if isinstance(quantize, Mapping) and quantize.get("accuracy_drop") is not None:
            got, expected = "accuracy control without a validation split", "`dataset.validation` above 0 to measure on"
            mistakes.append(mistake_at((name, "quantize", "accuracy_drop"), got, expected))
    return mistakes


def in_order(parents: Mapping[str, str]) -> list[str]:
    """`dense` and all variants, every parent before its children, else as declared."""
    ordered = [DENSE]
    waiting = list(parents)
    while waiting:
        ready = next(name for name in waiting if parents[name] in ordered)
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def _link(variant: Any) -> Link:
    if isinstance(variant, VariantConfig):
        return Link(variant.parent, variant.step)
    if not isinstance(variant, Mapping):
        return Link(None, None)
    parent = variant.get("from")
    steps = [step for step in STEPS if variant.get(step) is not None]
    return Link(parent if isinstance(parent, str) else None, steps[0] if len(steps) == 1 else None)


def _reserved(links: Mapping[str, Link]) -> Iterator[InitErrorDetails]:
    for name in links:
        if name == DENSE:
            yield mistake_at((name,), "a variant of this name", "another name: `dense` is the trained model itself")
        elif name in RESERVED:
            yield mistake_at((name,), "a variant of this name", f"another name: `{name}` is a step of the workflow")
        elif name.startswith(CONTROL_PREFIX):
            expected = f"another name: those with `{CONTROL_PREFIX}` are of controls that the workflow adds by itself"
            yield mistake_at((name,), "a variant of this name", expected)
        elif name.startswith(TRIAL_PREFIX):
            expected = f"another name: those with `{TRIAL_PREFIX}` are of trials of the search"
            yield mistake_at((name,), "a variant of this name", expected)


def _unknown_parents(links: Mapping[str, Link]) -> Iterator[InitErrorDetails]:
    for name, link in links.items():
        if link.parent is None or link.parent == DENSE or link.parent in links:
            continue
        others = [DENSE, *(other for other in links if other != name)]
        expected = f"{_one_of(others)}{did_you_mean(link.parent, others)}"
        yield mistake_at((name, "from"), repr(link.parent), expected)


def _circles(links: Mapping[str, Link]) -> Iterator[InitErrorDetails]:
    """One mistake per circle, at its first variant in the config."""
    seen: set[str] = set()
    for start in links:
        path: list[str] = []
        name: str | None = start
        while name is not None and name != DENSE and name in links and name not in seen:
            seen.add(name)
            path.append(name)
            name = links[name].parent
        if name is not None and name in path:
            circle = path[path.index(name) :]
            shown = " -> ".join([*circle, circle[0]])
            yield mistake_at((circle[0], "from"), f"a circle: {shown}", f"a chain that starts at `{DENSE}`")


def _after_quantize(links: Mapping[str, Link]) -> Iterator[InitErrorDetails]:
    """Nothing follows quantization: there are no float weights left to prune, to train or to quantize."""
    for name, link in links.items():
        parent = links.get(link.parent) if link.parent not in (None, DENSE, name) else None
        if parent is None or parent.step != "quantize":
            continue
        others = [DENSE, *(other for other, its in links.items() if other != name and its.step in FLOAT_STEPS)]
        yield mistake_at(
            (name, "from"),
            f"{link.parent!r}, which is quantized already",
            f"{_one_of(others)}: quantization comes last",
        )


def _one_of(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"one of {', '.join(quoted)}"

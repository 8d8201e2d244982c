"""Splits that slimline makes: stratified, never through a group of equal images, and stable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from slimline.files import sha256_bytes


def holdout(groups: Sequence[str], classes: Sequence[str], share: float, seed: int) -> list[bool]:
    """Marks the items to hold out: of every class the wanted share, whole groups only.

    Groups are taken in the order of SHA-256(seed, group), so a split depends on no library's random numbers,
    and an image that is added or removed moves hardly any other to the other side. A group counts for the class
    of its first item. Each class gives at least one group and keeps at least one, if it has two.

    Args:
        groups: group of each item, here the digest of its pixels.
        classes: class of each item.
        share: share of each class to hold out; 0 holds nothing out.
        seed: another seed, another split.

    Returns:
        For each item whether it is held out.
    """
    members: defaultdict[str, int] = defaultdict(int)
    groups_of_class: defaultdict[str, list[str]] = defaultdict(list)
    for group, class_name in zip(groups, classes, strict=True):
        if group not in members:
            groups_of_class[class_name].append(group)
        members[group] += 1
    held: set[str] = set()
    for candidates in groups_of_class.values():
        held |= _take([*candidates], members, share, seed)
    return [group in held for group in groups]


def _take(candidates: list[str], members: dict[str, int], share: float, seed: int) -> set[str]:
    """The groups of one class that are held out."""
    wanted = max(1, round(share * sum(members[group] for group in candidates))) if share > 0 else 0
    candidates.sort(key=lambda group: sha256_bytes(f"{seed}/{group}".encode()))
    taken: set[str] = set()
    n_taken = 0
    for group in candidates[:-1]:  # the last one stays, so that no class is held out whole
        if n_taken >= wanted:
            break
        taken.add(group)
        n_taken += members[group]
    return taken

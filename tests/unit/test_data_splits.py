from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from slimline.data.splits import holdout

ITEMS = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from(["cat", "dog"])), max_size=60)


def distinct(n_items: int) -> list[str]:
    return [f"digest-{number}" for number in range(n_items)]


def test_every_class_gives_its_share():
    classes = ["a"] * 100 + ["b"] * 50 + ["c"] * 10
    held = holdout(distinct(160), classes, 0.2, 0)
    assert Counter(name for name, is_held in zip(classes, held, strict=True) if is_held) == {"a": 20, "b": 10, "c": 2}


def test_the_seed_decides():
    classes = ["a"] * 100
    assert holdout(distinct(100), classes, 0.2, 3) == holdout(distinct(100), classes, 0.2, 3)
    assert holdout(distinct(100), classes, 0.2, 3) != holdout(distinct(100), classes, 0.2, 4)


def test_the_split_is_pinned_for_all_time():
    # A change here would change every published split: it needs a new format, not a new expectation.
    held = holdout(distinct(20), ["a"] * 20, 0.25, 0)
    assert [number for number, is_held in enumerate(held) if is_held] == [1, 4, 10, 13, 16]


def test_order_does_not_matter():
    held = dict(zip(distinct(50), holdout(distinct(50), ["a"] * 50, 0.3, 0), strict=True))
    turned = distinct(50)[::-1]
    assert dict(zip(turned, holdout(turned, ["a"] * 50, 0.3, 0), strict=True)) == held


def test_a_new_image_moves_at_most_one_other():
    before = holdout(distinct(100), ["a"] * 100, 0.2, 0)
    after = holdout(distinct(101), ["a"] * 101, 0.2, 0)[:100]
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= 1


def test_no_share_holds_nothing_out():
    assert not any(holdout(distinct(10), ["a"] * 10, 0.0, 0))


def test_a_class_of_one_image_is_kept():
    assert holdout(["x"], ["a"], 0.5, 0) == [False]


def test_a_class_of_two_gives_one_and_keeps_one_whatever_the_share():
    for share in (0.01, 1.0):
        assert sorted(holdout(["x", "y"], ["a", "a"], share, 0)) == [False, True]


@given(ITEMS, st.floats(0, 1), st.integers(0, 100))
def test_groups_stay_together_and_no_class_is_held_out_whole(items, share, seed):
    groups, classes = [group for group, _ in items], [name for _, name in items]
    held = holdout(groups, classes, share, seed)
    assert all(len({held[row] for row in range(len(items)) if groups[row] == group}) == 1 for group in set(groups))
    first_class = dict(reversed(items))
    for name in set(first_class.values()):
        assert not all(held[groups.index(group)] for group, first in first_class.items() if first == name)

"""Splitting a history by what its calls touch."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from leasehold_model.history import Call, parts
from leasehold_model.linearize import linearize
from leasehold_model.register import Register
from tests.model.histories import drawn, holds


def touching(*footprints: set[Any]) -> list[tuple[int, ...]]:
    return parts([Call(0, 0, 0, one, None) for one in footprints], lambda one: one.action)


def test_parts_share_no_key() -> None:
    assert touching() == []
    assert touching({1}, {2}, {1}) == [(0, 2), (1,)]
    assert touching({1}, {2}, {3}, {1, 3}, {4}) == [(0, 2, 3), (1,), (4,)]
    assert touching({1, 2}, {3, 4}, {5}, {2, 3}) == [(0, 1, 3), (2,)]


def test_what_touches_nothing_stands_alone() -> None:
    assert touching(set(), {0}, set(), {0}) == [(0,), (1, 3), (2,)]


@given(st.lists(st.sets(st.integers(0, 12), max_size=3), max_size=25))
def test_parts_are_the_finest_that_share_no_key(footprints: list[set[int]]) -> None:
    groups = touching(*footprints)
    assert sorted(index for group in groups for index in group) == list(range(len(footprints)))
    keys = [set().union(*(footprints[index] for index in group)) for group in groups]
    assert sum(map(len, keys)) == len(set().union(*keys))
    for group in groups:  # from its first call on, each is reached over shared keys
        reached, left = set(footprints[group[0]]), set(group[1:])
        while joined := {index for index in left if footprints[index] & reached}:
            left -= joined
            reached |= set().union(*(footprints[index] for index in joined))
        assert not left


class Registers:
    """Registers side by side, as one object."""

    def initial(self) -> tuple[Any, ...]:
        return (0, 0)

    def next(self, state: tuple[Any, ...], one: Call[Any, Any]) -> list[tuple[Any, ...]]:
        at = one.action.key
        return [(*state[:at], after, *state[at + 1 :]) for after in Register().next(state[at], one)]


def test_part_by_part_is_as_the_whole() -> None:
    verdicts = Counter[bool]()
    for seed in range(1500):
        random = Random(seed)
        calls = [evolve(one, action=evolve(one.action, key=random.randrange(2))) for one in drawn(random, lost=0.15)]
        groups = parts(calls, lambda one: {one.action.key})
        split = all(linearize([calls[index] for index in group], Register(0)).verdict == "linearizable" for group in groups)
        assert split == holds(calls, Registers()) == (linearize(calls, Registers()).verdict == "linearizable")
        verdicts[split] += 1
    assert min(verdicts.values()) > 200

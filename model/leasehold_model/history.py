"""Concurrent histories: calls with the times at which they were made and answered, judged against a sequential specification.

The vocabulary of Herlihy & Wing, "Linearizability: A Correctness Condition for Concurrent Objects" (1990). What was asked and
answered is opaque here: only a specification looks into it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S", bound=Hashable)


@frozen
class Call(Generic[A, R]):
    """One call. It took effect at one moment between ``start`` and ``end``, ends included; times are of one clock, in any unit.

    ``end`` None: it never returned, so it may take effect at any later time, or never. ``definite`` False: its answer was lost, so
    it took effect once by ``end``, or never, and ``answer`` says nothing.
    """

    client: int
    start: int
    end: int | None
    action: A
    answer: R
    definite: bool = True


class Specification(Protocol[S]):
    """An object as one client alone would see it. States are hashable, and equal only if nothing can tell them apart."""

    def initial(self) -> S:
        """The state before the first call."""
        ...

    def next(self, state: S, call: Call[Any, Any]) -> Sequence[S]:
        """The states that the call may leave if it takes effect in this one with its answer (if definite). None: it cannot."""
        ...


def parts(calls: Sequence[Call[A, R]], footprint: Callable[[Call[A, R]], Collection[Hashable]]) -> list[tuple[int, ...]]:
    """The calls, by index, in groups that share no key; ``footprint`` is the keys that a call touches, taken effect or not.

    If the object is independent ones side by side, one per key, a history is linearizable iff each group is
    (P-compositionality: Horn & Kroening, "Faster linearizability checking via P-compositionality", 2015).
    """
    above: dict[Hashable, Hashable] = {}

    def root(key: Hashable) -> Hashable:
        while above.setdefault(key, key) != key:
            above[key] = key = above[above[key]]  # halves the way for the next who asks
        return key

    first = list[Hashable]()
    for index, call in enumerate(calls):
        keys: list[Hashable] = [("key", key) for key in footprint(call)] or [("alone", index)]
        for key in keys:
            above[root(key)] = root(keys[0])
        first.append(keys[0])
    groups = dict[Hashable, list[int]]()
    for index, key in enumerate(first):
        groups.setdefault(root(key), []).append(index)
    return [tuple(group) for group in groups.values()]

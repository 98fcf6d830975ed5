"""Histories of registers for tests: by hand, at random, and judged by brute force, which shares nothing with the search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from random import Random
from typing import Any

from leasehold_model.history import Call, Specification
from leasehold_model.register import CompareAndSet, Read, Write

History = list[Call[Any, Any]]


def call(start: int, end: int | None, action: Any, answer: Any = None, *, definite: bool = True, client: int = 0) -> Call[Any, Any]:
    return Call(client, start, end, action, answer, definite and (end is not None or answer is not None))


def holds(calls: Sequence[Call[Any, Any]], specification: Specification[Any]) -> bool:
    """By trying every order of every choice of the calls that need not have taken effect."""
    must = [one for one in calls if one.end is not None and one.definite]
    may = [one for one in calls if one.end is None or not one.definite]
    return any(
        in_real_time(order) and explains(order, specification)
        for size in range(len(may) + 1)
        for chosen in combinations(may, size)
        for order in permutations([*must, *chosen])
    )


def in_real_time(order: Sequence[Call[Any, Any]]) -> bool:
    return not any(later.end is not None and later.end < one.start for at, one in enumerate(order) for later in order[at + 1 :])


def explains(order: Sequence[Call[Any, Any]], specification: Specification[Any]) -> bool:
    states = {specification.initial()}
    for one in order:
        states = {after for state in states for after in specification.next(state, one)}
    return bool(states)


def drawn(random: Random, most: int = 6, clients: int = 3, lost: float = 0.25) -> History:
    """Some calls on a register of two values. Answers are drawn too, so about half of the histories are wrong."""
    calls: History = []
    busy = [0] * clients
    for _ in range(random.randint(1, most)):
        client = random.randrange(clients)
        start = busy[client] + random.randint(0, 2)
        end: int | None = start + random.randint(0, 4)
        busy[client] = end + 1 if end is not None else 0
        action = random.choice(
            [Read(), Read(), Write(random.randint(0, 1)), CompareAndSet(random.randint(0, 1), random.randint(0, 2))]
        )
        answer = random.choice([None, 0, 1, 2]) if isinstance(action, Read) else random.random() < 0.5
        definite = random.random() >= lost
        if not definite and random.random() < 0.5:
            end = None
        calls.append(Call(client, start, end, action, answer, definite))
    return calls

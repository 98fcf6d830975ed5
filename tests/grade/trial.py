"""One strategy at work on one store: what it may know, what its work costs, and what it met first."""

from __future__ import annotations

import time
from typing import Any

from attrs import frozen

from leasehold.case import prepare
from leasehold.oracle.answers import Answer
from leasehold.oracle.python_door import PythonDoor
from leasehold_model.machine import Contract
from tests.liars.liars import LIARS
from tests.liars.oddities import ODDITIES
from tests.liars.patching import Factory, patched

LIAR_OF: dict[str, Any] = {liar.name: liar for liar in LIARS}
RIGHT = ("memory", "sqlite", *(oddity.name for oddity in ODDITIES))
"""Stores that no strategy may accuse."""


@frozen
class Found:
    """The first failure. ``size``: operations of its run, minimised where the strategy minimises; 0: it is no run."""

    rule: str
    seconds: float
    operations: int
    size: int


PATIENCE = 4
"""A store that mostly waits is given so many times the limit on the clock."""


class CountingDoor(PythonDoor):
    """Counts the operations that reach the store."""

    calls = 0

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        self.calls += 1
        return super().call(handle, op, args)


class Trial:
    """A store behind a door, and the clock of a strategy that has ``limit`` seconds."""

    def __init__(self, name: str, factory: Factory, limit: float) -> None:
        self.door = CountingDoor(factory, name)
        self.limit = limit
        self._began = (0.0, 0.0)
        self.begin()

    def begin(self) -> None:
        """From now on time and operations count."""
        self.door.calls = 0
        self._began = (time.process_time(), time.monotonic())

    @property
    def elapsed(self) -> float:
        """Seconds of this process since the beginning, so that what else the machine does has no part in it."""
        return time.process_time() - self._began[0]

    @property
    def over(self) -> bool:
        """The time is up."""
        return self.elapsed >= self.limit or time.monotonic() - self._began[1] >= PATIENCE * self.limit

    def found(self, rule: str, size: int) -> Found:
        """A failure, now."""
        return Found(rule, self.elapsed, self.door.calls, size)


def told_contract(name: str, door: PythonDoor) -> Contract:
    """The policy options of a store: a liar's are those of the right store it is made of; others are probed."""
    return Contract() if name in LIAR_OF else prepare(door)[0]


def factory_of(name: str) -> Factory:
    """A liar, an oddity or a right store by name."""
    if name in LIAR_OF:
        factory: Factory = LIAR_OF[name].factory()
        return factory
    if name == "memory":
        return patched("right", "memory", ())
    if name == "sqlite":
        return patched("right", "sqlite", ())
    return next(oddity.factory for oddity in ODDITIES if oddity.name == name)

"""Runs from a row of numbers, one a step: what Hypothesis generates fast and shrinks well.

In one byte string a run, the meaning of every byte hangs on all before it, and Hypothesis stops shrinking at 5 to 50 steps. Here a
step is dropped by making its number 0, or changed by making it another, and the others stay what they are: 2 to 6 steps remain,
after a fifth of the time. A fixed count of numbers shrinks faster than a list.
"""

from __future__ import annotations

from collections.abc import Iterable

from leasehold.oracle.answers import Door
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.drive import advance, end
from leasehold.oracle.run import Execution, Failure, Indefinite, failure
from leasehold.oracle.walker import FOCI, Focus, Walker
from leasehold_model.machine import Contract

LARGEST = 2**16 - 1
"""The numbers are from 0 to this."""

STEPS = 50
"""How many numbers a run is made of."""


class Number:
    """A number as a source of draws: the seed of a linear congruential generator. Of 0 every draw is 0, the simplest."""

    __slots__ = ("_state",)

    def __init__(self, number: int = 0) -> None:
        self._state = number

    def load(self, number: int) -> None:
        """From now on draw from this number."""
        self._state = number

    def __call__(self, n: int) -> int:
        state = self._state
        if state == 0:
            return 0
        self._state = state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (state >> 33) % n


def walk_numbers(
    door: Door, contract: Contract, numbers: Iterable[int], coverage: Coverage | None = None, focus: Focus = FOCI[0]
) -> Failure | None:
    """Walk one run on a fresh store: a step for each number but 0, then the epilogue. The failure it meets, or None."""
    source = Number()
    execution = Execution(door, contract, coverage)
    walker = Walker(source, contract, door.capabilities, focus)
    try:
        for number in numbers:
            if number == 0:
                continue
            source.load(number)
            mismatch = advance(execution, walker)
            if mismatch is not None:
                return failure(execution, mismatch)
        source.load(0)
        return end(execution, walker)
    except Indefinite:
        return None

"""Runs from one byte string, a byte for each step: what Hypothesis generates fastest and shrinks best.

Where a run's draws simply use up the bytes, the meaning of every byte hangs on all before it, and Hypothesis stops shrinking at 5
to 50 steps. Here a step is left out by making its byte 0, or becomes another by making it another, and the other steps stay what
they are: in a tenth of the time 2 to 7 steps remain. A number for each step shrinks as well, but costs Hypothesis 100 us a number.
"""

from __future__ import annotations

from leasehold.oracle.answers import Door
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.drive import advance, end
from leasehold.oracle.run import Execution, Failure, Indefinite, failure
from leasehold.oracle.walker import FOCI, Walker
from leasehold_model.machine import Contract

STEPS = 50
"""How many steps a run has at most, before its epilogue."""

SIZE = 2 + STEPS
"""How many bytes a run is made of: the focus, the variety, the steps."""


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


def walk_bytes(door: Door, contract: Contract, data: bytes, coverage: Coverage | None = None) -> Failure | None:
    """Walk one run on a fresh store: a step for each byte but 0, then the epilogue. The failure it meets, or None.

    The first byte chooses the focus; the second is mixed into every step's draws, so that the same byte may mean something else.
    """
    focus, variety = (*data[:2], 0, 0)[:2]
    source = Number()
    execution = Execution(door, contract, coverage)
    walker = Walker(source, contract, door.capabilities, FOCI[focus % len(FOCI)])
    try:
        for place, byte in enumerate(data[2:]):
            if byte == 0:
                continue
            source.load((variety * STEPS + place) * 256 + byte)
            mismatch = advance(execution, walker)
            if mismatch is not None:
                return failure(execution, mismatch)
        source.load(0)
        return end(execution, walker)
    except Indefinite:
        return None

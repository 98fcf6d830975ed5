"""Drivers: where the walker's randomness comes from, and how one run is walked on a store."""

from __future__ import annotations

import random
from collections.abc import Sequence

from leasehold.oracle.answers import Door, Err, Ok, Unknown
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.moment import Mismatch
from leasehold.oracle.run import Execution, Failure, Indefinite, Reopen, Step, attempt, failure, repeat
from leasehold.oracle.walker import FOCI, Focus, Take, Walker
from leasehold_model.machine import Contract
from leasehold_model.outcome import Absent, Refused

LENGTHS = (6, 12, 20, 30, 45, 60)
"""How many steps a run draws before its epilogue."""


def seeded(seed: int) -> Take:
    """A plain random source: the fastest driver."""
    rng = random.Random(seed).random
    return lambda n: int(rng() * n)


class Bytes:
    """A byte string as a source: what Hypothesis generates and shrinks. Once it is used up, every draw is 0, the simplest."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __call__(self, n: int) -> int:
        if self._at >= len(self._data):
            return 0
        value = self._data[self._at]
        self._at += 1
        return value % n

    @property
    def spent(self) -> bool:
        """Nothing is left."""
        return self._at >= len(self._data)


def walk(
    door: Door, contract: Contract, take: Take, coverage: Coverage | None = None, focus: Focus = FOCI[0], length: int = 0
) -> Failure | None:
    """Walk one run of about ``length`` steps (0: drawn) on a fresh store; the failure it meets, or None."""
    execution = Execution(door, contract, coverage)
    walker = Walker(take, contract, door.capabilities, focus)
    try:
        for _ in range(length or LENGTHS[take(len(LENGTHS))]):
            mismatch = advance(execution, walker)
            if mismatch is not None:
                return failure(execution, mismatch)
            if isinstance(take, Bytes) and take.spent:
                break
        return end(execution, walker)
    except Indefinite:
        return None


def end(execution: Execution, walker: Walker) -> Failure | None:
    """Walk the epilogue."""
    return repeat(execution, walker.epilogue(execution.state))


def advance(execution: Execution, walker: Walker, among: Sequence[str] = ()) -> Mismatch | None:
    """Draw one step, execute it, and let the walker learn from it. ``among``: the commands to choose from; empty: the focus's."""
    before = execution.state
    one = walker.next(before, among)
    count = len(execution.steps)
    mismatch = attempt(execution, one)
    if mismatch is None and len(execution.steps) > count:
        if isinstance(execution.answers[-1], Unknown) and not isinstance(one.action, Reopen):
            walker.lost(one.action)
            return None
        walker.took(one.action, _granted(execution, one), before, execution.state)
    return mismatch


def _granted(execution: Execution, one: Step) -> bool:
    """The step was neither refused nor answered with nothing."""
    if isinstance(one.action, Reopen) or not isinstance(execution.answers[-1], Ok | Err):
        return False
    return execution.last is not None and not isinstance(execution.last.response, Refused | Absent)

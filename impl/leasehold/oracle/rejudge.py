"""What a store answered, judged anew under another contract: nothing is sent to it again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, islice, product
from typing import Any

from attrs import evolve

from leasehold.oracle.answers import Answer, BrokenTarget
from leasehold.oracle.binding import Unbound
from leasehold.oracle.probe import Probed
from leasehold.oracle.run import Execution, Failure, Indefinite, Silence
from leasehold.store import Capabilities
from leasehold_model.machine import Contract
from leasehold_model.policy import Point, choose, option

EVER = (-(2**62), 2**62)
"""A real clock's span that fits any time."""

MOST = 400
"""Combinations of other options that are tried."""


class RecordedDoor:
    """Gives the answers that a store once gave, in their order."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self.name = "recorded"
        self.deadline = self.ends = math.inf
        self.hangs = False
        self.not_killed = "nothing runs"
        self.answer: Answer | None = None

    def reported_tier(self) -> str | None:
        """Nothing reports here."""
        return None

    def fresh(self, session_id: str) -> None:
        """Nothing runs here."""

    def clock(self, now_ms: int) -> None:
        """Nothing runs here."""

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """The answer that was recorded for this step."""
        if self.answer is None:
            raise BrokenTarget("no answer was recorded")
        return self.answer

    def reopen(self) -> None:
        """Nothing runs here."""

    def crashing(self) -> None:
        """Nothing runs here."""

    def restart(self) -> None:
        """Nothing runs here."""

    def close(self) -> None:
        """Nothing runs here."""


def explains(failure: Failure, capabilities: Capabilities, contract: Contract) -> bool:
    """Under this contract every answer of the failing run is right, or nothing can be said of the last one."""
    door = RecordedDoor(evolve(capabilities, clock="virtual"))
    execution = Execution(door, contract)
    execution.span = failure.moment.span and EVER
    try:
        for one, answer in zip(failure.steps, failure.answers, strict=True):
            door.answer = answer
            if execution.do(one) is not None:
                return False
    except Silence:
        return len(execution.steps) == len(failure.steps) - 1
    except (Unbound, BrokenTarget):
        return False
    except Indefinite:
        return True
    return True


def contract_that_explains(
    failure: Failure, capabilities: Capabilities, contract: Contract, points: list[Point]
) -> Contract | None:
    """The contract with other options at these points, under which the run is right: one with the fewest other options."""
    return next((other for other in others(contract, points) if explains(failure, capabilities, other)), None)


def others(contract: Contract, points: list[Point]) -> Iterator[Contract]:
    """The contract with one other option at these points, with two, with three."""
    return islice(_combined(contract, points), MOST)


def _combined(contract: Contract, points: list[Point]) -> Iterator[Contract]:
    for count in (1, 2, 3):
        for changed in combinations(points, count):
            options = [[one for one in point.options if one != option(contract.policies, point)] for point in changed]
            for taken in product(*options):
                policies = contract.policies
                for point, one in zip(changed, taken, strict=True):
                    policies = choose(policies, point, one)
                yield evolve(contract, policies=policies)


def open_points(policies: list[Probed]) -> list[Point]:
    """Points at which the store could not be asked."""
    return [one.point for one in policies if one.option is None and one.failure is None]

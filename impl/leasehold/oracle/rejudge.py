"""What a store answered, judged anew under another contract: nothing is sent to it again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from itertools import combinations, islice, product
from typing import Any

from attrs import evolve

from leasehold.oracle.answers import Answer, BrokenTarget, Unknown
from leasehold.oracle.binding import Unbound, renamed
from leasehold.oracle.probe import Probed
from leasehold.oracle.run import Execution, Failure, Indefinite, Reopen, Run, Silence
from leasehold.oracle.worlds import MOST_LOST
from leasehold.store import Capabilities
from leasehold_model.machine import Contract
from leasehold_model.policy import Point, choose, option

EVER = (-(2**62), 2**62)
"""A real clock's span that fits any time."""

CONTENDED = 960_000
"""Names from here on are those of what was done though it was refused as contended."""

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
    execution = _execution(failure, capabilities, contract)
    try:
        return _all_right(execution, failure.steps, failure.answers)
    except Silence:
        return len(execution.steps) == len(failure.steps) - 1
    except Indefinite:
        return True


def done_though_contended(failure: Failure, capabilities: Capabilities, contract: Contract) -> bool:
    """Every answer is right once a call that was refused as contended, and so sent again, was done nevertheless (LAW-1)."""
    for index, repeats in failure.repeats.items():
        one, count = failure.steps[index], min(repeats, MOST_LOST)
        if isinstance(one.action, Reopen):
            continue
        done = [evolve(one, action=renamed(one.action, CONTENDED + number)) for number in range(count)]
        steps = (*failure.steps[:index], *done, *failure.steps[index:])
        answers = (*failure.answers[:index], *[Unknown("it was refused as contended")] * count, *failure.answers[index:])
        with contextlib.suppress(Silence, Indefinite):
            if _all_right(_execution(failure, capabilities, contract), steps, answers):
                return True
    return False


def _execution(failure: Failure, capabilities: Capabilities, contract: Contract) -> Execution:
    execution = Execution(RecordedDoor(evolve(capabilities, clock="virtual")), contract)
    execution.span = failure.moment.span and EVER
    return execution


def _all_right(execution: Execution, steps: Run, answers: Sequence[Answer | None]) -> bool:
    """Raises `Silence` or `Indefinite` where nothing can be said."""
    assert isinstance(execution.door, RecordedDoor)  # noqa: S101 - it was made so
    try:
        for one, answer in zip(steps, answers, strict=True):
            execution.door.answer = answer
            if execution.do(one) is not None:
                return False
    except (Unbound, BrokenTarget):
        return False
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

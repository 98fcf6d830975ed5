"""Runs as data, and their execution: each step goes to the model and to the store, and the answer is judged at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TypeAlias

from attrs import evolve, frozen

from leasehold.oracle.answers import Answer, Door, Err, Skip, Unknown
from leasehold.oracle.binding import Binding, Unbound
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.judge import judge
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.oracle.vocabulary import session
from leasehold_model.ids import Millis, SessionId
from leasehold_model.machine import Command, Contract, initial, step
from leasehold_model.outcome import Silent
from leasehold_model.state import State

START = 1_700_000_000_000
"""The time at which every run begins, in milliseconds since the epoch."""

BOUND = SessionId(1)
"""The session that a store under test is made for."""

OTHER = SessionId(2)
"""Another session, with a lane and a queue in the same store."""

RETRIES = 5
"""How often a call that was refused as contended is repeated unchanged before the refusal is judged."""

SLACK = 50
"""Milliseconds by which a store's real clock may differ from ours: clocks have different resolutions."""


@frozen
class Reopen:
    """Close every handle and open the store again (LAW-10)."""


@frozen
class Step:
    """One thing that happens: when (milliseconds since the epoch), on which handle, what."""

    at: int
    handle: int
    action: Command | Reopen


Run: TypeAlias = tuple[Step, ...]


class Silence(Exception):
    """The contract is silent on this step, so it was not sent."""


class Indefinite(Exception):
    """An answer was indefinite, so nothing can be concluded from here on. The run ends."""


class Execution:
    """One run on one fresh store. ``state`` is what the model holds, ``steps`` what was executed."""

    def __init__(self, door: Door, contract: Contract, coverage: Coverage | None = None) -> None:
        self.door = door
        self.contract = contract
        self.coverage = coverage
        self.state: State = initial(contract, BOUND)
        self.binding = Binding()
        self.steps: list[Step] = []
        self.answers: list[Answer | None] = []
        self.now = START
        self.real = door.capabilities.clock == "real"
        self.last: Moment | None = None
        if coverage is not None:
            coverage.start_run()
        door.fresh(session(BOUND))
        if not self.real:
            door.clock(START)

    def do(self, step_: Step) -> Mismatch | None:
        """Execute and judge one step. Raises `Silence` or `Unbound` if it was not sent, `Indefinite` if the run has to end."""
        if isinstance(step_.action, Reopen):
            self.steps.append(step_)
            self.answers.append(None)
            self.door.reopen()
            if self.coverage is not None:
                self.coverage.reopened()
            return None
        return self._call(step_, step_.action)

    def _call(self, step_: Step, command: Command) -> Mismatch | None:
        now = max(self.now + 1, _real_ms()) if self.real else step_.at
        after, response = step(self.state, command, Millis(now), self.contract)
        if isinstance(response, Silent):
            raise Silence(response.why)
        op, args = self.binding.call(command)
        if op not in self.door.capabilities.ops:
            self.steps.append(step_)
            self.answers.append(Skip("the store does not offer it"))
            return None
        if now != self.now and not self.real:
            self.door.clock(now)
        self.now = now
        began = _real_ms() if self.real else 0
        answer = self.door.call(step_.handle, op, args)
        if isinstance(answer, Err) and answer.code == "contended":
            answer = self._again(answer, step_.handle, op, args)
        self.steps.append(evolve(step_, at=now) if self.real else step_)
        self.answers.append(answer)
        if isinstance(answer, Skip):
            if self.coverage is not None:
                self.coverage.skipped(op, answer.reason)
            return None
        if isinstance(answer, Unknown):
            raise Indefinite(answer.message)
        moment = Moment(
            op, command, now, self.state, after, response, self.contract, (began - SLACK, _real_ms() + SLACK) if self.real else None
        )
        self.last = moment
        mismatch = judge(self.binding, moment, answer)
        if mismatch is None:
            if self.coverage is not None:
                self.coverage.judged(moment)
            self.state = after
        return mismatch

    def _again(self, answer: Answer, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """A contended call is repeated unchanged, a few times."""
        for _ in range(RETRIES):
            time.sleep(0.01)
            answer = self.door.call(handle, op, args)
            if not (isinstance(answer, Err) and answer.code == "contended"):
                break
        return answer


def _real_ms() -> int:
    return time.time_ns() // 1_000_000


@frozen
class Failure:
    """A run whose last step was answered wrongly."""

    steps: Run
    mismatch: Mismatch
    answers: tuple[Answer | None, ...]
    moment: Moment


def execute(door: Door, contract: Contract, steps: Iterable[Step], coverage: Coverage | None = None) -> Failure | None:
    """Execute a run. Steps that cannot be sent are left out; where nothing can be concluded any more, the run ends."""
    execution = Execution(door, contract, coverage)
    for one in steps:
        try:
            mismatch = execution.do(one)
        except (Unbound, Silence):
            continue
        except Indefinite:
            return None
        if mismatch is not None:
            return failure(execution, mismatch)
    return None


def failure(execution: Execution, mismatch: Mismatch) -> Failure:
    """The failure that an execution has just met."""
    if execution.last is None:
        raise ValueError("no step was judged")
    return Failure(tuple(execution.steps), mismatch, tuple(execution.answers), execution.last)

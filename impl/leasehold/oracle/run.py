"""Runs as data, and their execution: each step goes to the model and to the store, and the answer is judged at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from leasehold.oracle.answers import SERVER, Answer, BrokenTarget, Door, Err, Hung, NoReply, OutOfTime, Skip, Unknown
from leasehold.oracle.binding import Binding, Unbound
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.judge import judge
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.oracle.vocabulary import session
from leasehold.oracle.worlds import Took, TooMany, World, after_losing, distinct, reachable, translated
from leasehold_model.claim import AbandonClaim, RenewClaim
from leasehold_model.ids import BatchId, Millis, SessionId
from leasehold_model.machine import Command, Contract, initial, step
from leasehold_model.outcome import Silent
from leasehold_model.state import State

START = 1_700_000_000_000
"""The time at which every run begins, in milliseconds since the epoch."""

BOUND = SessionId(1)
"""The session that a store under test is made for."""

OTHER = SessionId(2)
"""Another session, with a lane and a queue in the same store."""

CONTENTION = 2.0
"""Seconds for which a call that is refused as contended is repeated unchanged before the refusal is judged."""

HANG = 1.0
"""Seconds after which a call is taken to hang when it is tried again to see whether it does."""

SLACK = 50
"""Milliseconds by which a store's real clock may differ from ours: clocks have different resolutions."""


@frozen
class Reopen:
    """Close every handle and open the store again (LAW-10)."""


@frozen
class Step:
    """One thing that happens: when (milliseconds since the epoch), on which handle, what.

    ``kill``: the process that holds the store is killed at this point of the call or the reopening, or after it (`AFTER`); 0: it is
    not.
    """

    at: int
    handle: int
    action: Command | Reopen
    kill: int = 0


Run: TypeAlias = tuple[Step, ...]


class Silence(Exception):
    """The contract is silent on this step, so it was not sent."""


class Indefinite(Exception):
    """So many answers were lost that nothing can be concluded from here on. The run ends."""


@frozen
class Possible:
    """The last answer as it was judged in one state that the store may be in: what lost calls did there, and why it is wrong."""

    mismatch: Mismatch
    moment: Moment
    took: tuple[Took, ...]


class Execution:
    """One run on one fresh store. ``steps`` is what was executed, ``state`` what the model holds.

    Once an answer was lost, ``worlds`` has every state that the store may be in; ``state`` and ``binding`` are the first one's.
    """

    def __init__(self, door: Door, contract: Contract, coverage: Coverage | None = None) -> None:
        self.door = door
        self.contract = contract
        self.coverage = coverage
        self.state: State = initial(contract, BOUND)
        self.binding = Binding()
        self.worlds: list[World] = []
        self.took: tuple[Took, ...] = ()
        self.possible: tuple[Possible, ...] = ()
        self.steps: list[Step] = []
        self.answers: list[Answer | None] = []
        self.repeats: dict[int, int] = {}
        self.now = START
        self.real = door.capabilities.clock == "real"
        self.span: tuple[int, int] | None = None
        self.last: Moment | None = None
        self._in_time()
        if coverage is not None:
            coverage.start_run()
        door.fresh(session(BOUND))
        if not self.real:
            door.clock(START)

    def do(self, step_: Step) -> Mismatch | None:
        """Execute and judge one step. Raises `Silence` or `Unbound` if it was not sent, `Indefinite` if the run has to end.

        Raises `OutOfTime` when the door may be used no longer.
        """
        self._in_time()
        if isinstance(step_.action, Reopen):
            self.steps.append(step_)
            self.answers.append(None)
            crash_reopen = getattr(self.door, "crash_reopen", None) if step_.kill and not self.door.not_killed else None
            if crash_reopen is not None:
                crash_reopen(step_.kill)
            else:
                self.door.reopen()
            if self.coverage is not None:
                self.coverage.reopened()
            return None
        return self._call(step_, step_.action)

    def _in_time(self) -> None:
        if time.monotonic() > self.door.ends:
            raise OutOfTime

    def _call(self, step_: Step, command: Command) -> Mismatch | None:
        now = max(self.now + 1, _real_ms()) if self.real else step_.at
        command = self._as_sent(command)
        after, response = step(self.state, command, Millis(now), self.contract)
        if isinstance(response, Silent):
            raise Silence(response.why)
        if self.worlds:
            self._spread(command, now)
        op, args = self.binding.call(command)
        if op not in self.door.capabilities.ops:
            self.steps.append(step_)
            self.answers.append(Skip("the store does not offer it"))
            return None
        if now != self.now and not self.real:
            self.door.clock(now)
        self.now = now
        began = _real_ms() if self.real else 0
        try:
            answer = self._sent(step_, op, args)
        except NoReply as late:
            answer = self._no_reply(late, step_, op, args)
        self.steps.append(evolve(step_, at=now) if self.real else step_)
        self.answers.append(answer)
        if isinstance(answer, Skip):
            if self.coverage is not None:
                self.coverage.skipped(op, answer.reason)
            return None
        if -step_.kill >= SERVER and isinstance(answer, Err) and answer.code in {"backend", "contended"}:
            return None  # the database below it failed, so it is right to say so; nothing happened
        span = (began - SLACK, _real_ms() + SLACK) if self.real else self.span
        if isinstance(answer, Unknown):
            self._lose(command, now, began - SLACK)
            return None
        if self.worlds:
            return self._narrow(op, command, now, span, answer)
        moment = Moment(op, command, now, self.state, after, response, self.contract, span)
        self.last = moment
        mismatch = judge(self.binding, moment, answer)
        if mismatch is None:
            if self.coverage is not None:
                self.coverage.judged(moment)
            self.state = after
        return mismatch

    def _as_sent(self, command: Command) -> Command:
        """A claim is sent as it was given: where an answer was lost, perhaps of other batches than the run has it."""
        if not isinstance(command, RenewClaim | AbandonClaim) or not any(isinstance(one, Unknown) for one in self.answers):
            return command
        known = self.binding.claims.get(command.claim)
        if known is None:
            return command
        names = [self.binding.batch_of.get(one.batch_id) for one in known.batches]
        if None in names:
            raise Unbound(f"a batch of claim {command.claim}")
        return evolve(command, batches=tuple(BatchId(one) for one in names if one is not None))

    def _sent(self, one: Step, op: str, args: tuple[Any, ...]) -> Answer:
        crash = getattr(self.door, "crash", None) if one.kill and not self.door.not_killed else None
        if crash is not None:
            if self.coverage is not None:
                self.coverage.reopened()
            answer: Answer = crash(one.handle, op, args, one.kill)
        else:
            answer = self.door.call(one.handle, op, args)
        if isinstance(answer, Err) and answer.code == "contended":
            answer = self._again(answer, one.handle, op, args)
        return answer

    def _no_reply(self, late: NoReply, one: Step, op: str, args: tuple[Any, ...]) -> Answer:
        """An adapter did not reply: `Hung` if it is the store that hangs, else the adapter is broken, and that is raised."""
        deadline, ends = self.door.deadline, self.door.ends
        try:
            self.door.restart()
            if not self.door.hangs:
                self.door.deadline, self.door.ends = min(deadline, HANG), time.monotonic() + 3 * HANG
                self.door.hangs = self._hangs_again(one, op, args)
                self.door.restart()
        except (BrokenTarget, OutOfTime):
            raise late from None
        finally:
            self.door.deadline, self.door.ends = deadline, ends
        if not self.door.hangs:
            raise late
        return Hung(deadline)

    def _hangs_again(self, one: Step, op: str, args: tuple[Any, ...]) -> bool:
        """A new process answers this call on an empty store, but not after the same steps: then it is not the adapter's silence."""
        self.door.fresh(session(BOUND))
        if not self.real:
            self.door.clock(self.now)
        self.door.call(0, op, args)
        again = Execution(self.door, self.contract)
        try:
            for earlier in self.steps:
                with contextlib.suppress(Unbound, Silence):
                    again.do(earlier)
            self.door.hangs = False
            again.door.call(one.handle, op, again.binding.call(one.action)[1])  # type: ignore[arg-type]  # no reopening hangs
        except NoReply:
            return True
        except (Unbound, Indefinite):
            return False
        return False

    # -- lost answers ------------------------------------------------------------------------------------------------------

    def _spread(self, command: Command, now: int) -> None:
        """Lost calls may take effect before this one, and before or after the clock moves.

        Raises `Silence` if the contract is silent on the command in one of the worlds.
        """
        times = (self.now,) if now == self.now else (self.now, now)
        try:
            spread = [one for world in self.worlds for one in reachable(world, self.contract, len(self.steps), times)]
            self.worlds = distinct(spread)
        except TooMany as error:
            raise Indefinite(str(error)) from error
        for world in self.worlds:
            _, response = step(world.state, translated(command, self.binding, world.binding), Millis(now), self.contract)
            if isinstance(response, Silent):
                raise Silence(response.why)

    def _lose(self, command: Command, now: int, began: int) -> None:
        """The answer is lost, so the call takes effect once, now or later, or never."""
        worlds = self.worlds or [World(self.state, self.binding)]
        if self.coverage is not None:
            self.coverage.lost += 1
        try:
            index = len(self.steps) - 1
            self.worlds = [after_losing(one, index, translated(command, self.binding, one.binding), now) for one in worlds]
        except TooMany as error:
            raise Indefinite(str(error)) from error
        if self.real:
            for world in self.worlds:
                world.binding.lost += ((now, began),)

    def _narrow(self, op: str, command: Command, now: int, span: tuple[int, int] | None, answer: Answer) -> Mismatch | None:
        """Keep the worlds that allow the answer; the mismatch, if none does."""
        left: list[World] = []
        moments: list[Moment] = []
        wrong: list[tuple[Mismatch, Moment, World]] = []
        for world in self.worlds:
            meant = translated(command, self.binding, world.binding)
            after, response = step(world.state, meant, Millis(now), self.contract)
            moment = Moment(op, meant, now, world.state, after, response, self.contract, span)
            binding = world.binding.copy()
            mismatch = judge(binding, moment, answer)
            if mismatch is None:
                left.append(World(after, binding, world.lost, world.took))
                moments.append(moment)
            else:
                wrong.append((mismatch, moment, world))
        if not left:
            mismatch, self.last, world = wrong[0]
            self.state, self.binding, self.took = world.state, world.binding, world.took
            self.possible = tuple(Possible(one, moment, world.took) for one, moment, world in wrong)
            return _of_all(mismatch, [other.rule for other, _, _ in wrong])
        self.last = moments[0]
        if self.coverage is not None:
            self.coverage.judged(moments[0])
        self.worlds = distinct(left)
        self.state, self.binding, self.took = left[0].state, left[0].binding, left[0].took
        if len(self.worlds) == 1 and not left[0].lost:
            self.worlds = []
        return None

    def _again(self, answer: Answer, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """A contended call is repeated unchanged, at first often, then now and then."""
        ends, pause = time.monotonic() + min(CONTENTION, self.door.deadline), 0.001
        while time.monotonic() < ends:
            self.repeats[len(self.steps)] = self.repeats.get(len(self.steps), 0) + 1
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
            answer = self.door.call(handle, op, args)
            if not (isinstance(answer, Err) and answer.code == "contended"):
                break
        return answer


def _of_all(first: Mismatch, rules: list[str]) -> Mismatch:
    """Whatever the lost calls did, the answer is wrong: by one rule, or by several, and then it is LAW-12 that is broken."""
    others = tuple(dict.fromkeys(rules))
    return first if len(others) == 1 else evolve(first, rule="LAW-12", also=others)


def _real_ms() -> int:
    return time.time_ns() // 1_000_000


@frozen
class Failure:
    """A run whose last step was answered wrongly.

    ``lost``: answers were lost on the way, and whatever those calls did, the last answer is wrong; ``took`` is what they did in the
    possibility that ``moment`` and ``mismatch`` are of, which is the first of ``possible``. ``repeats``: how often the call of a
    step was repeated, since it was answered with ``contended``. ``unit``: what a point is at which a process was killed.
    """

    steps: Run
    mismatch: Mismatch
    answers: tuple[Answer | None, ...]
    moment: Moment
    lost: bool = False
    took: tuple[Took, ...] = ()
    repeats: Mapping[int, int] = field(factory=dict)
    possible: tuple[Possible, ...] = ()
    unit: str = ""

    @property
    def killed(self) -> bool:
        """The process that holds the store was killed on the way."""
        return any(one.kill for one in self.steps)


def execute(door: Door, contract: Contract, steps: Iterable[Step], coverage: Coverage | None = None) -> Failure | None:
    """Execute a run. Steps that cannot be sent are left out; where nothing can be concluded any more, the run ends."""
    try:
        return repeat(Execution(door, contract, coverage), steps)
    except Indefinite:
        return None


def repeat(execution: Execution, steps: Iterable[Step]) -> Failure | None:
    """Execute steps until one is answered wrongly."""
    for one in steps:
        mismatch = attempt(execution, one)
        if mismatch is not None:
            return failure(execution, mismatch)
    return None


def attempt(execution: Execution, one: Step) -> Mismatch | None:
    """Execute a step. What could not be done, or has no answer to judge, is no mismatch."""
    try:
        return execution.do(one)
    except (Unbound, Silence):
        return None


def failure(execution: Execution, mismatch: Mismatch) -> Failure:
    """The failure that an execution has just met."""
    if execution.last is None:
        raise ValueError("no step was judged")
    steps, answers = tuple(execution.steps), tuple(execution.answers)
    lost = any(isinstance(answer, Unknown) and not one.kill for one, answer in zip(steps, answers, strict=True))
    unit = getattr(execution.door, "unit", "")
    return Failure(
        steps, mismatch, answers, execution.last, lost, execution.took, dict(execution.repeats), execution.possible, unit
    )

"""Concurrent runs: several clients of one store at once, their history, and whether the model can explain it (LAW-12).

Each client has a handle and a thread of its own. A history notes what was asked when and what came back when; at the end everything
is read back, one call after the other. If no order of the calls within their times is right, the store is wrong, and the smallest
part of the history that shows it is kept.
"""

from __future__ import annotations

import contextlib
import itertools
import linecache
import math
import random
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from leasehold.oracle.answers import Answer, BrokenTarget, Door, Err, NoReply, Ok, Skip, Unknown
from leasehold.oracle.binding import Unbound, operation, renamed
from leasehold.oracle.explain import Asked, Asking, Judged, Possible, Silence, StoreSpecification, explain, is_loose
from leasehold.oracle.moment import Mismatch
from leasehold.oracle.probe import ANN, LOAD, LONG, enqueue
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.races import ALL, BOB, PENDING, ROWS, Race, ask
from leasehold.oracle.rejudge import CONTENDED
from leasehold.oracle.run import BOUND, CONTENTION, OTHER, SLACK, START, Execution, Failure, Indefinite, Run, failure
from leasehold.oracle.run import Silence as Unasked
from leasehold.oracle.schedule import Schedule, is_stores
from leasehold.oracle.view import View
from leasehold.oracle.worlds import READS
from leasehold.wire.client import WireDoor, wait
from leasehold_model.attachment import LoadMeta
from leasehold_model.claim import ClaimReady
from leasehold_model.commit import CommitState
from leasehold_model.graph import CollectGarbage, LoadSession, Tombstone, Vacuum
from leasehold_model.history import Call
from leasehold_model.ids import FencingToken, LeaseToken, Name, OwnerId
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Command, Contract
from leasehold_model.queue import Enqueue, ListQueued
from leasehold_model.state import Fence, lane_of

OPENING = ("list_queued_work", ("alpha",))
"""What each handle is asked once before a race, so that it is open; a store that does not offer it opens handles in the race."""

BOUND_TO_A_THREAD = (
    "A store that declares concurrent is called from several threads, each with a handle of its own, whichever thread opened it: "
    "with sqlite3, open it with check_same_thread=False. Or declare concurrent=False."
)

LAST = 0.5
"""Seconds that each client gets to end by itself when there are no turns any more."""

CLOSED_FOR_GOOD = "after the clients were done the store could not be opened again"
"""How the message of an answer begins, where there is no store any more that could answer."""

AFTERWARDS = 9_000
"""Names from here on are those of what is done when the clients are done."""

MOST_DONE = 6
"""How often one such call may have been done."""

STRANGER = OwnerId(4)
"""An owner that no client is."""

TOGETHER = 0.3
"""How often the first calls of all clients are sent to an adapter in one piece."""

PATIENCE = 5.0
"""Seconds that the clients of one race may take at least."""


@frozen
class Next:
    """A call that could have come next, and why the model refuses it after those that it can explain."""

    call: Asking
    mismatch: Mismatch


@frozen
class RaceFinding:
    """What was found beside a run of one client: above all calls at once that no order explains (LAW-12).

    ``calls``: the part of the history that shows it, by start; ``explained``: indexes of calls in an order that is right, as far as
    one goes; ``refused``: what could have come next. ``again``: in how many of ``tries`` reruns it was seen again. ``kill``: the
    adapter was killed so many microseconds after the first calls were sent; 0: it was not.
    """

    requirement: str
    message: str
    also: tuple[str, ...] = field(default=(), kw_only=True)
    race: Race | None = field(default=None, kw_only=True)
    schedule: Schedule | None = field(default=None, kw_only=True)
    calls: tuple[Asking, ...] = field(default=(), kw_only=True)
    explained: tuple[int, ...] = field(default=(), kw_only=True)
    refused: tuple[Next, ...] = field(default=(), kw_only=True)
    again: int = field(default=0, kw_only=True)
    tries: int = field(default=0, kw_only=True)
    history: History | None = field(default=None, kw_only=True, repr=False)
    kill: int = field(default=0, kw_only=True)

    @property
    def commands(self) -> int:
        """Calls of the minimised history."""
        return len(self.calls)


@frozen
class History:
    """What several clients asked a store and what it answered. ``specification``: the store as it was before.

    ``steps`` and ``answers``: what was done before. ``reopened``: when the store was closed and opened again; 0: it was not.
    ``closed``: all handles but the first were closed when the clients were done.
    """

    calls: tuple[Asking, ...]
    specification: StoreSpecification
    steps: Run = ()
    answers: tuple[Answer | None, ...] = ()
    reopened: int = 0
    closed: bool = False


class Hung(Exception):
    """Not every client was answered in time."""

    def __init__(self, seconds: float, where: str = "") -> None:
        super().__init__(f"no client was answered for {seconds:g} s{where}")
        self.seconds = seconds


class Threads:
    """Clients as threads of this process, each on a handle of its own."""

    def __init__(self, door: Door, contract: Contract) -> None:
        self.door = door
        self.contract = contract
        self.now = START
        self.real = door.capabilities.clock == "real"
        self.moved = 0.0
        """When a client was last answered."""
        self.trip = 0.0003
        """Seconds that a call takes, about."""
        self.over = False
        """The adapter is being killed: nobody asks for anything more."""
        self._rng = random.Random(0)

    def run(self, race: Race, schedule: Schedule | None = None, kill: int = 0) -> History | Failure | None:
        """Run a race on a fresh store. A failure: it went wrong before the clients started. None: nothing can be said.

        ``kill``: the adapter is killed so many microseconds after the first calls were sent, and started again.

        Raises `Hung`.
        """
        execution = Execution(self.door, self.contract)
        for one in race.before:
            try:
                mismatch = execution.do(one)
            except (Unbound, Unasked):
                continue
            except Indefinite:
                return None
            if mismatch is not None:
                return failure(execution, mismatch)
        if execution.worlds or any(isinstance(one, Unknown | Skip) for one in execution.answers):
            return None
        self.now = execution.now
        start = Possible(execution.state, execution.binding)
        view = View(execution.binding)
        clients = [_Client(self, number, commands, view) for number, commands in enumerate(race.clients)]
        opened = getattr(self.door, "open", None)
        for number in range(1 if race.opens else len(clients)):
            if OPENING[0] in self.door.capabilities.ops:
                self.door.call(number, *OPENING)
            elif opened is not None:
                opened(number)
        self._race(clients, schedule, kill)
        ops = self.door.capabilities.ops
        last = _Client(self, len(clients), [*reads(ops), *repeated(race, ops)], view, handle=0)
        for number in range(1, len(clients)):
            if last.broken is None and isinstance(self.door, PythonDoor):
                self.door.close_handle(number)
        last.go()
        reopened = 0
        if self.door.capabilities.reopen and not kill and all(client.broken is None for client in (*clients, last)):
            reopened = next(_TICK)
            try:
                self.door.reopen()
                last.send(reopening(ops))
            except BrokenTarget as broken:  # it can be, where clients were not there at once
                last.cannot(f"{CLOSED_FOR_GOOD}: {broken}")
        for client in (*clients, last):
            if isinstance(client.broken, NoReply):
                self.door.restart()
                raise Hung(self.door.deadline)
            if client.broken is not None:
                raise client.broken
        calls = tuple(call for one in (*clients, last) for call in one.calls)
        specification = StoreSpecification(self.contract, start.state, start.binding, view.binding, self.real or is_loose(calls))
        return History(
            calls, specification, tuple(execution.steps), tuple(execution.answers), reopened, isinstance(self.door, PythonDoor)
        )

    def _race(self, clients: Sequence[_Client], schedule: Schedule | None, kill: int) -> None:
        patience = max(PATIENCE, 2 * self.door.deadline)
        self.moved = time.monotonic()
        barrier = threading.Barrier(len(clients))

        def run(client: _Client) -> None:
            if schedule is None:
                barrier.wait()
                client.go()
                return
            schedule.begin(client.number)
            client.schedule = schedule
            try:
                client.go()
            finally:
                schedule.end(client.number)

        sent = time.perf_counter()
        if schedule is None:
            self._volley(clients)
        threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
        interval = sys.getswitchinterval()
        if schedule is None:
            sys.setswitchinterval(1e-6)  # so that the threads take turns within a call, not after many
        try:
            for thread in threads:
                thread.start()
            if kill and isinstance(self.door, WireDoor):
                wait(sent, kill)
                self.over = True
                self.door.die()
            if schedule is not None and not schedule.watch(lambda: self.moved + patience):
                raise Hung(patience, _standing(clients, threads))
            for thread in threads:
                while thread.is_alive():
                    thread.join(max(0.0, self.moved + patience - time.monotonic()))
                    if thread.is_alive() and time.monotonic() > self.moved + patience:
                        raise Hung(patience, _standing(clients, threads))
        finally:
            sys.setswitchinterval(interval)
            if self.over and isinstance(self.door, WireDoor):
                self.door.ended()
                self.over = False
            if schedule is not None and any(thread.is_alive() for thread in threads):  # the check was interrupted, or they hang
                schedule.let_go()
                for thread in threads:
                    if thread.is_alive():
                        thread.join(LAST)

    def _volley(self, clients: Sequence[_Client]) -> None:
        """Through a pipe, the first calls of all clients are sent in one piece, so that the adapter has them at once.

        Or one by one, in any order, each within the time that a call takes: a window may be at a call's end, or in either call.
        """
        if not isinstance(self.door, WireDoor):
            return
        calls = [(client, first) for client in clients if (first := client.first()) is not None]
        if len(calls) < 2:
            return
        self._rng.shuffle(calls)
        if self._rng.random() < TOGETHER:
            for client, _ in calls:
                client.sent(0)
            for (client, _), number in zip(calls, self.door.send([first for _, first in calls]), strict=True):
                client.sent(number)
            return
        for client, first in calls:
            client.sent(0)
            client.sent(self.door.send([first])[0])
            wait(time.perf_counter(), int(self._rng.random() * self.trip * 1_000_000))


def _standing(clients: Sequence[_Client], threads: Sequence[threading.Thread]) -> str:
    """Which calls are under way, and at which lines of the store."""
    frames, told = sys._current_frames(), []  # noqa: SLF001 - documented in the library, for deadlocks
    for client, thread in zip(clients, threads, strict=True):
        if not thread.is_alive():
            continue
        frame = frames.get(thread.ident or 0)
        while frame is not None and not is_stores(frame.f_code.co_filename):
            frame = frame.f_back
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() if frame else ""
        place = f" (line {frame.f_lineno} of {Path(frame.f_code.co_filename).name}: {line})" if frame else ""
        told.append(f"client {client.number + 1} in {client.asking}{place}")
    return ": " + ", ".join(told) if told else ""


_TICK = itertools.count(1)


class _Client:
    """One client: sends its commands one after the other and notes the calls."""

    def __init__(self, of: Threads, number: int, commands: Sequence[Command], view: View, handle: int = -1) -> None:
        self.number = number
        self.calls: list[Asking] = []
        self.broken: BaseException | None = None
        self.asking = ""
        """The operation that was asked for last."""
        self.schedule: Schedule | None = None
        self._sent: tuple[int, int, int] | None = None
        self._of = of
        self._handle = number if handle < 0 else handle
        self._commands = commands
        self._view = view

    def go(self) -> None:
        """Send everything. What goes wrong is kept for who waits."""
        try:
            for command in self._commands:
                with contextlib.suppress(Unbound):
                    self._call(command)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self.broken = error

    def send(self, commands: Sequence[Command]) -> None:
        """Send these."""
        self._commands = commands
        self.go()

    def cannot(self, why: str) -> None:
        """There is no store that could answer."""
        asked = Asked(operation(LOAD), LOAD, self._of.now, self._of.now)
        self.calls.append(Call(self.number, next(_TICK), next(_TICK), asked, Err("backend", why)))

    def first(self) -> tuple[int, str, tuple[Any, ...]] | None:
        """The first call, to be sent together with those of the others; None if it cannot be."""
        ready = self._view.resolved(self._commands[0]) if self._commands else None
        if ready is None:
            return None
        with contextlib.suppress(Unbound):
            op, args = self._view.binding.call(ready)
            return (self._handle, op, args) if op in self._of.door.capabilities.ops else None
        return None

    def sent(self, number: int) -> None:
        """The first call is about to be sent (0), or was, under this number."""
        _, start, began = self._sent or (0, next(_TICK), _now_ms())
        self._sent = number, start, began

    def _asked(self, op: str, args: tuple[Any, ...]) -> Answer:
        if self.schedule is None:
            return self._of.door.call(self._handle, op, args)
        return self.schedule.watched(self.number, lambda: self._of.door.call(self._handle, op, args))

    def _call(self, asked: Command) -> None:
        door = self._of.door
        if self._of.over and self._sent is None:
            return
        with self._view.lock:
            command = self._view.resolved(asked)
            if command is None:
                return
            op, args = self._view.binding.call(command)
        if op not in door.capabilities.ops:
            return
        self.asking = op
        ends, pause = time.monotonic() + min(CONTENTION, door.deadline), 0.0005
        repeats, first_start = 0, 0
        while True:
            sent, self._sent, asked_at = self._sent, None, time.perf_counter()
            start, began = sent[1:] if sent else (next(_TICK), _now_ms())
            first_start = first_start or start
            if sent and isinstance(door, WireDoor):
                answer = door.received(sent[0], op)
            else:
                answer = self._asked(op, args)
            end, ended = next(_TICK), _now_ms()
            self._of.moved = time.monotonic()
            if not sent:
                self._of.trip += (time.perf_counter() - asked_at) / 8 - self._of.trip / 8
            if not (isinstance(answer, Err) and answer.code == "contended") or time.monotonic() > ends:
                break
            repeats += 1  # nothing happened, so nothing else is noted
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        if isinstance(answer, Skip):
            return
        if isinstance(answer, Err) and answer.untyped and "same thread" in answer.message:
            raise BrokenTarget(f"{door.name}: {op} {answer.message}\n{BOUND_TO_A_THREAD}")
        with self._view.lock:
            self._view.learn(command, answer)
        first, last = self._of.now, self._of.now
        if self._of.real:  # the model's clock went on by a millisecond a call, if need be, and may be ahead of the real one
            first, last = began - SLACK, max(ended, self._of.now) + SLACK
        lost = isinstance(answer, Unknown)
        asked_for = Asked(op, command, first, last, repeats=repeats, began=first_start)
        self.calls.append(Call(self.number, start, None if lost else end, asked_for, answer, not lost))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def reads(ops: frozenset[str]) -> list[Command]:
    """Everything that can be read; and then the lane is asked for, since no read shows who holds it, and by which token."""
    others = (ListQueued(OTHER, False), ListQueued(OTHER, True))
    lanes = [ask(owner, AFTERWARDS + owner) for owner in (ANN, BOB, STRANGER)]
    return [one for one in (LOAD, ALL, PENDING, ROWS, LoadMeta(), *others, *lanes) if operation(one) in ops]


def repeated(race: Race, ops: frozenset[str]) -> list[Command]:
    """What no read shows: which turns and keys are known, so each is sent again; what can be claimed; how much is hidden."""
    again: dict[object, Command] = {}
    for number, one in enumerate(race.commands, start=AFTERWARDS + 100):
        if isinstance(one, CommitState) and one.stamp.turn:
            again[one.stamp.turn, one.stamp.turn_hash] = evolve(one, name=Name(number))
        elif isinstance(one, Enqueue) and one.source:
            again[one.session, one.source] = evolve(one, name=Name(number))
    taken = [
        ClaimReady(BOUND, Fence(BOUND, owner, LeaseToken(AFTERWARDS + owner), FencingToken(1)), owner, True, LONG, 10, Name(name))
        for name, owner in enumerate((ANN, BOB, STRANGER), start=AFTERWARDS + 50)
    ]
    return [one for one in (*again.values(), *taken, Vacuum()) if operation(one) in ops]


def reopening(ops: frozenset[str]) -> list[Command]:
    """What is done once the store was opened again: everything is read, and then it is asked what comes next."""
    return [*reads(ops), *(one for one in (enqueue(AFTERWARDS + 80), ALL) if operation(one) in ops)]


def judged(history: History) -> tuple[Judged | None, str]:
    """The verdict on a history, or why there is none."""
    try:
        return explain(history.calls, history.specification), ""
    except Silence as silence:
        return None, str(silence)


def contract_that_allows(history: History, contracts: Iterable[Contract]) -> Contract | None:
    """The first under which the history is not wrong."""
    for one in contracts:
        result, _ = judged(evolve(history, specification=evolve(history.specification, contract=one)))
        if result is None or result.verdict != "not linearizable":
            return one
    return None


def finding(history: History, result: Judged, race: Race | None, schedule: Schedule | None = None, kill: int = 0) -> RaceFinding:
    """What is wrong with a history that cannot be explained, in its smallest part."""
    contended = _done_though_contended(history)
    calls, small = _smallest(history, result, contended)
    small = _as_answered(calls, small, history)
    specification = history.specification
    refused = _refused(calls, small, specification)
    requirement, also = _rule(refused, history)
    if contended:
        requirement, also = "LAW-1", tuple(one for one in (requirement, *also) if one != "LAW-1")
    if kill:
        requirement, also = _of_a_kill(requirement, also, history.calls)
    elif history.reopened and refused and all(one.call.start > history.reopened for one in refused):
        requirement, also = "LAW-10", tuple(one for one in (requirement, *also) if one != "LAW-10")
    return RaceFinding(
        requirement,
        _message(calls, refused, race),
        also=also,
        race=race,
        schedule=schedule,
        calls=tuple(calls),
        explained=small.order,
        refused=refused,
        history=history,
        kill=kill,
    )


def _of_a_kill(rule: str, also: tuple[str, ...], calls: Sequence[Asking]) -> tuple[str, tuple[str, ...]]:
    """What is right as long as nothing is killed breaks LAW-10; and LAW-11, if a commit was under way."""
    torn = any(isinstance(call.action.command, CommitState) and not call.definite for call in calls)
    others = ("LAW-11" if torn else "", rule, *also)
    return "LAW-10", tuple(dict.fromkeys(one for one in others if one not in {"", "LAW-10"}))


def _message(calls: Sequence[Asking], refused: Sequence[Next], race: Race | None) -> str:
    """The finding in a sentence."""
    named = f" ({race.name})" if race is not None else ""
    wrong = refused[0].mismatch if refused else None
    why = f"{wrong.where}: the contract allows {wrong.allowed} there; the store answered {wrong.given}" if wrong else ""
    clients = len({call.client for call in calls})
    return f"no order of {len(calls)} calls of {clients} clients at once{named} explains the answers. {why}".rstrip()


def _done_though_contended(history: History) -> list[Asking]:
    """Calls refused as contended and sent again, if all is explained once they may have been done nevertheless (LAW-1)."""
    contended = [call for call in history.calls if call.action.repeats and not isinstance(call.action.command, READS)]
    tries = [call for call in contended for _ in range(min(call.action.repeats, MOST_DONE))]
    done = [_done_before(call, number) for number, call in enumerate(tries, start=CONTENDED)]
    return contended if done and _explained([*history.calls, *done], history) else []


def _done_before(call: Asking, name: int) -> Asking:
    """The call as it was sent first, as if its answer had been lost."""
    asked = evolve(call.action, command=renamed(call.action.command, name))
    return evolve(call, start=asked.began, end=None, definite=False, action=asked)


def _is_stale(call: Asking, history: History) -> bool:
    """A load that would have been right earlier."""
    earlier = [evolve(other, start=0) if other.start == call.start else other for other in history.calls]
    return _explained(earlier, history)


def _explained(calls: Sequence[Asking], history: History) -> bool:
    try:
        return explain(calls, history.specification).verdict == "linearizable"
    except Silence:
        return False


def _smallest(history: History, result: Judged, kept: Sequence[Asking] = ()) -> tuple[list[Asking], Judged]:
    """The shortest prefix that is wrong, without calls that changed nothing and are not needed to show it."""
    calls = list(history.calls)
    if result.stuck is not None:
        end = calls[result.stuck].end or math.inf
        prefix = [_until(call, end) for call in calls if call.start <= end]
        again = explain(prefix, history.specification)
        if again.verdict == "not linearizable":
            calls, result = prefix, again
    needed = {call.start for call in kept}
    for call in list(reversed(calls)):
        if inert(call) and call.start not in needed:
            without = [one for one in calls if one is not call]
            again = explain(without, history.specification)
            if again.verdict == "not linearizable":
                calls, result = without, again
    calls.sort(key=lambda call: call.start)
    return calls, explain(calls, history.specification)


def _as_answered(calls: Sequence[Asking], small: Judged, history: History) -> Judged:
    """The order that goes furthest if the later answers of calls that were under way count, too: it tells best what went wrong."""
    answered = {(call.client, call.start): call for call in history.calls}
    try:
        result = explain([answered[call.client, call.start] for call in calls], history.specification)
    except Silence:
        return small
    return result if result.verdict == "not linearizable" else small


def _until(call: Asking, end: float) -> Asking:
    """The call as it stood at that time: one that had not returned may or may not have taken effect."""
    return call if call.end is not None and call.end <= end else evolve(call, end=None, definite=False)


def inert(call: Asking) -> bool:
    """It changed nothing, whatever the order: a read, or one that was refused."""
    if not call.definite:
        return False
    answer = call.answer
    refused = isinstance(answer, Ok) and answer.value is None and call.action.op in GRANTS
    return isinstance(call.action.command, READS) or isinstance(answer, Err) or refused


GRANTS = frozenset(
    (
        "try_claim_session_execution_lease",
        "claim_ready_queued_work",
        "claim_ready_queued_work_by_batch_ids",
        "cancel_queued_work_batch",
    )
)
"""Operations whose ``None`` means that nothing was granted."""


def _refused(calls: Sequence[Asking], result: Judged, specification: StoreSpecification) -> tuple[Next, ...]:
    """The calls that could have come next after those explained, and why the model refuses each."""
    left = [call for index, call in enumerate(calls) if index not in result.order]
    ends = min((call.end for call in left if call.definite and call.end is not None), default=math.inf)
    found = []
    for call in left:
        if call.start <= ends:
            mismatch = specification.why_not(result.state, call)
            if mismatch is not None:
                found.append(Next(call, mismatch))
    return tuple(found)


def _rule(refused: Sequence[Next], history: History) -> tuple[str, tuple[str, ...]]:
    """The rule that was broken, the most specific that can be told, and others."""
    calls = history.calls
    rules = list(dict.fromkeys(one.mismatch.rule for one in refused))
    if not all(call.definite for call in calls):
        return "LAW-12", tuple(rules)  # what lost calls did is not known, so no other call can be blamed
    chosen = rules[0] if len(rules) == 1 else "LAW-12"
    for one in refused:
        better = _better(one, [call for call in calls if _overlap(call, one.call)], history)
        if better:
            chosen = better
            break
    return chosen, tuple(dict.fromkeys(one for one in (*rules, "LAW-12") if one != chosen))


def _better(one: Next, beside: Sequence[Asking], history: History) -> str:
    """What the calls beside it say that the answer alone does not; empty: nothing."""
    command, answer = one.call.action.command, one.call.answer
    if isinstance(command, TryClaimLease):
        granted = isinstance(answer, Ok) and answer.value is not None
        if granted and one.mismatch.allowed == "null":
            return "LEASE-8" if lane_of(history.specification.state, command.session).fencing == 0 else "LAW-2"
        releasing = [call for call in beside if isinstance(call.action.command, CommitState) and call.action.command.release.token]
        return "LAW-11" if releasing and not granted else ""
    if isinstance(command, LoadSession):
        collected = any(isinstance(call.action.command, CollectGarbage) for call in history.calls)
        if collected and (isinstance(answer, Err) or one.mismatch.where.startswith("checkpoint.")):
            return "GRAPH-9"
        if any(isinstance(call.action.command, CommitState) for call in beside):
            return "LAW-11"
        if any(isinstance(call.action.command, Tombstone) for call in beside):
            return "GRAPH-6"
        return "LAW-12" if _is_stale(one.call, history) else ""
    return ""


def _overlap(one: Asking, two: Asking) -> bool:
    return one.start <= (two.end or math.inf) and two.start <= (one.end or math.inf)

"""Concurrent runs: races that a schedule provokes, histories, and whether the model can explain them."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from leasehold.oracle.answers import Answer, BrokenTarget, Ok, Unknown
from leasehold.oracle.concurrent import History, Hung, RaceFinding, Threads, contract_that_allows, finding, judged
from leasehold.oracle.points import LinePoints, Lines, Points
from leasehold.oracle.probe import ANN, lane
from leasehold.oracle.provoke import LONG_WAIT, Provoker, Tally
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.races import BOB, Race, ask, race, races
from leasehold.oracle.rejudge import others
from leasehold.oracle.run import Failure
from leasehold.oracle.schedule import Schedule, is_stores
from leasehold.records import Commit, CommitResult, Lease, Read, ReadScope
from leasehold.store import Capabilities, Clock, Contended, Indeterminate
from leasehold.stores import memory, sqlite
from leasehold.stores.memory import MemoryStore
from leasehold_model.machine import RECOMMENDED
from leasehold_model.policy import POINTS

TWO_ASK = race("two ask", (), ((ask(ANN, 101),), (ask(BOB, 201),)))


def threads(factory: Any = MemoryStore) -> Threads:
    return Threads(PythonDoor(factory, "test", deadline=1.0), RECOMMENDED)


class ChecksThenActs(MemoryStore):
    """Looks who holds the lane, and takes it in a second step: nothing but the scheduler comes between."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        held = self._state.leases.get(session_id)
        free = held is None or held.expires_at_epoch_ms <= self._clock.now_ms()
        if not free:
            return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        self._state.leases.pop(session_id, None)
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


@pytest.mark.requirement("LEASE-8", "LAW-12")
def test_a_change_of_turns_between_check_and_act_is_found_at_every_try() -> None:
    here = threads(ChecksThenActs)
    free = here.run(TWO_ASK, Schedule((0, 1), []))
    assert not isinstance(free, Failure | None)
    assert judged(free)[0].verdict == "linearizable"  # type: ignore[union-attr]  # nothing here is silent
    wrong = set()
    for point in range(1, 40):
        schedule = Schedule((0, 1), [point])
        history = here.run(TWO_ASK, schedule)
        assert not isinstance(history, Failure | None)
        result, _ = judged(history)
        assert result is not None
        if result.verdict == "not linearizable":
            wrong |= set() if schedule.stuck else {point}  # where they waited for each other, who went on first was luck
            found = finding(history, result, TWO_ASK)
            assert (found.requirement, found.commands) == ("LEASE-8", 2)
            assert "LAW-12" in found.also
    assert wrong
    for point in wrong:  # a race that was found once is found again
        again = here.run(TWO_ASK, Schedule((0, 1), [point]))
        assert not isinstance(again, Failure | None)
        assert judged(again)[0].verdict == "not linearizable"  # type: ignore[union-attr]  # as above


@pytest.mark.requirement("LEASE-8", "LAW-12")
def test_twin_a_store_that_locks_passes_every_point() -> None:
    here = threads()
    for point in range(1, 40):
        history = here.run(TWO_ASK, Schedule((0, 1), [point]))
        assert not isinstance(history, Failure | None)
        assert judged(history)[0].verdict == "linearizable"  # type: ignore[union-attr]  # as above


class TornLoad(MemoryStore):
    """Reads the head, lets go of the lock, and reads the rest."""

    def load_session(self, scope: ReadScope) -> Read | None:
        head = super().load_session(scope)
        rest = super().load_session(scope)
        if head is None or rest is None:
            return head
        return Read(
            session_id=head.session_id,
            head_revision=head.head_revision,
            config=head.config,
            agent_frames=head.agent_frames,
            current_agent_frame_id=head.current_agent_frame_id,
            graph=rest.graph,
            checkpoint_ref=head.checkpoint_ref,
            checkpoint=head.checkpoint,
            token_ledger=rest.token_ledger,
        )


class LosesAnUpdate(MemoryStore):
    """The revision is compared before the lock is taken."""

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        from attrs import evolve

        head = self._state.head
        if commit.expected_head_revision is not None and commit.expected_head_revision == (head.head_revision if head else 0):
            commit = evolve(commit, expected_head_revision=None)
        return super().commit_runtime_state(commit)


@pytest.mark.parametrize(
    ("store", "rule"),
    [(TornLoad, "LAW-11"), (LosesAnUpdate, "COMMIT-6")],
)
@pytest.mark.requirement("LAW-11", "LAW-12", "COMMIT-6")
def test_a_race_is_named_by_what_it_breaks(store: type, rule: str) -> None:
    assert rule in found_in(store, 2_500)


class Resets(MemoryStore):
    """P-REENTRY reset: a re-entry may shorten a lease."""

    def _reenter(self, lease: Lease, ttl: int, now: int) -> Lease:
        return self._set_expiry(lease, now + ttl)


def test_another_option_allows_a_race_only_if_that_point_is_open() -> None:
    one = race("two re-enter", (ask(ANN, 1),), ((ask(ANN, 101, 5),), (ask(ANN, 201, 7), ask(BOB, 202))))
    history = threads(Resets).run(one, Schedule((0, 1), []))
    assert isinstance(history, History)
    assert judged(history)[0].verdict == "not linearizable"  # type: ignore[union-attr]
    reentry, binding = (next(point for point in POINTS if point.id == name) for name in ("P-REENTRY", "P-BINDING"))
    allowing = contract_that_allows(history, others(RECOMMENDED, [binding, reentry]))
    assert allowing is not None
    assert allowing.policies.reentry == "reset"
    assert contract_that_allows(history, others(RECOMMENDED, [binding])) is None


def found_in(factory: Any, runs: int) -> set[str]:
    """The rules that fall in so many runs; it ends with the first."""
    provoker = Provoker(threads(factory), 3, Tally())
    for _ in range(runs):
        found = provoker.run()
        assert not isinstance(found, Failure), "one client alone meets it too"
        if isinstance(found, RaceFinding):
            return {found.requirement, *found.also}
    return set()


@pytest.mark.requirement("LAW-12")
def test_our_stores_are_linearizable() -> None:
    tally = Tally()
    provoker = Provoker(threads(), 5, tally)
    assert [found for found in (provoker.run() for _ in range(800)) if found is not None] == []
    assert tally.histories >= 700
    assert tally.calls > 4 * tally.histories
    assert tally.undecided == tally.silent == 0


def test_every_race_can_be_explained_one_after_the_other() -> None:
    here = threads()
    some = list(races(here.door.capabilities))
    assert len(some) > 50
    assert len({one.name for one in some}) == len(some)
    for one in some:
        history = here.run(one, Schedule(tuple(range(len(one.clients))), []))
        assert not isinstance(history, Failure | None), one.name
        result, why = judged(history)
        assert result is not None, f"{one.name}: {why}"
        assert result.verdict == "linearizable", one.name
        sent = {call.client for call in history.calls}
        assert sent >= set(range(len(one.clients))), f"{one.name}: every client has something to say"


def test_only_races_that_the_store_offers() -> None:
    ops = frozenset(("try_claim_session_execution_lease", "release_session_execution_lease"))
    assert {one.name for one in races(Capabilities(handles=2, ops=ops))} == {
        "two ask for a lane that was never claimed",
        "lanes of two sessions",
        "one owner asks twice at once",
        "two ask for a lane that has expired",
        "two ask after a lease of no time",
        "a release against a claim",
        "a re-entry against a release",
        "a lease for long, and leases for no time",
        "released twice, and claimed",
    }
    assert any(len(one.clients) == 3 for one in races(Capabilities(handles=3, ops=ops)))


class Loses(MemoryStore):
    """The lane is granted, and nobody is told; or it is not."""

    takes: ClassVar[bool] = True

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        if owner_id == "ann":
            if self.takes:
                super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
            raise Indeterminate("timed out")
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


class LosesNothing(Loses):
    takes = False


class GrantsTwice(Loses):
    """What was granted to who was not told is granted again."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        if owner_id == "bob" and session_id in self._state.leases:
            now = self._clock.now_ms()
            self._state.leases[session_id] = Lease(session_id, owner_id, "forged", 1, now, now + lease_ttl_ms)
            return self._state.leases[session_id]
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


@pytest.mark.parametrize(("store", "verdict"), [(Loses, "linearizable"), (LosesNothing, "linearizable")])
@pytest.mark.requirement("LAW-12")
def test_a_lost_answer_took_effect_or_not(store: type, verdict: str) -> None:
    history = threads(store).run(TWO_ASK, Schedule((0, 1), []))
    assert not isinstance(history, Failure | None)
    assert [call.definite for call in history.calls[:2]] == [False, True]
    assert isinstance(history.calls[0].answer, Unknown)
    assert judged(history)[0].verdict == verdict  # type: ignore[union-attr]  # as above


@pytest.mark.requirement("LAW-12", "LAW-2")
def test_twin_no_effect_of_a_lost_call_explains_a_third_grant() -> None:
    three = race("three ask", (lane(),), ((ask(ANN, 101),), (ask(BOB, 201),)))
    history = threads(GrantsTwice).run(Race(three.name, (), ((lane(),), *three.clients)), Schedule((0, 1, 2), []))
    assert not isinstance(history, Failure | None)
    at_once = [call.answer for call in history.calls if call.client < 3]
    grants = [answer for answer in at_once if isinstance(answer, Ok) and isinstance(answer.value, Lease)]
    assert len(grants) == 1
    result, _ = judged(history)
    assert result is not None
    assert result.verdict == "linearizable", "one grant, and lost calls that did nothing"
    one = race("granted and told", (ask(BOB, 201),), ((ask(BOB, 202),), (ask(ANN, 101),)))
    again = threads(GrantsTwice).run(one, Schedule((0, 1), []))
    assert not isinstance(again, Failure | None)
    assert judged(again)[0].verdict == "not linearizable"  # type: ignore[union-attr]  # as above


class Deadlocks(MemoryStore):
    """Two locks, taken in the order in which the owners come."""

    locks: ClassVar[dict[str, Any]] = {"ann": threading.Lock(), "bob": threading.Lock()}

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        other = "bob" if owner_id == "ann" else "ann"
        with self.locks.get(owner_id, self._lock):
            if not self.locks[other].acquire(timeout=30):
                return None
            self.locks[other].release()
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


@pytest.mark.requirement("LAW-13")
def test_clients_that_wait_for_each_other_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.oracle.concurrent.PATIENCE", 0.5)
    here = Threads(PythonDoor(Deadlocks, "test", deadline=0.2), RECOMMENDED)
    started = time.monotonic()
    hung = []
    for point in range(1, 12):
        try:
            here.run(TWO_ASK, Schedule((0, 1), [point]))
        except Hung as error:
            hung.append(str(error))
            break
    assert hung
    assert time.monotonic() - started < 20


def test_nothing_is_asked_that_the_store_does_not_offer() -> None:
    here, asked = threads(), set[str]()
    ops = frozenset(("try_claim_session_execution_lease", "release_session_execution_lease"))
    here.door.capabilities = Capabilities(handles=2, concurrent=True, ops=ops)
    call = here.door.call

    def listening(handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        asked.add(op)
        return call(handle, op, args)

    here.door.call = listening  # type: ignore[method-assign]  # to listen
    here.run(TWO_ASK, Schedule((0, 1), []))
    assert asked == {"try_claim_session_execution_lease"}


class OneThread(MemoryStore):
    """As sqlite3's connections are unless told otherwise."""

    def __init__(self, clock: Clock, **more: Any) -> None:
        super().__init__(clock, **more)
        self.thread = threading.get_ident()

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        if threading.get_ident() != self.thread:
            raise sqlite3.ProgrammingError("SQLite objects created in a thread can only be used in that same thread.")
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


def test_a_handle_that_is_bound_to_its_thread_is_no_finding() -> None:
    with pytest.raises(BrokenTarget, match="check_same_thread=False"):
        threads(OneThread).run(TWO_ASK, Schedule((0, 1), []))


# -- schedules ---------------------------------------------------------------------------------------------------------------------


def turns(order: Sequence[int], changes: Sequence[int], lines: int = 6) -> list[int]:
    """Who was at it, line by line, when each of two clients passes so many points."""
    seen: list[int] = []
    schedule = Schedule(order, changes)

    def run(client: int) -> None:
        schedule.begin(client)
        for _ in range(lines):
            schedule.point(client, sys._getframe())
            seen.append(client)
        schedule.end(client)

    started = [threading.Thread(target=run, args=(client,)) for client in sorted(order)]
    for one in started:
        one.start()
    ends = time.monotonic() + 10
    assert schedule.watch(lambda: ends)
    for one in started:
        one.join()
    return seen


def test_turns_change_where_the_schedule_says() -> None:
    assert turns((0, 1), []) == [0] * 6 + [1] * 6
    assert turns((1, 0), []) == [1] * 6 + [0] * 6
    assert turns((0, 1), [3]) == [0] * 2 + [1] * 6 + [0] * 4
    assert turns((0, 1), [3, 5]) == [0] * 2 + [1] * 1 + [0] * 4 + [1] * 5


class Slow(MemoryStore):
    """Works for some milliseconds without a line of its own, or sleeps for longer than who watches it may be kept from it."""

    sleeps: ClassVar[bool] = False
    data: ClassVar[bytes] = b""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        if self.sleeps:
            time.sleep(0.05)
        else:
            hashlib.sha256(self.data)
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


@pytest.mark.parametrize("sleeps", [False, True])
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells what a thread does")
def test_who_works_is_not_taken_to_wait(monkeypatch: pytest.MonkeyPatch, sleeps: bool) -> None:
    began, some = time.perf_counter(), bytes(2_000_000)
    hashlib.sha256(some)
    monkeypatch.setattr(Slow, "sleeps", sleeps)
    monkeypatch.setattr(Slow, "data", bytes(int(len(some) * 0.006 / (time.perf_counter() - began))))
    here, stuck = threads(Slow), []
    for _ in range(5):
        schedule = Schedule((0, 1), [2])
        here.run(TWO_ASK, schedule)
        stuck.append(schedule.stuck)
    assert (min(stuck) > 0) is sleeps, stuck


def test_points_are_lines_of_stores_and_of_nothing_else() -> None:
    assert is_stores(memory.__file__)
    assert is_stores(sqlite.__file__)
    assert is_stores(__file__)
    assert not is_stores(threading.__file__)
    assert not is_stores(pytest.__file__)
    assert not is_stores("<attrs generated init>")


def test_points_halve_the_widest_gap_and_the_likely_come_first() -> None:
    points = Points(count=9, likely=[7])
    order = []
    while (at := points.next()) is not None:
        order.append(at)
        points.tried.add(at)
    assert order[0] == 7
    assert sorted(order) == list(range(1, 10))


def test_lines_at_which_others_waited_come_last_and_gaps_between_them_first() -> None:
    lines = Lines()
    places = [("store.py", number) for number in range(1, 13)]
    first = LinePoints(lines, places, ["claim"])
    order = []
    while (at := first.next()) is not None:
        order.append(at)
        first.tried(at, waited=at in {3, 4, 8, 9})
    assert sorted(order) == list(range(1, 13))
    second, order = LinePoints(lines, places, ["commit"]), []
    while (at := second.next()) is not None:
        order.append(at)
        second.tried(at, waited=at in {3, 4, 8, 9})
    assert set(order[:3]) == {5, 6, 7}
    assert set(order[-4:]) == {3, 4, 8, 9}
    unknown = [("store.py", number) for number in range(20, 26)]  # they may be gaps; 6 is one for certain
    third = LinePoints(lines, [*places[2:4], *unknown, places[5], *places[7:9]], ["claim", "release"])
    assert third.next() == 3
    third.tried(3, waited=False)
    assert third.next() == 9


# -- what is asked when the clients are done ---------------------------------------------------------------------------------------


class ForgetsTurns(MemoryStore):
    """No read shows that a turn is not known any more."""

    def commit_runtime_state(self, commit: Any) -> Any:
        result = super().commit_runtime_state(commit)
        self._state.stamps.clear()
        return result


class ClosesForAll(MemoryStore):
    """A handle that is closed takes the others with it."""

    closed: ClassVar[bool] = False

    def close(self) -> None:
        ClosesForAll.closed = True

    def load_session(self, scope: Any) -> Any:
        if ClosesForAll.closed:
            raise RuntimeError("it is closed")
        return super().load_session(scope)


class OpensOnce(MemoryStore):
    """A durable store that cannot be opened a second time."""

    capabilities = Capabilities(tier="durable", handles=3, reopen=True, concurrent=True)
    opened: ClassVar[int] = 0

    def open_handle(self) -> Any:
        OpensOnce.opened += 1
        if OpensOnce.opened > 1:
            raise RuntimeError("the log is damaged")
        return super().open_handle()


@pytest.mark.parametrize(
    ("store", "name", "refused"),
    [
        (ForgetsTurns, "two turns committed", "commit_runtime_state"),
        (ClosesForAll, "two commits of a first revision", "load_session"),
        (OpensOnce, "two commits of a first revision", "load_session"),
    ],
)
def test_what_only_shows_afterwards_is_asked_for(store: Any, name: str, refused: str) -> None:
    here = threads(store)
    ClosesForAll.closed, OpensOnce.opened = False, 0
    one = next(one for one in races(here.door.capabilities) if one.name == name)
    history = here.run(one, Schedule((0, 1), []))
    assert isinstance(history, History)
    result, _ = judged(history)
    assert result is not None
    assert result.verdict == "not linearizable"
    found = finding(history, result, one)
    assert refused in {one.call.action.op for one in found.refused}
    assert (found.requirement == "LAW-10") is (store is OpensOnce)


class CutsOff(MemoryStore):
    """Who opens a handle takes what is being written for the rest of a crash, and cuts it off."""

    capabilities = Capabilities(handles=3, concurrent=True)
    under_way: ClassVar[int] = 0
    cut: ClassVar[bool] = False

    def open_handle(self) -> Any:
        CutsOff.cut = CutsOff.under_way > 0
        return super().open_handle()

    def enqueue_queued_work(self, batch: Any) -> Any:
        CutsOff.under_way += 1
        CutsOff.cut = False
        stored = super().enqueue_queued_work(batch)
        lost = CutsOff.cut
        CutsOff.under_way -= 1
        return self.cancel_queued_work_batch(stored.session_id, stored.batch_id) if lost else stored


@pytest.mark.requirement("QUEUE-1", "LAW-12")
@pytest.mark.parametrize(("name", "wrong"), [("a handle is opened while work comes", True), ("a claim while work comes", False)])
def test_handles_are_opened_in_a_race(name: str, wrong: bool) -> None:
    here = threads(CutsOff)
    one = next(one for one in races(here.door.capabilities) if one.name == name)
    verdicts = set()
    for point in range(1, 60):
        history = here.run(one, Schedule((0, 1), [point]))
        assert isinstance(history, History)
        result, _ = judged(history)
        assert result is not None
        verdicts.add(result.verdict)
    assert ("not linearizable" in verdicts) is wrong


class GivesUp(MemoryStore):
    """Who waits for over 50 ms is told that the lane is held by another."""

    capabilities = Capabilities(handles=3, concurrent=True)

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        if not self._lock.acquire(timeout=0.05):  # type: ignore[union-attr]  # no handle is closed here
            return self.late()
        self._lock.release()  # type: ignore[union-attr]
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)

    def late(self) -> Lease | None:
        return None


class SaysSo(GivesUp):
    """The same, and says so."""

    def late(self) -> Lease | None:
        raise Contended("the store is busy: try again")


@pytest.mark.requirement("LAW-12")
@pytest.mark.parametrize("store", [GivesUp, SaysSo])
def test_clients_are_now_and_then_left_to_wait(store: type) -> None:
    provoker, found = Provoker(threads(store), 1, tally := Tally()), None
    while found is None and tally.histories < 500:
        found = provoker.run()
    if store is SaysSo:
        assert found is None
        return
    assert isinstance(found, RaceFinding)
    assert found.schedule is not None
    assert (found.requirement[:5], found.schedule.patience) == ("LEASE", LONG_WAIT)

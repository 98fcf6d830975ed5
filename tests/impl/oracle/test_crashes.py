"""Crash runs: SIGKILL at any line, a store found again by another process, and power losses."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import evolve

from leasehold.crash.power import unavailable
from leasehold.oracle.answers import AFTER, CHANGE, CONNECTION, SERVER, BrokenTarget, Ok, Unknown, fault
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.crashes import Crashes
from leasehold.oracle.findings import investigate
from leasehold.oracle.kill import KillDoor
from leasehold.oracle.outages import Outages
from leasehold.oracle.provoke import Tally
from leasehold.oracle.run import START
from leasehold.records import Commit, CommitResult, Lease, SessionMeta
from leasehold.report.race import seen_again
from leasehold.store import Capabilities, Clock
from leasehold.stores.sqlite import SqliteStore
from leasehold.targets import at_place, open_target, why_not_killed
from leasehold.wire.client import WireDoor
from leasehold_model.machine import RECOMMENDED
from tests.liars.crashing import CompactsBeside, CompactsInPlace, Logged, Opened, here

CAPABILITIES = Capabilities(tier="durable", handles=8, reopen=True, concurrent=True, kill=True)
CLAIM = "try_claim_session_execution_lease"


class Right(SqliteStore):
    capabilities = CAPABILITIES


class InTwo(Right):
    """Usage is written in a transaction of its own."""

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        stored = commit.turn_commit is not None
        result = super().commit_runtime_state(commit if stored else evolve(commit, usage_deltas=()))
        if not stored:
            with self._write as db:
                self._add_usage(db, commit.usage_deltas)
        return result


_COUNTERS: dict[str, int] = {}


class CountsInMemory(Right):
    """The fencing counter is the process's."""

    def _grant(self, db: Any, session_id: str, owner_id: str, fencing_token: int, now: int, expires_at: int) -> Lease:
        key = f"{self._path}:{session_id}"
        _COUNTERS[key] = _COUNTERS.get(key, 0) + 1
        return super()._grant(db, session_id, owner_id, _COUNTERS[key], now, expires_at)


def right(clock: Clock) -> Right:
    return Right(Path(os.environ["LEASEHOLD_DATA"]) / "store.db", clock=clock)


def in_two(clock: Clock) -> InTwo:
    return InTwo(Path(os.environ["LEASEHOLD_DATA"]) / "store.db", clock=clock)


def counts_in_memory(clock: Clock) -> CountsInMemory:
    return CountsInMemory(Path(os.environ["LEASEHOLD_DATA"]) / "store.db", clock=clock)


@pytest.fixture
def door() -> Iterator[KillDoor]:
    door = KillDoor("sqlite", CAPABILITIES, 5.0)
    yield door
    door.shut()


@pytest.mark.requirement("LAW-10")
def test_a_killed_call_has_happened_or_not_and_what_was_before_is_there(door: KillDoor) -> None:
    seen, lines = set(), 0
    for at in (AFTER, *range(1, 90, 8)):
        door.fresh("alpha")
        door.clock(START)
        first = door.call(0, CLAIM, ("before", "ann", 60_000))
        killed = door.crash(0, CLAIM, ("alpha", "ann", 60_000), at)
        lines = lines or door.points
        assert isinstance(killed, Unknown) is (0 < at <= lines), f"at line {at} of {lines}: {killed}"
        assert door.call(0, CLAIM, ("before", "ann", 60_000)) == first
        lane = door.call(0, CLAIM, ("alpha", "bob", 60_000))
        assert isinstance(lane, Ok)
        seen.add(lane.value is None)
        if isinstance(killed, Ok):
            assert lane.value is None, "an answer that was given holds"
    assert seen == {True, False}


def test_the_lines_at_which_data_was_written_are_noted(door: KillDoor) -> None:
    door.fresh("alpha")
    door.clock(START)
    door.call(0, CLAIM, ("other", "ann", 60_000))
    assert isinstance(door.crash(0, CLAIM, ("alpha", "ann", 60_000), AFTER), Ok)
    assert 20 < door.points < 200
    assert door.marks
    assert all(0 < mark <= door.points + 1 for mark in door.marks)


@pytest.mark.requirement("LAW-10", "LAW-11")
@pytest.mark.parametrize(("name", "rule"), [("in_two", "LAW-10"), ("counts_in_memory", "LAW-10"), ("right", None)])
def test_what_a_kill_shows(name: str, rule: str | None) -> None:
    tally, found = Tally(), None
    with open_target(f"python:{__name__}:{name}") as target:
        door = target.crashing()
        assert door is not None
        try:
            crashes = Crashes(door, RECOMMENDED, 1, Coverage(), tally)
            while tally.kills < (250 if rule else 60) and found is None:
                found = crashes.run()
            assert not isinstance(found, RaceFinding)
            finding = investigate(door, RECOMMENDED, found, 3.0) if found is not None else None
        finally:
            door.shut()
    assert (finding.requirement if finding else None) == rule
    if finding is not None:
        assert finding.confirmed
        assert finding.commands <= 8
        assert any(one.kill for one in finding.failure.steps)
    else:
        assert tally.kills >= 60


@pytest.mark.requirement("LAW-10")
def test_a_store_is_killed_while_it_is_opened(door: KillDoor) -> None:
    meta = SessionMeta(session_id="alpha", session_name="one", created_at="now", model="model", cwd=None, relation={"kind": "root"})
    door.fresh("alpha")
    door.clock(START)
    assert isinstance(door.call(0, "save_session_meta", (meta,)), Ok)
    before = door.call(0, "load_session_meta", ())
    door.crash_reopen(AFTER)
    assert door.opening > 10
    for at in (1, door.opening // 2, door.opening, door.opening + 100):
        door.crash_reopen(at)
        assert door.call(0, "load_session_meta", ()) == before
        assert isinstance(door.crash(0, CLAIM, ("alpha", "ann", 60_000), 5), Unknown)
        door.crash_reopen(at)
        assert door.call(0, "load_session_meta", ()) == before


GROUPED = """
import json, os, pathlib, sys, threading, time
capabilities = {"tier": "durable", "manifest": "persistent", "clock": "virtual", "handles": 3, "reopen": True, "kill": True,
                "concurrent": True, "ops": ["save_session_meta", "load_session_meta"]}
hello = {"protocol": 1, "name": "grouped", "version": "1", "language": "python", "capabilities": capabilities}
place, waits = pathlib.Path(os.environ["LEASEHOLD_DATA"], "meta"), sys.argv[1] == "waits"
meta = json.loads(place.read_text()) if place.exists() else None
lock, busy = threading.Lock(), 0

def reply(request, value):
    print(json.dumps({"seq": request["seq"], "ok": value}) + "\\n", end="", flush=True)

def write():
    place.with_name("new").write_text(json.dumps(meta))
    place.with_name("new").replace(place)

def call(request):
    global busy, meta
    with lock:
        time.sleep(0.01)
        if request["op"] == "save_session_meta":
            meta = request["args"]["meta"]
        if waits:
            write()
        busy -= 1
        value = meta if request["op"] == "load_session_meta" else None
    if not busy:
        write()
    reply(request, value)

for line in sys.stdin:
    request = json.loads(line)
    if request["cmd"] == "call":
        busy += 1
        threading.Thread(target=call, args=(request,), daemon=True).start()
    else:
        if request["cmd"] == "create":
            meta = None
            place.unlink(missing_ok=True)
        reply(request, hello if request["cmd"] == "hello" else {})
"""
"""An adapter with one store, which keeps a session's metadata in a file. Of several calls under way the last one writes it; where
they wait, each does.
"""


@pytest.mark.requirement("LAW-10")
@pytest.mark.parametrize(("how", "rule"), [("waits", None), ("does not wait", "LAW-10")])
def test_an_adapter_is_killed_with_several_calls_under_way(how: str, rule: str | None) -> None:
    door, tally = WireDoor([sys.executable, "-c", GROUPED, how], how), Tally()
    found: object = None
    with door.alarm():
        crashes = Crashes(door, RECOMMENDED, 1, Coverage(), tally)
        assert crashes.threads is not None
        for _ in range(300 if rule else 20):
            crashes.threads.trip = 0.01
            found = crashes._under_way()
            if found is not None and (rule is None or (isinstance(found, RaceFinding) and found.again)):
                break  # on a busy machine not every finding is seen again
    assert tally.histories > 0
    if rule is None:
        assert found is None
        assert tally.undecided == 0
        return
    assert isinstance(found, RaceFinding)
    assert found.requirement == rule
    assert found.kill > 0
    assert found.again > 0
    assert seen_again(found).startswith(f"The adapter was killed {found.kill} microseconds after the first calls were sent")


class TidiesUp(CompactsInPlace):
    """The log is emptied and written again after every thirty calls; or, ``beside``, a new one takes its place."""

    beside: ClassVar[bool] = False

    def _again(self, opened: Opened) -> None:
        Logged._again(self, opened)

    def _write(self, opened: Opened, entry: bytes) -> None:
        super()._write(opened, entry)
        opened.pending.append(entry)
        if len(opened.pending) % 30 == 0:
            entries = [pickle.dumps(one) for one in self._entries()]
            (CompactsBeside if self.beside else CompactsInPlace)._compact(self, entries)


class TidiesUpBeside(TidiesUp):
    beside = True


def tidies_up(clock: Clock) -> TidiesUp:
    return TidiesUp(clock, here())


def tidies_up_beside(clock: Clock) -> TidiesUp:
    return TidiesUpBeside(clock, here())


@pytest.mark.requirement("LAW-10")
@pytest.mark.parametrize(("name", "wrong"), [("tidies_up", True), ("tidies_up_beside", False)])
def test_a_long_run_is_killed_where_a_store_tidies_up(name: str, wrong: bool) -> None:
    door, tally = KillDoor(f"python:{__name__}:{name}", CAPABILITIES, 5.0), Tally()
    try:
        found = list(Crashes(door, RECOMMENDED, 1, Coverage(), tally)._long())
    finally:
        door.shut()
    assert tally.kills == len(found) > 0
    assert any(one is not None for one in found) is wrong


def test_which_stores_are_killed() -> None:
    assert why_not_killed("sqlite", CAPABILITIES) == ""
    assert why_not_killed("memory", Capabilities()) == "the store does not outlive its process"
    assert "does not declare kill" in why_not_killed("python:a:b", evolve(CAPABILITIES, kill=False))
    assert why_not_killed("python:a:b", CAPABILITIES) == ""
    with open_target("memory") as door:
        assert door.crashing() is None


def test_a_process_that_ends_by_itself_is_no_finding(door: KillDoor) -> None:
    door.fresh("alpha")
    assert door._child is not None
    door._child.kill()
    with pytest.raises(BrokenTarget, match="ended by itself"):
        door.call(0, CLAIM, ("alpha", "ann", 1))


def test_a_target_finds_its_store_at_its_place(tmp_path: Path) -> None:
    place = tmp_path / "one"
    place.mkdir()
    store = at_place("sqlite", place)(Right)
    store.close()
    assert (place / "store.db").exists()


def test_what_happened_in_words() -> None:
    assert fault(CHANGE + 1, "microsecond") == "the store's process was killed after 1 change of its files, and started again"
    assert fault(AFTER, "line", "the opening").startswith("the store's process was killed right after the opening")
    assert fault(0, "line") == ""
    assert fault(AFTER, "line").startswith("the store's process was killed right after the answer")
    assert (
        fault(7, "line of the store's code")
        == "the store's process was killed after it had run 6 lines of the store's code, and started again"
    )
    assert (
        fault(-SERVER - 250, "line") == "the database server was killed 250 microseconds after the call was sent, and started again"
    )
    assert fault(-CONNECTION - 3, "") == "the store's connections were ended 3 microseconds after the call was sent"


# -- power -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("LAW-10")
def test_full_survives_power_losses_and_the_oracle_sees_what_normal_loses() -> None:
    assert unavailable() is None
    tally = Tally()
    right = Outages(lambda place, clock: SqliteStore(place / "store.db", clock=clock), RECOMMENDED, 1, tally)
    assert [found for found in (right.run() for _ in range(8)) if found is not None] == []
    assert tally.power_losses > 50
    lazy = Outages(lambda place, clock: SqliteStore(place / "store.db", clock=clock, synchronous="NORMAL"), RECOMMENDED, 1, Tally())
    found = next((found for found in (lazy.run() for _ in range(40)) if found is not None), None)
    assert found is not None
    assert found.requirement == "LAW-10"
    assert "after a power loss" in found.message

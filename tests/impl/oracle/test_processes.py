"""Right stores in unusual processes: names drawn at import, a fork in a call, installed, a killed call refused as contended."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from leasehold.oracle import schedule
from leasehold.oracle.concurrent import History, Threads, judged
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.crashes import Crashes
from leasehold.oracle.drive import seeded, walk
from leasehold.oracle.kill import KillDoor
from leasehold.oracle.provoke import Tally
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.races import races
from leasehold.oracle.schedule import Schedule, belongs, is_stores
from leasehold.oracle.walker import FOCI
from leasehold.records import Batch, Commit, CommitResult, Lease
from leasehold.store import Capabilities, Clock, Contended
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from leasehold_model.machine import RECOMMENDED

NAME = os.urandom(8).hex()
"""Drawn when this module is imported, as stores do that mint ids from it."""

CAPABILITIES = Capabilities(tier="durable", handles=2, reopen=True, kill=True)


class Named(SqliteStore):
    """Tells its process's name."""

    def list_queued_work(self, _session_id: str) -> Any:
        return NAME


class Busy(SqliteStore):
    """Every other commit and claim of a lane is refused as contended."""

    calls = 0

    def _refuse(self) -> None:
        Busy.calls += 1
        if Busy.calls % 2:
            raise Contended("another client is at work")

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        self._refuse()
        return super().commit_runtime_state(commit)

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        self._refuse()
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


def named(clock: Clock) -> Named:
    return Named(Path(os.environ["LEASEHOLD_DATA"]) / "store.db", clock=clock)


def busy(clock: Clock) -> Busy:
    return Busy(Path(os.environ["LEASEHOLD_DATA"]) / "store.db", clock=clock)


def test_each_process_imports_the_store_for_itself() -> None:
    door, names = KillDoor(f"python:{__name__}:named", CAPABILITIES, 5.0), set()
    try:
        for _ in range(3):
            door.fresh("alpha")
            names.add(str(door.call(0, "list_queued_work", ("alpha",))))
            door.restart()
    finally:
        door.shut()
    assert len(names) == 3


@pytest.mark.requirement("LAW-10")
def test_a_killed_call_that_is_refused_as_contended_is_asked_again() -> None:
    door, tally = KillDoor(f"python:{__name__}:busy", CAPABILITIES, 5.0), Tally()
    try:
        crashes = Crashes(door, RECOMMENDED, 1, Coverage(), tally)
        found = [crashes.run() for _ in range(25)]
    finally:
        door.shut()
    assert found == [None] * 25
    assert tally.kills >= 20


class Forks(MemoryStore):
    """A child process does a part of the work."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        pid = os.fork()
        if pid == 0:
            os._exit(_exit_status())
        assert os.waitpid(pid, 0)[1] == 0
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


def _exit_status() -> int:
    status = 0
    for _ in range(3):
        status += 0  # lines, at which a client could be stopped
    return status


def test_what_a_store_forks_is_no_client() -> None:
    here = Threads(PythonDoor(Forks, "forks", deadline=1.0), RECOMMENDED)
    one = next(races(here.door.capabilities))
    for point in (1, 2, 3, 5, 8):
        history = here.run(one, Schedule((0, 1), [point]))
        assert isinstance(history, History)
        result, _ = judged(history)
        assert result is not None
        assert result.verdict == "linearizable"


def test_an_installed_store_has_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path.resolve() / "site"
    file = place / "mystore" / "__init__.py"
    monkeypatch.setattr(schedule, "_INSTALLED", (f"{place}{os.sep}",))
    monkeypatch.setattr(schedule, "_LIBRARY", (f"{place}{os.sep}",))
    monkeypatch.setattr(schedule, "_STORES", set(schedule._STORES))
    monkeypatch.setattr(schedule, "_KNOWN", {})
    module = ModuleType("mystore")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "mystore", module)
    assert not is_stores(str(file)), "the twin: as long as nobody says whose it is"
    belongs("mystore.inner")
    assert is_stores(str(file))
    assert is_stores(str(file.parent / "inner.py"))
    assert not is_stores(str(place / "another" / "__init__.py"))


class MyLease(Lease):
    """A store's own record."""


class MyNumber(int):
    """A store's own number."""


class Shapes(MemoryStore):
    """Answers with records, numbers and sequences of its own."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        one = super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        if one is None:
            return None
        number = MyNumber(one.fencing_token)
        return MyLease(one.session_id, one.owner_id, one.lease_token, number, one.claimed_at_epoch_ms, one.expires_at_epoch_ms)

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        return deque(super().list_queued_work(session_id))


def test_records_numbers_and_sequences_may_be_the_stores_own() -> None:
    door = PythonDoor(Shapes, "shapes")
    assert [walk(door, RECOMMENDED, seeded(number), Coverage(), FOCI[number % len(FOCI)]) for number in range(16)] == [None] * 16

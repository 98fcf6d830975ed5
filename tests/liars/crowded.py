"""Right stores that are unusual for clients at once, for lost answers, or for kills."""

from __future__ import annotations

import copy
import random
import threading
import time
from typing import Any

from attrs import define, evolve, field

from leasehold.records import Lease
from leasehold.store import OPERATIONS, Capabilities, Clock, Contended, SystemClock
from leasehold.stores.memory import MemoryStore, _State
from leasehold.stores.sqlite import SqliteStore
from tests.liars import crashing
from tests.liars.lossy import LateLoss, lossy, lossy_sqlite
from tests.liars.oddities import Oddity
from tests.liars.patching import in_a_folder
from tests.liars.plain import PlainStore

AT_ONCE = Capabilities(handles=8, concurrent=True)


class Handle:
    """A handle on what several share; every operation comes through one place."""

    capabilities = AT_ONCE
    durability_tier = "inline"

    def __getattr__(self, name: str) -> Any:
        if name not in OPERATIONS:
            raise AttributeError(name)
        return lambda *args: self.call(name, args)

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        raise NotImplementedError


class OneLock(Handle):
    """A plain store behind a lock."""

    def __init__(self, clock: Clock, store: Any = None, lock: Any = None) -> None:
        self.clock = clock
        self.store = store or PlainStore(clock)
        self.lock = lock or threading.Lock()

    def open_handle(self) -> Any:
        return type(self)(self.clock, self.store, self.lock)

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        with self.lock:
            return getattr(self.store, op)(*args)


class Impatient(OneLock):
    """Who does not get the lock at once is told to come back."""

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        if not self.lock.acquire(blocking=False):
            raise Contended("another client is at work")
        try:
            return getattr(self.store, op)(*args)
        finally:
            self.lock.release()


class Unlucky(OneLock):
    """Every third call is refused as contended, before or after it was done and undone again."""

    def __init__(self, clock: Clock, store: Any = None, lock: Any = None) -> None:
        super().__init__(clock, store, lock)
        self.rng = random.Random(5)

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        with self.lock:
            if self.rng.random() < 0.15:
                raise Contended("could not serialize access")
            if self.rng.random() < 0.15:
                getattr(fork(self.store), op)(*args)
                raise Contended("could not serialize access")
            return getattr(self.store, op)(*args)


class Sleepy(OneLock):
    """Takes a millisecond with the lock in its hand."""

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        with self.lock:
            time.sleep(0.001)
            return getattr(self.store, op)(*args)


def fork(store: PlainStore) -> PlainStore:
    """A copy that nobody else has, with the same clock."""
    return copy.deepcopy(store, {id(store.clock): store.clock, id(store.mint): store.mint})


@define(eq=False)
class Current:
    """What was published last."""

    store: PlainStore
    version: int = 0


class Optimistic(Handle):
    """Each call is done on a copy, which is published if nobody else has published meanwhile; else it is done again."""

    def __init__(self, clock: Clock, current: Current | None = None, lock: Any = None) -> None:
        self.clock = clock
        self.current = current or Current(PlainStore(clock))
        self.lock = lock or threading.Lock()

    def open_handle(self) -> Any:
        return type(self)(self.clock, self.current, self.lock)

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        while True:
            with self.lock:
                version, own = self.current.version, fork(self.current.store)
            value = getattr(own, op)(*args)  # a refusal is right as of the moment of the copy
            with self.lock:
                if self.current.version == version:
                    self.current.version, self.current.store = version + 1, own
                    return value


class Snapshots(OneLock):
    """A read sees the store as it was when the call began, however long it takes."""

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        if op not in crashing.READS:
            return super().call(op, args)
        with self.lock:
            seen = fork(self.store)
        return getattr(seen, op)(*args)


@define(eq=False)
class Readers:
    """How many share the lock."""

    count: int = 0
    lock: Any = field(factory=threading.Lock)


class SharesLock(OneLock):
    """Reads share the lock: who comes first takes it, and who leaves last gives it back."""

    @property
    def readers(self) -> Readers:
        return vars(self.store).setdefault("readers", Readers())  # type: ignore[no-any-return]

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        if op not in crashing.READS:
            return super().call(op, args)
        with self.readers.lock:
            self.readers.count += 1
            if self.readers.count == 1:
                self.lock.acquire()
        try:
            return getattr(self.store, op)(*args)
        finally:
            self.leave()

    def leave(self) -> None:
        with self.readers.lock:
            self.readers.count -= 1
            if self.readers.count == 0:
                self.lock.release()


class BurnsFences(MemoryStore):
    """Each attempt at a lane burns a fencing token, whether it is granted or not."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        with self._lock:
            if session_id in self._state.lane_fencing:
                self._state.lane_fencing[session_id] += 1
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


class RealTime(MemoryStore):
    """Looks at the wall, whatever clock it is given."""

    capabilities = Capabilities(handles=8, clock="real", concurrent=True)

    def __init__(self, clock: Clock | None = None, *, shared: _State | None = None) -> None:
        super().__init__(SystemClock(), shared=shared)


class TwoHandles(MemoryStore):
    """Takes two clients, and no more."""

    capabilities = Capabilities(handles=2, concurrent=True)


class OneHandle(MemoryStore):
    """Says that it takes clients at once, but has one handle."""

    capabilities = Capabilities(handles=1, concurrent=True)


class QueueAtOnce(MemoryStore):
    """Offers leases and a queue, and nothing else."""

    capabilities = evolve(AT_ONCE, ops=frozenset(op for op in OPERATIONS if "queue" in op or "lease" in op))


class ShortWaits(SqliteStore):
    """Waits ten milliseconds for another writer, and then gives up."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **{**named, "busy_timeout_ms": 10})


def named(name: str, why: str) -> Oddity:
    """A store of `crashing` that is right."""
    called = name.replace("-", "_")
    return Oddity(name, why, crashing.STORES[called], target=f"python:tests.liars.crashing:{called}")


CROWDED: tuple[Oddity, ...] = (
    Oddity("one-lock", "a plain store behind a lock", OneLock),
    Oddity("impatient", "who does not get the lock at once is refused as contended", Impatient),
    Oddity("unlucky", "a third of all calls is refused as contended, before or after it was done and undone", Unlucky),
    Oddity("sleepy", "a lock, and a millisecond for each call", Sleepy, slow=True),
    Oddity("optimistic", "calls are done on copies, and again if another was faster", Optimistic),
    Oddity("snapshots", "reads see the store as it was when the call began", Snapshots),
    Oddity("shares-lock", "reads share the lock", SharesLock),
    Oddity("burns-fences", "an attempt at a lane burns a fencing token, granted or not", BurnsFences),
    Oddity("real-time-at-once", "clients at once on the real clock", RealTime),
    Oddity("two-handles", "takes two handles", TwoHandles),
    Oddity("one-handle", "declares concurrent with one handle", OneHandle),
    Oddity("queue-at-once", "offers leases and a queue, to clients at once", QueueAtOnce),
    Oddity("short-waits", "SQLite that waits 10 ms for another writer", in_a_folder(ShortWaits)),
    Oddity("loses-answers-at-once", "one answer in five is lost, with clients at once", lossy(LateLoss, 0.2)),
    Oddity(
        "loses-answers-on-disk-late", "one answer in twenty is lost on SQLite, and may take effect late", lossy_sqlite(LateLoss)
    ),
    named("own-log", "nothing is synced, but all is written before it is answered: a kill loses nothing"),
    named("in-parts-in-one", "a commit is tried, undone and done again in one transaction"),
    named("slow-to-open", "recovery takes 200 ms"),
    named("cuts-off-torn-tail", "half an entry of the log is cut off: the call in flight never happened"),
    named("renames-into-place", "a new file is put in the old one's place by every call"),
    named("loses-answers-and-is-killed", "one answer in twenty is lost, at once or late, with clients at once and with kills"),
)

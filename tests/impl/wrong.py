"""Stores that are wrong or broken on purpose, as targets of the command line: ``python:tests.impl.wrong:TwoOwners``."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve

from leasehold.records import (
    Batch,
    BatchDraft,
    Claim,
    Commit,
    CommitResult,
    Fence,
    FullGraph,
    GcReport,
    Lease,
    SessionMeta,
    VacuumReport,
)
from leasehold.store import Capabilities, Clock, SessionExecutionLeaseExpired
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore

HERE = "python:tests.impl.wrong:"
"""What stands before a name here to make it a target."""


class TwoOwners(MemoryStore):
    """LEASE-3: a live lane is granted to whoever asks. It does not say that it takes calls at once."""

    capabilities = Capabilities(handles=8)

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        lease = super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        if lease is None:
            del self._state.leases[session_id]
            lease = super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        return lease


class RefusesAndExtends(MemoryStore):
    """LAW-1: a refused renewal moves the expiry all the same."""

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        try:
            return super().renew_session_execution_lease(fence, lease_ttl_ms)
        except SessionExecutionLeaseExpired:
            lease = self._state.leases.get(fence.session_id)
            if lease is not None:
                self._state.leases[fence.session_id] = evolve(lease, expires_at_epoch_ms=lease.expires_at_epoch_ms + 1000)
            raise


class Reversed(MemoryStore):
    """QUEUE-3: pending work is listed backwards, under ids as long as real ones. It offers nothing else that speaks of ids."""

    capabilities = Capabilities(ops=frozenset({"enqueue_queued_work", "list_queued_work", "list_pending_queued_work"}))

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        return _long(super().enqueue_queued_work(batch))

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        return [_long(batch) for batch in super().list_queued_work(session_id)]

    def list_pending_queued_work(self, session_id: str) -> Sequence[Batch]:
        return [_long(batch) for batch in reversed(super().list_pending_queued_work(session_id))]


def _long(batch: Batch) -> Batch:
    return evolve(batch, batch_id=f"{batch.batch_id}-0123456789abcdef0123456789abcdef")


class Resets(MemoryStore):
    """No lie: P-REENTRY reset."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        lease = super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        if lease is not None:
            lease = evolve(lease, expires_at_epoch_ms=min(self._clock.now_ms() + lease_ttl_ms, 2**63 - 1))
            self._state.leases[session_id] = lease
        return lease


class Hangs(MemoryStore):
    """LAW-13: vacuum never ends."""

    def vacuum(self) -> VacuumReport:
        while True:
            pass


class HangsAtOnce(MemoryStore):
    """Not even the smoke exchange ends."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        time.sleep(3600)
        raise AssertionError


class HangsInTheRace(MemoryStore):
    """LAW-13: two calls at once never end."""

    free = threading.Lock()

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        alone = self.free.acquire(blocking=False)
        if not alone:
            time.sleep(20)
        try:
            return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        finally:
            if alone:
                self.free.release()


class Throws(MemoryStore):
    """LAW-15: an exception that is no refusal."""

    def gc_unreachable(self) -> GcReport:
        raise KeyError("blob 7")


class Nonsense(MemoryStore):
    """The first answer is nothing like a batch."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        return 42


class NonsenseLater(MemoryStore):
    """One answer is out of shape, but not in the smoke exchange."""

    def vacuum(self) -> Any:
        return "lots"


class OddMembers(MemoryStore):
    """The right records with things in them that are nothing like what is due."""

    def claim_ready_queued_work(self, *args: Any, **kwargs: Any) -> Claim | None:
        claim = super().claim_ready_queued_work(*args, **kwargs)
        odd: Any = object()
        return None if claim is None else evolve(claim, fencing_token=odd, lease_token=odd)


class LiesAboutItsTier(MemoryStore):
    """TIER-1: declares inline, reports durable."""

    durability_tier: Any = "durable"


class Prints(MemoryStore):
    """No lie, but it talks."""

    def vacuum(self) -> VacuumReport:
        print("vacuuming")
        return super().vacuum()


class CannotClose(MemoryStore):
    """The set-up is broken: closing raises."""

    def close(self) -> None:
        raise RuntimeError("still in use")


def raises(clock: Clock) -> MemoryStore:
    """A factory that cannot open a store."""
    raise ConnectionError(f"no database at port {clock.now_ms() + 1}")


def nothing(_: Clock) -> None:
    """A factory that forgets to return its store."""


def hangs(clock: Clock) -> MemoryStore:
    """A factory that never returns."""
    time.sleep(3600)
    return MemoryStore(clock)


_OPENED = itertools.count(1)


def announced(clock: Clock) -> MemoryStore:
    """A right store; that a few were opened, so that the check has begun, is written into the file that the environment names."""
    if next(_OPENED) == 60:
        Path(os.environ["ANNOUNCE"]).touch()
    return MemoryStore(clock)


class Unlocked(MemoryStore):
    """LEASE-8, LAW-12 and others: right for one client, but its lock locks nothing."""

    def __init__(self, clock: Clock | None = None, *, shared: Any = None) -> None:
        super().__init__(clock, shared=shared)
        self._lock: Any = contextlib.nullcontext()


KILLABLE = Capabilities(tier="durable", handles=8, reopen=True, concurrent=True, kill=True)


class UsageLater(SqliteStore):
    """LAW-10: a commit's usage is written by a second transaction, and a kill comes between."""

    capabilities = KILLABLE

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        before = self.load_session(FullGraph())
        result = super().commit_runtime_state(evolve(commit, usage_deltas=()))
        if result.head_revision > (before.head_revision if before is not None else 0):
            with self._write as db:
                self._add_usage(db, commit.usage_deltas)
        return result


def usage_later(clock: Clock) -> UsageLater:
    """That store, at the place that the check gives it."""
    return UsageLater(_placed(), clock=clock)


class MetaInMemory(SqliteStore):
    """LAW-10: the session's metadata is acknowledged, and only this process has it."""

    capabilities = KILLABLE
    _metas: ClassVar[dict[Any, SessionMeta]] = {}

    def save_session_meta(self, meta: SessionMeta) -> None:
        self._metas[self._path] = meta

    def load_session_meta(self) -> SessionMeta | None:
        return self._metas.get(self._path)


def meta_in_memory(clock: Clock) -> MetaInMemory:
    """Likewise."""
    return MetaInMemory(_placed(), clock=clock)


def _placed() -> Path:
    return Path(os.environ["LEASEHOLD_DATA"]) / "store.db"


NOT_A_FACTORY = 7

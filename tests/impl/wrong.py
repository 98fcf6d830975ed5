"""Stores that are wrong or broken on purpose, as targets of the command line: ``python:tests.impl.wrong:TwoOwners``."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from leasehold.records import Batch, BatchDraft, Claim, Fence, GcReport, Lease, VacuumReport
from leasehold.store import Capabilities, Clock, SessionExecutionLeaseExpired
from leasehold.stores.memory import MemoryStore

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

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        if session_id.startswith("race"):
            time.sleep(20)
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


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


NOT_A_FACTORY = 7

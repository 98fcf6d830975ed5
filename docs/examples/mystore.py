"""A small store of one's own: leases and a queue, in plain dicts. It has no commits and no attachments, and need not have them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from leasehold.records import MAX_MS, Batch, BatchDraft, Claim, Fence, Item, Lease
from leasehold.store import Clock, SessionExecutionLeaseExpired


class MyStore:
    """No base class: `leasehold check` looks which methods are there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count(1)
        self._leases: dict[str, Lease] = {}
        self._fencing: dict[str, int] = {}
        self._batches: list[Batch] = []
        self._claims: dict[str, Claim] = {}
        self._claim_of: dict[str, str] = {}
        self._claim_fencing: dict[str, int] = {}

    # Leases.

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        now = self._clock.now_ms()
        lease = self._leases.get(session_id)
        if lease is not None and lease.expires_at_epoch_ms > now:
            if lease.owner_id != owner_id:
                return None
            expires_at = max(lease.expires_at_epoch_ms, min(now + lease_ttl_ms, MAX_MS))
            return self._set(lease, expires_at)
        fencing = self._fencing[session_id] = self._fencing.get(session_id, 0) + 1
        granted = Lease(session_id, owner_id, f"lease-{next(self._numbers)}", fencing, now, min(now + lease_ttl_ms, MAX_MS))
        self._leases[session_id] = granted
        return granted

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        now = self._clock.now_ms()
        lease = self._leases.get(fence.session_id)
        if lease is None or lease.fence() != fence or lease.expires_at_epoch_ms <= now:
            raise SessionExecutionLeaseExpired(session_id=fence.session_id)
        return self._set(lease, min(now + lease_ttl_ms, MAX_MS))

    def release_session_execution_lease(self, completion: Fence) -> None:
        lease = self._leases.get(completion.session_id)
        if lease is not None and lease.fence() == completion:
            del self._leases[completion.session_id]

    def _set(self, lease: Lease, expires_at: int) -> Lease:
        kept = Lease(
            lease.session_id, lease.owner_id, lease.lease_token, lease.fencing_token, lease.claimed_at_epoch_ms, expires_at
        )
        self._leases[lease.session_id] = kept
        return kept

    # The queue.

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        for known in self._batches:
            if batch.source_key is not None and (known.session_id, known.source_key) == (batch.session_id, batch.source_key):
                return known
        number = next(self._numbers)
        stored = Batch(
            batch_id=f"batch-{number}",
            session_id=batch.session_id,
            enqueue_seq=number,
            source_key=batch.source_key,
            delivery_policy=batch.delivery_policy,
            slot_policy=batch.slot_policy,
            merge_key=batch.merge_key,
            available_at_ms=batch.available_at_ms,
            enqueued_at_ms=self._clock.now_ms(),
            items=tuple(Item(f"item-{number}-{place}", payload) for place, payload in enumerate(batch.payloads)),
        )
        self._batches.append(stored)
        return stored

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        return [batch for batch in self._batches if batch.session_id == session_id]

    def list_pending_queued_work(self, session_id: str) -> Sequence[Batch]:
        now = self._clock.now_ms()
        return [batch for batch in self._batches if batch.session_id == session_id and not self._is_claimed(batch, now)]

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Batch | None:
        now = self._clock.now_ms()
        for batch in self._batches:
            if (batch.session_id, batch.batch_id) == (session_id, batch_id) and not self._is_claimed(batch, now):
                self._batches.remove(batch)
                return batch
        return None

    def claim_ready_queued_work(
        self, session_id: str, session_execution_lease: Fence, owner_id: str, boundary: str, lease_ttl_ms: int, max_batches: int
    ) -> Claim | None:
        now = self._clock.now_ms()
        lease = self._leases.get(session_id)
        if lease is None or lease.fence() != session_execution_lease or lease.expires_at_epoch_ms <= now:
            raise SessionExecutionLeaseExpired(session_id=session_id)
        ready = [batch for batch in self.list_pending_queued_work(session_id) if batch.available_at_ms <= now]
        if not ready or max_batches == 0:
            return None
        head = ready[0]
        if boundary == "active_turn_checkpoint" and head.delivery_policy != "earliest_safe_boundary":
            return None
        taken = [head]
        for batch in ready[1:]:
            if len(taken) == max_batches or not self._joins(head, batch):
                break
            taken.append(batch)
        number = next(self._numbers)
        fencing = max(self._claim_fencing.get(batch.batch_id, 0) for batch in taken) + 1
        claim = Claim(
            session_id=session_id,
            claim_id=f"claim-{number}",
            owner_id=owner_id,
            lease_token=f"token-{number}",
            fencing_token=fencing,
            claimed_at_epoch_ms=now,
            expires_at_epoch_ms=min(now + lease_ttl_ms, MAX_MS),
            batches=tuple(taken),
        )
        self._claims[claim.claim_id] = claim
        for batch in taken:
            self._claim_of[batch.batch_id] = claim.claim_id
            self._claim_fencing[batch.batch_id] = fencing
        return claim

    def abandon_queued_work_claim(self, claim: Claim) -> None:
        held = self._claims.get(claim.claim_id)
        if held is None or held.lease_token != claim.lease_token:
            return
        for batch in held.batches:
            if self._claim_of.get(batch.batch_id) == claim.claim_id:
                del self._claim_of[batch.batch_id]

    def _is_claimed(self, batch: Batch, now: int) -> bool:
        claim = self._claims.get(self._claim_of.get(batch.batch_id, ""))
        return claim is not None and claim.expires_at_epoch_ms > now

    def _joins(self, head: Batch, batch: Batch) -> bool:
        same = (batch.delivery_policy, batch.merge_key) == (head.delivery_policy, head.merge_key)
        return same and head.slot_policy == batch.slot_policy == "join"


def open_store(clock: Clock) -> MyStore:
    """A fresh, empty store."""
    return MyStore(clock)

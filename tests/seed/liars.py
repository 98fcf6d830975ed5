"""Stores that are wrong on purpose, each in one small way, and one that is right but odd: what the seed's suite is tried on.

Each wraps a right store and spoils one thing on the way in or out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from leasehold.records import (
    ActivePath,
    BatchDraft,
    Boundary,
    Claim,
    Commit,
    Fence,
    FullGraph,
    Group,
    Intent,
    Lease,
    LeaseCompletion,
    ManifestEntry,
    Read,
    ReadScope,
    SessionMeta,
)
from leasehold.store import SystemClock
from leasehold.stores.memory import MemoryStore


class Wrapper:
    """A store that does as the one inside does. What a subclass defines, it does instead."""

    def __init__(self, inside: Any = None) -> None:
        self.inside: Any = MemoryStore(SystemClock()) if inside is None else inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside, name)

    def open_handle(self) -> Any:
        return type(self)(self.inside.open_handle())


class NoopManifest(Wrapper):
    """Right but odd: a declared no-op manifest (ATTACH-5)."""

    def record_intent(self, intent: Intent) -> None:
        pass

    def commit_refs(self, session_id: str, attachment_ids: Sequence[str]) -> None:
        pass

    def list_uncommitted(self, older_than_epoch_ms: int) -> Sequence[ManifestEntry]:
        return ()

    def forget(self, attachment_id: str) -> None:
        pass


class SaysDurable(Wrapper):
    """TIER-1: not what it was declared."""

    durability_tier = "durable"


class LosesFrames(Wrapper):
    """COMMIT-8: keeps the current agent frame only, under the id it had."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        return self.inside.commit_runtime_state(evolve(commit, agent_frames=commit.agent_frames[-1:]))


class LosesExecutionState(Wrapper):
    """COMMIT-10: the execution state is not loaded."""

    def load_session(self, scope: ReadScope) -> Any:
        read: Read | None = self.inside.load_session(scope)
        if read is None or read.checkpoint is None:
            return read
        return evolve(read, checkpoint=evolve(read.checkpoint, execution_state=None))


class LosesToolState(Wrapper):
    """COMMIT-10: the tool state is not loaded."""

    def load_session(self, scope: ReadScope) -> Any:
        read: Read | None = self.inside.load_session(scope)
        if read is None or read.checkpoint is None:
            return read
        return evolve(read, checkpoint=evolve(read.checkpoint, tool_state=None))


class LosesUsage(Wrapper):
    """LAW-8: the ledger stays empty."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        return self.inside.commit_runtime_state(evolve(commit, usage_deltas=()))


class TakesEverySession(Wrapper):
    """COMMIT-1: commits of a second session go to a store of their own instead of being refused."""

    def __init__(self, inside: Any = None) -> None:
        super().__init__(inside)
        self.bound: str | None = None

    def commit_runtime_state(self, commit: Commit) -> Any:
        self.bound = self.bound or commit.session_id
        if commit.session_id == self.bound:
            return self.inside.commit_runtime_state(commit)
        apart = MemoryStore(SystemClock())
        lease = apart.try_claim_session_execution_lease(commit.session_id, "apart", 60_000)
        assert lease is not None
        return apart.commit_runtime_state(
            evolve(commit, session_execution_lease=lease.fence(), release_session_execution_lease=None)
        )


class ShowsEveryBranch(Wrapper):
    """GRAPH-4: an active path is the full graph."""

    def load_session(self, scope: ReadScope) -> Any:
        return self.inside.load_session(FullGraph())


class ForgetsTheLeafAskedFor(Wrapper):
    """GRAPH-4: an active path always leads to the head's leaf."""

    def load_session(self, scope: ReadScope) -> Any:
        return self.inside.load_session(ActivePath(None) if isinstance(scope, ActivePath) else scope)


class ReleasesByOwner(Wrapper):
    """LEASE-7: a release clears the lane of its owner, whatever its token says."""

    def __init__(self, inside: Any = None) -> None:
        super().__init__(inside)
        self.last: dict[tuple[str, str], Lease] = {}

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        lease: Lease | None = self.inside.try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        if lease is not None:
            self.last[session_id, owner_id] = lease
        return lease

    def release_session_execution_lease(self, completion: LeaseCompletion) -> None:
        last = self.last.get((completion.session_id, completion.owner_id))
        self.inside.release_session_execution_lease(completion if last is None else last.completion())


class CommitsWithoutLease(Wrapper):
    """COMMIT-5: a commit that names no lease is given one."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        if commit.session_execution_lease is None:
            lease = self.inside.try_claim_session_execution_lease(commit.session_id, "obliging", 60_000)
            completion = lease.completion()
            commit = evolve(commit, session_execution_lease=lease.fence(), release_session_execution_lease=completion)
        return self.inside.commit_runtime_state(commit)


class ClaimsWithoutLease(Wrapper):
    """QUEUE-4: a queue claim is made under any lease, however old."""

    def claim_ready_queued_work(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        max_batches: int,
    ) -> Any:
        lease = self.inside.try_claim_session_execution_lease(session_id, session_execution_lease.owner_id, 60_000)
        return self.inside.claim_ready_queued_work(session_id, lease.fence(), owner_id, boundary, lease_ttl_ms, max_batches)


class LosesStamps(Wrapper):
    """COMMIT-4: a stamp is not stored."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        return self.inside.commit_runtime_state(evolve(commit, turn_commit=None))


class TrustsAnyHash(Wrapper):
    """COMMIT-3: a stamp is known by its turn, whatever its hash."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        stamp = commit.turn_commit
        if stamp is not None:
            commit = evolve(commit, turn_commit=evolve(stamp, turn_commit_hash="any"))
        return self.inside.commit_runtime_state(commit)


class KeepsNoIntents(Wrapper):
    """ATTACH-3: what was recorded is not listed."""

    def list_uncommitted(self, older_than_epoch_ms: int) -> Sequence[ManifestEntry]:
        return ()


class CommitsNoAttachments(Wrapper):
    """COMMIT-8: a commit does not stamp its attachments."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        return self.inside.commit_runtime_state(evolve(commit, committed_attachment_ids=()))


class CommitsNoReferences(Wrapper):
    """ATTACH-2: a reference committed apart is not stamped."""

    def commit_refs(self, session_id: str, attachment_ids: Sequence[str]) -> None:
        pass


class ForgetsSourceKeys(Wrapper):
    """QUEUE-2: every enqueue makes a new batch."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        return self.inside.enqueue_queued_work(evolve(batch, source_key=None))


class ListsEverySession(Wrapper):
    """QUEUE-3: a list has the batches of the session other, too."""

    def list_queued_work(self, session_id: str) -> Any:
        return (*self.inside.list_queued_work(session_id), *self.inside.list_queued_work("other"))


class CancelsClaimedWork(Wrapper):
    """QUEUE-13: a claim does not protect its batches from being cancelled."""

    def __init__(self, inside: Any = None) -> None:
        super().__init__(inside)
        self.claims: list[Claim] = []

    def claim_ready_queued_work(self, *args: Any) -> Any:
        claim: Claim | None = self.inside.claim_ready_queued_work(*args)
        self.claims += [] if claim is None else [claim]
        return claim

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Any:
        for claim in self.claims:
            if batch_id in {batch.batch_id for batch in claim.batches}:
                self.inside.abandon_queued_work_claim(claim)
        return self.inside.cancel_queued_work_batch(session_id, batch_id)


class ClaimsWhatIsFirst(Wrapper):
    """QUEUE-10: a claim by ids takes as many batches as it names, whichever come first."""

    def claim_ready_queued_work_by_batch_ids(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        batch_ids: Sequence[str],
    ) -> Any:
        return self.inside.claim_ready_queued_work(
            session_id, session_execution_lease, owner_id, boundary, lease_ttl_ms, len(batch_ids)
        )


class KnowsNoBoundary(Wrapper):
    """QUEUE-6: every boundary is the idle one."""

    def claim_ready_queued_work(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        max_batches: int,
    ) -> Any:
        return self.inside.claim_ready_queued_work(session_id, session_execution_lease, owner_id, "idle", lease_ttl_ms, max_batches)


class AbandonsNothing(Wrapper):
    """QUEUE-12: an abandoned claim goes on."""

    def abandon_queued_work_claim(self, claim: Claim) -> None:
        pass


class KnowsNoLimit(Wrapper):
    """QUEUE-7: max_batches is not heeded."""

    def claim_ready_queued_work(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        max_batches: int,
    ) -> Any:
        return self.inside.claim_ready_queued_work(session_id, session_execution_lease, owner_id, boundary, lease_ttl_ms, 1000)


class KnowsNoAvailability(Wrapper):
    """QUEUE-5: work is due at once."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        return self.inside.enqueue_queued_work(evolve(batch, available_at_ms=0))


class JoinsEveryGroup(Wrapper):
    """QUEUE-7: the merge key is not looked at."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        return self.inside.enqueue_queued_work(evolve(batch, merge_key=Group("all")))


class ForgetsDeliveryPolicies(Wrapper):
    """QUEUE-1: every batch is for the earliest safe boundary."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        return self.inside.enqueue_queued_work(evolve(batch, delivery_policy="earliest_safe_boundary"))


class CompletesUnasked(Wrapper):
    """COMMIT-7: a completion that does not hold is left out instead of refusing the commit."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        held = tuple(done for done in commit.completed_queue_claims if not done.lease_token.endswith(":stale"))
        return self.inside.commit_runtime_state(evolve(commit, completed_queue_claims=held))


class CompletesNothing(Wrapper):
    """COMMIT-8: a commit leaves the queue as it is."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        return self.inside.commit_runtime_state(evolve(commit, completed_queue_claims=()))


class LosesTheFolder(Wrapper):
    """META-1: one of the six fields is dropped."""

    def save_session_meta(self, meta: SessionMeta) -> None:
        self.inside.save_session_meta(evolve(meta, cwd=None))


class KeepsTombstonedNodes(Wrapper):
    """GRAPH-6: a tombstone hides nothing."""

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        pass


class ReopensEmpty(Wrapper):
    """LAW-10: another handle is another store."""

    def open_handle(self) -> Any:
        return type(self)(MemoryStore(SystemClock()))

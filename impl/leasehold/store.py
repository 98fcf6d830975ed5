"""The Store interface: what a store offers, how it refuses, what time it is, what it declares of itself.

A store under test is any object with these methods; no base class is needed. Every method is one atomic operation.
A method refuses by raising a `Refusal`; ``None`` where the signature allows it means *not granted* or *not there*.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from leasehold.records import (
    MAX_MS,
    Batch,
    BatchDraft,
    Boundary,
    Claim,
    Commit,
    CommitResult,
    Fence,
    GcReport,
    Intent,
    Lease,
    LeaseCompletion,
    ManifestEntry,
    Node,
    Read,
    ReadScope,
    SessionMeta,
    Tier,
    VacuumReport,
)


class Refusal(Exception):
    """A definite refusal: the operation changed nothing (LAW-1, LAW-15). ``code`` is one of contract section 8."""

    code: ClassVar[str] = "backend"

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or ", ".join(f"{name}={value}" for name, value in details.items()) or self.code)
        self.details = details


class Indeterminate(Exception):
    """No refusal: the answer was lost (a timeout, a broken connection), so the call took effect once or never (LAW-12)."""


class SessionBindingMismatch(Refusal):
    """COMMIT-1. Details: bound_session_id, attempted_session_id."""

    code = "session_binding_mismatch"


class HeadRevisionConflict(Refusal):
    """COMMIT-6. Details: expected, actual."""

    code = "head_revision_conflict"


class RuntimeTurnCommitConflict(Refusal):
    """COMMIT-2 and COMMIT-3. Details: session_id, turn_id."""

    code = "runtime_turn_commit_conflict"


class SessionExecutionLeaseExpired(Refusal):
    """LEASE-5, COMMIT-5, QUEUE-4. Details: session_id."""

    code = "session_execution_lease_expired"


class QueuedWorkClaimExpired(Refusal):
    """COMMIT-7, QUEUE-11. Details: session_id, claim_id."""

    code = "queued_work_claim_expired"


class UnsupportedReadScope(Refusal):
    """A read scope this store does not offer."""

    code = "unsupported_read_scope"


class UnsupportedRecordSchemaVersion(Refusal):
    """Stored data from another schema version. Details: record_kind, actual, expected."""

    code = "unsupported_record_schema_version"


class InvalidRequest(Refusal):
    """Input that no store should accept, e.g. a negative ttl or a refused policy case. Details: field."""

    code = "invalid_request"


class Contended(Refusal):
    """A lock or serialisation failure: nothing happened, and the same call may be retried unchanged."""

    code = "contended"


class Backend(Refusal):
    """The storage below failed: unreadable data, a full disk, a lost file."""

    code = "backend"


class Clock(Protocol):
    """Where a store takes the time from."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


class SystemClock:
    """The real time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, from the operating system."""
        return time.time_ns() // 1_000_000


class VirtualClock:
    """A clock that stands still until it is set. The oracle drives a store with one, so that it meets an expiry exactly."""

    __slots__ = ("now",)

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def now_ms(self) -> int:
        """The time that was set last."""
        return self.now


@runtime_checkable
class Store(Protocol):
    """The operations of contract sections 3 to 7, under their protocol names. `leasehold.records` has the record types."""

    @property
    def durability_tier(self) -> Tier:
        """``durable`` promises that reopening is the identity (TIER-1, LAW-10)."""
        ...

    def load_session(self, scope: ReadScope) -> Read | None:
        """GRAPH-2 to GRAPH-4."""
        ...

    def load_node(self, node_id: str) -> Node | None:
        """GRAPH-5."""
        ...

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        """COMMIT-1 to COMMIT-10."""
        ...

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        """LEASE-1 to LEASE-3."""
        ...

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        """LEASE-4, LEASE-5."""
        ...

    def release_session_execution_lease(self, completion: LeaseCompletion) -> None:
        """LEASE-6, LEASE-7."""
        ...

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        """QUEUE-1, QUEUE-2."""
        ...

    def claim_ready_queued_work(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        max_batches: int,
    ) -> Claim | None:
        """QUEUE-4 to QUEUE-9."""
        ...

    def claim_ready_queued_work_by_batch_ids(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        batch_ids: Sequence[str],
    ) -> Claim | None:
        """QUEUE-10."""
        ...

    def renew_queued_work_claim(self, claim: Claim, lease_ttl_ms: int) -> Claim:
        """QUEUE-11."""
        ...

    def abandon_queued_work_claim(self, claim: Claim) -> None:
        """QUEUE-12."""
        ...

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Batch | None:
        """QUEUE-13."""
        ...

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        """QUEUE-3: all batches, claimed or not."""
        ...

    def list_pending_queued_work(self, session_id: str) -> Sequence[Batch]:
        """QUEUE-3: the batches without a live claim."""
        ...

    def save_session_meta(self, meta: SessionMeta) -> None:
        """META-1."""
        ...

    def load_session_meta(self) -> SessionMeta | None:
        """META-1."""
        ...

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        """GRAPH-6."""
        ...

    def vacuum(self) -> VacuumReport:
        """GRAPH-7."""
        ...

    def gc_unreachable(self) -> GcReport:
        """GRAPH-9."""
        ...

    def record_intent(self, intent: Intent) -> None:
        """ATTACH-1."""
        ...

    def commit_refs(self, session_id: str, attachment_ids: Sequence[str]) -> None:
        """ATTACH-2."""
        ...

    def list_uncommitted(self, older_than_epoch_ms: int) -> Sequence[ManifestEntry]:
        """ATTACH-3."""
        ...

    def forget(self, attachment_id: str) -> None:
        """ATTACH-4."""
        ...


OPERATIONS: tuple[str, ...] = (
    "load_session",
    "load_node",
    "commit_runtime_state",
    "try_claim_session_execution_lease",
    "renew_session_execution_lease",
    "release_session_execution_lease",
    "enqueue_queued_work",
    "claim_ready_queued_work",
    "claim_ready_queued_work_by_batch_ids",
    "renew_queued_work_claim",
    "abandon_queued_work_claim",
    "cancel_queued_work_batch",
    "list_queued_work",
    "list_pending_queued_work",
    "save_session_meta",
    "load_session_meta",
    "tombstone_nodes",
    "vacuum",
    "gc_unreachable",
    "record_intent",
    "commit_refs",
    "list_uncommitted",
    "forget",
)
"""Every operation of the protocol, in its order."""


@frozen(kw_only=True)
class Capabilities:
    """What a store declares of itself, as in the protocol's ``hello``. Set ``capabilities`` to declare other than the usual.

    ``handles`` is how many handles one store takes at once; above 1 the store has ``open_handle() -> Store``. With ``reopen``,
    ``open_handle`` also works after every handle was closed and finds the data. ``ops`` not listed are not checked.
    """

    tier: Tier = "inline"
    manifest: Literal["persistent", "noop"] = "persistent"
    clock: Literal["virtual", "real"] = "virtual"
    handles: int = 1
    reopen: bool = False
    kill: bool = False
    concurrent: bool = False
    max_integer: int = MAX_MS
    ops: frozenset[str] = field(default=frozenset(OPERATIONS))

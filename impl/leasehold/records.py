"""The vocabulary that stores speak: every record that crosses the Store interface.

Names and shapes are those of the adapter protocol (specs/), so a store in another language sees the same words in JSON.
Times are integer milliseconds since the epoch. Ids, tokens and references are opaque text, minted by the store.
A value typed ``Json`` is passed through untouched: no rule of the contract looks inside it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from attrs import field, frozen

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with text keys."""

DeliveryPolicy: TypeAlias = Literal["earliest_safe_boundary", "after_current_turn_commit"]
SlotPolicy: TypeAlias = Literal["join", "exclusive"]
Boundary: TypeAlias = Literal["idle", "active_turn_checkpoint"]
Tier: TypeAlias = Literal["inline", "durable"]

MAX_MS = 2**63 - 1
"""The latest time there is (LAW-14): sums of a time and a ttl saturate here."""


@frozen
class Fence:
    """What a lease holder shows to prove it still holds the lane (contract section 3)."""

    session_id: str
    owner_id: str
    lease_token: str
    fencing_token: int


LeaseCompletion: TypeAlias = Fence
"""What a lease holder shows to release the lane: the same four members."""


@frozen
class Lease:
    """A session execution lease as granted, re-entered or renewed (LEASE-1, LEASE-2, LEASE-4)."""

    session_id: str
    owner_id: str
    lease_token: str
    fencing_token: int
    claimed_at_epoch_ms: int
    expires_at_epoch_ms: int

    def fence(self) -> Fence:
        """The fence to commit, renew and claim work with."""
        return Fence(self.session_id, self.owner_id, self.lease_token, self.fencing_token)

    def completion(self) -> LeaseCompletion:
        """What to release the lease with."""
        return self.fence()


@frozen
class Group:
    """A merge key that joins batches of the same named group."""

    group: str


MergeKey: TypeAlias = Literal["never", "payload_default"] | Group


@frozen(kw_only=True)
class BatchDraft:
    """Work to enqueue (QUEUE-1). ``available_at_ms`` 0 means at once; ``source_key`` makes the enqueue idempotent (QUEUE-2)."""

    session_id: str
    delivery_policy: DeliveryPolicy
    slot_policy: SlotPolicy
    payloads: tuple[Json, ...]
    merge_key: MergeKey = "never"
    available_at_ms: int = 0
    source_key: str | None = None


@frozen
class Item:
    """One payload of a batch, with the id the store gave it."""

    item_id: str
    payload: Json


@frozen(kw_only=True)
class Batch:
    """A queued batch as stored."""

    batch_id: str
    session_id: str
    enqueue_seq: int
    source_key: str | None
    delivery_policy: DeliveryPolicy
    slot_policy: SlotPolicy
    merge_key: MergeKey
    available_at_ms: int
    enqueued_at_ms: int
    items: tuple[Item, ...]


@frozen
class ClaimCompletion:
    """A claim's batches, named as done in a commit (COMMIT-7)."""

    session_id: str
    claim_id: str
    lease_token: str
    batch_ids: tuple[str, ...]


@frozen(kw_only=True)
class Claim:
    """A claim on queued batches (QUEUE-8)."""

    session_id: str
    claim_id: str
    owner_id: str
    lease_token: str
    fencing_token: int
    claimed_at_epoch_ms: int
    expires_at_epoch_ms: int
    batches: tuple[Batch, ...]

    def completion(self) -> ClaimCompletion:
        """The completion that names every batch of the claim."""
        ids = tuple(batch.batch_id for batch in self.batches)
        return ClaimCompletion(self.session_id, self.claim_id, self.lease_token, ids)


@frozen(kw_only=True)
class UsageRow:
    """Token usage of one source and model, as a delta of a commit or as a sum in the ledger (LAW-8). Fields are i64."""

    source: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


@frozen(kw_only=True)
class Node:
    """A session graph node. ``content`` is the rest of the wire object: ``kind``, ``event`` or ``plugin_type`` and ``body``."""

    node_id: str
    parent_node_id: str | None = None
    agent_frame_id: str | None = None
    timestamp: str = "1970-01-01T00:00:00Z"
    content: Json = field(factory=dict)


@frozen
class Unchanged:
    """Graph delta: keep the nodes, set the leaf (GRAPH-1)."""

    leaf_node_id: str | None = None


@frozen
class Append:
    """Graph delta: add nodes at the end of the storage order, set the leaf (GRAPH-1)."""

    nodes: tuple[Node, ...]
    leaf_node_id: str | None = None


@frozen
class ReplaceFull:
    """Graph delta: these nodes and no others, set the leaf (GRAPH-1)."""

    nodes: tuple[Node, ...]
    leaf_node_id: str | None = None


GraphDelta: TypeAlias = Unchanged | Append | ReplaceFull


@frozen(kw_only=True)
class Checkpoint:
    """A checkpoint with bodies, references, or both (COMMIT-10). ``execution_state`` is an array of byte values on the wire."""

    turn_state: Json
    tool_state: Json = None
    tool_state_ref: str | None = None
    plugin_snapshot: Json = None
    plugin_snapshot_ref: str | None = None
    plugin_snapshot_revision: int | None = None
    execution_state: bytes | None = None
    execution_state_ref: str | None = None


@frozen(kw_only=True)
class CheckpointManifest:
    """A checkpoint without its bodies, as a commit returns it."""

    turn_state: Json
    tool_state_ref: str | None = None
    plugin_snapshot_ref: str | None = None
    plugin_snapshot_revision: int | None = None
    execution_state_ref: str | None = None


@frozen
class TurnStamp:
    """The identity of a turn's commit: the store keeps the hash as opaque text (COMMIT-9)."""

    session_id: str
    turn_id: str
    turn_commit_hash: str


@frozen(kw_only=True)
class Commit:
    """One atomic commit of a session's state (contract section 4)."""

    session_id: str
    config: Json
    agent_frames: tuple[Json, ...]
    current_agent_frame_id: str
    graph: GraphDelta
    checkpoint: Checkpoint
    expected_head_revision: int | None = None
    session_execution_lease: Fence | None = None
    release_session_execution_lease: LeaseCompletion | None = None
    usage_deltas: tuple[UsageRow, ...] = ()
    turn_commit: TurnStamp | None = None
    completed_queue_claims: tuple[ClaimCompletion, ...] = ()
    committed_attachment_ids: tuple[str, ...] = ()


@frozen
class CommitResult:
    """What an accepted commit, or the replay of one (COMMIT-4), returns."""

    head_revision: int
    checkpoint_ref: str
    manifest: CheckpointManifest


@frozen
class FullGraph:
    """Read scope: every visible node (GRAPH-3)."""


@frozen
class ActivePath:
    """Read scope: the nodes from the root to a leaf, the head's leaf if none is given (GRAPH-4)."""

    leaf_node_id: str | None = None


ReadScope: TypeAlias = FullGraph | ActivePath


@frozen
class Graph:
    """The graph part of a read."""

    nodes: tuple[Node, ...]
    leaf_node_id: str | None


@frozen(kw_only=True)
class Read:
    """A loaded session (GRAPH-2)."""

    session_id: str
    head_revision: int
    config: Json
    agent_frames: tuple[Json, ...]
    current_agent_frame_id: str
    graph: Graph
    checkpoint_ref: str | None
    checkpoint: Checkpoint | None
    token_ledger: tuple[UsageRow, ...]


@frozen(kw_only=True)
class SessionMeta:
    """Session metadata (META-1). ``relation`` is ``{"kind": "root"}`` or ``{"kind": "child", "parent_session_id": id}``."""

    session_id: str
    session_name: str
    created_at: str
    model: str
    cwd: str | None
    relation: Json


@frozen(kw_only=True)
class Intent:
    """An attachment that is about to be written (ATTACH-1)."""

    attachment_id: str
    session_id: str
    canonical_uri: str
    intent_at_epoch_ms: int


@frozen(kw_only=True)
class ManifestEntry:
    """A row of the attachment manifest, as listed (ATTACH-3)."""

    attachment_id: str
    session_id: str
    canonical_uri: str
    intent_at_epoch_ms: int
    committed_at_epoch_ms: int | None = None


@frozen
class VacuumReport:
    """How many tombstoned nodes this call removed (GRAPH-7)."""

    removed_node_count: int


@frozen
class GcReport:
    """What a collection of unreachable bodies did (GRAPH-9). The counts are informative."""

    root_count: int
    retained_blob_count: int
    deleted_blob_count: int

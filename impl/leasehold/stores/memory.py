"""A store in memory: one lock and dicts, with the recommended option at every policy point of the contract.

Every rule of the contract is decided in one place here, under its number. The indexes of the queue are kept by `_Queue`, which
decides nothing but when a batch is ready. All checks of an operation come before its first change, so a refusal is inert (LAW-1).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import chain, takewhile
from operator import attrgetter
from threading import Lock
from typing import Any, Generic, NoReturn, TypeVar

from attrs import define

from leasehold.records import (
    MAX_MS,
    ActivePath,
    Append,
    Batch,
    BatchDraft,
    Boundary,
    Checkpoint,
    CheckpointManifest,
    Claim,
    ClaimCompletion,
    Commit,
    CommitResult,
    Fence,
    FullGraph,
    GcReport,
    Graph,
    GraphDelta,
    Intent,
    Item,
    Json,
    Lease,
    LeaseCompletion,
    ManifestEntry,
    Node,
    Read,
    ReadScope,
    ReplaceFull,
    SessionMeta,
    Tier,
    TurnStamp,
    Unchanged,
    UsageRow,
    VacuumReport,
)
from leasehold.store import (
    Backend,
    Capabilities,
    Clock,
    HeadRevisionConflict,
    InvalidRequest,
    QueuedWorkClaimExpired,
    RuntimeTurnCommitConflict,
    SessionBindingMismatch,
    SessionExecutionLeaseExpired,
    SystemClock,
    UnsupportedReadScope,
)
from leasehold.stores._common import (
    EXECUTION_STATE,
    PLUGIN_SNAPSHOT,
    TOOL_STATE,
    body_bytes,
    check_boundary,
    check_commit,
    check_count,
    check_draft,
    check_id,
    check_intent,
    check_meta,
    check_time,
    check_ttl,
    content_ref,
    first_repeated,
    is_ref_of,
    manifest_of,
    manifest_ref,
)


def _live(expires_at: int, now: int) -> bool:
    """A lease or a claim is live until the instant it expires (contract section 1)."""
    return expires_at > now


def _due(at: int, now: int) -> bool:
    """Something is due from its instant on (contract section 1)."""
    return at <= now


def _expiry(now: int, ttl: int) -> int:
    """LAW-14: saturates at the latest time there is."""
    return min(now + ttl, MAX_MS)


@define
class _Head:
    """The head of the session that the store is bound to."""

    session_id: str
    head_revision: int
    config: Json
    agent_frames: tuple[Json, ...]
    current_agent_frame_id: str
    checkpoint_ref: str
    manifest: CheckpointManifest
    leaf_node_id: str | None


class _Entry:
    """A batch in its queue, and what the queue's indexes know of it."""

    __slots__ = ("batch", "claim", "fencing", "ready_at", "seq", "waiting")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.seq = batch.enqueue_seq
        self.claim: _Held | None = None
        self.fencing = 0
        """The fencing token of the last claim that included the batch; it survives the claim (P-CLAIM-FENCE)."""
        self.ready_at = 0
        self.waiting = False


@define(eq=False)
class _Held:
    """A claim, live or expired, and the batches still held under it, by batch id."""

    claim_id: str
    owner_id: str
    lease_token: str
    fencing_token: int
    claimed_at: int
    expires_at: int
    entries: dict[str, _Entry]


_T = TypeVar("_T")
_SHELF = 512


class _Sorted(Generic[_T]):
    """Things sorted by a key, of which no two are equal, on short shelves: to add or remove one moves no more than a shelf."""

    __slots__ = ("key", "shelf_key", "shelves")

    def __init__(self, key: Callable[[_T], Any]) -> None:
        self.key = key
        self.shelf_key: Callable[[list[_T]], Any] = lambda shelf: key(shelf[0])
        self.shelves: list[list[_T]] = []

    def __iter__(self) -> Iterator[_T]:
        return chain.from_iterable(self.shelves)

    def add(self, thing: _T) -> None:
        if not self.shelves:
            self.shelves.append([thing])
            return
        place = self._place(thing)
        shelf = self.shelves[place]
        insort(shelf, thing, key=self.key)
        if len(shelf) == 2 * _SHELF:
            self.shelves[place : place + 1] = [shelf[:_SHELF], shelf[_SHELF:]]

    def remove(self, thing: _T) -> None:
        place = self._place(thing)
        shelf = self.shelves[place]
        del shelf[bisect_left(shelf, self.key(thing), key=self.key)]
        if not shelf:
            del self.shelves[place]

    def take_while(self, condition: Callable[[_T], bool]) -> list[_T]:
        """The things from the first on, up to one that does not meet the condition."""
        return list(takewhile(condition, self))

    def _place(self, thing: _T) -> int:
        if len(self.shelves) == 1:
            return 0
        return max(bisect_right(self.shelves, self.key(thing), key=self.shelf_key) - 1, 0)


_by_seq = attrgetter("seq")
_by_ready_at = attrgetter("ready_at", "seq")
_by_expiry = attrgetter("expires_at", "claim_id")


class _Queue:
    """The batches of one session and their indexes.

    Every entry is in ``everything``; in ``unclaimed`` or in a claim, which is in ``claims`` and ``expiring``; and in ``ready`` or,
    until the time comes at which it is a candidate again, in ``waiting``.
    """

    __slots__ = ("by_source_key", "claims", "entries", "everything", "expiring", "ready", "unclaimed", "waiting")

    def __init__(self) -> None:
        self.entries: dict[str, _Entry] = {}
        self.by_source_key: dict[str, _Entry] = {}
        self.claims: dict[str, _Held] = {}
        self.everything: _Sorted[_Entry] = _Sorted(_by_seq)
        self.unclaimed: _Sorted[_Entry] = _Sorted(_by_seq)
        self.ready: _Sorted[_Entry] = _Sorted(_by_seq)
        self.waiting: _Sorted[_Entry] = _Sorted(_by_ready_at)
        self.expiring: _Sorted[_Held] = _Sorted(_by_expiry)

    def add(self, entry: _Entry, now: int) -> None:
        batch = entry.batch
        self.entries[batch.batch_id] = entry
        if batch.source_key is not None:
            self.by_source_key[batch.source_key] = entry
        self.everything.add(entry)
        self.unclaimed.add(entry)
        self._shelve(entry, now)

    def remove(self, entry: _Entry) -> None:
        """The batch is completed or cancelled."""
        batch = entry.batch
        self._unshelve(entry)
        self._detach(entry)
        self.everything.remove(entry)
        del self.entries[batch.batch_id]
        if batch.source_key is not None:  # P-SOURCE-KEY-REUSE new-batch: the key is free again
            del self.by_source_key[batch.source_key]

    def hold(self, held: _Held, run: Iterable[_Entry], now: int) -> None:
        """Put the batches of a run under a new claim, taking them from expired ones."""
        self.claims[held.claim_id] = held
        self.expiring.add(held)
        for entry in run:
            self._unshelve(entry)
            self._detach(entry)
            entry.claim = held
            held.entries[entry.batch.batch_id] = entry
            self._shelve(entry, now)

    def free(self, entry: _Entry, now: int) -> None:
        """Make the batch pending again."""
        self._unshelve(entry)
        self._detach(entry)
        entry.claim = None
        self.unclaimed.add(entry)
        self._shelve(entry, now)

    def extend(self, held: _Held, expires_at: int, now: int) -> None:
        """Move a claim's expiry."""
        self.expiring.remove(held)
        held.expires_at = expires_at
        self.expiring.add(held)
        for entry in held.entries.values():
            self._unshelve(entry)
            self._shelve(entry, now)

    def candidates(self, now: int) -> Iterator[_Entry]:
        """QUEUE-5: the batches that are due and not live-claimed, by enqueue_seq."""
        for entry in self.waiting.take_while(lambda entry: _due(entry.ready_at, now)):
            self._unshelve(entry)
            self._shelve(entry, now)
        return (entry for entry in self.ready if _due(entry.ready_at, now))  # the clock may have stepped back

    def pending(self, now: int) -> Iterable[_Entry]:
        """The batches without a live claim, by enqueue_seq."""
        expired = self.expiring.take_while(lambda held: not _live(held.expires_at, now))
        entries = [entry for held in expired for entry in held.entries.values()]
        return sorted(chain(self.unclaimed, entries), key=_by_seq) if entries else self.unclaimed

    def _ready_at(self, entry: _Entry) -> int:
        """From when on the batch is due and not live-claimed (QUEUE-5, QUEUE-9)."""
        available_at = entry.batch.available_at_ms
        return available_at if entry.claim is None else max(available_at, entry.claim.expires_at)

    def _shelve(self, entry: _Entry, now: int) -> None:
        entry.ready_at = self._ready_at(entry)
        entry.waiting = not _due(entry.ready_at, now)
        (self.waiting if entry.waiting else self.ready).add(entry)

    def _unshelve(self, entry: _Entry) -> None:
        (self.waiting if entry.waiting else self.ready).remove(entry)

    def _detach(self, entry: _Entry) -> None:
        held = entry.claim
        if held is None:
            self.unclaimed.remove(entry)
            return
        del held.entries[entry.batch.batch_id]
        if not held.entries:
            del self.claims[held.claim_id]
            self.expiring.remove(held)


class _State:
    """Everything that the handles of one store share."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.minted = 0
        """How many tokens and claim ids were given out: none is given twice (LAW-4)."""
        self.leases: dict[str, Lease] = {}
        self.lane_fencing: dict[str, int] = {}
        """The highest fencing token granted per lane: kept when the lease is released (LEASE-6, LAW-3)."""
        self.head: _Head | None = None
        self.nodes: dict[str, Node] = {}
        """In storage order, the tombstoned ones included."""
        self.tombstoned: set[str] = set()
        self.bodies: dict[str, Json] = {}
        """Checkpoint parts by content reference."""
        self.ledger: dict[tuple[str, str], UsageRow] = {}
        self.stamps: dict[tuple[str, str], tuple[str, CommitResult]] = {}
        self.queues: dict[str, _Queue] = {}
        self.enqueued = 0
        self.manifest: dict[str, dict[str, ManifestEntry]] = {}
        """By attachment id and session (P-MANIFEST-KEY)."""
        self.uncommitted: dict[tuple[str, str], ManifestEntry] = {}
        self.meta: SessionMeta | None = None


class _Closed:
    """Stands in for the lock of a closed handle, so that every use of the handle is refused."""

    def __enter__(self) -> NoReturn:
        raise Backend("this handle of the memory store is closed: take another with open_handle() before closing the last")

    def __exit__(self, *_: object) -> None:
        return None


class MemoryStore:
    """A store that keeps everything in this process. Thread-safe; each handle shares the same data."""

    capabilities = Capabilities(tier="inline", handles=8, reopen=False, concurrent=True)

    def __init__(self, clock: Clock | None = None, *, shared: _State | None = None) -> None:
        """Without ``shared``, which `open_handle` passes on, the store is new and empty. The default clock is the real one."""
        self._clock: Clock = SystemClock() if clock is None else clock
        self._state = _State() if shared is None else shared
        self._lock: Lock | _Closed = self._state.lock

    def open_handle(self) -> MemoryStore:
        """Another handle on the same data. Refused on a closed handle: what no handle holds is gone."""
        with self._lock:
            return type(self)(self._clock, shared=self._state)

    def close(self) -> None:
        """Close this handle; the data lives as long as any handle. Closing twice is fine."""
        self._lock = _Closed()

    @property
    def durability_tier(self) -> Tier:
        """TIER-1."""
        return "inline"

    # Session execution leases: contract section 3.

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        """LEASE-1 to LEASE-3."""
        check_id(session_id, "session_id")
        check_id(owner_id, "owner_id")
        check_ttl(lease_ttl_ms)
        with self._lock:
            now = self._clock.now_ms()
            lease = self._state.leases.get(session_id)
            if lease is None or not _live(lease.expires_at_epoch_ms, now):
                return self._grant(session_id, owner_id, lease_ttl_ms, now)
            if lease.owner_id == owner_id:
                return self._reenter(lease, lease_ttl_ms, now)
            return None  # LEASE-3

    def _grant(self, session_id: str, owner_id: str, ttl: int, now: int) -> Lease:
        """LEASE-1."""
        state = self._state
        fencing_token = state.lane_fencing.get(session_id, 0) + 1
        state.lane_fencing[session_id] = fencing_token
        lease = Lease(session_id, owner_id, self._mint("lease"), fencing_token, now, _expiry(now, ttl))
        state.leases[session_id] = lease
        return lease

    def _reenter(self, lease: Lease, ttl: int, now: int) -> Lease:
        """LEASE-2, P-REENTRY extend-only."""
        return self._set_expiry(lease, max(lease.expires_at_epoch_ms, _expiry(now, ttl)))

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        """LEASE-4, LEASE-5."""
        check_ttl(lease_ttl_ms)
        with self._lock:
            now = self._clock.now_ms()
            lease = self._held_lease(fence)
            if lease is None or not _live(lease.expires_at_epoch_ms, now):
                raise SessionExecutionLeaseExpired(session_id=fence.session_id)
            return self._set_expiry(lease, _expiry(now, lease_ttl_ms))

    def release_session_execution_lease(self, completion: LeaseCompletion) -> None:
        """LEASE-6, LEASE-7."""
        with self._lock:
            self._release(completion)

    def _release(self, completion: LeaseCompletion | None) -> None:
        if completion is not None and self._held_lease(completion) is not None:
            del self._state.leases[completion.session_id]

    def _held_lease(self, fence: Fence) -> Lease | None:
        """The lane's lease, live or not, if it is the one that the fence names."""
        lease = self._state.leases.get(fence.session_id)
        if lease is None or lease.owner_id != fence.owner_id:
            return None
        if lease.lease_token != fence.lease_token:
            return None
        if lease.fencing_token != fence.fencing_token:
            return None
        return lease

    def _set_expiry(self, lease: Lease, expires_at: int) -> Lease:
        moved = Lease(
            lease.session_id, lease.owner_id, lease.lease_token, lease.fencing_token, lease.claimed_at_epoch_ms, expires_at
        )
        self._state.leases[lease.session_id] = moved
        return moved

    def _check_fence(self, session_id: str, fence: Fence | None, now: int) -> None:
        """COMMIT-5, QUEUE-4: the fence is this session's, and its lease is held and live."""
        if fence is not None and fence.session_id == session_id:
            lease = self._held_lease(fence)
            if lease is not None and _live(lease.expires_at_epoch_ms, now):
                return
        raise SessionExecutionLeaseExpired(session_id=session_id)

    def _mint(self, kind: str) -> str:
        self._state.minted += 1
        return f"{kind}-{self._state.minted}"

    # Commit: contract section 4.

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        """COMMIT-1 to COMMIT-10."""
        check_commit(commit)
        with self._lock:
            now = self._clock.now_ms()
            self._check_binding(commit)
            stamped = self._stamped_result(commit.session_id, commit.turn_commit)
            if stamped is not None:  # COMMIT-4
                self._release(commit.release_session_execution_lease)
                return stamped
            self._check_fence(commit.session_id, commit.session_execution_lease, now)
            self._check_revision(commit.expected_head_revision)
            self._check_completions(commit)
            self._check_graph(commit.graph)
            bodies, manifest = self._resolve_checkpoint(commit.checkpoint)
            result = CommitResult(self._revision() + 1, manifest_ref(manifest), manifest)
            self._apply(commit, result, bodies, now)  # COMMIT-8: nothing fails from here on
            return result

    def _apply(self, commit: Commit, result: CommitResult, bodies: dict[str, Json], now: int) -> None:
        """COMMIT-8."""
        self._state.bodies.update(bodies)
        self._add_usage(commit.usage_deltas)
        self._apply_graph(commit.graph)
        self._state.head = _Head(
            commit.session_id,
            result.head_revision,
            commit.config,
            tuple(commit.agent_frames),
            commit.current_agent_frame_id,
            result.checkpoint_ref,
            result.manifest,
            commit.graph.leaf_node_id,
        )
        self._complete(commit.session_id, commit.completed_queue_claims)
        self._stamp_attachments(commit.session_id, commit.committed_attachment_ids, now)
        stamp = commit.turn_commit
        if stamp is not None:
            self._state.stamps[stamp.session_id, stamp.turn_id] = (stamp.turn_commit_hash, result)
        self._release(commit.release_session_execution_lease)

    def _revision(self) -> int:
        head = self._state.head
        return 0 if head is None else head.head_revision

    def _check_binding(self, commit: Commit) -> None:
        """COMMIT-1, P-BINDING at-first-commit."""
        head = self._state.head
        if head is not None and head.session_id != commit.session_id:
            raise SessionBindingMismatch(bound_session_id=head.session_id, attempted_session_id=commit.session_id)

    def _stamped_result(self, session_id: str, stamp: TurnStamp | None) -> CommitResult | None:
        """COMMIT-2 to COMMIT-4."""
        if stamp is None:
            return None
        if stamp.session_id != session_id:  # COMMIT-2
            raise RuntimeTurnCommitConflict(session_id=stamp.session_id, turn_id=stamp.turn_id)
        stored = self._state.stamps.get((stamp.session_id, stamp.turn_id))
        if stored is None:
            return None
        if stored[0] != stamp.turn_commit_hash:  # COMMIT-3
            raise RuntimeTurnCommitConflict(session_id=stamp.session_id, turn_id=stamp.turn_id)
        return stored[1]

    def _check_revision(self, expected: int | None) -> None:
        """COMMIT-6."""
        actual = self._revision()
        if expected is not None and expected != actual:
            raise HeadRevisionConflict(expected=expected, actual=actual)

    def _check_completions(self, commit: Commit) -> None:
        """COMMIT-7."""
        seen: set[str] = set()
        for completion in commit.completed_queue_claims:
            self._check_completion(commit.session_id, completion)
            if completion.claim_id in seen:  # P-COMPLETE-TWICE refuse
                raise InvalidRequest(f"claim {completion.claim_id} is completed twice", field="completed_queue_claims")
            seen.add(completion.claim_id)

    def _check_completion(self, session_id: str, completion: ClaimCompletion) -> None:
        """COMMIT-7 for one completion. An expired claim that still holds its batches is accepted (P-COMPLETE-EXPIRED)."""
        named = completion.batch_ids
        if completion.session_id != session_id:
            raise QueuedWorkClaimExpired(session_id=completion.session_id, claim_id=completion.claim_id)
        if not named:  # P-COMPLETE-EMPTY refuse
            raise InvalidRequest(f"completion of claim {completion.claim_id} names no batch", field="batch_ids")
        held = self._held_claim(completion.session_id, completion.claim_id, completion.lease_token)
        if held is None or not all(batch_id in held.entries for batch_id in named):
            raise QueuedWorkClaimExpired(session_id=completion.session_id, claim_id=completion.claim_id)
        if first_repeated(named) is not None:  # P-COMPLETE-DUPLICATE refuse
            raise InvalidRequest(f"completion of claim {completion.claim_id} names a batch twice", field="batch_ids")
        if len(named) < len(held.entries):  # P-COMPLETE-SUBSET refuse
            raise InvalidRequest(f"completion of claim {completion.claim_id} leaves out batches that it holds", field="batch_ids")

    def _complete(self, session_id: str, completions: Sequence[ClaimCompletion]) -> None:
        for completion in completions:
            queue = self._state.queues[session_id]
            for batch_id in completion.batch_ids:
                queue.remove(queue.entries[batch_id])

    def _add_usage(self, deltas: Sequence[UsageRow]) -> None:
        """LAW-8: sums by source and model, in first-seen order."""
        ledger = self._state.ledger
        for row in deltas:
            key = (row.source, row.model)
            total = ledger.get(key)
            ledger[key] = row if total is None else _sum_of(total, row)

    def _resolve_checkpoint(self, checkpoint: Checkpoint) -> tuple[dict[str, Json], CheckpointManifest]:
        """COMMIT-10, P-CHECKPOINT-REF content: the bodies to store, and the manifest."""
        bodies: dict[str, Json] = {}
        tool = self._resolve_part(TOOL_STATE, checkpoint.tool_state, checkpoint.tool_state_ref, bodies)
        plugin = self._resolve_part(PLUGIN_SNAPSHOT, checkpoint.plugin_snapshot, checkpoint.plugin_snapshot_ref, bodies)
        execution = self._resolve_part(EXECUTION_STATE, checkpoint.execution_state, checkpoint.execution_state_ref, bodies)
        return bodies, manifest_of(checkpoint, tool, plugin, execution)

    def _resolve_part(self, kind: str, body: Json, ref: str | None, bodies: dict[str, Json]) -> str | None:
        """A body given now wins over a reference; a reference alone keeps its body; with neither the part is absent."""
        if body is not None:
            ref = content_ref(kind, body_bytes(kind, body))
            bodies[ref] = body
            return ref
        if ref is not None and not (ref in self._state.bodies and is_ref_of(kind, ref)):  # P-DANGLING-REF refuse
            raise InvalidRequest(f"{kind}_ref {ref!r} names nothing", field=f"{kind}_ref")
        return ref

    # Graph and loads: contract section 5.

    def _check_graph(self, delta: GraphDelta) -> None:
        """GRAPH-8."""
        match delta:
            case Append(nodes, leaf):
                self._check_new_ids(nodes, self._state.nodes)
                visible = leaf is None or self._is_visible(leaf) or any(node.node_id == leaf for node in nodes)
            case ReplaceFull(nodes, leaf):
                self._check_new_ids(nodes, ())
                visible = leaf is None or any(node.node_id == leaf for node in nodes)
            case Unchanged(leaf):
                visible = leaf is None or self._is_visible(leaf)
            case _:
                raise InvalidRequest(f"unknown graph delta {type(delta).__name__}", field="graph")
        if not visible:  # P-LEAF-UNKNOWN refuse
            raise InvalidRequest(f"leaf {leaf!r} names no visible node", field="leaf_node_id")

    def _check_new_ids(self, nodes: Sequence[Node], stored: Container[str]) -> None:
        """P-NODE-DUPLICATE refuse; P-NODE-REVIVE refuse, since tombstoned nodes are stored until a vacuum."""
        repeated = first_repeated(node.node_id for node in nodes)
        if repeated is not None:
            raise InvalidRequest(f"node {repeated!r} is given twice", field="node_id")
        for node in nodes:
            if node.node_id in stored:
                raise InvalidRequest(f"node {node.node_id!r} exists", field="node_id")

    def _apply_graph(self, delta: GraphDelta) -> None:
        """GRAPH-1. The leaf is part of the head."""
        state = self._state
        if isinstance(delta, ReplaceFull):
            state.nodes = {}
            state.tombstoned = set()
        if not isinstance(delta, Unchanged):
            for node in delta.nodes:
                state.nodes[node.node_id] = node

    def _is_visible(self, node_id: str) -> bool:
        return node_id in self._state.nodes and node_id not in self._state.tombstoned

    def load_session(self, scope: ReadScope) -> Read | None:
        """GRAPH-2 to GRAPH-4."""
        if not isinstance(scope, (FullGraph, ActivePath)):
            raise UnsupportedReadScope(f"unknown read scope {type(scope).__name__}")
        with self._lock:
            head = self._state.head
            if head is None:
                return None
            return Read(
                session_id=head.session_id,
                head_revision=head.head_revision,
                config=head.config,
                agent_frames=head.agent_frames,
                current_agent_frame_id=head.current_agent_frame_id,
                graph=self._full_graph(head) if isinstance(scope, FullGraph) else self._active_path(head, scope.leaf_node_id),
                checkpoint_ref=head.checkpoint_ref,
                checkpoint=self._hydrate(head.manifest),
                token_ledger=tuple(self._state.ledger.values()),
            )

    def _full_graph(self, head: _Head) -> Graph:
        """GRAPH-3, P-LEAF-TOMBSTONED keep."""
        nodes = tuple(node for node_id, node in self._state.nodes.items() if node_id not in self._state.tombstoned)
        return Graph(nodes, head.leaf_node_id)

    def _active_path(self, head: _Head, leaf_node_id: str | None) -> Graph:
        """GRAPH-4. Without a leaf the path is empty (P-PATH-NO-LEAF)."""
        leaf = head.leaf_node_id if leaf_node_id is None else leaf_node_id
        path: dict[str, Node] = {}
        node_id = leaf
        while node_id is not None and node_id not in path and self._is_visible(node_id):  # P-PATH-TOMBSTONED stop, LAW-13
            path[node_id] = node = self._state.nodes[node_id]
            node_id = node.parent_node_id
        return Graph(tuple(reversed(path.values())), leaf)

    def _hydrate(self, manifest: CheckpointManifest) -> Checkpoint:
        return Checkpoint(
            turn_state=manifest.turn_state,
            tool_state=self._body(manifest.tool_state_ref),
            tool_state_ref=manifest.tool_state_ref,
            plugin_snapshot=self._body(manifest.plugin_snapshot_ref),
            plugin_snapshot_ref=manifest.plugin_snapshot_ref,
            plugin_snapshot_revision=manifest.plugin_snapshot_revision,
            execution_state=self._body(manifest.execution_state_ref),
            execution_state_ref=manifest.execution_state_ref,
        )

    def _body(self, ref: str | None) -> Json:
        return None if ref is None else self._state.bodies[ref]

    def load_node(self, node_id: str) -> Node | None:
        """GRAPH-5."""
        with self._lock:
            return self._state.nodes[node_id] if self._is_visible(node_id) else None

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        """GRAPH-6."""
        with self._lock:
            stored = self._state.nodes
            self._state.tombstoned.update(node_id for node_id in ids if node_id in stored)

    def vacuum(self) -> VacuumReport:
        """GRAPH-7."""
        with self._lock:
            tombstoned = self._state.tombstoned
            for node_id in tombstoned:
                del self._state.nodes[node_id]
            self._state.tombstoned = set()
            return VacuumReport(len(tombstoned))

    def gc_unreachable(self) -> GcReport:
        """GRAPH-9: only what the current checkpoint refers to is kept."""
        with self._lock:
            head, bodies = self._state.head, self._state.bodies
            roots = () if head is None else (head.manifest,)
            kept = {ref for manifest in roots for ref in _refs(manifest)}
            self._state.bodies = {ref: body for ref, body in bodies.items() if ref in kept}
            return GcReport(len(roots), len(self._state.bodies), len(bodies) - len(self._state.bodies))

    # Queued work: contract section 6.

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        """QUEUE-1, QUEUE-2."""
        check_draft(batch)
        with self._lock:
            now = self._clock.now_ms()
            queue = self._state.queues.get(batch.session_id)
            if queue is None:
                queue = self._state.queues[batch.session_id] = _Queue()
            if batch.source_key is not None:
                known = queue.by_source_key.get(batch.source_key)
                if known is not None:  # QUEUE-2
                    return known.batch
            stored = self._number(batch, now)
            queue.add(_Entry(stored), now)
            return stored

    def _number(self, draft: BatchDraft, now: int) -> Batch:
        """QUEUE-1: no number is ever given twice."""
        self._state.enqueued = seq = self._state.enqueued + 1
        batch_id = f"batch-{seq}"
        items = [Item(f"{batch_id}.{index}", payload) for index, payload in enumerate(draft.payloads)]
        return Batch(
            batch_id=batch_id,
            session_id=draft.session_id,
            enqueue_seq=seq,
            source_key=draft.source_key,
            delivery_policy=draft.delivery_policy,
            slot_policy=draft.slot_policy,
            merge_key=draft.merge_key,
            available_at_ms=draft.available_at_ms,
            enqueued_at_ms=now,
            items=tuple(items),
        )

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
        check_count(max_batches, "max_batches")
        self._check_claim_input(session_id, owner_id, boundary, lease_ttl_ms)
        with self._lock:
            if max_batches == 0:  # P-ZERO-BEFORE-LEASE none-first
                return None
            now = self._clock.now_ms()
            self._check_fence(session_id, session_execution_lease, now)
            run = self._run(session_id, boundary, max_batches, now)
            return self._claim(session_id, owner_id, run, lease_ttl_ms, now) if run else None

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
        self._check_claim_input(session_id, owner_id, boundary, lease_ttl_ms)
        with self._lock:
            if not batch_ids:
                return None
            now = self._clock.now_ms()
            self._check_fence(session_id, session_execution_lease, now)
            run = self._run(session_id, boundary, len(batch_ids), now)
            if [entry.batch.batch_id for entry in run] != list(batch_ids):
                return None
            return self._claim(session_id, owner_id, run, lease_ttl_ms, now)

    def _check_claim_input(self, session_id: str, owner_id: str, boundary: Boundary, ttl: int) -> None:
        check_id(session_id, "session_id")
        check_id(owner_id, "owner_id")
        check_boundary(boundary)
        check_ttl(ttl)

    def _run(self, session_id: str, boundary: Boundary, limit: int, now: int) -> list[_Entry]:
        """QUEUE-5 to QUEUE-7: what a claim would take now."""
        queue = self._state.queues.get(session_id)
        if queue is None:
            return []
        candidates = queue.candidates(now)
        head = next(candidates, None)
        if head is None:
            return []
        if boundary == "active_turn_checkpoint" and head.batch.delivery_policy != "earliest_safe_boundary":  # QUEUE-6
            return []
        run = [head]
        if head.batch.slot_policy == "exclusive":
            return run
        for entry in candidates:  # P-JOIN-GAP skip: what is no candidate does not end the run
            if len(run) == limit or not self._joins(head.batch, entry.batch):
                break
            run.append(entry)
        return run

    def _joins(self, head: Batch, batch: Batch) -> bool:
        """QUEUE-7."""
        return batch.slot_policy == "join" and batch.delivery_policy == head.delivery_policy and batch.merge_key == head.merge_key

    def _claim(self, session_id: str, owner_id: str, run: list[_Entry], ttl: int, now: int) -> Claim:
        """QUEUE-8, P-CLAIM-FENCE max."""
        fencing_token = max(entry.fencing for entry in run) + 1
        held = _Held(self._mint("claim"), owner_id, self._mint("token"), fencing_token, now, _expiry(now, ttl), {})
        for entry in run:
            entry.fencing = fencing_token
        self._state.queues[session_id].hold(held, run, now)
        return self._claim_record(session_id, held, tuple([entry.batch for entry in run]))

    def _claim_record(self, session_id: str, held: _Held, batches: tuple[Batch, ...]) -> Claim:
        return Claim(
            session_id=session_id,
            claim_id=held.claim_id,
            owner_id=held.owner_id,
            lease_token=held.lease_token,
            fencing_token=held.fencing_token,
            claimed_at_epoch_ms=held.claimed_at,
            expires_at_epoch_ms=held.expires_at,
            batches=batches,
        )

    def _held_claim(self, session_id: str, claim_id: str, lease_token: str) -> _Held | None:
        """The claim of that id and token, live or expired, while it holds a batch of that session."""
        queue = self._state.queues.get(session_id)
        held = None if queue is None else queue.claims.get(claim_id)
        return held if held is not None and held.lease_token == lease_token else None

    def renew_queued_work_claim(self, claim: Claim, lease_ttl_ms: int) -> Claim:
        """QUEUE-11. An expired claim that still holds its batches is renewed (P-RENEW-EXPIRED)."""
        check_ttl(lease_ttl_ms)
        with self._lock:
            now = self._clock.now_ms()
            held = self._held_claim(claim.session_id, claim.claim_id, claim.lease_token)
            if held is None or not all(batch.batch_id in held.entries for batch in claim.batches):
                raise QueuedWorkClaimExpired(session_id=claim.session_id, claim_id=claim.claim_id)
            self._state.queues[claim.session_id].extend(held, _expiry(now, lease_ttl_ms), now)
            return self._claim_record(claim.session_id, held, claim.batches)

    def abandon_queued_work_claim(self, claim: Claim) -> None:
        """QUEUE-12."""
        with self._lock:
            now = self._clock.now_ms()
            held = self._held_claim(claim.session_id, claim.claim_id, claim.lease_token)
            if held is None:
                return
            queue = self._state.queues[claim.session_id]
            for entry in tuple(held.entries.values()):
                queue.free(entry, now)

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Batch | None:
        """QUEUE-13."""
        check_id(session_id, "session_id")
        with self._lock:
            now = self._clock.now_ms()
            queue = self._state.queues.get(session_id)
            entry = None if queue is None else queue.entries.get(batch_id)
            if queue is None or entry is None:
                return None
            if entry.claim is not None and _live(entry.claim.expires_at, now):
                return None
            queue.remove(entry)
            return entry.batch

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        """QUEUE-3: all batches, claimed or not."""
        check_id(session_id, "session_id")
        with self._lock:
            queue = self._state.queues.get(session_id)
            return () if queue is None else tuple([entry.batch for entry in queue.everything])

    def list_pending_queued_work(self, session_id: str) -> Sequence[Batch]:
        """QUEUE-3: the batches without a live claim."""
        check_id(session_id, "session_id")
        with self._lock:
            now = self._clock.now_ms()
            queue = self._state.queues.get(session_id)
            return () if queue is None else tuple([entry.batch for entry in queue.pending(now)])

    # Session metadata and the attachment manifest: contract section 7.

    def save_session_meta(self, meta: SessionMeta) -> None:
        """META-1."""
        check_meta(meta)
        with self._lock:
            self._state.meta = meta

    def load_session_meta(self) -> SessionMeta | None:
        """META-1."""
        with self._lock:
            return self._state.meta

    def record_intent(self, intent: Intent) -> None:
        """ATTACH-1, P-INTENT-REPEAT first-wins, P-MANIFEST-KEY session+id."""
        check_intent(intent)
        with self._lock:
            rows = self._state.manifest.setdefault(intent.attachment_id, {})
            if intent.session_id in rows:
                return
            row = _manifest_entry(intent, None)
            rows[intent.session_id] = row
            self._state.uncommitted[intent.attachment_id, intent.session_id] = row

    def commit_refs(self, session_id: str, attachment_ids: Sequence[str]) -> None:
        """ATTACH-2."""
        check_id(session_id, "session_id")
        with self._lock:
            self._stamp_attachments(session_id, attachment_ids, self._clock.now_ms())

    def _stamp_attachments(self, session_id: str, attachment_ids: Sequence[str], now: int) -> None:
        """ATTACH-2: the first stamp stays; what is not recorded for this session is ignored."""
        for attachment_id in attachment_ids:
            row = self._state.uncommitted.pop((attachment_id, session_id), None)
            if row is not None:
                self._state.manifest[attachment_id][session_id] = _manifest_entry(row, now)

    def list_uncommitted(self, older_than_epoch_ms: int) -> Sequence[ManifestEntry]:
        """ATTACH-3."""
        check_time(older_than_epoch_ms, "older_than_epoch_ms")
        with self._lock:
            rows = self._state.uncommitted.values()
            return tuple([row for row in rows if _due(row.intent_at_epoch_ms, older_than_epoch_ms)])

    def forget(self, attachment_id: str) -> None:
        """ATTACH-4: the rows of every session."""
        with self._lock:
            for session_id in self._state.manifest.pop(attachment_id, ()):
                self._state.uncommitted.pop((attachment_id, session_id), None)


def _sum_of(total: UsageRow, row: UsageRow) -> UsageRow:
    return UsageRow(
        source=total.source,
        model=total.model,
        input_tokens=total.input_tokens + row.input_tokens,
        output_tokens=total.output_tokens + row.output_tokens,
        cached_input_tokens=total.cached_input_tokens + row.cached_input_tokens,
        reasoning_tokens=total.reasoning_tokens + row.reasoning_tokens,
    )


def _refs(manifest: CheckpointManifest) -> tuple[str | None, ...]:
    return (manifest.tool_state_ref, manifest.plugin_snapshot_ref, manifest.execution_state_ref)


def _manifest_entry(row: Intent | ManifestEntry, committed_at: int | None) -> ManifestEntry:
    return ManifestEntry(
        attachment_id=row.attachment_id,
        session_id=row.session_id,
        canonical_uri=row.canonical_uri,
        intent_at_epoch_ms=row.intent_at_epoch_ms,
        committed_at_epoch_ms=committed_at,
    )

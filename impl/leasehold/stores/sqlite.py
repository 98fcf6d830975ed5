"""A durable store in one SQLite file, with the recommended option at every policy point of the contract.

Each operation is one transaction: BEGIN IMMEDIATE and COMMIT around a write, BEGIN and COMMIT around a read of several statements,
none around a read of one. An operation that is refused or fails is rolled back (LAW-1). The time is read after the write lock is
taken, so that transactions and their times are in one order. The file is in WAL mode: readers and the writer don't wait for each
other, and a commit with synchronous FULL is one fdatasync. The statements stand in sqlite.sql.

The store is written from the contract alone: it shares no rule with the memory store, only the vocabulary and the checks of
`leasehold.stores._common`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from operator import add, itemgetter
from threading import Lock
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias

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
    Lease,
    LeaseCompletion,
    ManifestEntry,
    Node,
    Read,
    ReadScope,
    ReplaceFull,
    SessionMeta,
    Tier,
    Unchanged,
    UsageRow,
    VacuumReport,
)
from leasehold.store import (
    Backend,
    Capabilities,
    Clock,
    Contended,
    HeadRevisionConflict,
    Indeterminate,
    InvalidRequest,
    QueuedWorkClaimExpired,
    Refusal,
    RuntimeTurnCommitConflict,
    SessionBindingMismatch,
    SessionExecutionLeaseExpired,
    SystemClock,
    UnsupportedReadScope,
    UnsupportedRecordSchemaVersion,
)
from leasehold.stores._common import (
    DELIVERY_POLICIES,
    MAX_I64,
    MIN_I64,
    SLOT_POLICIES,
    check_boundary,
    check_commit,
    check_count,
    check_draft,
    check_id,
    check_intent,
    check_meta,
    check_time,
    check_ttl,
    dump,
    first_repeated,
    is_ref_of,
)
from leasehold.stores._durable import (
    StoredCommit,
    batch_id_of,
    batch_of,
    dump_merge_key,
    enqueue_seq_of,
    hydrate,
    items_of,
    load_json,
    load_list,
    load_manifest,
    load_merge_key,
    unreadable,
)
from leasehold.stores._statements import load_statements
from leasehold.stores._turns import Turns

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

SCHEMA_VERSION: Final = 1
"""The form of the tables, as in ``PRAGMA user_version`` and in the row of ``leasehold_schema``."""
RECORD_KIND: Final = "sqlite_store"
APPLICATION_ID: Final = 0x6C656173
"""``leas``: tells our files from other programs' databases."""

_SQL: Final = load_statements("sqlite.sql")
_WRITE: Final = "BEGIN IMMEDIATE"
_READY, _NOT_DUE = 0, 1


def _live(expires_at: int, now: int) -> bool:
    """A lease or a claim is live until the instant it expires (contract section 1)."""
    return expires_at > now


def _expiry(now: int, ttl: int) -> int:
    """LAW-14: saturates at the latest time there is."""
    return min(now + ttl, MAX_MS)


def _is_held_by(lease: Lease, fence: Fence) -> bool:
    """Whether a fence, or a completion, names this lease."""
    return (
        lease.owner_id == fence.owner_id
        and lease.lease_token == fence.lease_token
        and lease.fencing_token == fence.fencing_token
        and lease.session_id == fence.session_id
    )


def _token() -> str:
    """A token or claim id that no process ever makes twice."""
    return os.urandom(16).hex()


class SqliteStore:
    """A handle on a store in one file: a connection of its own, which threads may share, one at a time.

    The file is made if there is none. A wait for another writer is bounded by ``busy_timeout_ms``, then `Contended`. With
    ``synchronous="NORMAL"`` a power failure, but no crash of the process, may lose the last commits.
    """

    capabilities = Capabilities(tier="durable", handles=8, reopen=True, concurrent=True)

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        synchronous: Synchronous = "FULL",
        busy_timeout_ms: int = 5000,
    ) -> None:
        if synchronous not in ("FULL", "NORMAL"):
            raise InvalidRequest(f"synchronous must be FULL or NORMAL, got {synchronous!r}", field="synchronous")
        check_count(busy_timeout_ms, "busy_timeout_ms")
        self._path = os.fspath(path)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._synchronous: Synchronous = synchronous
        self._busy_timeout_ms = busy_timeout_ms
        self._file = _File(self._path, synchronous, busy_timeout_ms)
        self._write = _Operation(self._file, _WRITE)
        self._read = _Operation(self._file, "BEGIN")
        self._look = _Operation(self._file, None)

    def open_handle(self) -> SqliteStore:
        """Another handle on the same file, also after this one was closed."""
        return type(self)(self._path, clock=self._clock, synchronous=self._synchronous, busy_timeout_ms=self._busy_timeout_ms)

    def close(self) -> None:
        """Close this handle; the data stays in the file. Closing twice is fine."""
        self._file.close()

    def trace(self, hook: Callable[[str], None] | None) -> None:
        """``hook`` is called with each statement of this handle just before it is executed. None: no longer.

        BEGIN, COMMIT and ROLLBACK are statements too; an executemany is one. At BEGIN nothing is locked yet. The hook may wait, or
        raise: then the operation is rolled back, a traced ROLLBACK included, and ends with that error.
        """
        self._file.trace(hook)

    @property
    def durability_tier(self) -> Tier:
        """TIER-1."""
        return "durable"

    # Session execution leases: contract section 3.

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        """LEASE-1 to LEASE-3."""
        check_id(session_id, "session_id")
        check_id(owner_id, "owner_id")
        check_ttl(lease_ttl_ms)
        with self._write as db:
            now = self._clock.now_ms()
            fencing_token, lease = self._lane(db, session_id)
            if lease is None or not _live(lease.expires_at_epoch_ms, now):
                return self._grant(db, session_id, owner_id, fencing_token + 1, now, _expiry(now, lease_ttl_ms))
            if lease.owner_id == owner_id:  # LEASE-2, P-REENTRY extend-only
                return self._set_expiry(db, lease, max(lease.expires_at_epoch_ms, _expiry(now, lease_ttl_ms)))
            return None  # LEASE-3

    def _grant(self, db: sqlite3.Cursor, session_id: str, owner_id: str, fencing_token: int, now: int, expires_at: int) -> Lease:
        """LEASE-1."""
        lease = Lease(session_id, owner_id, _token(), fencing_token, now, expires_at)
        db.execute(_SQL["lane_grant"], (session_id, owner_id, lease.lease_token, fencing_token, now, expires_at))
        return lease

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        """LEASE-4, LEASE-5."""
        check_ttl(lease_ttl_ms)
        with self._write as db:
            now = self._clock.now_ms()
            lease = self._held_lease(db, fence)
            if lease is None or not _live(lease.expires_at_epoch_ms, now):
                raise SessionExecutionLeaseExpired(session_id=fence.session_id)
            return self._set_expiry(db, lease, _expiry(now, lease_ttl_ms))

    def release_session_execution_lease(self, completion: LeaseCompletion) -> None:
        """LEASE-6, LEASE-7."""
        with self._write as db:
            self._release(db, completion)

    def _release(self, db: sqlite3.Cursor, completion: LeaseCompletion | None) -> None:
        if completion is not None and self._held_lease(db, completion) is not None:
            db.execute(_SQL["lane_release"], (completion.session_id,))

    def _lane(self, db: sqlite3.Cursor, session_id: str) -> tuple[int, Lease | None]:
        """The highest fencing token granted, and the lease, live or not, unless it was released."""
        row = db.execute(_SQL["lane_get"], (session_id,)).fetchone()
        return (0, None) if row is None else (row[0], _load_lease(session_id, row))

    def _held_lease(self, db: sqlite3.Cursor, fence: Fence) -> Lease | None:
        """The lane's lease, live or not, if it is the one that the fence names."""
        _, lease = self._lane(db, fence.session_id)
        return lease if lease is not None and _is_held_by(lease, fence) else None

    def _set_expiry(self, db: sqlite3.Cursor, lease: Lease, expires_at: int) -> Lease:
        db.execute(_SQL["lane_set_expiry"], (expires_at, lease.session_id))
        return Lease(
            lease.session_id, lease.owner_id, lease.lease_token, lease.fencing_token, lease.claimed_at_epoch_ms, expires_at
        )

    def _check_fence(self, session_id: str, lease: Lease | None, fence: Fence | None, now: int) -> None:
        """COMMIT-5, QUEUE-4: the fence is this session's, and the session's lease is held under it and live."""
        if fence is None or fence.session_id != session_id or lease is None:
            raise SessionExecutionLeaseExpired(session_id=session_id)
        if not _is_held_by(lease, fence) or not _live(lease.expires_at_epoch_ms, now):
            raise SessionExecutionLeaseExpired(session_id=session_id)

    # Commit: contract section 4.

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        """COMMIT-1 to COMMIT-10."""
        check_commit(commit)
        stored = StoredCommit(commit)
        with self._write as db:
            now = self._clock.now_ms()
            view = _CommitView(db, commit)
            if view.check_identity(commit):  # COMMIT-4
                self._release(db, commit.release_session_execution_lease)
                return view.stamped_result()
            self._check_fence(commit.session_id, view.lease, commit.session_execution_lease, now)
            if commit.expected_head_revision is not None and commit.expected_head_revision != view.revision:  # COMMIT-6
                raise HeadRevisionConflict(expected=commit.expected_head_revision, actual=view.revision)
            self._complete(db, commit)
            self._apply_graph(db, commit.graph)
            self._store_bodies(db, stored)
            self._add_usage(db, commit.usage_deltas)
            self._stamp_attachments(db, commit.session_id, commit.committed_attachment_ids, now)
            result = self._put_head(db, commit, stored, view.revision + 1)
            self._release(db, commit.release_session_execution_lease)
            return result

    def _complete(self, db: sqlite3.Cursor, commit: Commit) -> None:
        """COMMIT-7. An expired claim that still holds its batches is accepted (P-COMPLETE-EXPIRED)."""
        seen: set[str] = set()
        for completion in commit.completed_queue_claims:
            self._check_completion(db, commit.session_id, completion)
            if completion.claim_id in seen:  # P-COMPLETE-TWICE refuse
                raise InvalidRequest(f"claim {completion.claim_id} is completed twice", field="completed_queue_claims")
            seen.add(completion.claim_id)
        for claim_id in seen:
            db.execute(_SQL["claim_complete"], (claim_id,))

    def _check_completion(self, db: sqlite3.Cursor, session_id: str, completion: ClaimCompletion) -> None:
        claim_id, named = completion.claim_id, completion.batch_ids
        if completion.session_id != session_id:
            raise QueuedWorkClaimExpired(session_id=completion.session_id, claim_id=claim_id)
        if not named:  # P-COMPLETE-EMPTY refuse
            raise InvalidRequest(f"completion of claim {claim_id} names no batch", field="batch_ids")
        rows = db.execute(_SQL["claim_get"], (claim_id, session_id, completion.lease_token)).fetchall()
        held = {batch_id_of(row[0]) for row in rows}
        if not held.issuperset(named):
            raise QueuedWorkClaimExpired(session_id=completion.session_id, claim_id=claim_id)
        if first_repeated(named) is not None:  # P-COMPLETE-DUPLICATE refuse
            raise InvalidRequest(f"completion of claim {claim_id} names a batch twice", field="batch_ids")
        if len(named) < len(held):  # P-COMPLETE-SUBSET refuse
            raise InvalidRequest(f"completion of claim {claim_id} leaves out batches that it holds", field="batch_ids")

    def _store_bodies(self, db: sqlite3.Cursor, stored: StoredCommit) -> None:
        """COMMIT-10, P-CHECKPOINT-REF content. A body given now wins over a reference; a reference alone keeps its body."""
        if stored.bodies:
            db.executemany(_SQL["body_put"], stored.bodies)
        for kind, ref in stored.kept:
            if not is_ref_of(kind, ref) or db.execute(_SQL["body_exists"], (ref,)).fetchone() is None:  # P-DANGLING-REF refuse
                raise InvalidRequest(f"{kind}_ref {ref!r} names nothing", field=f"{kind}_ref")

    def _add_usage(self, db: sqlite3.Cursor, deltas: Sequence[UsageRow]) -> None:
        """LAW-8: sums by source and model, in first-seen order."""
        for delta in deltas:
            key = (delta.source, delta.model)
            added = (delta.input_tokens, delta.output_tokens, delta.cached_input_tokens, delta.reasoning_tokens)
            if db.execute(_SQL["usage_add"], (*key, *added)).rowcount == 0:  # a total beyond 64 bits: SQL would round it
                totals = map(add, _load_totals(db.execute(_SQL["usage_get"], key).fetchone()), added)
                db.execute(_SQL["usage_set"], (*map(_dump_total, totals), *key))

    def _put_head(self, db: sqlite3.Cursor, commit: Commit, stored: StoredCommit, revision: int) -> CommitResult:
        """COMMIT-8: the new head, and the stamp of the turn."""
        result = CommitResult(revision, stored.checkpoint_ref, stored.manifest)
        db.execute(
            _SQL["head_put"],
            (
                commit.session_id,
                revision,
                stored.config,
                stored.agent_frames,
                commit.current_agent_frame_id,
                stored.checkpoint_ref,
                stored.manifest_text,
                commit.graph.leaf_node_id,
            ),
        )
        stamp = commit.turn_commit
        if stamp is not None:
            db.execute(
                _SQL["stamp_put"],
                (stamp.session_id, stamp.turn_id, stamp.turn_commit_hash, revision, stored.checkpoint_ref, stored.manifest_text),
            )
        return result

    # Graph and loads: contract section 5.

    def _apply_graph(self, db: sqlite3.Cursor, delta: GraphDelta) -> None:
        """GRAPH-1, GRAPH-8."""
        if isinstance(delta, ReplaceFull):
            db.execute(_SQL["nodes_clear"])
        if isinstance(delta, (Append, ReplaceFull)):
            self._insert_nodes(db, delta.nodes)
            added = {node.node_id for node in delta.nodes}
        elif isinstance(delta, Unchanged):
            added = set()
        else:
            raise InvalidRequest(f"unknown graph delta {type(delta).__name__}", field="graph")
        self._check_leaf(db, delta.leaf_node_id, added)

    def _check_leaf(self, db: sqlite3.Cursor, leaf: str | None, added: set[str]) -> None:
        """P-LEAF-UNKNOWN refuse."""
        if leaf is None or leaf in added:
            return
        if db.execute(_SQL["node_is_visible"], (leaf,)).fetchone() is None:
            raise InvalidRequest(f"leaf {leaf!r} names no visible node", field="leaf_node_id")

    def _insert_nodes(self, db: sqlite3.Cursor, nodes: Sequence[Node]) -> None:
        """P-NODE-DUPLICATE refuse; P-NODE-REVIVE refuse, since tombstoned nodes are stored until a vacuum."""
        rows = [
            (node.node_id, node.parent_node_id, node.agent_frame_id, node.timestamp, dump(node.content, "content"))
            for node in nodes
        ]
        try:
            db.executemany(_SQL["node_insert"], rows)
        except sqlite3.IntegrityError as error:
            raise InvalidRequest(f"a node id is missing, given twice, or exists: {error}", field="node_id") from error

    def load_session(self, scope: ReadScope) -> Read | None:
        """GRAPH-2 to GRAPH-4."""
        if not isinstance(scope, (FullGraph, ActivePath)):
            raise UnsupportedReadScope(f"unknown read scope {type(scope).__name__}")
        with self._read as db:
            head = db.execute(_SQL["head_get"]).fetchone()
            if head is None:
                return None
            if _types(head) not in _HEAD:
                raise unreadable("head", "session")
            session_id, head_revision, config, agent_frames, current_agent_frame_id, checkpoint_ref, manifest, leaf = head
            if isinstance(scope, FullGraph):
                graph = self._full_graph(db, leaf)
            else:
                graph = self._active_path(db, leaf if scope.leaf_node_id is None else scope.leaf_node_id)
            return Read(
                session_id=session_id,
                head_revision=head_revision,
                config=load_json(config, "head", "config"),
                agent_frames=tuple(load_list(agent_frames, "head", "agent_frames")),
                current_agent_frame_id=current_agent_frame_id,
                graph=graph,
                checkpoint_ref=checkpoint_ref,
                checkpoint=self._hydrate(db, load_manifest(manifest)),
                token_ledger=tuple([_load_usage(row) for row in db.execute(_SQL["usage_list"]).fetchall()]),
            )

    def _full_graph(self, db: sqlite3.Cursor, leaf: str | None) -> Graph:
        """GRAPH-3, P-LEAF-TOMBSTONED keep."""
        return Graph(tuple([_load_node(row) for row in db.execute(_SQL["nodes_full"])]), leaf)

    def _active_path(self, db: sqlite3.Cursor, leaf: str | None) -> Graph:
        """GRAPH-4, LAW-13. Without a leaf the path is empty (P-PATH-NO-LEAF); it ends at a tombstoned node (P-PATH-TOMBSTONED)."""
        found = {row[0]: row for row in db.execute(_SQL["nodes_path"], (leaf,))}
        path: list[Node] = []
        row = found.pop(leaf, None)
        while row is not None:
            path.append(_load_node(row))
            row = found.pop(row[1], None)
        path.reverse()
        return Graph(tuple(path), leaf)

    def _hydrate(self, db: sqlite3.Cursor, manifest: CheckpointManifest) -> Checkpoint:
        refs = (manifest.tool_state_ref, manifest.plugin_snapshot_ref, manifest.execution_state_ref)
        bodies: dict[str, bytes] = dict(db.execute(_SQL["bodies_get"], refs).fetchall()) if any(refs) else {}
        return hydrate(manifest, bodies)

    def load_node(self, node_id: str) -> Node | None:
        """GRAPH-5."""
        with self._look as db:
            row = db.execute(_SQL["node_get"], (node_id,)).fetchone()
            return None if row is None else _load_node(row)

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        """GRAPH-6."""
        with self._write as db:
            db.executemany(_SQL["node_tombstone"], [(node_id,) for node_id in ids])

    def vacuum(self) -> VacuumReport:
        """GRAPH-7."""
        with self._write as db:
            return VacuumReport(db.execute(_SQL["nodes_vacuum"]).rowcount)

    def gc_unreachable(self) -> GcReport:
        """GRAPH-9: only what the current checkpoint refers to is kept."""
        with self._write as db:
            head = db.execute(_SQL["head_get"]).fetchone()
            if head is not None and _types(head) not in _HEAD:
                raise unreadable("head", "session")
            roots = [] if head is None else [load_manifest(head[6])]
            refs = [(m.tool_state_ref or "", m.plugin_snapshot_ref or "", m.execution_state_ref or "") for m in roots]
            deleted = db.execute(_SQL["bodies_keep"], refs[0] if refs else ("", "", "")).rowcount
            retained = db.execute(_SQL["bodies_count"]).fetchone()[0]
            return GcReport(len(roots), retained, deleted)

    # Queued work: contract section 6.

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        """QUEUE-1, QUEUE-2."""
        check_draft(batch)
        payloads = dump(batch.payloads, "payloads")
        with self._write as db:
            now = self._clock.now_ms()
            if batch.source_key is not None:
                known = db.execute(_SQL["batch_by_source_key"], (batch.session_id, batch.source_key)).fetchone()
                if known is not None:
                    return _load_batch(known)
            due = batch.available_at_ms <= now
            db.execute(
                _SQL["batch_insert"],
                (
                    batch.session_id,
                    batch.source_key,
                    batch.delivery_policy,
                    batch.slot_policy,
                    dump_merge_key(batch.merge_key),
                    batch.available_at_ms,
                    now,
                    payloads,
                    _READY if due else _NOT_DUE,
                    0 if due else batch.available_at_ms,
                ),
            )
            return batch_of(batch, db.lastrowid or 0, now)

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
        if max_batches == 0:  # P-ZERO-BEFORE-LEASE none-first
            return None
        with self._write as db:
            now = self._clock.now_ms()
            self._check_fence(session_id, self._lane(db, session_id)[1], session_execution_lease, now)
            run = self._run(db, session_id, boundary, max_batches, now)
            return self._claim(db, session_id, owner_id, run, lease_ttl_ms, now) if run else None

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
        if not batch_ids:
            return None
        with self._write as db:
            now = self._clock.now_ms()
            self._check_fence(session_id, self._lane(db, session_id)[1], session_execution_lease, now)
            run = self._run(db, session_id, boundary, len(batch_ids), now)
            if [batch.batch_id for batch, _ in run] != list(batch_ids):
                return None
            return self._claim(db, session_id, owner_id, run, lease_ttl_ms, now)

    def _check_claim_input(self, session_id: str, owner_id: str, boundary: Boundary, ttl: int) -> None:
        check_id(session_id, "session_id")
        check_id(owner_id, "owner_id")
        check_boundary(boundary)
        check_ttl(ttl)

    def _run(self, db: sqlite3.Cursor, session_id: str, boundary: Boundary, limit: int, now: int) -> list[_Candidate]:
        """QUEUE-5 to QUEUE-7: what a claim would take now. Rows are read one by one, at most one more than the run has."""
        db.execute(_SQL["batch_wake"], (session_id, now))
        candidates = (
            (_load_batch(row), row[_FENCING_TOKEN]) for row in db.execute(_SQL["batch_candidates"], (session_id, now, now))
        )
        first = next(candidates, None)
        if first is None:
            return []
        head, _ = first
        if boundary == "active_turn_checkpoint" and head.delivery_policy != "earliest_safe_boundary":  # QUEUE-6
            return []
        run = [first]
        if head.slot_policy == "exclusive" or limit == 1:
            return run
        for candidate in candidates:  # P-JOIN-GAP skip: what is no candidate does not end the run
            if not self._joins(head, candidate[0]):
                break
            run.append(candidate)
            if len(run) == limit:
                break
        return run

    def _joins(self, head: Batch, batch: Batch) -> bool:
        """QUEUE-7."""
        return batch.slot_policy == "join" and batch.delivery_policy == head.delivery_policy and batch.merge_key == head.merge_key

    def _claim(self, db: sqlite3.Cursor, session_id: str, owner_id: str, run: list[_Candidate], ttl: int, now: int) -> Claim:
        """QUEUE-8, P-CLAIM-FENCE max."""
        claim = Claim(
            session_id=session_id,
            claim_id=_token(),
            owner_id=owner_id,
            lease_token=_token(),
            fencing_token=max([fencing_token for _, fencing_token in run]) + 1,
            claimed_at_epoch_ms=now,
            expires_at_epoch_ms=_expiry(now, ttl),
            batches=tuple([batch for batch, _ in run]),
        )
        held = (claim.fencing_token, claim.claim_id, owner_id, claim.lease_token, now, claim.expires_at_epoch_ms)
        db.executemany(_SQL["batch_claim"], [(*held, claim.expires_at_epoch_ms, batch.enqueue_seq) for batch in claim.batches])
        return claim

    def renew_queued_work_claim(self, claim: Claim, lease_ttl_ms: int) -> Claim:
        """QUEUE-11. An expired claim that still holds its batches is renewed (P-RENEW-EXPIRED)."""
        check_ttl(lease_ttl_ms)
        with self._write as db:
            now = self._clock.now_ms()
            rows = db.execute(_SQL["claim_get"], (claim.claim_id, claim.session_id, claim.lease_token)).fetchall()
            held = {batch_id_of(row[0]) for row in rows}
            if not rows or not all(batch.batch_id in held for batch in claim.batches):
                raise QueuedWorkClaimExpired(session_id=claim.session_id, claim_id=claim.claim_id)
            if _types(rows[0]) not in _CLAIM:
                raise unreadable("batch", batch_id_of(rows[0][0]))
            _, owner_id, fencing_token, claimed_at = rows[0]
            expires_at = _expiry(now, lease_ttl_ms)
            db.execute(_SQL["claim_set_expiry"], (expires_at, expires_at, claim.claim_id))
            return Claim(
                session_id=claim.session_id,
                claim_id=claim.claim_id,
                owner_id=owner_id,
                lease_token=claim.lease_token,
                fencing_token=fencing_token,
                claimed_at_epoch_ms=claimed_at,
                expires_at_epoch_ms=expires_at,
                batches=claim.batches,
            )

    def abandon_queued_work_claim(self, claim: Claim) -> None:
        """QUEUE-12."""
        with self._write as db:
            db.execute(_SQL["claim_abandon"], (claim.claim_id, claim.session_id, claim.lease_token))

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Batch | None:
        """QUEUE-13."""
        check_id(session_id, "session_id")
        enqueue_seq = enqueue_seq_of(batch_id)
        with self._write as db:
            now = self._clock.now_ms()
            row = db.execute(_SQL["batch_by_seq"], (enqueue_seq, session_id)).fetchone()
            if row is None:
                return None
            batch = _load_batch(row)
            expires_at = row[_CLAIM_EXPIRES_AT]
            if expires_at is not None and _live(expires_at, now):
                return None
            db.execute(_SQL["batch_delete"], (enqueue_seq,))
            return batch

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        """QUEUE-3: all batches, claimed or not."""
        check_id(session_id, "session_id")
        with self._look as db:
            return _load_batches(db.execute(_SQL["batch_list"], (session_id,)).fetchall())

    def list_pending_queued_work(self, session_id: str) -> Sequence[Batch]:
        """QUEUE-3: the batches without a live claim."""
        check_id(session_id, "session_id")
        with self._look as db:
            now = self._clock.now_ms()
            return _load_batches(db.execute(_SQL["batch_list_pending"], (session_id, now, session_id, now)).fetchall())

    # Session metadata and the attachment manifest: contract section 7.

    def save_session_meta(self, meta: SessionMeta) -> None:
        """META-1."""
        check_meta(meta)
        relation = dump(meta.relation, "relation")
        with self._write as db:
            db.execute(_SQL["meta_put"], (meta.session_id, meta.session_name, meta.created_at, meta.model, meta.cwd, relation))

    def load_session_meta(self) -> SessionMeta | None:
        """META-1."""
        with self._look as db:
            row = db.execute(_SQL["meta_get"]).fetchone()
            if row is None:
                return None
            if _types(row) not in _META:
                raise unreadable("session_meta", "session")
            session_id, session_name, created_at, model, cwd, relation = row
            return SessionMeta(
                session_id=session_id,
                session_name=session_name,
                created_at=created_at,
                model=model,
                cwd=cwd,
                relation=load_json(relation, "session_meta", "relation"),
            )

    def record_intent(self, intent: Intent) -> None:
        """ATTACH-1, P-INTENT-REPEAT first-wins, P-MANIFEST-KEY session+id."""
        check_intent(intent)
        with self._write as db:
            db.execute(
                _SQL["attachment_intend"],
                (intent.attachment_id, intent.session_id, intent.canonical_uri, intent.intent_at_epoch_ms),
            )

    def commit_refs(self, session_id: str, attachment_ids: Sequence[str]) -> None:
        """ATTACH-2."""
        check_id(session_id, "session_id")
        with self._write as db:
            self._stamp_attachments(db, session_id, attachment_ids, self._clock.now_ms())

    def _stamp_attachments(self, db: sqlite3.Cursor, session_id: str, attachment_ids: Sequence[str], now: int) -> None:
        """ATTACH-2: the first stamp stays; what is not recorded for this session is ignored."""
        if attachment_ids:
            db.executemany(_SQL["attachment_commit"], [(now, attachment_id, session_id) for attachment_id in attachment_ids])

    def list_uncommitted(self, older_than_epoch_ms: int) -> Sequence[ManifestEntry]:
        """ATTACH-3."""
        check_time(older_than_epoch_ms, "older_than_epoch_ms")
        with self._look as db:
            rows = db.execute(_SQL["attachment_uncommitted"], (older_than_epoch_ms,)).fetchall()
            return tuple([_load_manifest_entry(row) for row in rows])

    def forget(self, attachment_id: str) -> None:
        """ATTACH-4: the rows of every session."""
        with self._write as db:
            db.execute(_SQL["attachment_forget"], (attachment_id,))


class _File:
    """A connection to the store's file, the lock that threads take turns by, and what its errors mean."""

    def __init__(self, path: str, synchronous: Synchronous, busy_timeout_ms: int) -> None:
        self.path = path
        self.lock = Lock()
        self.wait_seconds = busy_timeout_ms / 1000
        self.cursor: sqlite3.Cursor | None = None
        self.hook: Callable[[str], None] | None = None
        self.turns = Turns(path)
        deadline = time.monotonic() + self.wait_seconds
        while self.cursor is None:
            try:
                self.cursor = self._open(synchronous)
            except Contended:  # another process makes the file just now, and SQLite does not wait for a change of journal mode
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)

    def _open(self, synchronous: Synchronous) -> sqlite3.Cursor:
        try:
            connection = sqlite3.connect(
                self.path,
                timeout=self.wait_seconds,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=len(_SQL) + 16,
            )
        except sqlite3.Error as error:
            raise self.refusal(error) or error from error
        try:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA synchronous = {synchronous}")
            cursor.execute("BEGIN")  # or version and stamp may be read before and after another process makes the file
            try:
                new = self._is_new(cursor)
            finally:
                if connection.in_transaction:
                    cursor.execute("ROLLBACK")
            if new:
                self._create(cursor)
            else:
                self._require_wal(cursor)
        except sqlite3.Error as error:
            connection.close()
            raise self.refusal(error) or error from error
        except BaseException:
            connection.close()
            raise
        return cursor

    def _is_new(self, cursor: sqlite3.Cursor) -> bool:
        """Whether the file is empty. Refused, before anything is written, if it is neither empty nor a store of this version."""
        version: int = cursor.execute("PRAGMA user_version").fetchone()[0]
        application_id: int = cursor.execute("PRAGMA application_id").fetchone()[0]
        if application_id == APPLICATION_ID:
            self._check_version(cursor, version)
            return False
        if version or application_id or cursor.execute(_SQL["table_count"]).fetchone()[0]:
            raise Backend(f"{self.path} is a database of another program. Nothing was changed: give the store a path of its own.")
        return True

    def _check_version(self, cursor: sqlite3.Cursor, version: int) -> None:
        if version != SCHEMA_VERSION:
            raise UnsupportedRecordSchemaVersion(
                f"{self.path} has schema version {version}, this program reads version {SCHEMA_VERSION}. Nothing was changed: "
                "open it with the release of leasehold that wrote it, or a later one.",
                record_kind=RECORD_KIND,
                actual=version,
                expected=SCHEMA_VERSION,
            )
        row = cursor.execute(_SQL["schema_row_get"], (RECORD_KIND,)).fetchone()
        if row != (version,):
            raise Backend(f"{self.path} contradicts itself: user_version {version}, stamped row {row}. Restore it from a backup.")

    def _create(self, cursor: sqlite3.Cursor) -> None:
        """Tables and stamp appear together or not at all, however many processes open the file at once."""
        self._require_wal(cursor)
        cursor.execute("BEGIN IMMEDIATE")
        try:
            if self._is_new(cursor):
                for statement in _SQL["schema"].split(";\n"):
                    cursor.execute(statement)
                cursor.execute(_SQL["schema_row_put"], (RECORD_KIND, SCHEMA_VERSION))
                cursor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                cursor.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            cursor.execute("COMMIT")
        except BaseException:
            if cursor.connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise

    def _require_wal(self, cursor: sqlite3.Cursor) -> None:
        mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise Backend(f"{self.path} cannot be in WAL mode, but {mode}: give the store a path on a local file system.")

    def trace(self, hook: Callable[[str], None] | None) -> None:
        """See `SqliteStore.trace`."""
        self.hook = hook  # without the lock: the hook of an operation under way may be what calls
        cursor = self.cursor
        if hook is not None and cursor is not None and not isinstance(cursor, _Traced):
            self.cursor = traced = cursor.connection.cursor(_Traced)
            traced.file = self
        elif hook is None and isinstance(cursor, _Traced):
            self.cursor = cursor.connection.cursor()

    def close(self) -> None:
        with self.lock:
            if self.cursor is not None:
                self.cursor.connection.close()
                self.cursor = None
                self.turns.close()

    def begin_at_once(self, cursor: sqlite3.Cursor) -> None:
        """Begin a write although its turn has not come, should the file be free after all: it has waited long enough."""
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            cursor.execute(_WRITE)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {round(1000 * self.wait_seconds)}")

    def refusal(self, error: Exception) -> Refusal | None:
        """What an error of SQLite, or of handing a value to it, means for the caller (LAW-15)."""
        if isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError, UnicodeEncodeError)):
            return InvalidRequest(f"a value cannot be stored: {error}", field="value")
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _CONTENDED:
            return Contended(f"{self.path} was locked for {self.wait_seconds:g} s ({error}). Nothing happened: try again.")
        if code in (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT):
            return InvalidRequest(f"a value cannot be stored: {error}", field="value")
        return Backend(f"{self.path}: {error}. {_ADVICE.get(code, _UNREADABLE)}")


class _Traced(sqlite3.Cursor):
    """Tells the file's hook of each statement but BEGIN, which `_Operation` tells it of."""

    file: _File

    def _tell(self, statement: str) -> None:
        if self.file.hook is not None and not statement.startswith("BEGIN"):
            self.file.hook(statement)

    def execute(self, statement: str, values: Any = (), /) -> _Traced:
        """Tell of it and execute it; a ROLLBACK also if the hook raises."""
        try:
            self._tell(statement)
        except BaseException:
            if statement == "ROLLBACK":
                super().execute(statement)
            raise
        super().execute(statement, values)
        return self

    def executemany(self, statement: str, values: Iterable[Any], /) -> _Traced:
        """Tell of it, once, and execute it."""
        self._tell(statement)
        super().executemany(statement, values)
        return self


class _Operation:
    """One operation on a file: one thread at a time, in one transaction of this kind, or in none for a read of one statement."""

    __slots__ = ("begin", "file", "writes")

    def __init__(self, file: _File, begin: str | None) -> None:
        self.file = file
        self.begin = begin
        self.writes = begin == _WRITE

    def __enter__(self) -> sqlite3.Cursor:
        file = self.file
        if not file.lock.acquire(timeout=file.wait_seconds):
            raise Contended(f"this handle on {file.path} was in use for {file.wait_seconds:g} s. Nothing happened: try again.")
        try:
            cursor = file.cursor
            if cursor is None:
                raise Backend(f"this handle on {file.path} is closed: open another one with open_handle()")
            if self.begin is not None:
                if file.hook is not None:
                    file.hook(self.begin)
                if not self.writes or file.turns.enter(file.wait_seconds):
                    cursor.execute(self.begin)
                else:
                    file.begin_at_once(cursor)
        except sqlite3.Error as error:
            self._leave()
            raise file.refusal(error) or error from error
        except BaseException:
            self._leave()
            raise
        return cursor

    def _leave(self) -> None:
        """Other writers, and other threads, are next."""
        if self.writes:
            self.file.turns.leave()
        self.file.lock.release()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        file = self.file
        try:
            if self.begin is not None:
                self._end(file.cursor, error)
        except sqlite3.Error as failure:
            raise file.refusal(failure) or failure from failure
        finally:
            self._leave()
        if isinstance(error, Exception) and not isinstance(error, Refusal):
            refusal = file.refusal(error)
            if refusal is not None:
                raise refusal from error

    def _end(self, cursor: sqlite3.Cursor | None, error: BaseException | None) -> None:
        """COMMIT, or ROLLBACK if the operation or its COMMIT failed. Some failures have rolled back already."""
        if cursor is None:
            return
        try:
            if error is None:
                cursor.execute("COMMIT")
        except sqlite3.Error as failure:
            if getattr(failure, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_FSYNC:  # written, but perhaps not to the disk
                raise Indeterminate(
                    f"{self.file.path}: {failure}. The operation may or may not be found after a restart."
                ) from failure
            raise
        finally:
            if cursor.connection.in_transaction:
                cursor.execute("ROLLBACK")


_CONTENDED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_UNREADABLE: Final = "The operation changed nothing. If the file is damaged, restore it from a backup."
_NOT_WRITABLE: Final = "Nothing was changed. Check that the directory exists and that this process may write to it and to the file."
_ADVICE: Final = {
    sqlite3.SQLITE_NOTADB: "Nothing was changed: give the store a path of its own.",
    sqlite3.SQLITE_FULL: "The operation changed nothing. Free some space and try again.",
    sqlite3.SQLITE_IOERR: "The operation changed nothing. Check that the disk has space and is sound, then try again.",
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_PERM: _NOT_WRITABLE,
    sqlite3.SQLITE_AUTH: _NOT_WRITABLE,
}


class _CommitView:
    """What the checks of a commit look at, read with one statement: the head, the session's lane, and the stamp of the turn."""

    __slots__ = ("bound_to", "lease", "revision", "stamp")

    def __init__(self, db: sqlite3.Cursor, commit: Commit) -> None:
        session_id, turn = commit.session_id, commit.turn_commit
        row = db.execute(_SQL["commit_view"], (session_id, session_id, None if turn is None else turn.turn_id)).fetchone()
        if _types(row) not in _COMMIT_VIEW:
            raise unreadable("head, lane or stamp", session_id)
        self.bound_to: str | None = row[0]
        self.revision: int = row[1] or 0
        self.lease = None if row[3] is None else Lease(session_id, row[3], row[4], row[2], row[5], row[6])
        self.stamp: _Row = row[7:]

    def check_identity(self, commit: Commit) -> bool:
        """COMMIT-1 to COMMIT-3. True for a replay, which COMMIT-4 answers."""
        session_id, turn = commit.session_id, commit.turn_commit
        if self.bound_to is not None and self.bound_to != session_id:  # COMMIT-1, P-BINDING at-first-commit
            raise SessionBindingMismatch(bound_session_id=self.bound_to, attempted_session_id=session_id)
        if turn is None:
            return False
        stored_hash: str | None = self.stamp[0]
        if turn.session_id != session_id:  # COMMIT-2
            raise RuntimeTurnCommitConflict(session_id=turn.session_id, turn_id=turn.turn_id)
        if stored_hash is not None and stored_hash != turn.turn_commit_hash:  # COMMIT-3
            raise RuntimeTurnCommitConflict(session_id=turn.session_id, turn_id=turn.turn_id)
        return stored_hash is not None

    def stamped_result(self) -> CommitResult:
        """LAW-7: the first result."""
        _, head_revision, checkpoint_ref, manifest = self.stamp
        return CommitResult(head_revision, checkpoint_ref, load_manifest(manifest))


# How records are written to columns and read back. A row of other types than it was written with is damaged, and refused.

_Row: TypeAlias = tuple[Any, ...]
_Candidate: TypeAlias = tuple[Batch, int]
_FENCING_TOKEN: Final = 9
_CLAIM_EXPIRES_AT: Final = 10
_Types: TypeAlias = frozenset[tuple[type, ...]]
_LETTERS: Final = {"s": str, "i": int, "b": bytes, "n": type(None)}


def _types(row: _Row) -> tuple[type, ...]:
    return tuple(map(type, row))


def _rows_of(*columns: str) -> _Types:
    """The types that a row may have: per group of columns one letter a column, with a bar between alternatives."""
    groups = [[tuple(_LETTERS[letter] for letter in letters) for letters in group.split("|")] for group in columns]
    return frozenset(tuple(one for part in parts for one in part) for parts in product(*groups))


_LANE: Final = _rows_of("i", "nnnn|ssii")
_COMMIT_VIEW: Final = _rows_of("nn|si", "nnnnn|innnn|issii", "nnnn|siss")
_HEAD: Final = _rows_of("sisssss", "s|n")
_NODE: Final = _rows_of("s", "s|n", "s|n", "ss")
_USAGE: Final = _rows_of("ss", *["i|s"] * 4)
_BATCH: Final = _rows_of("is", "s|n", "sssiisi", "i|n")
_CLAIM: Final = _rows_of("isii")
_META: Final = _rows_of("ssss", "s|n", "s")
_ENTRY: Final = _rows_of("sssi")


def _load_node(row: _Row) -> Node:
    if _types(row) not in _NODE:
        raise unreadable("node", row[0])
    node_id, parent_node_id, agent_frame_id, timestamp, content = row
    return Node(
        node_id=node_id,
        parent_node_id=parent_node_id,
        agent_frame_id=agent_frame_id,
        timestamp=timestamp,
        content=load_json(content, "node", node_id),
    )


def _load_lease(session_id: str, row: _Row) -> Lease | None:
    if _types(row) not in _LANE:
        raise unreadable("lane", session_id)
    fencing_token, owner_id, lease_token, claimed_at, expires_at = row
    return None if owner_id is None else Lease(session_id, owner_id, lease_token, fencing_token, claimed_at, expires_at)


def _dump_total(value: int) -> int | str:
    """A total as stored: exact, also beyond 64 bits (LAW-8)."""
    return value if MIN_I64 <= value <= MAX_I64 else str(value)


def _load_totals(row: _Row) -> list[int]:
    if _types(row) not in _USAGE:
        raise unreadable("usage row", row[:2])
    try:
        return [int(value) for value in row[2:]]
    except ValueError as error:
        raise unreadable("usage row", row[:2], str(error)) from error


def _load_usage(row: _Row) -> UsageRow:
    input_tokens, output_tokens, cached_input_tokens, reasoning_tokens = _load_totals(row)
    return UsageRow(
        source=row[0],
        model=row[1],
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def _load_batch(row: _Row) -> Batch:
    if _types(row) not in _BATCH:
        raise unreadable("batch", row[0])
    enqueue_seq, session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads, _, _ = row
    batch_id = batch_id_of(enqueue_seq)
    if delivery_policy not in DELIVERY_POLICIES or slot_policy not in SLOT_POLICIES:
        raise unreadable("batch", batch_id, f"unknown policy {delivery_policy!r} or {slot_policy!r}")
    return Batch(
        batch_id=batch_id,
        session_id=session_id,
        enqueue_seq=enqueue_seq,
        source_key=source_key,
        delivery_policy=delivery_policy,
        slot_policy=slot_policy,
        merge_key=load_merge_key(merge_key, batch_id),
        available_at_ms=available_at,
        enqueued_at_ms=enqueued_at,
        items=items_of(batch_id, load_list(payloads, "batch", batch_id)),
    )


def _load_batches(rows: list[_Row]) -> tuple[Batch, ...]:
    """By enqueue_seq."""
    rows.sort(key=itemgetter(0))
    return tuple([_load_batch(row) for row in rows])


def _load_manifest_entry(row: _Row) -> ManifestEntry:
    if _types(row) not in _ENTRY:
        raise unreadable("attachment", row[0])
    attachment_id, session_id, canonical_uri, intent_at = row
    return ManifestEntry(
        attachment_id=attachment_id, session_id=session_id, canonical_uri=canonical_uri, intent_at_epoch_ms=intent_at
    )

"""A durable store in a PostgreSQL database, with the recommended option at every policy point of the contract.

Each operation is one statement, so one round trip and one transaction: the writing ones call a function that was made with the
schema, the reads are plain statements. postgres.sql has them, and says what they lock and in which order.

An operation is described once, as a plan: a statement, its parameters, and how its rows become the answer. `PostgresStore` and
`AsyncPostgresStore` do no more than send it.

The store is written from the contract alone: it shares no rule with the other stores, only the vocabulary and how records are kept
as text.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache, wraps
from hashlib import sha256
from operator import add, itemgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from leasehold.records import (
    ActivePath,
    Append,
    Batch,
    BatchDraft,
    Boundary,
    Claim,
    Commit,
    CommitResult,
    Fence,
    FullGraph,
    GcReport,
    Graph,
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
    UnsupportedReadScope,
    UnsupportedRecordSchemaVersion,
)
from leasehold.stores._common import (
    DELIVERY_POLICIES,
    MAX_I64,
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

try:
    import psycopg
    from psycopg.adapt import Transformer
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.errors import error_from_result
    from psycopg.generators import execute
    from psycopg.pq import ExecStatus, Format, TransactionStatus
except ImportError as error:
    raise ImportError("the PostgreSQL store needs psycopg: pip install 'leasehold[postgres]'") from error

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

SCHEMA_VERSION: Final = 1
"""The form of the tables and functions, as in the row of ``leasehold_schema``."""
RECORD_KIND: Final = "postgres_store"
OLDEST_SERVER: Final = 15

P = ParamSpec("P")
T = TypeVar("T")
_Row: TypeAlias = tuple[Any, ...]
_Connection: TypeAlias = "psycopg.Connection[Any]"
_AsyncConnection: TypeAlias = "psycopg.AsyncConnection[Any]"
Hook: TypeAlias = Callable[[str], None]


# Plans: each operation as a statement, its parameters as text, and how its rows become the answer.


class _At(NamedTuple):
    """Which store, and what time it is. No clock: the database's, read after the locks are taken."""

    store_id: str
    clock: Clock | None

    def now(self) -> str | None:
        return None if self.clock is None else str(self.clock.now_ms())


class _Plan(NamedTuple, Generic[T]):
    """A statement by name, or the function of that name. No name: the answer is known without asking."""

    name: str
    values: tuple[str | None, ...]
    answer: Callable[[list[_Row]], T]


def _done(rows: list[_Row]) -> None:
    """The answer of an operation that gives none."""


def _text(value: str | None, field: str) -> str | None:
    if value is not None and type(value) is not str:
        raise InvalidRequest(f"{field} must be a text, got {value!r}", field=field)
    return value


def _array(values: Iterable[object], field: str) -> str | None:
    """An array as PostgreSQL reads it; NULL if it is empty."""
    parts = []
    for value in values:
        if value is None:
            parts.append("NULL")
        elif type(value) is int:
            parts.append(str(value))
        elif type(value) is str:
            parts.append('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"')
        else:
            raise InvalidRequest(f"{field} must be a text, got {value!r}", field=field)
    return f"{{{','.join(parts)}}}" if parts else None


def _number(value: object) -> str:
    """A number that is compared. None is 0, if it is none or beyond 64 bits."""
    return str(value) if type(value) is int and 0 < value <= MAX_I64 else "0"


def _token() -> str:
    """A token that no process ever makes twice."""
    return os.urandom(16).hex()


def _fence_values(fence: Fence | None, session_id: str) -> tuple[str | None, str | None, str | None]:
    """COMMIT-5, QUEUE-4: a fence of another session is none."""
    if fence is None or fence.session_id != session_id:
        return None, None, None
    return _text(fence.owner_id, "owner_id"), _text(fence.lease_token, "lease_token"), _number(fence.fencing_token)


# Session execution leases: contract section 3.


def _try_claim_lease(at: _At, session_id: str, owner_id: str, lease_ttl_ms: int) -> _Plan[Lease | None]:
    """LEASE-1 to LEASE-3."""
    check_id(session_id, "session_id")
    check_id(owner_id, "owner_id")
    check_ttl(lease_ttl_ms)

    def answer(rows: list[_Row]) -> Lease | None:
        ((token, fencing_token, claimed_at, expires_at),) = rows
        return None if token is None else Lease(session_id, owner_id, token, fencing_token, claimed_at, expires_at)

    return _Plan("lease_claim", (at.store_id, session_id, owner_id, str(lease_ttl_ms), _token(), at.now()), answer)


def _renew_lease(at: _At, fence: Fence, lease_ttl_ms: int) -> _Plan[Lease]:
    """LEASE-4, LEASE-5."""
    check_ttl(lease_ttl_ms)

    def answer(rows: list[_Row]) -> Lease:
        ((claimed_at, expires_at),) = rows
        if claimed_at is None:
            raise SessionExecutionLeaseExpired(session_id=fence.session_id)
        return Lease(fence.session_id, fence.owner_id, fence.lease_token, fence.fencing_token, claimed_at, expires_at)

    session_id = _text(fence.session_id, "session_id")
    values = (at.store_id, session_id, *_fence_values(fence, fence.session_id), str(lease_ttl_ms), at.now())
    return _Plan("lease_renew", values, answer)


def _release_lease(at: _At, completion: LeaseCompletion) -> _Plan[None]:
    """LEASE-6, LEASE-7."""
    session_id = _text(completion.session_id, "session_id")
    return _Plan("lease_release", (at.store_id, session_id, *_fence_values(completion, completion.session_id)), _done)


# Commit: contract section 4.


def _commit(at: _At, commit: Commit) -> _Plan[CommitResult]:
    """COMMIT-1 to COMMIT-10."""
    check_commit(commit)
    stored = StoredCommit(commit)
    session_id, turn, release = commit.session_id, commit.turn_commit, commit.release_session_execution_lease
    nodes: Sequence[Node] = ()
    if isinstance(commit.graph, (Append, ReplaceFull)):
        nodes = commit.graph.nodes
    elif not isinstance(commit.graph, Unchanged):
        raise InvalidRequest(f"unknown graph delta {type(commit.graph).__name__}", field="graph")
    is_leaf_new = any(node.node_id == commit.graph.leaf_node_id for node in nodes)
    refusable = stored.kept or not (is_leaf_new or commit.graph.leaf_node_id is None)  # after the completions
    values = (
        at.store_id,
        session_id,
        None if commit.expected_head_revision is None else str(commit.expected_head_revision),
        *_fence_values(commit.session_execution_lease, session_id),
        None if release is None else _text(release.session_id, "session_id"),
        *((None, None, None) if release is None else _fence_values(release, release.session_id)),
        *((None, None, None) if turn is None else (_text(turn.session_id, "session_id"), turn.turn_id, turn.turn_commit_hash)),
        stored.config,
        stored.agent_frames,
        _text(commit.current_agent_frame_id, "current_agent_frame_id"),
        stored.checkpoint_ref,
        stored.manifest_text,
        _text(commit.graph.leaf_node_id, "leaf_node_id"),
        stored.manifest.tool_state_ref,
        stored.manifest.plugin_snapshot_ref,
        stored.manifest.execution_state_ref,
        _array((text for ref, body in stored.bodies for text in (ref, body.hex())), "body"),
        _array((ref if is_ref_of(kind, ref) else "" for kind, ref in stored.kept), "ref"),
        "t" if isinstance(commit.graph, ReplaceFull) else "f",
        _array(_of_nodes(nodes), "nodes"),
        "t" if is_leaf_new else "f",
        _array(_of_usage(commit.usage_deltas), "usage_deltas"),
        _array(_of_completions(commit), "completed_queue_claims"),
        "t" if not refusable and _is_single(commit) else "f",
        _array(commit.committed_attachment_ids, "committed_attachment_ids"),
        at.now(),
    )

    def answer(rows: list[_Row]) -> CommitResult:
        ((code, which, bound_to, head_revision, checkpoint_ref, manifest),) = rows
        if code is None:
            return CommitResult(head_revision, stored.checkpoint_ref, stored.manifest)
        if code == "replay":  # LAW-7: the first result
            return CommitResult(head_revision, checkpoint_ref, load_manifest(manifest))
        raise _commit_refusal(commit, stored, code, (which or 1) - 1, bound_to, head_revision)

    return _Plan("commit_state", values, answer)


def _commit_refusal(commit: Commit, stored: StoredCommit, code: str, which: int, bound_to: str, actual: int) -> Refusal:
    """What the function's word for a refusal stands for."""
    if code == "bound":
        return SessionBindingMismatch(bound_session_id=bound_to, attempted_session_id=commit.session_id)
    if code == "turn" and commit.turn_commit is not None:
        return RuntimeTurnCommitConflict(session_id=commit.turn_commit.session_id, turn_id=commit.turn_commit.turn_id)
    if code == "lease":
        return SessionExecutionLeaseExpired(session_id=commit.session_id)
    if code == "revision":
        return HeadRevisionConflict(expected=commit.expected_head_revision, actual=actual)
    if code == "leaf":
        return InvalidRequest(f"leaf {commit.graph.leaf_node_id!r} names no visible node", field="leaf_node_id")
    if code == "dangling":
        kind, ref = stored.kept[which]
        return InvalidRequest(f"{kind}_ref {ref!r} names nothing", field=f"{kind}_ref")
    completion = commit.completed_queue_claims[which]
    if code == "claim":
        return QueuedWorkClaimExpired(session_id=completion.session_id, claim_id=completion.claim_id)
    if code == "twice":
        return InvalidRequest(f"claim {completion.claim_id} is completed twice", field="completed_queue_claims")
    why = "names no batch" if code == "empty" else "names a batch twice, or leaves out batches that it holds"
    return InvalidRequest(f"completion of claim {completion.claim_id} {why}", field="batch_ids")


def _of_nodes(nodes: Sequence[Node]) -> Iterable[object]:
    """The nodes' columns, node by node."""
    for node in nodes:
        yield from (node.node_id, node.parent_node_id, node.agent_frame_id, node.timestamp, dump(node.content, "content"))


def _of_completions(commit: Commit) -> Iterable[object]:
    """Of each completion its id, its token, between which numbers its batches are, and those that it names."""
    for completion in commit.completed_queue_claims:
        first, last = _claim_range(completion.claim_id)
        named = ",".join(str(enqueue_seq_of(one)) for one in completion.batch_ids)
        yield from (completion.claim_id, completion.lease_token)
        yield from (first if completion.session_id == commit.session_id else None, last, f"{{{named}}}")


def _is_single(commit: Commit) -> bool:
    """One claim of one batch is completed, as the claim's id has it."""
    if len(commit.completed_queue_claims) != 1:
        return False
    (completion,) = commit.completed_queue_claims
    first, last = _claim_range(completion.claim_id)
    return completion.session_id == commit.session_id and first == last and [*map(enqueue_seq_of, completion.batch_ids)] == [first]


def _of_usage(deltas: Sequence[UsageRow]) -> Iterable[object]:
    """LAW-8: sums by source and model, in first-seen order."""
    sums: dict[tuple[str, str], list[int]] = {}
    for row in deltas:
        added = (row.input_tokens, row.output_tokens, row.cached_input_tokens, row.reasoning_tokens)
        sums[row.source, row.model] = list(map(add, sums.get((row.source, row.model), (0, 0, 0, 0)), added))
    for names, total in sums.items():
        yield from names
        yield from total


# Graph and loads: contract section 5.

_HEAD, _NODE, _USAGE = 0, 1, 2


def _load_session(at: _At, scope: ReadScope) -> _Plan[Read | None]:
    """GRAPH-2 to GRAPH-4. One statement has one snapshot, so nothing is torn. What a row is says its first column."""
    if isinstance(scope, FullGraph):
        return _Plan("load_full", (at.store_id,), lambda rows: _read(rows, scope))
    if isinstance(scope, ActivePath):
        leaf = _text(scope.leaf_node_id, "leaf_node_id")
        return _Plan("load_path", (leaf, at.store_id), lambda rows: _read(rows, scope))
    raise UnsupportedReadScope(f"unknown read scope {type(scope).__name__}")


def _read(rows: list[_Row], scope: ReadScope) -> Read | None:
    rows.sort(key=itemgetter(0, 1))
    if not rows:
        return None
    _, head_revision, session_id, config, agent_frames, current_agent_frame_id, checkpoint_ref, manifest, leaf, _ = rows[0]
    nodes = [row[2:7] for row in rows if row[0] == _NODE]
    if isinstance(scope, ActivePath):
        leaf = leaf if scope.leaf_node_id is None else scope.leaf_node_id
        nodes = _path(nodes, leaf)
    bodies: dict[str, bytes] = {row[2]: row[9] for row in rows if row[0] > _USAGE}
    return Read(
        session_id=session_id,
        head_revision=head_revision,
        config=load_json(config, "head", "config"),
        agent_frames=tuple(load_list(agent_frames, "head", "agent_frames")),
        current_agent_frame_id=current_agent_frame_id,
        graph=Graph(tuple(map(_node_of, nodes)), leaf),
        checkpoint_ref=checkpoint_ref,
        checkpoint=hydrate(load_manifest(manifest), bodies),
        token_ledger=tuple([_usage_of(row[2:8]) for row in rows if row[0] == _USAGE]),
    )


def _path(nodes: list[_Row], leaf: str | None) -> list[_Row]:
    """GRAPH-4, LAW-13. Without a leaf the path is empty (P-PATH-NO-LEAF); it ends at a tombstoned node (P-PATH-TOMBSTONED)."""
    found = {row[0]: row for row in nodes}
    path = []
    row = found.pop(leaf, None)
    while row is not None:
        path.append(row)
        row = found.pop(row[1], None)
    path.reverse()
    return path


def _node_of(row: _Row) -> Node:
    node_id, parent_node_id, agent_frame_id, timestamp, content = row
    return Node(
        node_id=node_id,
        parent_node_id=parent_node_id,
        agent_frame_id=agent_frame_id,
        timestamp=timestamp,
        content=load_json(content, "node", node_id),
    )


def _usage_of(row: _Row) -> UsageRow:
    source, model, *totals = row
    input_tokens, output_tokens, cached_input_tokens, reasoning_tokens = map(int, totals)
    return UsageRow(
        source=source,
        model=model,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def _load_node(at: _At, node_id: str) -> _Plan[Node | None]:
    """GRAPH-5."""
    return _Plan("load_node", (at.store_id, _text(node_id, "node_id")), lambda rows: _node_of(rows[0]) if rows else None)


def _tombstone_nodes(at: _At, ids: Sequence[str]) -> _Plan[None]:
    """GRAPH-6."""
    return _Plan("tombstone", (at.store_id, _array(ids, "ids")), _done)


def _vacuum(at: _At) -> _Plan[VacuumReport]:
    """GRAPH-7."""
    return _Plan("vacuum_nodes", (at.store_id,), lambda rows: VacuumReport(rows[0][0]))


def _gc_unreachable(at: _At) -> _Plan[GcReport]:
    """GRAPH-9."""
    return _Plan("collect_bodies", (at.store_id,), lambda rows: GcReport(*rows[0]))


# Queued work: contract section 6.


def _enqueue(at: _At, batch: BatchDraft) -> _Plan[Batch]:
    """QUEUE-1, QUEUE-2."""
    check_draft(batch)
    values = (
        at.store_id,
        batch.session_id,
        _text(batch.source_key, "source_key"),
        batch.delivery_policy,
        batch.slot_policy,
        dump_merge_key(batch.merge_key),
        str(batch.available_at_ms),
        dump(batch.payloads, "payloads"),
        at.now(),
    )

    def answer(rows: list[_Row]) -> Batch:
        (row,) = rows
        enqueue_seq, _, known, _, _, _, enqueued_at, _ = row
        return batch_of(batch, enqueue_seq, enqueued_at) if known is None else _batch_of_row(batch.session_id, row)

    return _Plan("enqueue", values, answer)


def _batch_of_row(session_id: str, row: _Row) -> Batch:
    enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads = row
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


def _claim_ready(
    at: _At,
    session_id: str,
    session_execution_lease: Fence,
    owner_id: str,
    boundary: Boundary,
    lease_ttl_ms: int,
    max_batches: int,
) -> _Plan[Claim | None]:
    """QUEUE-4 to QUEUE-9."""
    check_count(max_batches, "max_batches")
    return _claim(at, session_id, session_execution_lease, owner_id, boundary, lease_ttl_ms, max_batches, None)


def _claim_ready_by_batch_ids(
    at: _At,
    session_id: str,
    session_execution_lease: Fence,
    owner_id: str,
    boundary: Boundary,
    lease_ttl_ms: int,
    batch_ids: Sequence[str],
) -> _Plan[Claim | None]:
    """QUEUE-10."""
    only = [enqueue_seq_of(one) for one in batch_ids]
    return _claim(at, session_id, session_execution_lease, owner_id, boundary, lease_ttl_ms, len(only), only)


def _claim(
    at: _At, session_id: str, fence: Fence, owner_id: str, boundary: Boundary, ttl: int, limit: int, only: list[int] | None
) -> _Plan[Claim | None]:
    check_id(session_id, "session_id")
    check_id(owner_id, "owner_id")
    check_boundary(boundary)
    check_ttl(ttl)
    if limit == 0:  # P-ZERO-BEFORE-LEASE none-first
        return _Plan("", (), _done)
    token = _token()
    values = (
        at.store_id,
        session_id,
        *_fence_values(fence, session_id),
        owner_id,
        "t" if boundary == "active_turn_checkpoint" else "f",
        str(ttl),
        str(limit),
        None if only is None else _array(only, "batch_ids"),
        token,
        at.now(),
    )

    def answer(rows: list[_Row]) -> Claim | None:
        if not rows:
            return None
        claim_id, fencing_token, claimed_at, expires_at = rows[0][8:]
        if claim_id is None:
            raise SessionExecutionLeaseExpired(session_id=session_id)
        rows.sort(key=itemgetter(0))
        return Claim(
            session_id=session_id,
            claim_id=claim_id,
            owner_id=owner_id,
            lease_token=token,
            fencing_token=fencing_token,
            claimed_at_epoch_ms=claimed_at,
            expires_at_epoch_ms=expires_at,
            batches=tuple([_batch_of_row(session_id, row[:8]) for row in rows]),
        )

    return _Plan("queue_claim", values, answer)


_CLAIM_ID = re.compile(r"claim-([0-9]{1,18})-([0-9]{1,18})-[0-9]{1,19}")


def _claim_range(claim_id: str) -> tuple[int, int]:
    """Between which numbers a claim's batches are: that saves an index that every claim would have to write to."""
    found = _CLAIM_ID.fullmatch(claim_id) if type(claim_id) is str else None
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _claim_values(at: _At, claim: Claim) -> tuple[str | None, ...]:
    first, last = _claim_range(claim.claim_id)
    session_id, claim_id = _text(claim.session_id, "session_id"), _text(claim.claim_id, "claim_id")
    return at.store_id, session_id, claim_id, _text(claim.lease_token, "lease_token"), str(first), str(last)


def _renew_claim(at: _At, claim: Claim, lease_ttl_ms: int) -> _Plan[Claim]:
    """QUEUE-11. An expired claim that still holds its batches is renewed (P-RENEW-EXPIRED)."""
    check_ttl(lease_ttl_ms)
    named = _array([enqueue_seq_of(batch.batch_id) for batch in claim.batches], "batches") or "{}"

    def answer(rows: list[_Row]) -> Claim:
        ((owner_id, fencing_token, claimed_at, expires_at),) = rows
        if expires_at is None:
            raise QueuedWorkClaimExpired(session_id=claim.session_id, claim_id=claim.claim_id)
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

    return _Plan("claim_renew", (*_claim_values(at, claim), named, str(lease_ttl_ms), at.now()), answer)


def _abandon_claim(at: _At, claim: Claim) -> _Plan[None]:
    """QUEUE-12."""
    return _Plan("claim_abandon", _claim_values(at, claim), _done)


def _cancel(at: _At, session_id: str, batch_id: str) -> _Plan[Batch | None]:
    """QUEUE-13."""
    check_id(session_id, "session_id")
    values = (at.store_id, session_id, str(enqueue_seq_of(batch_id)), at.now())
    return _Plan("cancel", values, lambda rows: _batch_of_row(session_id, rows[0]) if rows else None)


def _list_queued(at: _At, session_id: str) -> _Plan[Sequence[Batch]]:
    """QUEUE-3: all batches, claimed or not."""
    check_id(session_id, "session_id")
    return _Plan("list_queued", (at.store_id, session_id), lambda rows: tuple([_batch_of_row(session_id, row) for row in rows]))


def _list_pending(at: _At, session_id: str) -> _Plan[Sequence[Batch]]:
    """QUEUE-3: the batches without a live claim."""
    check_id(session_id, "session_id")
    values = (at.store_id, session_id, at.now())
    return _Plan("list_pending", values, lambda rows: tuple([_batch_of_row(session_id, row) for row in rows]))


# Session metadata and the attachment manifest: contract section 7.


def _save_meta(at: _At, meta: SessionMeta) -> _Plan[None]:
    """META-1."""
    check_meta(meta)
    names = ("session_id", "session_name", "created_at", "model", "cwd")
    values = (_text(getattr(meta, name), name) for name in names)
    return _Plan("meta_put", (at.store_id, *values, dump(meta.relation, "relation")), _done)


def _load_meta(at: _At) -> _Plan[SessionMeta | None]:
    """META-1."""

    def answer(rows: list[_Row]) -> SessionMeta | None:
        if not rows:
            return None
        session_id, session_name, created_at, model, cwd, relation = rows[0]
        return SessionMeta(
            session_id=session_id,
            session_name=session_name,
            created_at=created_at,
            model=model,
            cwd=cwd,
            relation=load_json(relation, "session_meta", "relation"),
        )

    return _Plan("meta_get", (at.store_id,), answer)


def _record_intent(at: _At, intent: Intent) -> _Plan[None]:
    """ATTACH-1, P-INTENT-REPEAT first-wins, P-MANIFEST-KEY session+id."""
    check_intent(intent)
    names = ("attachment_id", "session_id", "canonical_uri")
    values = (_text(getattr(intent, name), name) for name in names)
    return _Plan("record_intent", (at.store_id, *values, str(intent.intent_at_epoch_ms)), _done)


def _commit_refs(at: _At, session_id: str, attachment_ids: Sequence[str]) -> _Plan[None]:
    """ATTACH-2."""
    check_id(session_id, "session_id")
    return _Plan("commit_refs", (at.store_id, session_id, _array(attachment_ids, "attachment_ids"), at.now()), _done)


def _list_uncommitted(at: _At, older_than_epoch_ms: int) -> _Plan[Sequence[ManifestEntry]]:
    """ATTACH-3."""
    check_time(older_than_epoch_ms, "older_than_epoch_ms")

    def answer(rows: list[_Row]) -> Sequence[ManifestEntry]:
        return tuple(
            [
                ManifestEntry(attachment_id=one, session_id=session_id, canonical_uri=uri, intent_at_epoch_ms=intent_at)
                for one, session_id, uri, intent_at in rows
            ]
        )

    return _Plan("list_uncommitted", (at.store_id, str(older_than_epoch_ms)), answer)


def _forget(at: _At, attachment_id: str) -> _Plan[None]:
    """ATTACH-4: the rows of every session."""
    return _Plan("forget", (at.store_id, _text(attachment_id, "attachment_id")), _done)


# Opening: the schema is made if there is none, then the store of the label.


class _Sql:
    """The statements, for a schema of this name."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        quoted = '"' + schema.replace('"', '""') + '"'
        self._prefix = f"{quoted}."
        texts = load_statements("postgres.sql")
        script, make = texts.pop("schema"), texts.pop("create_schema")
        self._known = {name: text.replace("leasehold.", self._prefix) for name, text in texts.items()}
        literal = "'" + quoted.replace("'", "''") + "'"
        lock = f"SELECT pg_advisory_xact_lock(hashtext('leasehold'), hashtext({literal}))"  # there is no row yet to lock
        make = make.replace("SCHEMA_LITERAL", literal).replace("SCHEMA_NAME", quoted)
        stamp = f"INSERT INTO leasehold.leasehold_schema VALUES ('{RECORD_KIND}', {SCHEMA_VERSION})"  # noqa: S608 - ours
        self.creation = f"{lock};\n{make};\n" + f"{script}\n{stamp}".replace("leasehold.", self._prefix)

    def text(self, name: str, arity: int) -> str:
        """The statement of this name, or the call of the function of this name."""
        text = self._known.get(name)
        if text is None:
            holders = ", ".join(f"${number}" for number in range(1, arity + 1))
            text = self._known[name] = f"SELECT * FROM {self._prefix}{name}({holders})"  # noqa: S608 - names of ours
        return text


_sql_of = lru_cache(_Sql)


class _Step(NamedTuple):
    """A statement of the opening. A script is several of them, in one transaction."""

    text: str
    values: tuple[str | None, ...] | None


_MISSING: Final = frozenset({"3F000", "42P01"})  # no such schema, no such table
_MADE_BY_ANOTHER: Final = "LH002"


def _opening(sql: _Sql, label: str) -> Generator[_Step, list[_Row], str]:
    """The steps of opening a store. The result is its number. Done twice they are as done once: a lost connection is replaced."""
    try:
        return (yield from _opening_once(sql, label))
    except Indeterminate:
        return (yield from _opening_once(sql, label))


def _opening_once(sql: _Sql, label: str) -> Generator[_Step, list[_Row], str]:
    look = _Step(sql.text("schema_version", 0), ())
    try:
        rows = yield look
    except Backend as refusal:
        if _state(refusal.__cause__) not in _MISSING:
            raise
        try:
            yield _Step(sql.creation, None)
        except Backend as failure:
            if _state(failure.__cause__) != _MADE_BY_ANOTHER:
                raise
        rows = yield look
    _check_version(sql.schema, rows)
    rows = yield _Step(sql.text("open_store", 1), (label,))
    return str(rows[0][0])


def _check_version(schema: str, rows: list[_Row]) -> None:
    if not rows:
        raise Backend(f"the schema {schema} belongs to another program. Nothing was changed: give the store a schema of its own.")
    ((version, encoding, isolation),) = rows
    if version != SCHEMA_VERSION:
        raise UnsupportedRecordSchemaVersion(
            f"the schema {schema} has version {version}, this program reads version {SCHEMA_VERSION}. Nothing was changed: "
            "open it with the release of leasehold that wrote it, or a later one.",
            record_kind=RECORD_KIND,
            actual=version,
            expected=SCHEMA_VERSION,
        )
    if encoding != "UTF8":
        raise Backend(f"the database has the encoding {encoding}, which does not hold every text: make it with ENCODING 'UTF8'.")
    if isolation != "read committed":
        raise Backend(
            f"the connection runs in {isolation}: the store needs read committed. Make the pool with leasehold.stores.postgres."
            "connection_pool, or set default_transaction_isolation."
        )


# Sending: psycopg's connection and its conversions, without its cursor, which takes longer than many a statement.

_ATTEMPTS: Final = 5
"""How often a statement is prepared, where a pooler hands each transaction to another connection of the server."""


@lru_cache(maxsize=1024)
def _name_of(text: str) -> bytes:
    """The name that a statement is prepared under: the same on every connection, so that a pooler's clients may share it."""
    return b"leasehold-" + sha256(text.encode()).hexdigest()[:32].encode()


class _Line:
    """A connection with its prepared statements."""

    def __init__(self, connection: _Connection | _AsyncConnection) -> None:
        self._server = connection.pgconn
        self._prepared: set[str] = set()
        self._loading = Transformer()

    def send(self, text: str, values: tuple[str | None, ...]) -> PQGen[list[_Row]]:
        """One round trip, the first time two."""
        given = [None if value is None else value.encode() for value in values]
        if b"\0" in b"".join(filter(None, given)):
            raise psycopg.DataError("a text cannot contain a null character")
        name = _name_of(text)
        for left in reversed(range(_ATTEMPTS)):
            if text not in self._prepared:
                self._server.send_prepare(name, text.encode())
                with suppress(psycopg.errors.DuplicatePreparedStatement):  # by another client of the same pooler
                    self._rows((yield from execute(self._server)))
                self._prepared.add(text)
            self._server.send_query_prepared(name, given, None, Format.BINARY)
            try:
                return self._rows((yield from execute(self._server)))
            except psycopg.errors.InvalidSqlStatementName:  # a pool's reset, or a pooler, has dropped it: nothing happened
                self._prepared.clear()
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _rows(self, results: list[PGresult]) -> list[_Row]:
        result = results[-1]
        if result.status == ExecStatus.TUPLES_OK:
            self._loading.set_pgresult(result)
            return self._loading.load_rows(0, result.ntuples, tuple)
        if result.status == ExecStatus.COMMAND_OK:
            return []
        raise error_from_result(result)


_lines: WeakKeyDictionary[_Connection | _AsyncConnection, _Line] = WeakKeyDictionary()
"""A pool's connections keep theirs from handle to handle."""


def line_of(connection: _Connection | _AsyncConnection) -> _Line:
    """What statements are sent by on this connection."""
    line = _lines.get(connection)
    if line is None:
        line = _lines[connection] = _Line(connection)
    return line


# What errors mean for the caller.

_CONTENDED: Final = frozenset({"40001", "40P01", "55P03", "57014"})
"""Serialisation failure, deadlock, lock timeout, statement timeout or cancel: the transaction is undone."""
_LOST: Final = ("08", "57")
_REFUSED_VALUE: Final = ("22", "23", "54")
_ADVICE: Final = {
    "26000": "A pooler gives each statement another connection: see its prepared statements in docs/postgres.md.",
    "25006": "The server only reads: name the primary.",
    "42501": "This user may not do that: ask the owner of the database for the right.",
    "53100": "Free some space and try again.",
    "LH001": "It was dropped: open it anew.",
    "XX001": "It is unreadable: restore the database from a backup.",
    "XX002": "An index is damaged: REINDEX, or restore the database from a backup.",
}
_CHANGED: Final = "The schema was changed or dropped, or is not of this release: open the store anew."


def _state(error: BaseException | None) -> str | None:
    return error.sqlstate if isinstance(error, psycopg.Error) else None


def _refusal(error: Exception) -> Refusal | Indeterminate | None:
    """What an error of the database, or of handing a value to it, means (LAW-12, LAW-15)."""
    if isinstance(error, UnicodeEncodeError):
        return InvalidRequest(f"a value cannot be stored: {error}", field="value")
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state in _CONTENDED:
        return Contended(f"{_brief(error)}. Nothing happened: try again.")
    if state is None and isinstance(error, (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)):
        return InvalidRequest(f"a value cannot be stored: {error}", field="value")
    if state is None or state.startswith(_LOST) or state == "40003" or _is_fatal(error):
        return Indeterminate(f"the connection was lost: {_brief(error)}. The operation took effect once or never.")
    if state == "23505":
        return InvalidRequest(f"a node id is given twice, or exists: {_brief(error)}", field="node_id")
    if state.startswith(_REFUSED_VALUE):
        return InvalidRequest(f"a value cannot be stored: {_brief(error)}", field="value")
    return Backend(f"{_brief(error)}. Nothing was changed. {_ADVICE.get(state, _CHANGED if state[:2] in {'3F', '42'} else '')}")


def _is_fatal(error: psycopg.Error) -> bool:
    """The connection ended with it."""
    return error.diag.severity_nonlocalized in {"FATAL", "PANIC"}


def _brief(error: BaseException) -> str:
    first = str(error).strip().splitlines()
    return first[0].rstrip(".") if first else type(error).__name__


def _is_dead(connection: _Connection | _AsyncConnection) -> bool:
    """The server has ended the connection, as far as can be seen without asking. Nothing is sent on such a one."""
    if connection.closed:
        return True
    try:  # the first look may find the server's last words, the second the end
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return False


def _is_busy(connection: _Connection | _AsyncConnection) -> bool:
    """It was left in the middle of a statement, so that nothing more can be sent."""
    return connection.pgconn.transaction_status != TransactionStatus.IDLE


def _not_connected(error: psycopg.Error) -> Backend:
    return Backend(f"no connection: {' '.join(str(error).split())}. Nothing happened: check the server and the conninfo.")


def _check_server(connection: _Connection | _AsyncConnection) -> None:
    version = connection.info.server_version
    if version < OLDEST_SERVER * 10_000:
        raise Backend(f"the server is PostgreSQL {version // 10_000}: the store needs {OLDEST_SERVER} or newer.")
    if connection.pgconn.parameter_status(b"client_encoding") != b"UTF8":
        raise Backend("the connection's client_encoding is not UTF8: leave it out of the pool's conninfo.")


def connection_info(conninfo: str, lock_timeout_ms: int = 5000, statement_timeout_ms: int = 30_000) -> str:
    """A conninfo with the settings that the store's connections run with. Settings that it has itself win."""
    check_count(lock_timeout_ms, "lock_timeout_ms")
    check_count(statement_timeout_ms, "statement_timeout_ms")
    ours = (
        f"lock_timeout={lock_timeout_ms}",
        f"statement_timeout={statement_timeout_ms}",
        "default_transaction_isolation=read\\ committed",
        "synchronous_commit=on",
        "client_min_messages=warning",
        # Every statement finds its rows by an index: a plan made when the tables were small is right when they are large.
        "plan_cache_mode=force_generic_plan",
        "enable_seqscan=off",
        "enable_bitmapscan=off",
        "jit=off",
    )
    try:
        given: dict[str, Any] = conninfo_to_dict(conninfo)
        options = " ".join([*(f"-c {one}" for one in ours), str(given.get("options") or "")]).strip()
        return make_conninfo(
            conninfo,
            **{"application_name": "leasehold", "connect_timeout": "10", **given, "options": options, "client_encoding": "UTF8"},
        )
    except psycopg.ProgrammingError as error:
        raise InvalidRequest(f"the conninfo cannot be read: {_brief(error)}", field="conninfo") from error


def connection_pool(conninfo: str, *, lock_timeout_ms: int = 5000, statement_timeout_ms: int = 30_000, **options: Any) -> Any:
    """A `psycopg_pool.ConnectionPool` for handles to take their connections from. ``options`` are its own, as ``max_size``."""
    from psycopg_pool import ConnectionPool  # noqa: PLC0415 - only who wants a pool needs it

    info = connection_info(conninfo, lock_timeout_ms, statement_timeout_ms)
    return ConnectionPool(info, kwargs={"autocommit": True}, **{"min_size": 1, "max_size": 10, "open": True, **options})


def async_connection_pool(conninfo: str, *, lock_timeout_ms: int = 5000, statement_timeout_ms: int = 30_000, **options: Any) -> Any:
    """The same for asyncio, to be opened with ``async with``."""
    from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415 - as above

    info = connection_info(conninfo, lock_timeout_ms, statement_timeout_ms)
    return AsyncConnectionPool(info, kwargs={"autocommit": True}, **{"min_size": 1, "max_size": 10, "open": False, **options})


class _Handle:
    """What both faces of the store know: where it is, and what is called before a statement is sent."""

    capabilities = Capabilities(tier="durable", handles=8, reopen=True, concurrent=True)

    def __init__(
        self,
        conninfo: str,
        *,
        store: str = "default",
        clock: Clock | None = None,
        schema: str = "leasehold",
        lock_timeout_ms: int = 5000,
        statement_timeout_ms: int = 30_000,
    ) -> None:
        check_id(store, "store")
        check_id(schema, "schema")
        self._conninfo = conninfo
        self._label = store
        self._schema = schema
        self._lock_timeout_ms = lock_timeout_ms
        self._statement_timeout_ms = statement_timeout_ms
        self._info = connection_info(conninfo, lock_timeout_ms, statement_timeout_ms)
        self._sql = _sql_of(schema)
        self._at = _At("0", clock)
        self._hook: Hook | None = None
        self._is_closed = False

    @property
    def durability_tier(self) -> Tier:
        """TIER-1."""
        return "durable"

    def trace(self, hook: Hook | None) -> None:
        """``hook`` is called with each statement, on this handle, just before it is sent to the database. None: no longer.

        An operation is one statement, and its own transaction: there is no BEGIN or COMMIT to see.
        """
        self._hook = hook

    def _options(self) -> dict[str, Any]:
        return {
            "store": self._label,
            "clock": self._at.clock,
            "schema": self._schema,
            "lock_timeout_ms": self._lock_timeout_ms,
            "statement_timeout_ms": self._statement_timeout_ms,
        }

    def _announce(self, text: str) -> None:
        if self._hook is not None:
            self._hook(text)

    def _require_open(self) -> None:
        if self._is_closed:
            raise Backend("this handle is closed: open another one with open_handle()")

    def _in_use(self) -> Contended:
        return Contended(f"this handle was in use for {self._lock_timeout_ms} ms. Nothing happened: try again.")


def _blocking(plan: Callable[Concatenate[_At, P], _Plan[T]]) -> Callable[Concatenate[PostgresStore, P], T]:
    """The operation of this plan, for the store that waits."""

    @wraps(plan)
    def operation(self: PostgresStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._answer(plan(self._at, *args, **kwargs))

    return operation


def _awaiting(
    plan: Callable[Concatenate[_At, P], _Plan[T]],
) -> Callable[Concatenate[AsyncPostgresStore, P], Coroutine[Any, Any, T]]:
    """The operation of this plan, for asyncio."""

    @wraps(plan)
    async def operation(self: AsyncPostgresStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._answer(plan(self._at, *args, **kwargs))

    return operation


class PostgresStore(_Handle):
    """A handle on the store of a label in a database: a connection of its own, which threads may share, one at a time.

    Schema and store are made if there are none. ``pool``: the connection is taken from it, and given back on close. Without a
    ``clock`` leases are decided on the database's, read when the locks are taken. Every wait is bounded, then `Contended`.
    """

    def __init__(self, conninfo: str, *, pool: ConnectionPool[Any] | None = None, **options: Any) -> None:
        super().__init__(conninfo, **options)
        self._pool = pool
        self._lock = Lock()
        self._connection: _Connection | None = None
        try:
            self._at = _At(self._open(), self._at.clock)
        except BaseException:
            self.close()
            raise

    def open_handle(self) -> PostgresStore:
        """Another handle on the same store, also after this one was closed."""
        return type(self)(self._conninfo, pool=self._pool, **self._options())

    def close(self) -> None:
        """Close this handle; the data stays in the database. Closing twice is fine."""
        with self._lock:
            self._is_closed = True
            self._let_go()

    def _open(self) -> str:
        steps = _opening(self._sql, self._label)
        try:
            step = next(steps)
            while True:
                try:
                    rows = self._exchange(step.text, step.values)
                except (Refusal, Indeterminate) as failure:
                    step = steps.throw(failure)
                else:
                    step = steps.send(rows)
        except StopIteration as done:
            number: str = done.value
            return number

    def _answer(self, plan: _Plan[T]) -> T:
        rows = self._exchange(self._sql.text(plan.name, len(plan.values)), plan.values) if plan.name else []
        return plan.answer(rows)

    def _exchange(self, text: str, values: tuple[str | None, ...] | None) -> list[_Row]:
        """One round trip."""
        if not self._lock.acquire(timeout=self._lock_timeout_ms / 1000):
            raise self._in_use()
        try:
            connection = self._connected()
            self._announce(text)
            try:
                if values is None:
                    connection.execute(text)
                    return []
                return connection.wait(self._line.send(text, values))
            except Exception as error:
                refusal = _refusal(error)
                raise (refusal or error) from error
            finally:
                if connection.closed or _is_busy(connection):
                    connection.close()
        finally:
            self._lock.release()

    def _connected(self) -> _Connection:
        """The connection, or a new one if the server has ended it. Nothing was sent if there is none to be had."""
        self._require_open()
        while self._connection is not None and _is_dead(self._connection):
            self._let_go()
        if self._connection is None:
            try:
                self._connection = self._pool.getconn(self._lock_timeout_ms / 1000) if self._pool is not None else self._connect()
            except psycopg.OperationalError as error:
                if self._pool is not None:
                    raise Contended(f"the pool gave no connection: {_brief(error)}. Nothing happened: try again.") from error
                raise _not_connected(error) from error
            _check_server(self._connection)
            self._line = line_of(self._connection)
            if _is_dead(self._connection):  # it ended in the pool
                return self._connected()
        return self._connection

    def _connect(self) -> _Connection:
        return psycopg.Connection.connect(self._info, autocommit=True)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._pool is not None:
            self._pool.putconn(connection)
        else:
            connection.close()

    try_claim_session_execution_lease = _blocking(_try_claim_lease)
    renew_session_execution_lease = _blocking(_renew_lease)
    release_session_execution_lease = _blocking(_release_lease)
    commit_runtime_state = _blocking(_commit)
    load_session = _blocking(_load_session)
    load_node = _blocking(_load_node)
    tombstone_nodes = _blocking(_tombstone_nodes)
    vacuum = _blocking(_vacuum)
    gc_unreachable = _blocking(_gc_unreachable)
    enqueue_queued_work = _blocking(_enqueue)
    claim_ready_queued_work = _blocking(_claim_ready)
    claim_ready_queued_work_by_batch_ids = _blocking(_claim_ready_by_batch_ids)
    renew_queued_work_claim = _blocking(_renew_claim)
    abandon_queued_work_claim = _blocking(_abandon_claim)
    cancel_queued_work_batch = _blocking(_cancel)
    list_queued_work = _blocking(_list_queued)
    list_pending_queued_work = _blocking(_list_pending)
    save_session_meta = _blocking(_save_meta)
    load_session_meta = _blocking(_load_meta)
    record_intent = _blocking(_record_intent)
    commit_refs = _blocking(_commit_refs)
    list_uncommitted = _blocking(_list_uncommitted)
    forget = _blocking(_forget)


class AsyncPostgresStore(_Handle):
    """The same for asyncio: `open` instead of the constructor, and every operation a coroutine."""

    def __init__(self, conninfo: str, *, pool: AsyncConnectionPool[Any] | None = None, **options: Any) -> None:
        super().__init__(conninfo, **options)
        self._pool = pool
        self._lock = asyncio.Lock()
        self._connection: _AsyncConnection | None = None

    @classmethod
    async def open(cls, conninfo: str, **options: Any) -> AsyncPostgresStore:
        """A handle on the store of a label, as `PostgresStore` opens it."""
        handle = cls(conninfo, **options)
        try:
            handle._at = _At(await handle._open(), handle._at.clock)
        except BaseException:
            await handle.close()
            raise
        return handle

    async def open_handle(self) -> AsyncPostgresStore:
        """Another handle on the same store, also after this one was closed."""
        return await type(self).open(self._conninfo, pool=self._pool, **self._options())

    async def close(self) -> None:
        """Close this handle; the data stays in the database. Closing twice is fine."""
        async with self._lock:
            self._is_closed = True
            await self._let_go()

    async def _open(self) -> str:
        steps = _opening(self._sql, self._label)
        try:
            step = next(steps)
            while True:
                try:
                    rows = await self._exchange(step.text, step.values)
                except (Refusal, Indeterminate) as failure:
                    step = steps.throw(failure)
                else:
                    step = steps.send(rows)
        except StopIteration as done:
            number: str = done.value
            return number

    async def _answer(self, plan: _Plan[T]) -> T:
        rows = await self._exchange(self._sql.text(plan.name, len(plan.values)), plan.values) if plan.name else []
        return plan.answer(rows)

    async def _exchange(self, text: str, values: tuple[str | None, ...] | None) -> list[_Row]:
        """One round trip."""
        try:
            async with asyncio.timeout(self._lock_timeout_ms / 1000):
                await self._lock.acquire()
        except TimeoutError as error:
            raise self._in_use() from error
        try:
            connection = await self._connected()
            self._announce(text)
            try:
                if values is None:
                    await connection.execute(text)
                    return []
                return await connection.wait(self._line.send(text, values))
            except Exception as error:
                refusal = _refusal(error)
                raise (refusal or error) from error
            finally:
                if connection.closed or _is_busy(connection):
                    await connection.close()
        finally:
            self._lock.release()

    async def _connected(self) -> _AsyncConnection:
        """The connection, or a new one if the server has ended it. Nothing was sent if there is none to be had."""
        self._require_open()
        while self._connection is not None and _is_dead(self._connection):
            await self._let_go()
        if self._connection is None:
            try:
                if self._pool is not None:
                    self._connection = await self._pool.getconn(self._lock_timeout_ms / 1000)
                else:
                    self._connection = await psycopg.AsyncConnection.connect(self._info, autocommit=True)
            except psycopg.OperationalError as error:
                if self._pool is not None:
                    raise Contended(f"the pool gave no connection: {_brief(error)}. Nothing happened: try again.") from error
                raise _not_connected(error) from error
            _check_server(self._connection)
            self._line = line_of(self._connection)
            if _is_dead(self._connection):  # it ended in the pool
                return await self._connected()
        return self._connection

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._pool is not None:
            await self._pool.putconn(connection)
        else:
            await connection.close()

    try_claim_session_execution_lease = _awaiting(_try_claim_lease)
    renew_session_execution_lease = _awaiting(_renew_lease)
    release_session_execution_lease = _awaiting(_release_lease)
    commit_runtime_state = _awaiting(_commit)
    load_session = _awaiting(_load_session)
    load_node = _awaiting(_load_node)
    tombstone_nodes = _awaiting(_tombstone_nodes)
    vacuum = _awaiting(_vacuum)
    gc_unreachable = _awaiting(_gc_unreachable)
    enqueue_queued_work = _awaiting(_enqueue)
    claim_ready_queued_work = _awaiting(_claim_ready)
    claim_ready_queued_work_by_batch_ids = _awaiting(_claim_ready_by_batch_ids)
    renew_queued_work_claim = _awaiting(_renew_claim)
    abandon_queued_work_claim = _awaiting(_abandon_claim)
    cancel_queued_work_batch = _awaiting(_cancel)
    list_queued_work = _awaiting(_list_queued)
    list_pending_queued_work = _awaiting(_list_pending)
    save_session_meta = _awaiting(_save_meta)
    load_session_meta = _awaiting(_load_meta)
    record_intent = _awaiting(_record_intent)
    commit_refs = _awaiting(_commit_refs)
    list_uncommitted = _awaiting(_list_uncommitted)
    forget = _awaiting(_forget)

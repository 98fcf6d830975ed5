"""Stores that are right for one client at a time and wrong for two: most let go of their lock between a check and its act.

No run of one client shows any of these defects. ``rules`` are those that a reader of the history would name.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from operator import add
from typing import Any, Literal

from attrs import evolve

from leasehold.records import Batch, BatchDraft, Boundary, Claim, Commit, CommitResult, Fence, Lease, Read, ReadScope, UsageRow
from leasehold.store import Clock, Contended, InvalidRequest
from leasehold.stores.memory import MemoryStore, _State
from leasehold.stores.sqlite import _SQL, SqliteStore, _dump_total, _expiry, _live, _load_batch, _load_totals
from tests.liars import crashing
from tests.liars.crowded import SharesLock
from tests.liars.liars import Liar, memory, wrapped
from tests.liars.patching import in_a_folder


def gap(indent: int) -> str:
    """The lock is let go and taken again: what was checked before may be so no longer."""
    return f"{' ' * indent}self._lock.release()\n{' ' * indent}self._lock.acquire()\n"


def racing(name: str, why: str, rules: str, *edits: str) -> Liar:
    """A memory store with edits."""
    return evolve(memory(name, why, rules, *edits), needs="race")


def between(name: str, why: str, rules: str, wrapper: Any, store: Literal["memory", "sqlite"] = "memory") -> Liar:
    """A store of its own."""
    return evolve(wrapped(name, why, rules, store, wrapper), needs="race")


_GRANT_IF = "            if lease is None or not _live(lease.expires_at_epoch_ms, now):\n                return self._grant("
_CHECKED = (
    "            self._check_fence(commit.session_id, commit.session_execution_lease, now)\n"
    "            self._check_revision(commit.expected_head_revision)\n"
    "            self._check_completions(commit)\n"
)
_COMPLETE_ONE = "                queue.remove(queue.entries[batch_id])\n"
_COMPLETE_IF_THERE = "                if batch_id in queue.entries:\n                    queue.remove(queue.entries[batch_id])\n"
_FREE_KEY = "            del self.by_source_key[batch.source_key]\n"
_FREE_ANY_KEY = "            self.by_source_key.pop(batch.source_key, None)\n"
_REPLAYED = (
    "            self._check_binding(commit)\n"
    "            stamped = self._stamped_result(commit.session_id, commit.turn_commit)\n"
    "            if stamped is not None:\n"
    "                self._release(commit.release_session_execution_lease)\n"
    "                return stamped\n"
)
_COMPLETE = "        self._complete(commit.session_id, commit.completed_queue_claims)\n"
_LAST = (
    "            self._state.stamps[stamp.session_id, stamp.turn_id] = (stamp.turn_commit_hash, result)\n"
    "        self._release(commit.release_session_execution_lease)\n"
)
_STAMPS = "        self._stamp_attachments(commit.session_id, commit.committed_attachment_ids, now)\n"
_BODY = "return None if ref is None else self._state.bodies[ref]"
_BODY_IF_THERE = "return self._state.bodies.get(ref)"

LANES = (
    racing(
        "lane-check-then-act",
        "the lane is looked at under the lock and granted under the lock, but not under the same one",
        "LEASE-8 LAW-2 LEASE-2",
        _GRANT_IF,
        _GRANT_IF.replace("                return", gap(16) + "                return"),
    ),
    racing(
        "fencing-read-before",
        "the next fencing token is read before the lock is taken, and written under it",
        "LAW-3 LEASE-1",
        '        check_id(owner_id, "owner_id")\n        check_ttl(lease_ttl_ms)\n'
        "        with self._lock:\n            now = self._clock.now_ms()\n"
        "            lease = self._state.leases.get(session_id)\n",
        '        check_id(owner_id, "owner_id")\n        check_ttl(lease_ttl_ms)\n'
        "        fencing_token = self._state.lane_fencing.get(session_id, 0) + 1\n"
        "        with self._lock:\n            now = self._clock.now_ms()\n"
        "            lease = self._state.leases.get(session_id)\n",
        "return self._grant(session_id, owner_id, lease_ttl_ms, now)",
        "return self._grant(session_id, owner_id, lease_ttl_ms, now, fencing_token)",
        "def _grant(self, session_id: str, owner_id: str, ttl: int, now: int) -> Lease:",
        "def _grant(self, session_id: str, owner_id: str, ttl: int, now: int, fencing_token: int) -> Lease:",
        "        fencing_token = state.lane_fencing.get(session_id, 0) + 1\n",
        "",
    ),
    racing(
        "renewal-revives-lane",
        "a renewal writes back the lease that it read, which may have been released meanwhile",
        "LEASE-5 LEASE-6 LEASE-1 LAW-2",
        "            return self._set_expiry(lease, _expiry(now, lease_ttl_ms))\n",
        gap(12) + "            return self._set_expiry(lease, _expiry(now, lease_ttl_ms))\n",
    ),
    racing(
        "reentry-revives-lane",
        "a re-entry writes back the lease that it read, which may have been released meanwhile",
        "LEASE-2 LEASE-6 LEASE-1 LAW-2",
        "                return self._reenter(",
        gap(16) + "                return self._reenter(",
    ),
    racing(
        "release-check-then-act",
        "a release looks whether its lease is the lane's, and then clears whatever lease the lane has",
        "LEASE-7 LEASE-6 LAW-2 LEASE-3",
        "        with self._lock:\n            self._release(completion)\n",
        "        with self._lock:\n            if self._held_lease(completion) is None:\n                return\n"
        + gap(12)
        + "            self._state.leases.pop(completion.session_id, None)\n",
    ),
)

QUEUES = (
    racing(
        "claim-check-then-act",
        "the run is chosen, and claimed once the lock is taken again: two claimers get one batch",
        "LAW-4 LAW-5 QUEUE-5 QUEUE-8",
        "            run = self._run(session_id, boundary, max_batches, now)\n",
        "            run = self._run(session_id, boundary, max_batches, now)\n"
        + gap(12)
        + "            self._check_fence(session_id, session_execution_lease, now)\n",
        # what went meanwhile is not claimed
        "        for entry in run:\n            entry.fencing = fencing_token\n",
        "        run = [entry for entry in run if entry.batch.batch_id in self._state.queues[session_id].entries]\n"
        "        for entry in run:\n            entry.fencing = fencing_token\n",
    ),
    racing(
        "claim-by-ids-check-then-act",
        "the batches named are looked at, and claimed once the lock is taken again",
        "LAW-4 LAW-5 QUEUE-5 QUEUE-10",
        "            return self._claim(session_id, owner_id, run, lease_ttl_ms, now)\n\n    def _check_claim_input",
        gap(12)
        + "            self._check_fence(session_id, session_execution_lease, now)\n"
        + "            run = [entry for entry in run if entry.batch.batch_id in self._state.queues[session_id].entries]\n"
        + "            return self._claim(session_id, owner_id, run, lease_ttl_ms, now)\n\n    def _check_claim_input",
    ),
    racing(
        "claim-fence-check-then-act",
        "the session lease is looked at, and work claimed under it once the lock is taken again",
        "QUEUE-4",
        "            self._check_fence(session_id, session_execution_lease, now)\n"
        "            run = self._run(session_id, boundary, max_batches, now)\n",
        "            self._check_fence(session_id, session_execution_lease, now)\n"
        + gap(12)
        + "            run = self._run(session_id, boundary, max_batches, now)\n",
    ),
    racing(
        "source-key-check-then-insert",
        "a source key is looked up, and the batch queued once the lock is taken again",
        "QUEUE-2",
        "            stored = self._number(batch, now)\n",
        gap(12) + "            stored = self._number(batch, now)\n",
        _FREE_KEY,
        _FREE_ANY_KEY,
    ),
    racing(
        "cancel-check-then-delete",
        "a batch is seen to be unclaimed, and deleted once the lock is taken again",
        "QUEUE-13 LAW-5 LAW-12",
        "            queue.remove(entry)\n            return entry.batch\n",
        gap(12)
        + "            if queue.entries.get(batch_id) is not entry:\n                return None\n"
        + "            queue.remove(entry)\n            return entry.batch\n",
    ),
    racing(
        "cancelled-for-two",
        "two that cancel one batch at once are both told that they did",
        "QUEUE-13 LAW-5",
        "            queue.remove(entry)\n            return entry.batch\n",
        gap(12) + "            if entry.claim is not None and _live(entry.claim.expires_at, now):\n                return None\n"
        "            if queue.entries.get(batch_id) is entry:\n                queue.remove(entry)\n"
        "            return entry.batch\n",
    ),
    racing(
        "number-before-lock",
        "a batch is numbered before the lock is taken: it is seen after batches with greater numbers",
        "QUEUE-1 QUEUE-3 LAW-12",
        "            queue.add(_Entry(stored), now)\n",
        "            if batch.source_key is None:\n" + gap(16) + "            queue.add(_Entry(stored), now)\n",
    ),
    racing(
        "claim-renewal-revives",
        "the renewal of a claim writes back all that it read: a claim that was abandoned meanwhile holds its batches again",
        "QUEUE-12 QUEUE-11 QUEUE-3 LAW-4",
        "            self._state.queues[claim.session_id].extend(held, _expiry(now, lease_ttl_ms), now)\n",
        "            entries = [*held.entries.values()]\n" + gap(12) + "            queue = self._state.queues[claim.session_id]\n"
        "            if claim.claim_id not in queue.claims:\n"
        "                here = [one for one in entries if one.batch.batch_id in queue.entries]\n"
        "                if not here:\n"
        "                    raise QueuedWorkClaimExpired(session_id=claim.session_id, claim_id=claim.claim_id)\n"
        "                queue.hold(held, here, now)\n"
        "            queue.extend(held, _expiry(now, lease_ttl_ms), now)\n",
    ),
    racing(
        "abandon-check-then-act",
        "a claim's batches are looked up, and freed once the lock is taken again, whoever holds them by then",
        "QUEUE-12 QUEUE-3 LAW-4 LAW-5",
        "            queue = self._state.queues[claim.session_id]\n            for entry in tuple(held.entries.values()):\n",
        "            queue = self._state.queues[claim.session_id]\n            entries = tuple(held.entries.values())\n"
        + gap(12)
        + "            for entry in [one for one in entries if queue.entries.get(one.batch.batch_id) is one]:\n",
    ),
    racing(
        "list-misses-moved",
        "a list is put together from claimed and from unclaimed work, looked up apart: what is claimed in between is missed",
        "QUEUE-3 LAW-5",
        "            return () if queue is None else tuple([entry.batch for entry in queue.everything])\n",
        "            if queue is None:\n                return ()\n"
        "            claimed = [entry for held in queue.claims.values() for entry in held.entries.values()]\n"
        + gap(12)
        + "            every = sorted([*claimed, *[one for one in queue.unclaimed if one not in claimed]], key=_by_seq)\n"
        "            return tuple([entry.batch for entry in every])\n",
    ),
)

COMMITS = (
    racing(
        "cas-check-then-act",
        "the expected revision is compared, and the commit applied once the lock is taken again",
        "COMMIT-6 LAW-6",
        _CHECKED,
        "            self._check_fence(commit.session_id, commit.session_execution_lease, now)\n"
        "            self._check_revision(commit.expected_head_revision)\n"
        + gap(12)
        + _REPLAYED
        + "            self._check_fence(commit.session_id, commit.session_execution_lease, now)\n"
        "            self._check_completions(commit)\n",
    ),
    racing(
        "stamp-check-then-act",
        "the turn's stamp is looked up, and the commit applied once the lock is taken again",
        "LAW-7 COMMIT-3 COMMIT-4",
        _CHECKED,
        gap(12) + "            self._check_binding(commit)\n" + _CHECKED,
    ),
    racing(
        "fence-check-then-act",
        "the commit's fence is looked at, and the commit applied once the lock is taken again",
        "COMMIT-5 LAW-2",
        _CHECKED,
        "            self._check_fence(commit.session_id, commit.session_execution_lease, now)\n"
        + gap(12)
        + _REPLAYED
        + _CHECKED.partition("\n")[2],
    ),
    racing(
        "completion-check-then-delete",
        "the completed claims are looked at, and their batches deleted once the lock is taken again, whoever holds them by then",
        "COMMIT-7 LAW-5 LAW-4",
        _CHECKED,
        _CHECKED + gap(12) + _REPLAYED + "".join(_CHECKED.splitlines(keepends=True)[:2]),
        _COMPLETE_ONE,
        _COMPLETE_IF_THERE,
    ),
    racing(
        "stamped-before-applied",
        "the stamp is stored, and then the commit: its replay may be answered before there is anything",
        "LAW-11 LAW-7 COMMIT-4 COMMIT-8",
        "            self._apply(commit, result, bodies, now)  # COMMIT-8: nothing fails from here on\n",
        "            stamp = commit.turn_commit\n"
        "            if stamp is not None:\n"
        "                self._state.stamps[stamp.session_id, stamp.turn_id] = (stamp.turn_commit_hash, result)\n"
        + gap(16)
        + "                result = CommitResult(self._revision() + 1, manifest_ref(manifest), manifest)\n"
        "            self._apply(commit, result, bodies, now)\n",
    ),
    racing(
        "usage-afterwards",
        "the usage rows of a commit are added after its head is there for all to see",
        "LAW-11 COMMIT-8 LAW-8",
        "        self._add_usage(commit.usage_deltas)\n",
        "",
        _LAST,
        _LAST + gap(8) + "        self._add_usage(commit.usage_deltas)\n",
    ),
    racing(
        "completes-afterwards",
        "completed batches are removed after the commit's head is there for all to see",
        "LAW-11 COMMIT-8 COMMIT-7 LAW-5",
        _COMPLETE + _STAMPS,
        _STAMPS,
        _LAST,
        _LAST + gap(8) + _COMPLETE,
        _COMPLETE_ONE,
        _COMPLETE_IF_THERE,
    ),
    racing(
        "stamps-attachments-afterwards",
        "attachments are stamped after the commit's head is there for all to see",
        "LAW-11 COMMIT-8 ATTACH-2",
        _STAMPS,
        "",
        _LAST,
        _LAST + gap(8) + _STAMPS,
    ),
    racing(
        "releases-afterwards",
        "the lane is released after the commit's head is there for all to see",
        "LAW-11 COMMIT-8",
        _LAST,
        _LAST.replace("        self._release", gap(8) + "        self._release"),
    ),
    racing(
        "replaces-in-two",
        "a graph is replaced in two steps: first the old nodes go",
        "LAW-11 GRAPH-1",
        "            state.tombstoned = set()\n        if not",
        "            state.tombstoned = set()\n" + gap(12) + "        if not",
    ),
)

LOADS = (
    racing(
        "head-and-graph-apart",
        "a load reads the head, and the rest once the lock is taken again",
        "LAW-11",
        "            return Read(\n",
        gap(12) + "            return Read(\n",
        _BODY,
        _BODY_IF_THERE,
    ),
    racing(
        "ledger-apart",
        "a load reads the ledger once the lock is taken again",
        "LAW-11",
        "                token_ledger=tuple(self._state.ledger.values()),\n            )\n",
        "                token_ledger=self._ledger_apart(),\n            )\n\n"
        "    def _ledger_apart(self) -> tuple[UsageRow, ...]:\n" + gap(8) + "        return tuple(self._state.ledger.values())\n",
    ),
    racing(
        "tombstones-one-by-one",
        "several nodes are hidden one after the other, each under the lock",
        "GRAPH-6 LAW-11 LAW-12",
        "            stored = self._state.nodes\n"
        "            self._state.tombstoned.update(node_id for node_id in ids if node_id in stored)\n",
        "            for node_id in ids:\n" + gap(16) + "                if node_id in self._state.nodes:\n"
        "                    self._state.tombstoned.add(node_id)\n",
    ),
    racing(
        "collects-what-came-meanwhile",
        "a collection looks what is referred to, and deletes the rest once the lock is taken again, also what came meanwhile",
        "GRAPH-9",
        "            kept = {ref for manifest in roots for ref in _refs(manifest)}\n",
        "            kept = {ref for manifest in roots for ref in _refs(manifest)}\n"
        + gap(12)
        + "            bodies = self._state.bodies\n",
        _BODY,
        _BODY_IF_THERE,
    ),
    racing(
        "stamps-one-by-one",
        "attachments are stamped one after the other, each under the lock",
        "ATTACH-2 LAW-11 ATTACH-3 LAW-12",
        "        for attachment_id in attachment_ids:\n",
        "        for attachment_id in attachment_ids:\n" + gap(12),
    ),
    racing(
        "intent-check-then-insert",
        "an intent is seen to be new, and recorded once the lock is taken again: a stamp in between is undone",
        "ATTACH-1 ATTACH-2",
        "            row = _manifest_entry(intent, None)\n",
        gap(12)
        + "            rows = self._state.manifest.setdefault(intent.attachment_id, {})\n"
        + "            row = _manifest_entry(intent, None)\n",
    ),
    racing(
        "vacuum-counts-apart",
        "a vacuum counts what is hidden, and removes it once the lock is taken again: two that run at once both count it",
        "GRAPH-7",
        "            for node_id in tombstoned:\n                del self._state.nodes[node_id]\n",
        gap(12) + "            for node_id in tombstoned:\n                self._state.nodes.pop(node_id, None)\n",
    ),
)


class Notifies(MemoryStore):
    """Tells others of new work under a lock of its own. Is that one taken, the caller is told to try again: the batch is queued."""

    def __init__(self, clock: Clock | None = None, *, shared: _State | None = None) -> None:
        super().__init__(clock, shared=shared)
        vars(self._state).setdefault("bell", threading.Lock())

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        bell: threading.Lock = vars(self._state)["bell"]
        stored = super().enqueue_queued_work(batch)
        if not bell.acquire(blocking=False):
            raise Contended("the bell is in use")
        try:
            self._ring()
        finally:
            bell.release()
        return stored

    def _ring(self) -> None:
        return None


class Deadlocks(MemoryStore):
    """Commits take the lock of the graph and then that of the queue; tombstones take them the other way round."""

    def __init__(self, clock: Clock | None = None, *, shared: _State | None = None) -> None:
        super().__init__(clock, shared=shared)
        vars(self._state).setdefault("graph", threading.Lock())
        vars(self._state).setdefault("queue", threading.Lock())

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        with vars(self._state)["graph"]:
            return self._commit_with_queue(commit)

    def _commit_with_queue(self, commit: Commit) -> CommitResult:
        with vars(self._state)["queue"]:
            return super().commit_runtime_state(commit)

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        with vars(self._state)["queue"]:
            self._tombstone_with_graph(ids)

    def _tombstone_with_graph(self, ids: Sequence[str]) -> None:
        with vars(self._state)["graph"]:
            super().tombstone_nodes(ids)


class CountsReaders(SharesLock):
    """Who leaves is counted without a lock: of two readers neither gives the store's lock back, or both do."""

    def leave(self) -> None:
        self.readers.count -= 1
        if self.readers.count == 0:
            self.lock.release()


class CachesLoads(MemoryStore):
    """A load is kept, under the number of changes that there were at its end: one that came meanwhile is never seen."""

    def __init__(self, clock: Clock | None = None, *, shared: _State | None = None) -> None:
        super().__init__(clock, shared=shared)
        self._changes: list[str] = vars(self._state).setdefault("changes", [])
        self._loads: dict[ReadScope, tuple[int, Read | None]] = vars(self._state).setdefault("loads", {})

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        result = super().commit_runtime_state(commit)
        self._changes.append("commit")
        return result

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        super().tombstone_nodes(ids)
        self._changes.append("tombstone")

    def load_session(self, scope: ReadScope) -> Read | None:
        known = self._loads.get(scope)
        if known is not None and known[0] == len(self._changes):
            return known[1]
        read = super().load_session(scope)
        self._loads[scope] = len(self._changes), read
        return read


class LooksUnlocked(MemoryStore):
    """Loads take no lock: they walk over what others change."""

    def load_session(self, scope: ReadScope) -> Read | None:
        unlocked = MemoryStore(self._clock, shared=self._state)
        unlocked._lock = threading.Lock()
        return unlocked.load_session(scope)


class LoadsStatementByStatement(SqliteStore):
    """A load is no transaction."""

    def load_session(self, scope: ReadScope) -> Read | None:
        read, self._read = self._read, self._look
        try:
            return super().load_session(scope)
        finally:
            self._read = read


class ChoosesBeforeTheTransaction(SqliteStore):
    """The batches of a claim are chosen by a query, and then claimed in a transaction."""

    def claim_ready_queued_work(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        max_batches: int,
    ) -> Claim | None:
        if max_batches == 0:
            return None
        with self._write as db:
            now = self._clock.now_ms()
            self._check_fence(session_id, self._lane(db, session_id)[1], session_execution_lease, now)
            run = self._run(db, session_id, boundary, max_batches, now)
        if not run:
            return None
        with self._write as db:
            self._check_fence(session_id, self._lane(db, session_id)[1], session_execution_lease, now)
            return self._claim(db, session_id, owner_id, run, lease_ttl_ms, now)


class RefusesTheLoser(SqliteStore):
    """A source key is looked up before the transaction; the second of two that come at once is then refused by the index."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        key = (batch.session_id, batch.source_key)
        if batch.source_key is not None:
            with self._look as db:
                known = db.execute(_SQL["batch_by_source_key"], key).fetchone()
            if known is not None:
                return _load_batch(known)
            with self._write as db:
                if db.execute(_SQL["batch_by_source_key"], key).fetchone() is not None:
                    raise InvalidRequest("UNIQUE constraint failed: batch.session_id, batch.source_key", field="value")
        return super().enqueue_queued_work(batch)


class LooksAtTheLaneBefore(SqliteStore):
    """The lease on a lane is read, and then granted in a transaction."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        with self._look as db:
            now = self._clock.now_ms()
            _, lease = self._lane(db, session_id)
        if lease is not None and _live(lease.expires_at_epoch_ms, now):
            return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        with self._write as db:
            fencing_token, _ = self._lane(db, session_id)
            return self._grant(db, session_id, owner_id, fencing_token + 1, now, _expiry(now, lease_ttl_ms))


class AddsUpInPython(SqliteStore):
    """Usage is read, added to, and written back in three transactions."""

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        with self._look as db:
            rows = [db.execute(_SQL["usage_get"], (row.source, row.model)).fetchone() for row in commit.usage_deltas]
        result = super().commit_runtime_state(commit)
        if commit.turn_commit is None and len({(row.source, row.model) for row in commit.usage_deltas}) == len(rows):
            with self._write as db:
                for row, known in zip(commit.usage_deltas, rows, strict=True):
                    if known is not None:
                        totals = map(add, _load_totals(known), _tokens(row))
                        db.execute(_SQL["usage_set"], (*map(_dump_total, totals), row.source, row.model))
        return result


def _tokens(row: UsageRow) -> tuple[int, int, int, int]:
    return row.input_tokens, row.output_tokens, row.cached_input_tokens, row.reasoning_tokens


STORES = (
    between(
        "contended-after-effect",
        "who finds the bell for new work in use is told that nothing happened: its batch is queued",
        "LAW-1",
        Notifies,
    ),
    between("deadlock", "commits and tombstones take two locks in opposite orders", "LAW-13", Deadlocks),
    between("counts-readers", "reads share the lock, and count those that leave without one", "LAW-13 LAW-15", CountsReaders),
    evolve(
        between(
            "cuts-off-what-is-written",
            "who opens a handle cuts off half an entry that another handle is about to write",
            "LAW-10 LAW-12 LAW-11",
            crashing.STORES["cuts_off_what_is_written"],
            "sqlite",
        ),
        target="python:tests.liars.crashing:cuts_off_what_is_written",
    ),
    between("caches-loads", "a load is cached under the number of changes at its end", "LAW-12", CachesLoads),
    between("unlocked-load", "loads take no lock", "LAW-11 LAW-15 GRAPH-6", LooksUnlocked),
    between(
        "sql-torn-load", "the statements of a load are no transaction", "LAW-11", in_a_folder(LoadsStatementByStatement), "sqlite"
    ),
    between(
        "sql-chooses-before",
        "the batches of a claim are chosen in one transaction and claimed in another",
        "LAW-4 LAW-5 QUEUE-5 QUEUE-8",
        in_a_folder(ChoosesBeforeTheTransaction),
        "sqlite",
    ),
    between(
        "sql-refuses-the-loser",
        "of two that enqueue one source key at once the second is refused by an index",
        "QUEUE-2 LAW-15",
        in_a_folder(RefusesTheLoser),
        "sqlite",
    ),
    between(
        "sql-looks-at-the-lane-before",
        "a lane is seen to be free before the transaction that grants it",
        "LEASE-8 LAW-2 LEASE-2",
        in_a_folder(LooksAtTheLaneBefore),
        "sqlite",
    ),
    between(
        "sql-adds-up-in-python",
        "a commit's usage is added to what was read before the transaction",
        "LAW-8 LAW-11",
        in_a_folder(AddsUpInPython),
        "sqlite",
    ),
)

RACING: tuple[Liar, ...] = (*LANES, *QUEUES, *COMMITS, *LOADS, *STORES)

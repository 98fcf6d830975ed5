"""A durable store on SQLite. It knows the contract (docs/reference.md), cited by number, and nothing of the protocol.

Records are dicts with the contract's member names. Every operation is one transaction, and all its checks come before its first
change (LAW-1). Every handle is a `Store` of its own, with its own connection. At every policy point it does what is recommended.
"""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

Record = dict[str, Any]

LATEST = 2**63 - 1
PARTS = ("tool_state", "plugin_snapshot", "execution_state")
TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")

SCHEMA = """
BEGIN;
CREATE TABLE lane (session_id TEXT PRIMARY KEY, fencing INTEGER, lease TEXT, expires_at INTEGER);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), session_id TEXT, head_revision INTEGER, leaf TEXT, content TEXT,
    manifest TEXT);
CREATE TABLE node (seq INTEGER PRIMARY KEY, node_id TEXT UNIQUE, parent TEXT, record TEXT, hidden INTEGER DEFAULT 0);
CREATE TABLE body (ref TEXT PRIMARY KEY, body TEXT);
CREATE TABLE ledger (seq INTEGER PRIMARY KEY, source TEXT, model TEXT, usage TEXT, UNIQUE (source, model));
CREATE TABLE stamp (session_id TEXT, turn_id TEXT, hash TEXT, result TEXT, PRIMARY KEY (session_id, turn_id));
CREATE TABLE batch (seq INTEGER PRIMARY KEY AUTOINCREMENT, batch_id TEXT UNIQUE, session_id TEXT, source_key TEXT,
    available_at INTEGER, record TEXT, fencing INTEGER DEFAULT 0, claim_id TEXT REFERENCES claim, UNIQUE (session_id, source_key));
CREATE TABLE claim (claim_id TEXT PRIMARY KEY, session_id TEXT, lease_token TEXT, record TEXT, expires_at INTEGER);
CREATE TABLE attachment (session_id TEXT, attachment_id TEXT, canonical_uri TEXT, intent_at_epoch_ms INTEGER,
    committed_at_epoch_ms INTEGER, PRIMARY KEY (session_id, attachment_id));
CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), record TEXT);
CREATE INDEX batch_of_session ON batch (session_id, seq);
CREATE INDEX batch_of_claim ON batch (claim_id);
COMMIT;
"""


class Refusal(Exception):
    """A definite refusal: nothing happened. ``code`` is one of the contract's."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class UnknownOutcome(Exception):
    """The transaction may or may not have been committed."""


def create(path: str) -> None:
    """Make the file of a new, empty store."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")  # one sync at the end will do
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
    finally:
        connection.close()
    with Path(path).open("rb+") as file:
        os.fsync(file.fileno())


class Store:
    """A handle on the store in that file. ``now``: milliseconds since the epoch."""

    def __init__(self, path: str, now: Callable[[], int]) -> None:
        self._now = now
        self._db = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Close this handle. The data stays."""
        self._db.close()

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[int]:
        """One transaction, at one time. IMMEDIATE: two writers wait for each other instead of failing in the middle."""
        try:
            self._db.execute(f"BEGIN {kind}")
            yield self._now()
        except sqlite3.Error as error:  # nothing happened: it is rolled back below
            busy = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            raise Refusal("contended" if busy else "backend", str(error)) from error
        else:
            self._commit()
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise UnknownOutcome(str(error)) from error

    def _one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
        return row

    # Leases.

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Record | None:
        """LEASE-1 to LEASE-3."""
        _named(session_id=session_id, owner_id=owner_id)
        _natural(lease_ttl_ms=lease_ttl_ms)
        with self._transaction() as now:
            lane = self._one("SELECT * FROM lane WHERE session_id = ?", session_id)
            lease = _live_lease(lane, now)
            if lease is not None and lease["owner_id"] != owner_id:
                return None  # LEASE-3
            expires_at = _later(now, lease_ttl_ms)
            if lease is not None:  # LEASE-2, P-REENTRY extend-only
                return self._set_expiry(lease, max(lease["expires_at_epoch_ms"], expires_at))
            fencing = 1 if lane is None else lane["fencing"] + 1  # LEASE-1, LAW-3: the counter outlives the lease
            fence = {"session_id": session_id, "owner_id": owner_id, "lease_token": _mint(), "fencing_token": fencing}
            self._db.execute("INSERT OR REPLACE INTO lane (session_id, fencing) VALUES (?, ?)", (session_id, fencing))
            return self._set_expiry({**fence, "claimed_at_epoch_ms": now}, expires_at)

    def renew_session_execution_lease(self, fence: Record, lease_ttl_ms: int) -> Record:
        """LEASE-4, LEASE-5."""
        _natural(lease_ttl_ms=lease_ttl_ms)
        with self._transaction() as now:
            return self._set_expiry(self._check_fence(fence["session_id"], fence, now), _later(now, lease_ttl_ms))

    def release_session_execution_lease(self, completion: Record) -> None:
        """LEASE-6, LEASE-7."""
        with self._transaction():
            self._release(completion)

    def _release(self, fence: Record | None) -> None:
        lane = fence and self._one("SELECT * FROM lane WHERE session_id = ?", fence["session_id"])
        if fence and lane and lane["lease"] and _names(fence, json.loads(lane["lease"])):
            self._db.execute("UPDATE lane SET lease = NULL WHERE session_id = ?", (fence["session_id"],))

    def _set_expiry(self, lease: Record, expires_at: int) -> Record:
        lease = {**lease, "expires_at_epoch_ms": expires_at}
        sql = "UPDATE lane SET lease = ?, expires_at = ? WHERE session_id = ?"
        self._db.execute(sql, (json.dumps(lease), expires_at, lease["session_id"]))
        return lease

    def _check_fence(self, session_id: str, fence: Record | None, now: int) -> Record:
        """The live lease of that session that the fence names (COMMIT-5, QUEUE-4)."""
        lease = _live_lease(self._one("SELECT * FROM lane WHERE session_id = ?", session_id), now)
        if fence is None or lease is None or not _names(fence, lease):
            raise Refusal("session_execution_lease_expired", f"no live lease on {session_id}", session_id=session_id)
        return lease

    # The commit.

    def commit_runtime_state(self, commit: Record) -> Record:
        """COMMIT-1 to COMMIT-10."""
        session_id: str = commit["session_id"]
        _named(session_id=session_id)
        with self._transaction() as now:
            head = self._one("SELECT * FROM head")
            if head is not None and head["session_id"] != session_id:  # COMMIT-1
                details = {"bound_session_id": head["session_id"], "attempted_session_id": session_id}
                raise Refusal("session_binding_mismatch", f"this store is bound to {head['session_id']}", **details)
            stamp = commit.get("turn_commit")
            replayed = stamp and self._replayed(session_id, stamp)
            if replayed:  # COMMIT-4
                self._release(commit.get("release_session_execution_lease"))
                return dict(replayed)
            self._check_fence(session_id, commit.get("session_execution_lease"), now)  # COMMIT-5
            actual = 0 if head is None else head["head_revision"]
            expected = commit.get("expected_head_revision")
            if expected is not None and expected != actual:  # COMMIT-6
                raise Refusal("head_revision_conflict", f"expected {expected}, it is {actual}", expected=expected, actual=actual)
            done = self._check_completions(session_id, commit["completed_queue_claims"])
            self._check_graph(commit["graph"])
            ledger = self._add_up(commit["usage_deltas"])
            manifest, bodies = self._resolve(commit["checkpoint"])

            # COMMIT-8: nothing is refused from here on.
            result = {"head_revision": actual + 1, "checkpoint_ref": _ref("checkpoint", manifest), "manifest": manifest}
            kept = {name: commit[name] for name in ("config", "agent_frames", "current_agent_frame_id")}
            content = json.dumps({**kept, "checkpoint_ref": result["checkpoint_ref"]})
            self._apply_graph(commit["graph"])
            (delta,) = commit["graph"].values()
            values = (session_id, actual + 1, delta.get("leaf_node_id"), content, json.dumps(manifest))
            self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?, ?)", values)
            self._db.executemany("INSERT OR IGNORE INTO body VALUES (?, ?)", bodies)
            sql = "INSERT INTO ledger (source, model, usage) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET usage = excluded.usage"
            self._db.executemany(sql, [(*key, json.dumps(usage)) for key, usage in ledger.items()])
            self._db.executemany("DELETE FROM batch WHERE batch_id = ?", [(batch_id,) for batch_id in done])
            self._stamp_attachments(session_id, commit["committed_attachment_ids"], now)
            if stamp:
                row = (session_id, stamp["turn_id"], stamp["turn_commit_hash"], json.dumps(result))
                self._db.execute("INSERT INTO stamp VALUES (?, ?, ?, ?)", row)
            self._release(commit.get("release_session_execution_lease"))
            return result

    def _replayed(self, session_id: str, stamp: Record) -> Record | None:
        """COMMIT-2 to COMMIT-4."""
        sql = "SELECT hash, result FROM stamp WHERE session_id = ? AND turn_id = ?"
        known = self._one(sql, session_id, stamp["turn_id"])
        if stamp["session_id"] != session_id or (known and known["hash"] != stamp["turn_commit_hash"]):
            details = {"session_id": stamp["session_id"], "turn_id": stamp["turn_id"]}
            raise Refusal("runtime_turn_commit_conflict", f"turn {stamp['turn_id']} was committed otherwise", **details)
        return json.loads(known["result"]) if known else None

    def _check_completions(self, session_id: str, completions: list[Record]) -> set[str]:
        """The ids of the batches that are done (COMMIT-7). Every claim has to be completed whole, and once."""
        done: set[str] = set()
        for completion in completions:
            named = completion["batch_ids"]
            held = {batch["batch_id"] for batch in self._held(completion)} if completion["session_id"] == session_id else set()
            if not held.issuperset(named) or (named and not held):
                raise _claim_expired(completion)
            if len(set(named)) < len(named) or not named or held.difference(named):
                raise _invalid("batch_ids", f"every batch of claim {completion['claim_id']} has to be named, once")
            if done.intersection(named):
                raise _invalid("completed_queue_claims", f"claim {completion['claim_id']} is completed twice")
            done.update(named)
        return done

    def _check_graph(self, graph: Record) -> None:
        """GRAPH-8."""
        ((kind, delta),) = graph.items()
        ids = [node["node_id"] for node in delta.get("nodes", ())]
        stored = [] if kind == "ReplaceFull" else [i for i in ids if self._one("SELECT 1 FROM node WHERE node_id = ?", i)]
        if stored or len(set(ids)) < len(ids):
            raise _invalid("node_id", f"a node id of {stored or ids} is there already")
        leaf = delta.get("leaf_node_id")
        if leaf is not None and leaf not in ids and (kind == "ReplaceFull" or self._node(leaf) is None):
            raise _invalid("leaf_node_id", f"{leaf} names no visible node")

    def _apply_graph(self, graph: Record) -> None:
        """GRAPH-1."""
        ((kind, delta),) = graph.items()
        if kind == "ReplaceFull":
            self._db.execute("DELETE FROM node")
        rows = [(node["node_id"], node.get("parent_node_id"), json.dumps(node)) for node in delta.get("nodes", ())]
        self._db.executemany("INSERT INTO node (node_id, parent, record) VALUES (?, ?, ?)", rows)

    def _add_up(self, rows: list[Record]) -> dict[tuple[str, str], Record]:
        """What these rows change in the ledger (LAW-8)."""
        changed: dict[tuple[str, str], Record] = {}
        for row in rows:
            key = (row["source"], row["model"])
            stored = self._one("SELECT usage FROM ledger WHERE source = ? AND model = ?", *key)
            before = changed.get(key) or (json.loads(stored["usage"]) if stored else dict.fromkeys(TOKENS, 0))
            changed[key] = {name: before[name] + row["usage"][name] for name in TOKENS}
            if any(not -LATEST <= total <= LATEST for total in changed[key].values()):
                raise _invalid("usage_deltas", f"the sum for {key} does not fit 64 bits")
        return changed

    def _resolve(self, checkpoint: Record) -> tuple[Record, list[tuple[str, str]]]:
        """COMMIT-10: a body gets a reference; a reference alone keeps its body."""
        manifest = {name: checkpoint.get(name) for name in ("turn_state", "plugin_snapshot_revision")}
        bodies = []
        for part in PARTS:
            body, ref = checkpoint.get(part), checkpoint.get(f"{part}_ref")
            if body is not None:
                ref = _ref(part, body)
                bodies.append((ref, json.dumps(body)))
            elif ref is not None and not self._one("SELECT 1 FROM body WHERE ref = ?", ref):
                raise _invalid(f"{part}_ref", f"{ref} names nothing")
            manifest[f"{part}_ref"] = ref
        return manifest, bodies

    # Graph and loads.

    def load_session(self, scope: Record) -> Record | None:
        """GRAPH-2 to GRAPH-4. One transaction, or a commit could come in between the queries (LAW-11)."""
        with self._transaction("DEFERRED"):
            head = self._one("SELECT * FROM head")
            if head is None:
                return None
            checkpoint = json.loads(head["manifest"])
            for part in PARTS:
                row = self._one("SELECT body FROM body WHERE ref = ?", checkpoint[f"{part}_ref"])
                checkpoint[part] = json.loads(row["body"]) if row else None
            path = scope.get("active_path")
            ledger = self._db.execute("SELECT source, model, usage FROM ledger ORDER BY seq")
            return {
                **json.loads(head["content"]),
                "session_id": head["session_id"],
                "head_revision": head["head_revision"],
                "graph": self._full_graph(head["leaf"]) if path is None else self._path(path.get("leaf_node_id") or head["leaf"]),
                "checkpoint": checkpoint,
                "token_ledger": [{**dict(row), "usage": json.loads(row["usage"])} for row in ledger],
            }

    def _full_graph(self, leaf: str | None) -> Record:
        """GRAPH-3."""
        rows = self._db.execute("SELECT record FROM node WHERE NOT hidden ORDER BY seq")
        return {"nodes": [json.loads(row["record"]) for row in rows], "leaf_node_id": leaf}

    def _path(self, leaf: str | None) -> Record:
        """GRAPH-4. Ends where a cycle closes (LAW-13)."""
        path: dict[str, Record] = {}
        node = self._node(leaf)
        while node is not None and node["node_id"] not in path:
            path[node["node_id"]] = node
            node = self._node(node.get("parent_node_id"))
        return {"nodes": list(reversed(path.values())), "leaf_node_id": leaf}

    def load_node(self, node_id: str) -> Record | None:
        """GRAPH-5."""
        with self._transaction("DEFERRED"):
            return self._node(node_id)

    def _node(self, node_id: str | None) -> Record | None:
        row = self._one("SELECT record FROM node WHERE node_id = ? AND NOT hidden", node_id)
        return json.loads(row["record"]) if row else None

    def tombstone_nodes(self, ids: list[str]) -> None:
        """GRAPH-6."""
        with self._transaction():
            self._db.executemany("UPDATE node SET hidden = 1 WHERE node_id = ?", [(node_id,) for node_id in ids])

    def vacuum(self) -> Record:
        """GRAPH-7."""
        with self._transaction():
            return {"removed_node_count": self._db.execute("DELETE FROM node WHERE hidden").rowcount}

    def gc_unreachable(self) -> Record:
        """GRAPH-9."""
        with self._transaction():
            head = self._one("SELECT manifest FROM head")
            kept = [json.loads(head["manifest"])[f"{part}_ref"] for part in PARTS] if head else []
            sql = "DELETE FROM body WHERE ref NOT IN (SELECT value FROM json_each(?) WHERE value IS NOT NULL)"
            deleted = self._db.execute(sql, (json.dumps(kept),)).rowcount
            (retained,) = self._db.execute("SELECT count(*) FROM body").fetchone()
            return {"root_count": 1 if head else 0, "retained_blob_count": retained, "deleted_blob_count": deleted}

    # Queued work.

    def enqueue_queued_work(self, batch: Record) -> Record:
        """QUEUE-1, QUEUE-2."""
        _named(session_id=batch["session_id"])
        _natural(available_at_ms=batch["available_at_ms"])
        with self._transaction() as now:
            key = (batch["session_id"], batch.get("source_key"))
            known = self._one("SELECT seq, record FROM batch WHERE session_id = ? AND source_key = ?", *key)
            if known:
                return _batch(known)
            items = [{"item_id": _mint(), "payload": payload} for payload in batch["payloads"]]
            shown = {name: value for name, value in batch.items() if name != "payloads"}
            record = {**shown, "batch_id": _mint(), "source_key": key[1], "enqueued_at_ms": now, "items": items}
            sql = "INSERT INTO batch (batch_id, session_id, source_key, available_at, record) VALUES (?, ?, ?, ?, ?)"
            values = (record["batch_id"], *key, batch["available_at_ms"], json.dumps(record))
            return {**record, "enqueue_seq": self._db.execute(sql, values).lastrowid}

    def claim_ready_queued_work(
        self, session_id: str, session_execution_lease: Record, owner_id: str, boundary: str, lease_ttl_ms: int, max_batches: int
    ) -> Record | None:
        """QUEUE-4 to QUEUE-9."""
        _named(owner_id=owner_id)
        _natural(lease_ttl_ms=lease_ttl_ms, max_batches=max_batches)
        if max_batches == 0:  # P-ZERO-BEFORE-LEASE none-first
            return None
        with self._transaction() as now:
            self._check_fence(session_id, session_execution_lease, now)
            return self._claim(session_id, owner_id, self._run(session_id, boundary, max_batches, now), lease_ttl_ms, now)

    def claim_ready_queued_work_by_batch_ids(
        self,
        session_id: str,
        session_execution_lease: Record,
        owner_id: str,
        boundary: str,
        lease_ttl_ms: int,
        batch_ids: list[str],
    ) -> Record | None:
        """QUEUE-10."""
        _named(owner_id=owner_id)
        _natural(lease_ttl_ms=lease_ttl_ms)
        if not batch_ids:
            return None
        with self._transaction() as now:
            self._check_fence(session_id, session_execution_lease, now)
            run = self._run(session_id, boundary, len(batch_ids), now)
            if [row["batch_id"] for row in run] != batch_ids:
                return None
            return self._claim(session_id, owner_id, run, lease_ttl_ms, now)

    def _run(self, session_id: str, boundary: str, limit: int, now: int) -> list[sqlite3.Row]:
        """What a claim takes now: QUEUE-5 to QUEUE-7. What is no candidate does not end a run (P-JOIN-GAP skip)."""
        sql = (
            "SELECT batch.* FROM batch LEFT JOIN claim USING (claim_id) WHERE batch.session_id = ?"
            " AND available_at <= ? AND (claim_id IS NULL OR claim.expires_at <= ?) ORDER BY seq"
        )
        run: list[sqlite3.Row] = []
        first: Record = {}
        for row in self._db.execute(sql, (session_id, now, now)):
            batch = json.loads(row["record"])
            if not run:
                first = batch
                if boundary == "active_turn_checkpoint" and first["delivery_policy"] != "earliest_safe_boundary":
                    return []
            elif any(batch[name] != first[name] for name in ("slot_policy", "delivery_policy", "merge_key")):
                return run
            run.append(row)
            if first["slot_policy"] == "exclusive" or len(run) == limit:
                return run
        return run

    def _claim(self, session_id: str, owner_id: str, run: list[sqlite3.Row], ttl: int, now: int) -> Record | None:
        """QUEUE-8, P-CLAIM-FENCE max."""
        if not run:
            return None
        claim: Record = {"session_id": session_id, "claim_id": _mint(), "owner_id": owner_id, "lease_token": _mint()}
        claim |= {"fencing_token": max(row["fencing"] for row in run) + 1, "claimed_at_epoch_ms": now}
        expires_at = _later(now, ttl)
        values = (claim["claim_id"], session_id, claim["lease_token"], json.dumps(claim), expires_at)
        self._db.execute("INSERT INTO claim VALUES (?, ?, ?, ?, ?)", values)
        sql = "UPDATE batch SET claim_id = ?, fencing = ? WHERE seq = ?"
        self._db.executemany(sql, [(claim["claim_id"], claim["fencing_token"], row["seq"]) for row in run])
        return {**claim, "expires_at_epoch_ms": expires_at, "batches": [_batch(row) for row in run]}

    def _held(self, claim: Record) -> list[Record]:
        """The batches that are still held under a claim, live or expired."""
        sql = (
            "SELECT batch.* FROM batch JOIN claim USING (claim_id)"
            " WHERE claim_id = ? AND claim.session_id = ? AND lease_token = ? ORDER BY seq"
        )
        rows = self._db.execute(sql, (claim["claim_id"], claim["session_id"], claim["lease_token"]))
        return [_batch(row) for row in rows]

    def renew_queued_work_claim(self, claim: Record, lease_ttl_ms: int) -> Record:
        """QUEUE-11. An expired claim that still holds its batches is renewed (P-RENEW-EXPIRED accept)."""
        _natural(lease_ttl_ms=lease_ttl_ms)
        with self._transaction() as now:
            held = self._held(claim)
            if not held or [batch["batch_id"] for batch in held] != [batch["batch_id"] for batch in claim["batches"]]:
                raise _claim_expired(claim)
            sql = "UPDATE claim SET expires_at = ? WHERE claim_id = ? RETURNING record"
            row = self._one(sql, _later(now, lease_ttl_ms), claim["claim_id"])
            stored = json.loads(row["record"]) if row else {}
            return {**stored, "expires_at_epoch_ms": _later(now, lease_ttl_ms), "batches": held}

    def abandon_queued_work_claim(self, claim: Record) -> None:
        """QUEUE-12."""
        with self._transaction():
            if self._held(claim):
                self._db.execute("UPDATE batch SET claim_id = NULL WHERE claim_id = ?", (claim["claim_id"],))

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Record | None:
        """QUEUE-13."""
        with self._transaction() as now:
            found = [batch for batch in self._pending(session_id, now) if batch["batch_id"] == batch_id]
            self._db.executemany("DELETE FROM batch WHERE batch_id = ?", [(batch["batch_id"],) for batch in found])
            return found[0] if found else None

    def list_queued_work(self, session_id: str) -> list[Record]:
        """QUEUE-3."""
        with self._transaction("DEFERRED"):
            rows = self._db.execute("SELECT * FROM batch WHERE session_id = ? ORDER BY seq", (session_id,))
            return [_batch(row) for row in rows]

    def list_pending_queued_work(self, session_id: str) -> list[Record]:
        """QUEUE-3: the batches without a live claim."""
        with self._transaction("DEFERRED") as now:
            return self._pending(session_id, now)

    def _pending(self, session_id: str, now: int) -> list[Record]:
        sql = (
            "SELECT batch.* FROM batch LEFT JOIN claim USING (claim_id)"
            " WHERE batch.session_id = ? AND (claim_id IS NULL OR claim.expires_at <= ?) ORDER BY seq"
        )
        return [_batch(row) for row in self._db.execute(sql, (session_id, now))]

    # Attachments and metadata.

    def record_intent(self, intent: Record) -> None:
        """ATTACH-1, P-INTENT-REPEAT first-wins, P-MANIFEST-KEY session+id."""
        names = ("session_id", "attachment_id", "canonical_uri", "intent_at_epoch_ms")
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO attachment VALUES (?, ?, ?, ?, NULL)", [intent[name] for name in names])

    def commit_refs(self, session_id: str, attachment_ids: list[str]) -> None:
        """ATTACH-2."""
        with self._transaction() as now:
            self._stamp_attachments(session_id, attachment_ids, now)

    def _stamp_attachments(self, session_id: str, attachment_ids: list[str], now: int) -> None:
        sql = (
            "UPDATE attachment SET committed_at_epoch_ms = ?"
            " WHERE session_id = ? AND attachment_id = ? AND committed_at_epoch_ms IS NULL"
        )
        self._db.executemany(sql, [(now, session_id, attachment_id) for attachment_id in attachment_ids])

    def list_uncommitted(self, older_than_epoch_ms: int) -> list[Record]:
        """ATTACH-3."""
        sql = "SELECT * FROM attachment WHERE committed_at_epoch_ms IS NULL AND intent_at_epoch_ms <= ?"
        with self._transaction("DEFERRED"):
            return [dict(row) for row in self._db.execute(sql, (older_than_epoch_ms,))]

    def forget(self, attachment_id: str) -> None:
        """ATTACH-4."""
        with self._transaction():
            self._db.execute("DELETE FROM attachment WHERE attachment_id = ?", (attachment_id,))

    def save_session_meta(self, meta: Record) -> None:
        """META-1."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (1, ?)", (json.dumps(meta),))

    def load_session_meta(self) -> Record | None:
        """META-1."""
        with self._transaction("DEFERRED"):
            row = self._one("SELECT record FROM meta")
            return json.loads(row["record"]) if row else None


def _batch(row: sqlite3.Row) -> Record:
    return {**json.loads(row["record"]), "enqueue_seq": row["seq"]}


def _mint() -> str:
    return uuid.uuid4().hex


def _ref(kind: str, content: Any) -> str:
    return f"{kind}:{sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"


def _later(now: int, ttl: int) -> int:
    """LAW-14."""
    return min(now + ttl, LATEST)


def _live_lease(lane: sqlite3.Row | None, now: int) -> Record | None:
    return json.loads(lane["lease"]) if lane and lane["lease"] and lane["expires_at"] > now else None


def _names(fence: Record, lease: Record) -> bool:
    return all(fence[name] == lease[name] for name in ("session_id", "owner_id", "lease_token", "fencing_token"))


def _claim_expired(claim: Record) -> Refusal:
    details = {name: claim[name] for name in ("session_id", "claim_id")}
    return Refusal("queued_work_claim_expired", f"claim {claim['claim_id']} does not hold these batches", **details)


def _invalid(field: str, message: str) -> Refusal:
    return Refusal("invalid_request", f"{field}: {message}", field=field)


def _named(**ids: str) -> None:
    for field, value in ids.items():
        if not value:
            raise _invalid(field, "it is empty")


def _natural(**numbers: int) -> None:
    for field, value in numbers.items():
        if not 0 <= value <= LATEST:
            raise _invalid(field, f"an integer from 0 to {LATEST} is due, not {value}")

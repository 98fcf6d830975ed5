"""Short ways to make the records that the store tests use. Every argument that matters to a test is given by the test."""

from __future__ import annotations

from typing import Any

from leasehold.records import (
    Append,
    BatchDraft,
    Checkpoint,
    Claim,
    Commit,
    Fence,
    GraphDelta,
    Intent,
    Node,
    SessionMeta,
    TurnStamp,
    Unchanged,
    UsageRow,
)
from leasehold.store import Store

SESSION = "root"
HOUR = 3_600_000


def lease_of(store: Store, owner: str = "owner") -> Fence:
    """A fence that is good for an hour."""
    lease = store.try_claim_session_execution_lease(SESSION, owner, HOUR)
    assert lease is not None
    return lease.fence()


def commit_of(fence: Fence | None, *, graph: GraphDelta | None = None, **members: Any) -> Commit:
    """A commit under this fence."""
    defaults: dict[str, Any] = {
        "session_id": SESSION,
        "config": {"model": "m"},
        "agent_frames": ({"frame_id": "f1"},),
        "current_agent_frame_id": "f1",
        "graph": graph or Unchanged(),
        "checkpoint": Checkpoint(turn_state={"turn_index": 0}, tool_state={"generation": 1}),
        "session_execution_lease": fence,
    }
    return Commit(**(defaults | members))


def draft_of(text: str = "hello", **members: Any) -> BatchDraft:
    """Work to enqueue, due at once."""
    defaults: dict[str, Any] = {
        "session_id": SESSION,
        "delivery_policy": "earliest_safe_boundary",
        "slot_policy": "exclusive",
        "payloads": ({"type": "text", "text": text},),
    }
    return BatchDraft(**(defaults | members))


def claim_of(store: Store, fence: Fence, ttl: int = HOUR, limit: int = 1) -> Claim:
    """A claim on what is ready."""
    claim = store.claim_ready_queued_work(SESSION, fence, "worker", "idle", ttl, limit)
    assert claim is not None
    return claim


def intent_of(attachment_id: str = "a1") -> Intent:
    """An attachment that is about to be written."""
    return Intent(attachment_id=attachment_id, session_id=SESSION, canonical_uri=f"sha256:{attachment_id}", intent_at_epoch_ms=1)


META = SessionMeta(
    session_id=SESSION, session_name="n", created_at="2026-01-01T00:00:00Z", model="m", cwd=None, relation={"kind": "root"}
)


def numbered_commit(number: int, fence: Fence) -> Commit:
    """The commit that makes revision ``number``: one node, one token and one stamp more, so that a torn one shows."""
    parent = f"n{number - 1}" if number > 1 else None
    return commit_of(
        fence,
        graph=Append((Node(node_id=f"n{number}", parent_node_id=parent, content={"n": number}),), f"n{number}"),
        checkpoint=Checkpoint(turn_state={"turn_index": number}, tool_state={"generation": number}),
        usage_deltas=(UsageRow(source="turn", model="m", input_tokens=1),),
        turn_commit=TurnStamp(SESSION, f"t{number}", f"hash-{number}"),
    )

"""A Hypothesis strategy for every record that crosses the Store interface."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from leasehold import records as r

TEXT = st.text(max_size=6)
NUMBER = st.integers(0, r.MAX_MS)
SIGNED = st.integers(-(2**63), r.MAX_MS)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | SIGNED | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BYTES = st.binary(max_size=4)
DELIVERY: st.SearchStrategy[r.DeliveryPolicy] = st.sampled_from(("earliest_safe_boundary", "after_current_turn_commit"))
SLOT: st.SearchStrategy[r.SlotPolicy] = st.sampled_from(("join", "exclusive"))


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def several(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


FENCE = st.builds(r.Fence, TEXT, TEXT, TEXT, NUMBER)
LEASE = st.builds(r.Lease, TEXT, TEXT, TEXT, NUMBER, NUMBER, NUMBER)
GROUP = st.builds(r.Group, TEXT)
MERGE_KEY: st.SearchStrategy[Any] = st.sampled_from(("never", "payload_default")) | GROUP
DRAFT = st.builds(
    r.BatchDraft,
    session_id=TEXT,
    delivery_policy=DELIVERY,
    slot_policy=SLOT,
    payloads=several(JSON),
    merge_key=MERGE_KEY,
    available_at_ms=NUMBER,
    source_key=some(TEXT),
)
ITEM = st.builds(r.Item, TEXT, JSON)
BATCH = st.builds(
    r.Batch,
    batch_id=TEXT,
    session_id=TEXT,
    enqueue_seq=NUMBER,
    source_key=some(TEXT),
    delivery_policy=DELIVERY,
    slot_policy=SLOT,
    merge_key=MERGE_KEY,
    available_at_ms=NUMBER,
    enqueued_at_ms=NUMBER,
    items=several(ITEM),
)
CLAIM_COMPLETION = st.builds(r.ClaimCompletion, TEXT, TEXT, TEXT, several(TEXT))
CLAIM = st.builds(
    r.Claim,
    session_id=TEXT,
    claim_id=TEXT,
    owner_id=TEXT,
    lease_token=TEXT,
    fencing_token=NUMBER,
    claimed_at_epoch_ms=NUMBER,
    expires_at_epoch_ms=NUMBER,
    batches=several(BATCH),
)
USAGE_ROW = st.builds(
    r.UsageRow,
    source=TEXT,
    model=TEXT,
    input_tokens=SIGNED,
    output_tokens=SIGNED,
    cached_input_tokens=SIGNED,
    reasoning_tokens=SIGNED,
)
CONTENT = st.dictionaries(TEXT.map("content of ".__add__), JSON, max_size=2)
NODE = st.builds(r.Node, node_id=TEXT, parent_node_id=some(TEXT), agent_frame_id=some(TEXT), timestamp=TEXT, content=CONTENT)
UNCHANGED = st.builds(r.Unchanged, some(TEXT))
APPEND = st.builds(r.Append, several(NODE), some(TEXT))
REPLACE_FULL = st.builds(r.ReplaceFull, several(NODE), some(TEXT))
DELTA: st.SearchStrategy[r.GraphDelta] = st.one_of(UNCHANGED, APPEND, REPLACE_FULL)
CHECKPOINT = st.builds(
    r.Checkpoint,
    turn_state=JSON,
    tool_state=JSON,
    tool_state_ref=some(TEXT),
    plugin_snapshot=JSON,
    plugin_snapshot_ref=some(TEXT),
    plugin_snapshot_revision=some(NUMBER),
    execution_state=some(BYTES),
    execution_state_ref=some(TEXT),
)
MANIFEST = st.builds(
    r.CheckpointManifest,
    turn_state=JSON,
    tool_state_ref=some(TEXT),
    plugin_snapshot_ref=some(TEXT),
    plugin_snapshot_revision=some(NUMBER),
    execution_state_ref=some(TEXT),
)
STAMP = st.builds(r.TurnStamp, TEXT, TEXT, TEXT)
COMMIT = st.builds(
    r.Commit,
    session_id=TEXT,
    config=JSON,
    agent_frames=several(JSON),
    current_agent_frame_id=TEXT,
    graph=DELTA,
    checkpoint=CHECKPOINT,
    expected_head_revision=some(NUMBER),
    session_execution_lease=some(FENCE),
    release_session_execution_lease=some(FENCE),
    usage_deltas=several(USAGE_ROW),
    turn_commit=some(STAMP),
    completed_queue_claims=several(CLAIM_COMPLETION),
    committed_attachment_ids=several(TEXT),
)
COMMIT_RESULT = st.builds(r.CommitResult, NUMBER, TEXT, MANIFEST)
FULL_GRAPH = st.builds(r.FullGraph)
ACTIVE_PATH = st.builds(r.ActivePath, some(TEXT))
SCOPE: st.SearchStrategy[r.ReadScope] = st.one_of(FULL_GRAPH, ACTIVE_PATH)
GRAPH = st.builds(r.Graph, several(NODE), some(TEXT))
READ = st.builds(
    r.Read,
    session_id=TEXT,
    head_revision=NUMBER,
    config=JSON,
    agent_frames=several(JSON),
    current_agent_frame_id=TEXT,
    graph=GRAPH,
    checkpoint_ref=some(TEXT),
    checkpoint=some(CHECKPOINT),
    token_ledger=several(USAGE_ROW),
)
META = st.builds(r.SessionMeta, session_id=TEXT, session_name=TEXT, created_at=TEXT, model=TEXT, cwd=some(TEXT), relation=JSON)
INTENT = st.builds(r.Intent, attachment_id=TEXT, session_id=TEXT, canonical_uri=TEXT, intent_at_epoch_ms=NUMBER)
ENTRY = st.builds(
    r.ManifestEntry,
    attachment_id=TEXT,
    session_id=TEXT,
    canonical_uri=TEXT,
    intent_at_epoch_ms=NUMBER,
    committed_at_epoch_ms=some(NUMBER),
)
VACUUM = st.builds(r.VacuumReport, NUMBER)
GC = st.builds(r.GcReport, NUMBER, NUMBER, NUMBER)

RECORDS: dict[type, st.SearchStrategy[Any]] = {
    r.Fence: FENCE,
    r.Lease: LEASE,
    r.Group: GROUP,
    r.BatchDraft: DRAFT,
    r.Item: ITEM,
    r.Batch: BATCH,
    r.ClaimCompletion: CLAIM_COMPLETION,
    r.Claim: CLAIM,
    r.UsageRow: USAGE_ROW,
    r.Node: NODE,
    r.Unchanged: UNCHANGED,
    r.Append: APPEND,
    r.ReplaceFull: REPLACE_FULL,
    r.Checkpoint: CHECKPOINT,
    r.CheckpointManifest: MANIFEST,
    r.TurnStamp: STAMP,
    r.Commit: COMMIT,
    r.CommitResult: COMMIT_RESULT,
    r.FullGraph: FULL_GRAPH,
    r.ActivePath: ACTIVE_PATH,
    r.Graph: GRAPH,
    r.Read: READ,
    r.SessionMeta: META,
    r.Intent: INTENT,
    r.ManifestEntry: ENTRY,
    r.VacuumReport: VACUUM,
    r.GcReport: GC,
}
"""Every record by its class."""

RESULTS: dict[str, st.SearchStrategy[Any] | None] = {
    "load_session": some(READ),
    "load_node": some(NODE),
    "commit_runtime_state": COMMIT_RESULT,
    "try_claim_session_execution_lease": some(LEASE),
    "renew_session_execution_lease": LEASE,
    "release_session_execution_lease": None,
    "enqueue_queued_work": BATCH,
    "claim_ready_queued_work": some(CLAIM),
    "claim_ready_queued_work_by_batch_ids": some(CLAIM),
    "renew_queued_work_claim": CLAIM,
    "abandon_queued_work_claim": None,
    "cancel_queued_work_batch": some(BATCH),
    "list_queued_work": several(BATCH),
    "list_pending_queued_work": several(BATCH),
    "save_session_meta": None,
    "load_session_meta": some(META),
    "tombstone_nodes": None,
    "vacuum": VACUUM,
    "gc_unreachable": GC,
    "record_intent": None,
    "commit_refs": None,
    "list_uncommitted": several(ENTRY),
    "forget": None,
}
"""What every operation may give; None where what it gives is not looked at."""

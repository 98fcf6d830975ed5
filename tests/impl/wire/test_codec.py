"""The codec against protocol.md: literal shapes written by hand, round trips, and what a wrong shape is told."""

from __future__ import annotations

import inspect
import json
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leasehold import records as r
from leasehold.store import OPERATIONS, Store
from leasehold.wire.codec import (
    SIGNATURES,
    ShapeError,
    decode_args,
    decode_result,
    encode_args,
    encode_result,
    from_wire,
    to_wire,
)
from tests.impl.wire import strategies

LEASE = r.Lease("root", "owner", "token", 4, 1000, 61_000)
LEASE_WIRE = {
    "session_id": "root",
    "owner_id": "owner",
    "lease_token": "token",
    "fencing_token": 4,
    "claimed_at_epoch_ms": 1000,
    "expires_at_epoch_ms": 61_000,
}
FENCE_WIRE = {"session_id": "root", "owner_id": "owner", "lease_token": "token", "fencing_token": 4}

TURN_INPUT = {"type": "turn_input", "input": {"items": [{"type": "text", "text": "hello"}]}}
COMMAND = {"type": "session_command", "command": {"kind": "reset_session", "reason": "stuck"}}

DRAFT = r.BatchDraft(
    session_id="root",
    source_key="source:1",
    delivery_policy="earliest_safe_boundary",
    slot_policy="join",
    merge_key=r.Group("a"),
    available_at_ms=5,
    payloads=(TURN_INPUT, COMMAND),
)
DRAFT_WIRE = {
    "session_id": "root",
    "source_key": "source:1",
    "delivery_policy": "earliest_safe_boundary",
    "slot_policy": "join",
    "merge_key": {"group": "a"},
    "available_at_ms": 5,
    "payloads": [TURN_INPUT, COMMAND],
}

BATCH = r.Batch(
    batch_id="batch-1",
    session_id="root",
    enqueue_seq=7,
    source_key=None,
    delivery_policy="after_current_turn_commit",
    slot_policy="exclusive",
    merge_key="payload_default",
    available_at_ms=0,
    enqueued_at_ms=900,
    items=(r.Item("item-1", TURN_INPUT),),
)
BATCH_WIRE = {
    "batch_id": "batch-1",
    "session_id": "root",
    "enqueue_seq": 7,
    "source_key": None,
    "delivery_policy": "after_current_turn_commit",
    "slot_policy": "exclusive",
    "merge_key": "payload_default",
    "available_at_ms": 0,
    "enqueued_at_ms": 900,
    "items": [{"item_id": "item-1", "payload": TURN_INPUT}],
}

CLAIM = r.Claim(
    session_id="root",
    claim_id="claim-1",
    owner_id="owner",
    lease_token="ct",
    fencing_token=2,
    claimed_at_epoch_ms=1000,
    expires_at_epoch_ms=2000,
    batches=(BATCH,),
)
CLAIM_WIRE = {
    "session_id": "root",
    "claim_id": "claim-1",
    "owner_id": "owner",
    "lease_token": "ct",
    "fencing_token": 2,
    "claimed_at_epoch_ms": 1000,
    "expires_at_epoch_ms": 2000,
    "batches": [BATCH_WIRE],
}

ROOT_NODE = r.Node(node_id="n1", timestamp="t0", content={"kind": "event", "event": {"type": "protocol"}})
ROOT_NODE_WIRE = {"node_id": "n1", "timestamp": "t0", "kind": "event", "event": {"type": "protocol"}}
LEAF_NODE = r.Node(
    node_id="n2",
    parent_node_id="n1",
    agent_frame_id="f1",
    timestamp="t1",
    content={"kind": "plugin", "plugin_type": "notes", "body": [1, None]},
)
LEAF_NODE_WIRE = {
    "node_id": "n2",
    "parent_node_id": "n1",
    "agent_frame_id": "f1",
    "timestamp": "t1",
    "kind": "plugin",
    "plugin_type": "notes",
    "body": [1, None],
}

USAGE = r.UsageRow(source="turn", model="m", input_tokens=11, output_tokens=7, cached_input_tokens=3, reasoning_tokens=5)
USAGE_WIRE = {
    "source": "turn",
    "model": "m",
    "usage": {"input_tokens": 11, "output_tokens": 7, "cached_input_tokens": 3, "reasoning_tokens": 5},
}

TURN_STATE = {"turn_index": 1, "token_usage": {}, "protocol_turn_options": {}}
CHECKPOINT = r.Checkpoint(
    turn_state=TURN_STATE,
    tool_state={"generation": 9},
    tool_state_ref=None,
    plugin_snapshot=None,
    plugin_snapshot_ref="ref-p",
    plugin_snapshot_revision=12,
    execution_state=b"\x00vm\xff",
    execution_state_ref=None,
)
CHECKPOINT_WIRE = {
    "turn_state": TURN_STATE,
    "tool_state": {"generation": 9},
    "tool_state_ref": None,
    "plugin_snapshot": None,
    "plugin_snapshot_ref": "ref-p",
    "plugin_snapshot_revision": 12,
    "execution_state": [0, 118, 109, 255],
    "execution_state_ref": None,
}
MANIFEST = r.CheckpointManifest(turn_state=TURN_STATE, tool_state_ref="ref-t", plugin_snapshot_revision=12)
MANIFEST_WIRE = {
    "turn_state": TURN_STATE,
    "tool_state_ref": "ref-t",
    "plugin_snapshot_ref": None,
    "plugin_snapshot_revision": 12,
    "execution_state_ref": None,
}

CONFIG = {"provider_id": "p", "model": {"id": "m", "limits": {"context_window_tokens": 200_000}}}
FRAME = {"frame_id": "f1", "session_id": "root", "status": "active", "reason": "initial", "created_at": "t0", "assignment": {}}

COMMIT = r.Commit(
    session_id="root",
    expected_head_revision=3,
    session_execution_lease=LEASE.fence(),
    release_session_execution_lease=LEASE.completion(),
    config=CONFIG,
    agent_frames=(FRAME,),
    current_agent_frame_id="f1",
    graph=r.Append((ROOT_NODE, LEAF_NODE), "n2"),
    checkpoint=CHECKPOINT,
    usage_deltas=(USAGE,),
    turn_commit=r.TurnStamp("root", "turn-1", "abc"),
    completed_queue_claims=(CLAIM.completion(),),
    committed_attachment_ids=("att-1",),
)
COMMIT_WIRE = {
    "session_id": "root",
    "expected_head_revision": 3,
    "session_execution_lease": FENCE_WIRE,
    "release_session_execution_lease": FENCE_WIRE,
    "config": CONFIG,
    "agent_frames": [FRAME],
    "current_agent_frame_id": "f1",
    "graph": {"Append": {"nodes": [ROOT_NODE_WIRE, LEAF_NODE_WIRE], "leaf_node_id": "n2"}},
    "checkpoint": CHECKPOINT_WIRE,
    "usage_deltas": [USAGE_WIRE],
    "turn_commit": {"session_id": "root", "turn_id": "turn-1", "turn_commit_hash": "abc"},
    "completed_queue_claims": [
        {"session_id": "root", "claim_id": "claim-1", "lease_token": "ct", "batch_ids": ["batch-1"]},
    ],
    "committed_attachment_ids": ["att-1"],
}

READ = r.Read(
    session_id="root",
    head_revision=4,
    config=CONFIG,
    agent_frames=(FRAME,),
    current_agent_frame_id="f1",
    graph=r.Graph((ROOT_NODE,), "n1"),
    checkpoint_ref="cp",
    checkpoint=CHECKPOINT,
    token_ledger=(USAGE,),
)
READ_WIRE = {
    "session_id": "root",
    "head_revision": 4,
    "config": CONFIG,
    "agent_frames": [FRAME],
    "current_agent_frame_id": "f1",
    "graph": {"nodes": [ROOT_NODE_WIRE], "leaf_node_id": "n1"},
    "checkpoint_ref": "cp",
    "checkpoint": CHECKPOINT_WIRE,
    "token_ledger": [USAGE_WIRE],
}

META = r.SessionMeta(
    session_id="root",
    session_name="Root",
    created_at="t0",
    model="m",
    cwd=None,
    relation={"kind": "child", "parent_session_id": "p"},
)
META_WIRE = {
    "session_id": "root",
    "session_name": "Root",
    "created_at": "t0",
    "model": "m",
    "cwd": None,
    "relation": {"kind": "child", "parent_session_id": "p"},
}
INTENT = r.Intent(attachment_id="att-1", session_id="root", canonical_uri="sha256:att-1", intent_at_epoch_ms=100)
INTENT_WIRE = {"attachment_id": "att-1", "session_id": "root", "canonical_uri": "sha256:att-1", "intent_at_epoch_ms": 100}
ENTRY = r.ManifestEntry(attachment_id="att-1", session_id="root", canonical_uri="sha256:att-1", intent_at_epoch_ms=100)

LITERALS: list[tuple[Any, Any]] = [
    (LEASE, LEASE_WIRE),
    (LEASE.fence(), FENCE_WIRE),
    (DRAFT, DRAFT_WIRE),
    (r.Item("item-1", COMMAND), {"item_id": "item-1", "payload": COMMAND}),
    (BATCH, BATCH_WIRE),
    (CLAIM, CLAIM_WIRE),
    (CLAIM.completion(), COMMIT_WIRE["completed_queue_claims"][0]),  # type: ignore[index]  # a list, as written above
    (ROOT_NODE, ROOT_NODE_WIRE),
    (LEAF_NODE, LEAF_NODE_WIRE),
    (USAGE, USAGE_WIRE),
    (CHECKPOINT, CHECKPOINT_WIRE),
    (MANIFEST, MANIFEST_WIRE),
    (r.Group("a"), {"group": "a"}),
    (r.Unchanged("n2"), {"Unchanged": {"leaf_node_id": "n2"}}),
    (r.Append((ROOT_NODE,), None), {"Append": {"nodes": [ROOT_NODE_WIRE], "leaf_node_id": None}}),
    (r.ReplaceFull((), None), {"ReplaceFull": {"nodes": [], "leaf_node_id": None}}),
    (r.TurnStamp("s", "t", "h"), {"session_id": "s", "turn_id": "t", "turn_commit_hash": "h"}),
    (COMMIT, COMMIT_WIRE),
    (r.CommitResult(1, "cp", MANIFEST), {"head_revision": 1, "checkpoint_ref": "cp", "manifest": MANIFEST_WIRE}),
    (r.FullGraph(), {"full_graph": {}}),
    (r.ActivePath("n1"), {"active_path": {"leaf_node_id": "n1"}}),
    (r.Graph((ROOT_NODE,), None), {"nodes": [ROOT_NODE_WIRE], "leaf_node_id": None}),
    (READ, READ_WIRE),
    (META, META_WIRE),
    (INTENT, INTENT_WIRE),
    (ENTRY, {**INTENT_WIRE, "committed_at_epoch_ms": None}),
    (r.VacuumReport(2), {"removed_node_count": 2}),
    (r.GcReport(1, 2, 3), {"root_count": 1, "retained_blob_count": 2, "deleted_blob_count": 3}),
]


@pytest.mark.parametrize(("record", "wire"), LITERALS, ids=lambda value: type(value).__name__)
def test_a_record_is_written_and_read_as_the_protocol_shows(record: Any, wire: Any) -> None:
    assert to_wire(record) == wire
    assert from_wire(type(record), wire) == record


def test_every_record_has_a_literal_and_a_strategy() -> None:
    records = {value for value in vars(r).values() if inspect.isclass(value) and attrs.has(value)}
    assert len(records) > 20
    assert {type(record) for record, _ in LITERALS} == records
    assert set(strategies.RECORDS) == records


@pytest.mark.parametrize("record", strategies.RECORDS, ids=lambda record: record.__name__)
def test_round_trip(record: type) -> None:
    @given(strategies.RECORDS[record])
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def run(value: Any) -> None:
        line = json.dumps(to_wire(value))
        assert from_wire(record, json.loads(line)) == value

    run()


@given(
    st.sampled_from((("merge_key", strategies.MERGE_KEY), ("graph", strategies.DELTA), ("scope", strategies.SCOPE))).flatmap(
        lambda case: st.tuples(st.just(case[0]), case[1])
    )
)
def test_round_trip_of_unions(case: tuple[str, Any]) -> None:
    union = {"merge_key": r.MergeKey, "graph": r.GraphDelta, "scope": r.ReadScope}[case[0]]
    wire = case[1] if isinstance(case[1], str) else to_wire(case[1])
    assert from_wire(union, wire) == case[1]


def optional_members(record: Any, wire: Any) -> list[str]:
    return [name for name, value in wire.items() if value is None and getattr(record, name, 0) is None]


@pytest.mark.parametrize(("record", "wire"), LITERALS, ids=lambda value: type(value).__name__)
def test_absent_and_null_are_the_same(record: Any, wire: Any) -> None:
    without = {name: value for name, value in wire.items() if name not in optional_members(record, wire)}
    assert from_wire(type(record), without) == record


def test_null_members_of_a_node_are_the_same_as_absent_ones() -> None:
    assert from_wire(r.Node, {**ROOT_NODE_WIRE, "parent_node_id": None, "agent_frame_id": None}) == ROOT_NODE
    assert from_wire(r.GraphDelta, {"Unchanged": {}}) == r.Unchanged(None)
    assert from_wire(r.ReadScope, {"active_path": {}}) == r.ActivePath(None)


NOT_NODES = [literal for literal in LITERALS if not isinstance(literal[0], r.Node)]  # any other member of a node is its content


@pytest.mark.parametrize(("record", "wire"), NOT_NODES, ids=lambda value: type(value).__name__)
def test_unknown_members_are_ignored(record: Any, wire: Any) -> None:
    assert from_wire(type(record), {**wire, "member of a later version": [1]}) == record


OPTIONAL = {
    "draft": ("source_key",),
    "batch": ("source_key",),
    "commit": ("expected_head_revision", "session_execution_lease", "release_session_execution_lease", "turn_commit"),
    "node": ("parent_node_id", "agent_frame_id"),
    "checkpoint": tuple(name for name in CHECKPOINT_WIRE if name != "turn_state"),
    "manifest": tuple(name for name in MANIFEST_WIRE if name != "turn_state"),
    "read": ("checkpoint_ref", "checkpoint"),
    "meta": ("cwd",),
}
"""The members that protocol.md marks with a question mark, by shape."""


@pytest.mark.parametrize(
    ("shape", "record", "wire"),
    [
        ("lease", r.Lease, LEASE_WIRE),
        ("fence", r.Fence, FENCE_WIRE),
        ("draft", r.BatchDraft, DRAFT_WIRE),
        ("batch", r.Batch, BATCH_WIRE),
        ("claim", r.Claim, CLAIM_WIRE),
        ("commit", r.Commit, COMMIT_WIRE),
        ("node", r.Node, {name: LEAF_NODE_WIRE[name] for name in ("node_id", "parent_node_id", "agent_frame_id", "timestamp")}),
        ("checkpoint", r.Checkpoint, CHECKPOINT_WIRE),
        ("manifest", r.CheckpointManifest, MANIFEST_WIRE),
        ("usage row", r.UsageRow, USAGE_WIRE),
        ("read", r.Read, READ_WIRE),
        ("meta", r.SessionMeta, META_WIRE),
        ("intent", r.Intent, INTENT_WIRE),
        ("vacuum report", r.VacuumReport, {"removed_node_count": 2}),
    ],
)
def test_required_members_are_required_and_optional_ones_are_not(shape: str, record: type, wire: dict[str, Any]) -> None:
    for name in wire:
        rest = {other: value for other, value in wire.items() if other != name}
        if name in OPTIONAL.get(shape, ()):
            from_wire(record, rest)
        else:
            with pytest.raises(ShapeError) as caught:
                from_wire(record, rest)
            assert (caught.value.path, caught.value.message) == (name, "this member is required and missing")


def with_batch(**changes: Any) -> dict[str, Any]:
    return {**CLAIM_WIRE, "batches": [{**BATCH_WIRE, **changes}]}


@pytest.mark.parametrize(
    ("op", "value", "message"),
    [
        ("claim_ready_queued_work", with_batch(enqueue_seq="3"), "ok.batches[0].enqueue_seq: an integer was expected, got '3'"),
        ("claim_ready_queued_work", with_batch(enqueue_seq=True), "ok.batches[0].enqueue_seq: an integer was expected, got True"),
        ("claim_ready_queued_work", with_batch(enqueue_seq=3.0), "ok.batches[0].enqueue_seq: an integer was expected, got 3.0"),
        ("claim_ready_queued_work", with_batch(enqueue_seq=None), "ok.batches[0].enqueue_seq: an integer was expected, got None"),
        ("claim_ready_queued_work", with_batch(source_key=1), "ok.batches[0].source_key: text was expected, got 1"),
        (
            "claim_ready_queued_work",
            with_batch(slot_policy="shared"),
            "ok.batches[0].slot_policy: one of 'join', 'exclusive' was expected, got 'shared'",
        ),
        (
            "claim_ready_queued_work",
            with_batch(merge_key={"grp": "a"}),
            "ok.batches[0].merge_key.group: this member is required and missing",
        ),
        (
            "claim_ready_queued_work",
            with_batch(merge_key="always"),
            "ok.batches[0].merge_key: 'never', 'payload_default' or a group was expected, got 'always'",
        ),
        ("claim_ready_queued_work", with_batch(items="none"), "ok.batches[0].items: an array was expected, got 'none'"),
        ("claim_ready_queued_work", {**CLAIM_WIRE, "batches": [[]]}, "ok.batches[0]: an object was expected, got []"),
        ("list_queued_work", [BATCH_WIRE, {}], "ok[1].batch_id: this member is required and missing"),
        ("list_queued_work", None, "ok: an array was expected, got None"),
        ("enqueue_queued_work", None, "ok: an object was expected, got None"),
        ("forget", {}, "ok: null was expected, got {}"),
        ("load_session_meta", "x" * 100, "ok: an object was expected, got '" + "x" * 27 + "..." + "x" * 28 + "'"),
        (
            "load_session",
            {**READ_WIRE, "checkpoint": {**CHECKPOINT_WIRE, "execution_state": [1, 256]}},
            "ok.checkpoint.execution_state[1]: a byte value, 0 to 255, was expected, got 256",
        ),
        (
            "load_session",
            {**READ_WIRE, "token_ledger": [{**USAGE_WIRE, "usage": {"input_tokens": 1}}]},
            "ok.token_ledger[0].usage.output_tokens: this member is required and missing",
        ),
        ("load_session", {**READ_WIRE, "graph": {"leaf_node_id": "n1"}}, "ok.graph.nodes: this member is required and missing"),
    ],
)
def test_a_wrong_result_is_told_what_and_where(op: str, value: Any, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        decode_result(op, value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        ("forget", [], "args: an object was expected, got []"),
        ("forget", {}, "args.attachment_id: this member is required and missing"),
        ("tombstone_nodes", {"ids": ["a", 1]}, "args.ids[1]: text was expected, got 1"),
        (
            "load_session",
            {"scope": {"everything": {}}},
            "args.scope: an object with one of the members full_graph, active_path was expected, got {'everything': {}}",
        ),
        ("load_session", {"scope": {"full_graph": None}}, "args.scope.full_graph: an object was expected, got None"),
        (
            "commit_runtime_state",
            {"commit": {**COMMIT_WIRE, "graph": {"Append": {"nodes": [{}]}}}},
            "args.commit.graph.Append.nodes[0].node_id: this member is required and missing",
        ),
        (
            "commit_runtime_state",
            {"commit": {**COMMIT_WIRE, "graph": {"Unchanged": {}, "Append": {}}}},
            (
                "args.commit.graph: an object with one of the members Unchanged, Append, ReplaceFull was expected, "
                "got {'Append': {}, 'Unchanged': {}}"
            ),
        ),
        ("close", {}, "op: unknown operation 'close'"),
    ],
)
def test_wrong_arguments_are_told_what_and_where(op: str, args: Any, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        decode_args(op, args)
    assert str(caught.value) == message


def test_the_path_given_to_from_wire_starts_the_error() -> None:
    with pytest.raises(ShapeError) as caught:
        from_wire(r.Lease, {**LEASE_WIRE, "fencing_token": "4"}, "case.lease")
    assert caught.value.path == "case.lease.fencing_token"
    with pytest.raises(ShapeError) as caught:
        from_wire(tuple[r.Lease, ...], [{}], "leases")
    assert caught.value.path == "leases[0].session_id"


def with_parts(record: Any, **parts: Any) -> Any:
    """The record with parts of types it must not have."""
    return attrs.evolve(record, **parts)


class NoRecord:
    """Some object a broken store might answer."""

    def __repr__(self) -> str:
        return "<nonsense>"


@pytest.mark.parametrize(
    ("op", "value", "message"),
    [
        ("vacuum", NoRecord(), "ok: a VacuumReport was expected, got <nonsense>"),
        ("vacuum", None, "ok: a VacuumReport was expected, got None"),
        ("vacuum", r.VacuumReport(True), "ok.removed_node_count: an integer was expected, got True"),
        ("claim_ready_queued_work", LEASE, None),
        ("claim_ready_queued_work", CLAIM_WIRE, None),
        ("claim_ready_queued_work", with_parts(CLAIM, batches=(LEASE,)), None),
        ("list_queued_work", "nothing", "ok: a sequence was expected, got 'nothing'"),
        ("list_queued_work", [with_parts(BATCH, merge_key="x")], None),
        ("load_node", attrs.evolve(ROOT_NODE, content="x"), "ok.content: an object was expected, got 'x'"),
        (
            "load_node",
            attrs.evolve(ROOT_NODE, content={"node_id": "n2"}),
            "ok.content.node_id: a node's content cannot hold a member of the node itself",
        ),
        ("forget", 0, "ok: null was expected, got 0"),
    ],
)
def test_what_a_store_answers_is_checked_before_it_is_written(op: str, value: Any, message: str | None) -> None:
    with pytest.raises(ShapeError) as caught:
        encode_result(op, value)
    assert message is None or str(caught.value) == message


def test_to_wire_refuses_what_is_no_record() -> None:
    with pytest.raises(ShapeError):
        to_wire(NoRecord())
    with pytest.raises(ShapeError):
        to_wire(with_parts(COMMIT, graph=NoRecord()))


ARGS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "load_session": ((r.FullGraph(),), {"scope": {"full_graph": {}}}),
    "load_node": (("n1",), {"node_id": "n1"}),
    "commit_runtime_state": ((COMMIT,), {"commit": COMMIT_WIRE}),
    "try_claim_session_execution_lease": (("s", "o", 5), {"session_id": "s", "owner_id": "o", "lease_ttl_ms": 5}),
    "renew_session_execution_lease": ((LEASE.fence(), 5), {"fence": FENCE_WIRE, "lease_ttl_ms": 5}),
    "release_session_execution_lease": ((LEASE.completion(),), {"completion": FENCE_WIRE}),
    "enqueue_queued_work": ((DRAFT,), {"batch": DRAFT_WIRE}),
    "claim_ready_queued_work": (
        ("s", LEASE.fence(), "o", "idle", 5, 10),
        {
            "session_id": "s",
            "session_execution_lease": FENCE_WIRE,
            "owner_id": "o",
            "boundary": "idle",
            "lease_ttl_ms": 5,
            "max_batches": 10,
        },
    ),
    "claim_ready_queued_work_by_batch_ids": (
        ("s", LEASE.fence(), "o", "active_turn_checkpoint", 5, ("b1", "b2")),
        {
            "session_id": "s",
            "session_execution_lease": FENCE_WIRE,
            "owner_id": "o",
            "boundary": "active_turn_checkpoint",
            "lease_ttl_ms": 5,
            "batch_ids": ["b1", "b2"],
        },
    ),
    "renew_queued_work_claim": ((CLAIM, 5), {"claim": CLAIM_WIRE, "lease_ttl_ms": 5}),
    "abandon_queued_work_claim": ((CLAIM,), {"claim": CLAIM_WIRE}),
    "cancel_queued_work_batch": (("s", "b1"), {"session_id": "s", "batch_id": "b1"}),
    "list_queued_work": (("s",), {"session_id": "s"}),
    "list_pending_queued_work": (("s",), {"session_id": "s"}),
    "save_session_meta": ((META,), {"meta": META_WIRE}),
    "load_session_meta": ((), {}),
    "tombstone_nodes": ((("n1",),), {"ids": ["n1"]}),
    "vacuum": ((), {}),
    "gc_unreachable": ((), {}),
    "record_intent": ((INTENT,), {"intent": INTENT_WIRE}),
    "commit_refs": (("s", ("att-1",)), {"session_id": "s", "attachment_ids": ["att-1"]}),
    "list_uncommitted": ((100,), {"older_than_epoch_ms": 100}),
    "forget": (("att-1",), {"attachment_id": "att-1"}),
}
"""The arguments of every operation as protocol.md lists them, written by hand."""


@pytest.mark.parametrize("op", OPERATIONS)
def test_arguments_are_written_and_read_as_the_protocol_shows(op: str) -> None:
    args, wire = ARGS[op]
    assert encode_args(op, args) == wire
    assert decode_args(op, json.loads(json.dumps(wire))) == args


def test_arguments_may_be_lists_where_the_store_takes_sequences() -> None:
    assert encode_args("tombstone_nodes", (["n1"],)) == {"ids": ["n1"]}


def test_too_few_arguments_are_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        encode_args("commit_refs", ("s",))
    assert str(caught.value) == "args: commit_refs takes 2 arguments, got 1"


RESULTS: dict[str, list[tuple[Any, Any]]] = {
    "load_session": [(None, None), (READ, READ_WIRE)],
    "load_node": [(None, None), (LEAF_NODE, LEAF_NODE_WIRE)],
    "commit_runtime_state": [
        (r.CommitResult(1, "cp", MANIFEST), {"head_revision": 1, "checkpoint_ref": "cp", "manifest": MANIFEST_WIRE})
    ],
    "try_claim_session_execution_lease": [(None, None), (LEASE, LEASE_WIRE)],
    "renew_session_execution_lease": [(LEASE, LEASE_WIRE)],
    "enqueue_queued_work": [(BATCH, BATCH_WIRE)],
    "claim_ready_queued_work": [(None, None), (CLAIM, CLAIM_WIRE)],
    "claim_ready_queued_work_by_batch_ids": [(None, None), (CLAIM, CLAIM_WIRE)],
    "renew_queued_work_claim": [(CLAIM, CLAIM_WIRE)],
    "cancel_queued_work_batch": [(None, None), (BATCH, BATCH_WIRE)],
    "list_queued_work": [((), []), ((BATCH,), [BATCH_WIRE])],
    "list_pending_queued_work": [((BATCH, BATCH), [BATCH_WIRE, BATCH_WIRE])],
    "load_session_meta": [(None, None), (META, META_WIRE)],
    "vacuum": [(r.VacuumReport(2), {"removed_node_count": 2})],
    "gc_unreachable": [(r.GcReport(1, 2, 3), {"root_count": 1, "retained_blob_count": 2, "deleted_blob_count": 3})],
    "list_uncommitted": [((ENTRY,), [{**INTENT_WIRE, "committed_at_epoch_ms": None}])],
}
"""Results as protocol.md lists them; an operation that is not here answers null."""


@pytest.mark.parametrize("op", OPERATIONS)
def test_results_are_written_and_read_as_the_protocol_shows(op: str) -> None:
    for result, wire in RESULTS.get(op, [(None, None)]):
        assert encode_result(op, result) == wire
        assert decode_result(op, json.loads(json.dumps(wire))) == result


def test_the_table_has_the_operations_and_argument_names_of_the_store_interface() -> None:
    assert tuple(SIGNATURES) == OPERATIONS
    for op, signature in SIGNATURES.items():
        _, *parameters = inspect.signature(getattr(Store, op)).parameters
        assert [name for name, _ in signature.args] == parameters, op

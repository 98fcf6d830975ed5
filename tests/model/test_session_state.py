"""The caller-side helpers of contract section 4."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from leasehold.records import Commit
from leasehold.wire.codec import from_wire, to_wire
from leasehold_model.session_state import (
    SessionState,
    agent_frame,
    append_agent_frame,
    apply_commit_result,
    current_agent_frame,
    ensure_agent_frame,
    initial_session_state,
    persisted_commit,
    set_execution_state_snapshot,
)
from leasehold_model.turn_hash import turn_commit_hash

NODE = {"node_id": "n1", "timestamp": "t0", "kind": "event", "event": 1}


def result(revision: int = 1, **manifest: Any) -> dict[str, Any]:
    return {"head_revision": revision, "checkpoint_ref": f"cp-{revision}", "manifest": {"turn_state": {}, **manifest}}


def test_a_new_session_has_one_active_frame_and_no_revision() -> None:
    state = initial_session_state("root", created_at="t0", turn_index=3)
    assert state.head_revision is None
    assert state.turn_index == 3
    assert state.agent_frames == (
        {
            "frame_id": "root:initial",
            "session_id": "root",
            "previous_frame_id": None,
            "status": "active",
            "reason": "initial",
            "created_at": "t0",
            "execution_state_snapshot": None,
        },
    )
    assert state.current_agent_frame_id == "root:initial"


def test_ensure_keeps_a_state_that_has_its_frame() -> None:
    state = initial_session_state("root")
    assert ensure_agent_frame(state) is state


def test_ensure_gives_a_named_but_missing_frame_the_execution_state() -> None:
    state = ensure_agent_frame(SessionState(session_id="root", current_agent_frame_id="f7", execution_state=b"vm"))
    frame = current_agent_frame(state)
    assert (frame["frame_id"], frame["reason"], frame["execution_state_snapshot"]) == ("f7", "initial", [118, 109])


@pytest.mark.parametrize("given", [None, "root:initial"])
def test_an_appended_frame_is_current_and_the_previous_one_superseded_and_linked(given: str | None) -> None:
    first = initial_session_state("root")
    frame = agent_frame("root", "f2", reason="plan_mode", previous_frame_id=given, status="superseded", assignment={"a": 1})
    state = append_agent_frame(first, frame)
    old, new = state.agent_frames
    assert old == {**first.agent_frames[0], "status": "superseded"}
    assert new == {**frame, "status": "active", "previous_frame_id": "root:initial"}
    assert state.current_agent_frame_id == "f2"
    assert first.agent_frames[0]["status"] == "active", "the state before is left as it was"


def test_only_the_current_frame_is_superseded_and_a_named_ancestor_is_kept() -> None:
    state = append_agent_frame(initial_session_state("root"), agent_frame("root", "f2", reason="r"))
    state = append_agent_frame(state, agent_frame("root", "f3", reason="r", previous_frame_id="root:initial"))
    assert [(f["frame_id"], f["status"], f["previous_frame_id"]) for f in state.agent_frames] == [
        ("root:initial", "superseded", None),
        ("f2", "superseded", "root:initial"),
        ("f3", "active", "root:initial"),
    ]


def test_a_frame_that_was_not_current_keeps_its_status() -> None:
    state = initial_session_state("root")
    other = agent_frame("root", "elsewhere", reason="r")
    after = append_agent_frame(evolve(state, agent_frames=(other, *state.agent_frames)), agent_frame("root", "f2", reason="r"))
    assert [frame["status"] for frame in after.agent_frames] == ["active", "superseded", "active"]


def test_the_first_frame_of_a_bare_state_has_no_previous_one() -> None:
    state = append_agent_frame(SessionState(session_id="root"), agent_frame("root", "f1", reason="r"))
    assert current_agent_frame(state)["previous_frame_id"] is None


@pytest.mark.parametrize(("snapshot", "body"), [(None, None), ([1, 2], b"\x01\x02"), ([], b"")])
def test_an_appended_frame_brings_its_own_execution_state(snapshot: list[int] | None, body: bytes | None) -> None:
    before = evolve(initial_session_state("root"), execution_state=b"old", execution_state_ref="ref")
    state = append_agent_frame(before, agent_frame("root", "f2", reason="r", execution_state_snapshot=snapshot))
    assert (state.execution_state, state.execution_state_ref) == (body, None)


def test_the_execution_state_is_set_in_the_checkpoint_and_on_the_current_frame_only() -> None:
    state = append_agent_frame(initial_session_state("root"), agent_frame("root", "f2", reason="r"))
    state = set_execution_state_snapshot(state, b"vm")
    assert [frame["execution_state_snapshot"] for frame in state.agent_frames] == [None, [118, 109]]
    assert persisted_commit(state)["checkpoint"]["execution_state"] == [118, 109]


def test_an_empty_execution_state_is_not_none() -> None:
    state = set_execution_state_snapshot(initial_session_state("root"), b"")
    assert current_agent_frame(state)["execution_state_snapshot"] == []
    assert persisted_commit(state)["checkpoint"]["execution_state"] == []


def test_a_new_execution_state_keeps_the_reference_and_none_forgets_it() -> None:
    state = evolve(initial_session_state("root"), execution_state_ref="ref")
    assert set_execution_state_snapshot(state, b"").execution_state_ref == "ref"
    assert set_execution_state_snapshot(state, None).execution_state_ref is None


@pytest.mark.parametrize(
    ("revision", "required", "tag"),
    [
        (None, False, "ReplaceFull"),
        (None, True, "ReplaceFull"),
        (0, True, "ReplaceFull"),
        (0, False, "Unchanged"),
        (5, False, "Unchanged"),
    ],
)
def test_the_graph_is_replaced_when_the_state_says_so_or_has_no_revision(revision: int | None, required: bool, tag: str) -> None:
    state = initial_session_state("root", nodes=(NODE,), leaf_node_id="n1", head_revision=revision, graph_replace_required=required)
    nodes = {"nodes": [NODE]} if tag == "ReplaceFull" else {}
    assert persisted_commit(state)["graph"] == {tag: {**nodes, "leaf_node_id": "n1"}}


def test_a_commit_passes_bodies_and_references_and_the_revision_it_expects() -> None:
    state = initial_session_state(
        "root",
        config={"provider_id": "p"},
        head_revision=4,
        turn_index=2,
        token_usage={"input_tokens": 1},
        protocol_turn_options={"o": 1},
        tool_state={"generation": 9},
        plugin_snapshot_ref="ref-p",
        plugin_snapshot_revision=12,
        execution_state=b"\xff",
        execution_state_ref="ref-e",
    )
    row = {"source": "turn", "model": "m", "usage": {}}
    commit = persisted_commit(state, (row,))
    assert commit == {
        "session_id": "root",
        "config": {"provider_id": "p"},
        "agent_frames": list(state.agent_frames),
        "current_agent_frame_id": "root:initial",
        "graph": {"Unchanged": {"leaf_node_id": None}},
        "checkpoint": {
            "turn_state": {"turn_index": 2, "token_usage": {"input_tokens": 1}, "protocol_turn_options": {"o": 1}},
            "tool_state": {"generation": 9},
            "tool_state_ref": None,
            "plugin_snapshot": None,
            "plugin_snapshot_ref": "ref-p",
            "plugin_snapshot_revision": 12,
            "execution_state": [255],
            "execution_state_ref": "ref-e",
        },
        "expected_head_revision": 4,
        "session_execution_lease": None,
        "release_session_execution_lease": None,
        "usage_deltas": [row],
        "turn_commit": None,
        "completed_queue_claims": [],
        "committed_attachment_ids": [],
    }


@pytest.mark.requirement("COMMIT-9")
def test_a_commit_built_here_is_in_the_canonical_form_of_the_codec() -> None:
    state = set_execution_state_snapshot(initial_session_state("root", nodes=(NODE,), leaf_node_id="n1"), b"vm")
    commit = persisted_commit(state)
    assert to_wire(from_wire(Commit, commit)) == commit
    assert turn_commit_hash(to_wire(from_wire(Commit, commit))) == turn_commit_hash(commit)


@pytest.mark.requirement("COMMIT-9")
def test_a_retry_from_a_later_head_has_the_same_identity() -> None:
    state = initial_session_state("root", head_revision=1)
    assert turn_commit_hash(persisted_commit(evolve(state, head_revision=2))) == turn_commit_hash(persisted_commit(state))
    assert turn_commit_hash(persisted_commit(evolve(state, turn_index=1))) != turn_commit_hash(persisted_commit(state))


@pytest.mark.requirement("COMMIT-10")
def test_a_result_gives_revision_and_references_and_lets_stored_bodies_go() -> None:
    state = initial_session_state(
        "root",
        graph_replace_required=True,
        tool_state={"generation": 9},
        plugin_snapshot={"plugins": {}},
        plugin_snapshot_revision=11,
        execution_state=b"vm",
    )
    after = apply_commit_result(
        state,
        result(6, tool_state_ref="ref-t", plugin_snapshot_ref="ref-p", plugin_snapshot_revision=12, execution_state_ref="ref-e"),
    )
    assert (after.head_revision, after.checkpoint_ref, after.graph_replace_required) == (6, "cp-6", False)
    assert (after.tool_state, after.tool_state_ref) == (None, "ref-t")
    assert (after.plugin_snapshot, after.plugin_snapshot_ref, after.plugin_snapshot_revision) == (None, "ref-p", 12)
    assert (after.execution_state, after.execution_state_ref) == (None, "ref-e")
    assert after.agent_frames == state.agent_frames
    commit = persisted_commit(after)
    assert commit["expected_head_revision"] == 6
    assert commit["graph"] == {"Unchanged": {"leaf_node_id": None}}
    assert commit["checkpoint"]["tool_state"] is None
    assert commit["checkpoint"]["tool_state_ref"] == "ref-t"


@pytest.mark.requirement("COMMIT-10")
@pytest.mark.parametrize("manifest", [{}, {"tool_state_ref": None, "plugin_snapshot_ref": None, "execution_state_ref": None}])
def test_a_body_without_a_reference_is_kept_to_be_passed_again(manifest: dict[str, Any]) -> None:
    state = initial_session_state("root", tool_state={"generation": 9}, plugin_snapshot={}, execution_state=b"vm")
    after = apply_commit_result(state, result(**manifest))
    assert (after.tool_state, after.plugin_snapshot, after.execution_state) == ({"generation": 9}, {}, b"vm")
    assert (after.tool_state_ref, after.plugin_snapshot_ref, after.execution_state_ref) == (None, None, None)

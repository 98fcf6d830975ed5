"""The caller's side of a commit (contract section 4, last paragraph): a session in memory, and the commit that persists it.

Pure functions over a frozen state. What goes into a commit and what comes back is the wire JSON of the adapter protocol, in the
canonical form that COMMIT-9 hashes: null for an optional member that is none, except in nodes, where it is absent. JSON values
(config, frames, nodes, tool state, plugin snapshot) are opaque and never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with text keys."""

START_OF_TIME = "1970-01-01T00:00:00Z"


def unset_config() -> Json:
    """The config of a session whose model has not been chosen."""
    return {"provider_id": "unset", "model": {"id": "unset", "limits": {"context_window_tokens": 0}}}


@frozen(kw_only=True)
class SessionState:
    """A session as its owner holds it. A body with no reference has not been stored yet, a reference with no body is not loaded."""

    session_id: str
    config: Json = field(factory=unset_config)
    agent_frames: tuple[Json, ...] = ()
    current_agent_frame_id: str = ""
    nodes: tuple[Json, ...] = ()
    leaf_node_id: str | None = None
    graph_replace_required: bool = False
    turn_index: int = 0
    token_usage: Json = field(factory=dict)
    protocol_turn_options: Json = field(factory=dict)
    tool_state: Json = None
    tool_state_ref: str | None = None
    plugin_snapshot: Json = None
    plugin_snapshot_ref: str | None = None
    plugin_snapshot_revision: int | None = None
    execution_state: bytes | None = None
    execution_state_ref: str | None = None
    head_revision: int | None = None
    checkpoint_ref: str | None = None


def initial_session_state(session_id: str, *, created_at: str = START_OF_TIME, **parts: Any) -> SessionState:
    """A session that no store has seen, with its first agent frame. ``parts`` are members of `SessionState`."""
    return ensure_agent_frame(SessionState(session_id=session_id, **parts), created_at=created_at)


def agent_frame(session_id: str, frame_id: str, *, reason: str, created_at: str = START_OF_TIME, **others: Json) -> Json:
    """A new agent frame. ``others`` are members of the frame that the runtime hands on untouched."""
    return {
        "frame_id": frame_id,
        "session_id": session_id,
        "previous_frame_id": None,
        "status": "active",
        "reason": reason,
        "created_at": created_at,
        "execution_state_snapshot": None,
        **others,
    }


def current_agent_frame(state: SessionState) -> Json:
    """The frame that ``current_agent_frame_id`` names, or None."""
    return next((frame for frame in state.agent_frames if frame["frame_id"] == state.current_agent_frame_id), None)


def ensure_agent_frame(state: SessionState, *, created_at: str = START_OF_TIME) -> SessionState:
    """The state itself if it has its current frame, else with that frame as an initial one, holding its execution state."""
    if current_agent_frame(state) is not None:
        return state
    frame_id = state.current_agent_frame_id or f"{state.session_id}:initial"
    frame = agent_frame(
        state.session_id,
        frame_id,
        reason="initial",
        created_at=created_at,
        execution_state_snapshot=_byte_values(state.execution_state),
    )
    return evolve(state, agent_frames=(*state.agent_frames, frame), current_agent_frame_id=frame_id)


def append_agent_frame(state: SessionState, frame: Json) -> SessionState:
    """The frame becomes the current one; the frame that was is superseded, and linked unless the new one names its own ancestor.

    The execution state is the new frame's: none, unless it brings a snapshot.
    """
    previous = state.current_agent_frame_id
    superseded = tuple({**old, "status": "superseded"} if old["frame_id"] == previous else old for old in state.agent_frames)
    appended = {**frame, "status": "active", "previous_frame_id": frame.get("previous_frame_id") or previous or None}
    snapshot = frame.get("execution_state_snapshot")
    return evolve(
        state,
        agent_frames=(*superseded, appended),
        current_agent_frame_id=frame["frame_id"],
        execution_state=None if snapshot is None else bytes(snapshot),
        execution_state_ref=None,
    )


def set_execution_state_snapshot(state: SessionState, snapshot: bytes | None) -> SessionState:
    """The execution state, in the checkpoint to be and on the current frame. None forgets the stored one too."""
    frames = tuple(
        {**frame, "execution_state_snapshot": _byte_values(snapshot)}
        if frame["frame_id"] == state.current_agent_frame_id
        else frame
        for frame in state.agent_frames
    )
    reference = None if snapshot is None else state.execution_state_ref
    return evolve(state, agent_frames=frames, execution_state=snapshot, execution_state_ref=reference)


def persisted_commit(state: SessionState, usage: tuple[Json, ...] = ()) -> dict[str, Json]:
    """The commit that persists the state, in wire JSON; ``usage`` are usage rows. Lease, stamp and completions are the caller's.

    The graph is replaced in full when the state says so or has no head revision yet, else left unchanged.
    """
    if state.graph_replace_required or state.head_revision is None:
        graph = {"ReplaceFull": {"nodes": list(state.nodes), "leaf_node_id": state.leaf_node_id}}
    else:
        graph = {"Unchanged": {"leaf_node_id": state.leaf_node_id}}
    return {
        "session_id": state.session_id,
        "config": state.config,
        "agent_frames": list(state.agent_frames),
        "current_agent_frame_id": state.current_agent_frame_id,
        "graph": graph,
        "checkpoint": _checkpoint(state),
        "expected_head_revision": state.head_revision,
        "session_execution_lease": None,
        "release_session_execution_lease": None,
        "usage_deltas": list(usage),
        "turn_commit": None,
        "completed_queue_claims": [],
        "committed_attachment_ids": [],
    }


def apply_commit_result(state: SessionState, result: Mapping[str, Json]) -> SessionState:
    """The state after its commit was accepted: revision and references are the store's, the graph need not be replaced again.

    A body is let go once the store has given a reference for it: the next commit passes the reference (COMMIT-10).
    """
    manifest = result["manifest"]
    tool_state_ref = manifest.get("tool_state_ref")
    plugin_snapshot_ref = manifest.get("plugin_snapshot_ref")
    execution_state_ref = manifest.get("execution_state_ref")
    return evolve(
        state,
        head_revision=result["head_revision"],
        checkpoint_ref=result["checkpoint_ref"],
        graph_replace_required=False,
        tool_state=state.tool_state if tool_state_ref is None else None,
        tool_state_ref=tool_state_ref,
        plugin_snapshot=state.plugin_snapshot if plugin_snapshot_ref is None else None,
        plugin_snapshot_ref=plugin_snapshot_ref,
        plugin_snapshot_revision=manifest.get("plugin_snapshot_revision"),
        execution_state=state.execution_state if execution_state_ref is None else None,
        execution_state_ref=execution_state_ref,
    )


def _checkpoint(state: SessionState) -> Json:
    """COMMIT-10: the bodies at hand and the references known."""
    return {
        "turn_state": {
            "turn_index": state.turn_index,
            "token_usage": state.token_usage,
            "protocol_turn_options": state.protocol_turn_options,
        },
        "tool_state": state.tool_state,
        "tool_state_ref": state.tool_state_ref,
        "plugin_snapshot": state.plugin_snapshot,
        "plugin_snapshot_ref": state.plugin_snapshot_ref,
        "plugin_snapshot_revision": state.plugin_snapshot_revision,
        "execution_state": _byte_values(state.execution_state),
        "execution_state_ref": state.execution_state_ref,
    }


def _byte_values(body: bytes | None) -> list[int] | None:
    return None if body is None else list(body)

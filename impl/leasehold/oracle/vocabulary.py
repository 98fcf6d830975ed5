"""The words that stand for the model's numbers on the wire: the same number always becomes the same text or payload."""

from __future__ import annotations

from functools import cache
from typing import Any

from leasehold import records
from leasehold.records import Json
from leasehold_model import ids
from leasehold_model.state import Node, Usage

EMPTY = 10_001
"""The payload that is empty: what careless stores take for absent."""

RICH = 1_000_000
"""Payloads from here on hold what careless stores change: other scripts, control characters, nesting, empty values, fractions."""

RICHER = 2_000_000
"""Payloads from here on hold integers that no double carries, too."""

_SESSIONS = ("", "alpha", "beta", "gamma", "delta")
_OWNERS = ("", "ann", "bob", "cyd", "dan")


@cache
def session(number: int) -> str:
    """A session id."""
    return _SESSIONS[number] if number < len(_SESSIONS) else f"session-{number}"


@cache
def owner(number: int) -> str:
    """An owner id."""
    return _OWNERS[number] if number < len(_OWNERS) else f"owner-{number}"


@cache
def source_key(number: int) -> str | None:
    """A source key: one of a few that are easily confused, a wake's from 100 up, a session command's from 200 up (QUEUE-14)."""
    if number == 0:
        return None
    if number >= 200:
        return f"command:refresh_tool_catalog:key-{number}"
    if number >= 100:
        return f"process:process-{number}:event:7:wake"
    return ("", "source:1", "Source:1", "source:1'")[number] if number < 4 else f"source:{number}"


@cache
def merge_key(number: int) -> records.MergeKey:
    """A merge key."""
    if number == ids.NEVER:
        return "never"
    if number in (4, 5):  # groups that are called as the other keys are
        return records.Group("never" if number == 4 else "payload_default")
    return "payload_default" if number == ids.PAYLOAD_DEFAULT else records.Group(f"group-{number}")


def _text(body: int) -> str:
    """What follows a text."""
    return " n\u00e4\u00efve \u65e5\u672c\u8a9e \U0001f4a1 \u202etxet\u202c \t\"'\\\\ \u0001" if body >= RICH else ""


def _opaque(body: int) -> dict[str, Json]:
    """Members of a value into which no store looks."""
    if body < RICH:
        return {}
    rich: dict[str, Json] = {
        "text": _text(body),
        "nothing": None,
        "empty": {"object": {}, "list": [], "text": ""},
        "nested": [[], [[1, [2, {"three": [3]}]]]],
        "yes": True,
        "no": False,
        "half": 1.5,
        "minus": -7,
        "": "no name",
    }
    return {**rich, "large": 2**53 + 1, "largest": 2**63 - 1, "least": -(2**63)} if body >= RICHER else rich


@cache
def payloads(body: int, source: int) -> tuple[Json, ...]:
    """The payloads of a draft: a process wake or a session command where the source key is one's, else one or two turn inputs."""
    if source >= 200:
        return ({"type": "session_command", "command": {"kind": "refresh_tool_catalog", "reason": f"reason {body}{_text(body)}"}},)
    if source >= 100:
        return ({"type": "process_wake", "wake": _wake(body, source)},)
    texts = [f"text {body}{_text(body)}"] if body % 3 else [f"text {body}", f"more {body}{_text(body)}"]
    return tuple({"type": "turn_input", "input": {"items": [{"type": "text", "text": text}]}} for text in texts)


def _wake(body: int, source: int) -> Json:
    process = f"process-{source}"
    subject = {"type": "process_event", "process_id": process, "sequence": 7, "event_type": "process.wake"}
    return {
        "wake_id": f"wake-{source}",
        "target_session_id": session(1),
        "target_scope_id": f"session:{session(1)}",
        "process_id": process,
        "sequence": 7,
        "event_type": "process.wake",
        "event_invocation": {"scope": {"session_id": session(1)}, "subject": subject},
        "dedupe_key": f"wake-dedupe-{source}",
        "input": f"wake payload {body}{_text(body)}",
        "created_at_ms": 1,
    }


@cache
def node_id(number: int) -> str:
    """A node id."""
    return f"node-{number}"


@cache
def node(node: Node) -> records.Node:
    """A node, with contents of one of the two kinds."""
    body = int(node.record)
    content = (
        {"kind": "plugin", "plugin_type": "notes", "body": {"note": body, **_opaque(body)}}
        if body % 2
        else {
            "kind": "event",
            "event": {"type": "protocol", "name": "step", "payload": {"n": body, "text": f"söme tëxt {body}", **_opaque(body)}},
        }
    )
    return records.Node(
        node_id=node_id(node.node),
        parent_node_id=node_id(node.parent) if node.parent else None,
        agent_frame_id="frame-1" if body % 5 == 0 else None,
        timestamp=f"2026-06-02T00:00:{body % 60:02d}Z",
        content=content,
    )


@cache
def config(body: int) -> Json:
    """A session's configuration."""
    limits: dict[str, Any] = {"context_window_tokens": 200_000 + body}
    if body % 2:
        limits["output_token_capacity"] = 4096
    return {"provider_id": "provider", "model": {"id": f"model-{body}{_text(body)}", "limits": limits}}


@cache
def agent_frames(body: int) -> tuple[Json, ...]:
    """A session's agent frames: one, two or none."""
    if body == EMPTY:
        return ()
    first = {
        "frame_id": "frame-1",
        "session_id": session(1),
        "status": "active" if body % 2 else "superseded",
        "reason": "session_start",
        "created_at": f"2026-06-02T00:00:{body % 60:02d}Z",
        "assignment": {"agent": f"agent-{body}", **_opaque(body)},
    }
    second = {
        **first,
        "frame_id": "frame-2",
        "previous_frame_id": "frame-1",
        "status": "active",
        "reason": {"custom": f"plan {body}"},
    }
    return (first,) if body % 2 else (first, second)


@cache
def current_frame(body: int) -> str:
    """The id of the current agent frame."""
    if body == EMPTY:
        return ""
    return "frame-1" if body % 2 else "frame-2"


@cache
def turn_state(body: int) -> Json:
    """The turn state of a checkpoint."""
    usage = {"input_tokens": body, "output_tokens": 2 * body, "cached_input_tokens": 0, "reasoning_tokens": 0}
    return {"turn_index": body, "token_usage": usage, "protocol_turn_options": _opaque(body)}


@cache
def tool_state(body: int) -> Json:
    """A tool state."""
    if body == EMPTY:
        return {}
    return {"generation": body, "tools": [f"tool-{body}"], **_opaque(body)} if body else None


@cache
def plugin_snapshot(body: int) -> Json:
    """A plugin snapshot."""
    return {"plugins": {"notes": {"version": body, **_opaque(body)}}} if body else None


@cache
def execution_state(body: int) -> bytes | None:
    """An execution state: any bytes."""
    if body == EMPTY:
        return b""
    return bytes((0, 255, body % 256)) + f"vm-{body}".encode() if body else None


@cache
def usage(row: Usage) -> records.UsageRow:
    """A usage row."""
    return records.UsageRow(
        source=f"source-{row.source}",
        model=f"model-{row.model}",
        input_tokens=row.input,
        output_tokens=row.output,
        cached_input_tokens=row.cached_input,
        reasoning_tokens=row.reasoning,
    )


@cache
def turn_id(number: int) -> str:
    """A turn id."""
    return f"turn-{number}"


@cache
def turn_hash(number: int) -> str:
    """A turn commit hash: any text will do, but it looks like a SHA-256 (COMMIT-9)."""
    return f"{number:064x}"


@cache
def attachment(number: int) -> str:
    """An attachment id."""
    return f"attachment-{number}"


@cache
def uri(body: int) -> str:
    """A canonical uri."""
    return f"sha256:{body:064x}"


@cache
def meta(body: int) -> records.SessionMeta:
    """Session metadata: each of the six fields differs between any two."""
    return records.SessionMeta(
        session_id=session(1),
        session_name=f"name {body}{_text(body)}",
        created_at=f"2026-06-02T00:{body % 60:02d}:00Z",
        model=f"model-{body}",
        cwd=(None, f"/home/someone/{body}", "")[body % 3],
        relation={"kind": "root"} if body % 2 else {"kind": "child", "parent_session_id": f"parent-{body}"},
    )


def canonical(value: Any) -> Any:
    """A JSON value without null members, so that null and absent are the same; true is no number."""
    if isinstance(value, dict):
        return {key: canonical(member) for key, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [canonical(member) for member in value]
    return ("truth", value) if isinstance(value, bool) else value

"""What both stores share: refusing bad input, canonical JSON and content references. No rule of the contract is decided here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final

from leasehold.records import MAX_MS, BatchDraft, Checkpoint, CheckpointManifest, Commit, Group, Intent, Json, SessionMeta
from leasehold.store import InvalidRequest

MIN_I64: Final = -(2**63)
MAX_I64: Final = 2**63 - 1

TOOL_STATE: Final = "tool_state"
PLUGIN_SNAPSHOT: Final = "plugin_snapshot"
EXECUTION_STATE: Final = "execution_state"

DELIVERY_POLICIES = frozenset({"earliest_safe_boundary", "after_current_turn_commit"})
SLOT_POLICIES = frozenset({"join", "exclusive"})
_MERGE_WORDS = frozenset({"never", "payload_default"})
_BOUNDARIES = frozenset({"idle", "active_turn_checkpoint"})
_USAGE_FIELDS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


def _encoder(sort_keys: bool) -> Callable[[Json], str]:
    """`json.JSONEncoder.encode` without setting up its C encoder anew at every call, which is half of its time."""
    plain = json.JSONEncoder(sort_keys=sort_keys, separators=(",", ":"), allow_nan=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    # No markers: a value that contains itself ends in a RecursionError, which is refused just as well.
    fast = make(None, plain.default, json.encoder.encode_basestring_ascii, None, ":", ",", sort_keys, False, False)
    return lambda value: "".join(fast(value, 0))


_encode_sorted = _encoder(sort_keys=True)
_encode_as_is = _encoder(sort_keys=False)


def check_id(value: str, field: str) -> None:
    """A session or an owner has a name."""
    if type(value) is not str or not value:
        raise InvalidRequest(f"{field} must be a text that is not empty, got {value!r}", field=field)


def check_ttl(value: int) -> None:
    """A ttl is an integer of 0 to 2^63-1 milliseconds."""
    if type(value) is not int or not 0 <= value <= MAX_MS:
        raise InvalidRequest(f"lease_ttl_ms must be an integer from 0 to 2^63-1, got {value!r}", field="lease_ttl_ms")


def check_count(value: int, field: str) -> None:
    """A number of things is an integer from 0."""
    if type(value) is not int or not 0 <= value <= MAX_I64:
        raise InvalidRequest(f"{field} must be an integer from 0 to 2^63-1, got {value!r}", field=field)


def check_time(value: int, field: str) -> None:
    """A time fits 64 bits."""
    if type(value) is not int or not MIN_I64 <= value <= MAX_MS:
        raise InvalidRequest(f"{field} must be a 64 bit integer of milliseconds, got {value!r}", field=field)


def check_boundary(value: str) -> None:
    """A boundary is one of two words."""
    if value not in _BOUNDARIES:
        raise InvalidRequest(f"boundary must be idle or active_turn_checkpoint, got {value!r}", field="boundary")


def check_draft(draft: BatchDraft) -> None:
    """A draft is complete and in range."""
    check_id(draft.session_id, "session_id")
    available_at = draft.available_at_ms
    if type(available_at) is not int or not 0 <= available_at <= MAX_MS:
        raise InvalidRequest(f"available_at_ms must be an integer from 0 to 2^63-1, got {available_at!r}", field="available_at_ms")
    if draft.delivery_policy not in DELIVERY_POLICIES:
        raise InvalidRequest(f"unknown delivery_policy {draft.delivery_policy!r}", field="delivery_policy")
    if draft.slot_policy not in SLOT_POLICIES:
        raise InvalidRequest(f"unknown slot_policy {draft.slot_policy!r}", field="slot_policy")
    if type(draft.merge_key) is not Group and draft.merge_key not in _MERGE_WORDS:
        raise InvalidRequest(f"unknown merge_key {draft.merge_key!r}", field="merge_key")


def check_commit(commit: Commit) -> None:
    """A commit names a session, and its usage fits 64 bits."""
    check_id(commit.session_id, "session_id")
    for row in commit.usage_deltas:
        for field in _USAGE_FIELDS:
            value = getattr(row, field)
            if type(value) is not int or not MIN_I64 <= value <= MAX_I64:
                raise InvalidRequest(f"{field} must be a 64 bit integer, got {value!r}", field=field)


def check_intent(intent: Intent) -> None:
    """An intent names a session and a time in range."""
    check_id(intent.session_id, "session_id")
    check_time(intent.intent_at_epoch_ms, "intent_at_epoch_ms")


def check_meta(meta: SessionMeta) -> None:
    """Metadata is of a session."""
    check_id(meta.session_id, "session_id")


def first_repeated(ids: Iterable[str]) -> str | None:
    """The first id that occurs a second time."""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            return one
        seen.add(one)
    return None


def dump(value: Json, field: str) -> str:
    """A JSON value as compact text, keys in the order given."""
    try:
        return _encode_as_is(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{field} is no JSON value: {error}", field=field) from error


def dump_canonical(value: Json, field: str) -> str:
    """A JSON value as compact text with sorted keys: equal values give equal text."""
    try:
        return _encode_sorted(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{field} is no JSON value: {error}", field=field) from error


def body_bytes(kind: str, body: Json) -> bytes:
    """A checkpoint part as the bytes that its reference is made of and that are stored."""
    return bytes(body) if isinstance(body, (bytes, bytearray)) else dump_canonical(body, kind).encode()


def content_ref(kind: str, body: bytes) -> str:
    """The reference of a checkpoint part: its kind and the SHA-256 of its content."""
    return f"{kind}:{sha256(body).hexdigest()}"


def is_ref_of(kind: str, ref: str) -> bool:
    """Whether a reference is one of this kind."""
    return ref.startswith(f"{kind}:")


def manifest_ref(manifest: CheckpointManifest) -> str:
    """The reference of a whole checkpoint: the SHA-256 of its manifest."""
    members = (
        manifest.turn_state,
        manifest.tool_state_ref,
        manifest.plugin_snapshot_ref,
        manifest.plugin_snapshot_revision,
        manifest.execution_state_ref,
    )
    return f"checkpoint:{sha256(dump_canonical(members, 'turn_state').encode()).hexdigest()}"


def manifest_of(checkpoint: Checkpoint, tool: str | None, plugin: str | None, execution: str | None) -> CheckpointManifest:
    """A checkpoint's manifest with these references."""
    return CheckpointManifest(
        turn_state=checkpoint.turn_state,
        tool_state_ref=tool,
        plugin_snapshot_ref=plugin,
        plugin_snapshot_revision=checkpoint.plugin_snapshot_revision,
        execution_state_ref=execution,
    )

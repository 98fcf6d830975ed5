"""How a durable store keeps records as text and reads them back. What cannot be read is damaged, and refused (LAW-15)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from leasehold.records import Batch, BatchDraft, Checkpoint, CheckpointManifest, Commit, Group, Item, Json, MergeKey
from leasehold.store import Backend
from leasehold.stores._common import (
    EXECUTION_STATE,
    PLUGIN_SNAPSHOT,
    TOOL_STATE,
    body_bytes,
    content_ref,
    dump,
    dump_canonical,
    manifest_of,
)

_MERGE_WORDS: Final[dict[str, MergeKey]] = {"never": "never", "payload_default": "payload_default"}
_GROUP: Final = "group:"


def unreadable(kind: str, which: object, why: str = "a column has the wrong type") -> Backend:
    """What a damaged row is answered with."""
    return Backend(f"a stored {kind} ({which}) is unreadable: {why}. Nothing was changed: restore it from a backup.")


def load_json(text: str, kind: str, column: str) -> Json:
    """A JSON value."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise unreadable(kind, column, str(error)) from error


def load_list(text: str, kind: str, column: str) -> list[Json]:
    """A JSON array."""
    value = load_json(text, kind, column)
    if not isinstance(value, list):
        raise unreadable(kind, column, "not an array")
    return value


class StoredCommit:
    """What a commit stores as text, made before any lock is taken."""

    __slots__ = ("agent_frames", "bodies", "checkpoint_ref", "config", "kept", "manifest", "manifest_text")

    def __init__(self, commit: Commit) -> None:
        checkpoint = commit.checkpoint
        self.config = dump(commit.config, "config")
        self.agent_frames = dump(tuple(commit.agent_frames), "agent_frames")
        self.bodies: list[tuple[str, bytes]] = []
        self.kept: list[tuple[str, str]] = []
        self.manifest = manifest_of(
            checkpoint,
            self._part(TOOL_STATE, checkpoint.tool_state, checkpoint.tool_state_ref),
            self._part(PLUGIN_SNAPSHOT, checkpoint.plugin_snapshot, checkpoint.plugin_snapshot_ref),
            self._part(EXECUTION_STATE, checkpoint.execution_state, checkpoint.execution_state_ref),
        )
        self.manifest_text = dump_manifest(self.manifest)
        self.checkpoint_ref = content_ref("checkpoint", self.manifest_text.encode())

    def _part(self, kind: str, body: Json, ref: str | None) -> str | None:
        """The reference of a part. A body given now wins over a reference; a reference alone has to name a stored body."""
        if body is not None:
            content = body_bytes(kind, body)
            ref = content_ref(kind, content)
            self.bodies.append((ref, content))
        elif ref is not None:
            self.kept.append((kind, ref))
        return ref


def dump_manifest(manifest: CheckpointManifest) -> str:
    """A manifest as canonical text."""
    members = (
        manifest.turn_state,
        manifest.tool_state_ref,
        manifest.plugin_snapshot_ref,
        manifest.plugin_snapshot_revision,
        manifest.execution_state_ref,
    )
    return dump_canonical(members, "turn_state")


def load_manifest(text: str) -> CheckpointManifest:
    """A manifest."""
    members = load_list(text, "checkpoint", "manifest")
    if len(members) != 5:
        raise unreadable("checkpoint", "manifest", "it has not five members")
    turn_state, tool, plugin, revision, execution = members
    references = all(one is None or type(one) is str for one in (tool, plugin, execution))
    if not references or not (revision is None or type(revision) is int):
        raise unreadable("checkpoint", "manifest", "a member has the wrong type")
    return CheckpointManifest(
        turn_state=turn_state,
        tool_state_ref=tool,
        plugin_snapshot_ref=plugin,
        plugin_snapshot_revision=revision,
        execution_state_ref=execution,
    )


def hydrate(manifest: CheckpointManifest, bodies: Mapping[str, bytes]) -> Checkpoint:
    """The checkpoint of a manifest."""
    return Checkpoint(
        turn_state=manifest.turn_state,
        tool_state=_load_body(TOOL_STATE, manifest.tool_state_ref, bodies),
        tool_state_ref=manifest.tool_state_ref,
        plugin_snapshot=_load_body(PLUGIN_SNAPSHOT, manifest.plugin_snapshot_ref, bodies),
        plugin_snapshot_ref=manifest.plugin_snapshot_ref,
        plugin_snapshot_revision=manifest.plugin_snapshot_revision,
        execution_state=_load_body(EXECUTION_STATE, manifest.execution_state_ref, bodies),
        execution_state_ref=manifest.execution_state_ref,
    )


def _load_body(kind: str, ref: str | None, bodies: Mapping[str, bytes]) -> Json:
    """A checkpoint part. Its reference is the hash of its content, so damage shows."""
    if ref is None:
        return None
    body = bodies.get(ref)
    if type(body) is not bytes:
        raise unreadable("checkpoint part", ref, "it is missing" if body is None else "it has the wrong type")
    if content_ref(kind, body) != ref:
        raise unreadable("checkpoint part", ref, "its content is not what its reference says")
    return body if kind == EXECUTION_STATE else load_json(body.decode(), "checkpoint part", ref)


def batch_id_of(enqueue_seq: int) -> str:
    """The id of the batch of this number."""
    return f"batch-{enqueue_seq}"


def enqueue_seq_of(batch_id: str) -> int:
    """The number that a batch id was made of, or 0, which no batch has."""
    number = batch_id.removeprefix("batch-")
    if not number.isdecimal() or len(number) > 18:
        return 0
    enqueue_seq = int(number)
    return enqueue_seq if batch_id_of(enqueue_seq) == batch_id else 0


def dump_merge_key(merge_key: MergeKey) -> str:
    """A merge key as text."""
    return f"{_GROUP}{merge_key.group}" if isinstance(merge_key, Group) else merge_key


def load_merge_key(text: str, batch_id: str) -> MergeKey:
    """A merge key."""
    if text.startswith(_GROUP):
        return Group(text.removeprefix(_GROUP))
    if text not in _MERGE_WORDS:
        raise unreadable("batch", batch_id, f"unknown merge key {text!r}")
    return _MERGE_WORDS[text]


def items_of(batch_id: str, payloads: Iterable[Json]) -> tuple[Item, ...]:
    """Payloads with ids."""
    return tuple([Item(f"{batch_id}.{index}", payload) for index, payload in enumerate(payloads)])


def batch_of(draft: BatchDraft, enqueue_seq: int, now: int) -> Batch:
    """The batch that a draft becomes."""
    batch_id = batch_id_of(enqueue_seq)
    return Batch(
        batch_id=batch_id,
        session_id=draft.session_id,
        enqueue_seq=enqueue_seq,
        source_key=draft.source_key,
        delivery_policy=draft.delivery_policy,
        slot_policy=draft.slot_policy,
        merge_key=draft.merge_key,
        available_at_ms=draft.available_at_ms,
        enqueued_at_ms=now,
        items=items_of(batch_id, draft.payloads),
    )

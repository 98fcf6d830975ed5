"""The attachment manifest and the session metadata: contract section 7."""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold_model.ids import AttachmentId, Body, Millis, SessionId
from leasehold_model.outcome import ANY_ERROR, Absent, Done, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.state import Entry, State


@frozen
class RecordIntent:
    """An attachment is about to be written."""

    attachment: AttachmentId
    session: SessionId
    uri: Body
    intent_at: Millis


@frozen
class CommitRefs:
    """Attachments are referred to from now on."""

    session: SessionId
    attachments: tuple[AttachmentId, ...]


@frozen
class ListUncommitted:
    """List intents that were never committed."""

    older_than: Millis


@frozen
class Forget:
    """Remove a row."""

    attachment: AttachmentId


@frozen
class SaveMeta:
    """Save the session metadata."""

    meta: Body


@frozen
class LoadMeta:
    """Load the session metadata."""


@frozen
class Uncommitted:
    """Rows without a stamp, in any order."""

    rule: str
    entries: tuple[Entry, ...]


@frozen
class FoundMeta:
    """The metadata saved last."""

    rule: str
    meta: Body


def record_intent(
    state: State, command: RecordIntent, policies: Policies, persistent: bool
) -> tuple[State, Done | Refused | Silent]:
    """ATTACH-1; a no-op manifest keeps nothing (ATTACH-5)."""
    if not persistent:
        return state, Done("ATTACH-5")
    entry = Entry(command.attachment, command.session, command.uri, command.intent_at, False)
    for index, known in enumerate(state.manifest):
        if known.attachment == command.attachment and (policies.manifest_key == "id" or known.session == command.session):
            if policies.intent_repeat == "refuse":
                return state, Refused("ATTACH-1", ANY_ERROR)
            if policies.intent_repeat == "first-wins":
                return state, Done("ATTACH-1")
            if known.stamped:
                return state, Silent("P-INTENT-REPEAT does not say whether the stamp stays when the last intent wins")
            return evolve(state, manifest=(*state.manifest[:index], entry, *state.manifest[index + 1 :])), Done("ATTACH-1")
    return evolve(state, manifest=(*state.manifest, entry)), Done("ATTACH-1")


def stamped(manifest: tuple[Entry, ...], session: SessionId, attachments: tuple[AttachmentId, ...]) -> tuple[Entry, ...]:
    """ATTACH-2: rows of this session are stamped; unknown ids and other sessions' rows are ignored."""
    return tuple(
        Entry(entry.attachment, entry.session, entry.uri, entry.intent_at, True)
        if entry.session == session and entry.attachment in attachments
        else entry
        for entry in manifest
    )


def commit_refs(state: State, command: CommitRefs) -> tuple[State, Done]:
    """ATTACH-2, outside of a commit."""
    return evolve(state, manifest=stamped(state.manifest, command.session, command.attachments)), Done("ATTACH-2")


def list_uncommitted(state: State, command: ListUncommitted) -> tuple[State, Uncommitted]:
    """ATTACH-3."""
    rows = tuple(entry for entry in state.manifest if not entry.stamped and entry.intent_at <= command.older_than)
    return state, Uncommitted("ATTACH-3", rows)


def forget(state: State, command: Forget) -> tuple[State, Done | Silent]:
    """ATTACH-4: unknown ids are ignored."""
    if len([entry for entry in state.manifest if entry.attachment == command.attachment]) > 1:
        return state, Silent("ATTACH-4 does not say whose row goes when two sessions have the id")
    kept = tuple(entry for entry in state.manifest if entry.attachment != command.attachment)
    return evolve(state, manifest=kept), Done("ATTACH-4")


def save_meta(state: State, command: SaveMeta) -> tuple[State, Done]:
    """META-1."""
    return evolve(state, meta=command.meta), Done("META-1")


def load_meta(state: State) -> tuple[State, FoundMeta | Absent]:
    """META-1: nothing before the first."""
    return state, FoundMeta("META-1", state.meta) if state.meta != 0 else Absent("META-1")

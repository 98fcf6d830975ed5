"""Drafts that callers build in one way, so that a retry meets its first attempt under the same source key (QUEUE-2, QUEUE-14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leasehold.records import BatchDraft


def process_wake_source_key(process_id: str, sequence: int) -> str:
    """The source key of a process wake (QUEUE-14)."""
    return f"process:{process_id}:event:{sequence}:wake"


def session_command_source_key(kind: str, idempotency_key: str) -> str:
    """The source key of a session command (QUEUE-14)."""
    return f"command:{kind}:{idempotency_key}"


def process_wake_draft(wake: Mapping[str, Any]) -> BatchDraft:
    """One batch for the session the wake is meant for, due at once, delivered as soon as is safe and on its own (QUEUE-14).

    ``wake`` is the wire JSON of the wake; its members target_session_id, process_id and sequence are read, all are kept.
    """
    return BatchDraft(
        session_id=wake["target_session_id"],
        source_key=process_wake_source_key(wake["process_id"], wake["sequence"]),
        delivery_policy="earliest_safe_boundary",
        slot_policy="exclusive",
        merge_key="never",
        payloads=({"type": "process_wake", "wake": dict(wake)},),
    )

"""Drafts that callers build in one way."""

from __future__ import annotations

import pytest

from leasehold.drafts import process_wake_draft, session_command_source_key
from leasehold.records import BatchDraft


@pytest.mark.requirement("QUEUE-14")
def test_a_wake_is_one_exclusive_batch_for_its_target_session() -> None:
    wake = {"wake_id": "w", "target_session_id": "root", "process_id": "p1", "sequence": 7, "input": "ping"}
    assert process_wake_draft(wake) == BatchDraft(
        session_id="root",
        source_key="process:p1:event:7:wake",
        delivery_policy="earliest_safe_boundary",
        slot_policy="exclusive",
        merge_key="never",
        available_at_ms=0,
        payloads=({"type": "process_wake", "wake": wake},),
    )


@pytest.mark.requirement("QUEUE-14")
def test_a_session_command_is_known_by_kind_and_idempotency_key() -> None:
    assert session_command_source_key("reset_session", "k1") == "command:reset_session:k1"

"""The seed's suite, one test per scenario under the seed's name, on every store of ours. docs/seed.md has the table."""

from __future__ import annotations

import pytest

from leasehold.records import Tier
from tests.seed import scenarios
from tests.seed.liars import NoopManifest
from tests.seed.scenarios import MakeReopenable


@pytest.mark.requirement("TIER-1")
def test_runtime_persistence_reports_declared_durability(make_store: MakeReopenable, tier: Tier) -> None:
    scenarios.runtime_persistence_reports_declared_durability(make_store, tier)


@pytest.mark.requirement("COMMIT-8", "GRAPH-2", "LEASE-1")
def test_commit_increments_head_and_round_trips_agent_frames(make_store: MakeReopenable) -> None:
    scenarios.commit_increments_head_and_round_trips_agent_frames(make_store)


@pytest.mark.requirement("COMMIT-1")
def test_commit_rejects_a_different_session_id(make_store: MakeReopenable) -> None:
    scenarios.commit_rejects_a_different_session_id(make_store)


@pytest.mark.requirement("COMMIT-8", "GRAPH-2", "LAW-8")
def test_load_hydrates_checkpoint_and_usage(make_store: MakeReopenable) -> None:
    scenarios.load_hydrates_checkpoint_and_usage(make_store)


@pytest.mark.requirement("GRAPH-1", "GRAPH-3", "GRAPH-4")
def test_active_path_read_scope_selects_only_requested_ancestry(make_store: MakeReopenable) -> None:
    scenarios.active_path_read_scope_selects_only_requested_ancestry(make_store)


@pytest.mark.requirement(
    "LEASE-1",
    "LEASE-2",
    "LEASE-3",
    "LEASE-4",
    "LEASE-5",
    "LEASE-6",
    "LEASE-7",
    "COMMIT-4",
    "COMMIT-5",
    "COMMIT-6",
    "COMMIT-8",
    "QUEUE-4",
    "LAW-2",
    "LAW-3",
    "LAW-7",
)
def test_session_execution_lease_contract(make_store: MakeReopenable) -> None:
    scenarios.session_execution_lease_contract(make_store)


@pytest.mark.requirement("ATTACH-1", "ATTACH-2", "ATTACH-3", "ATTACH-4", "COMMIT-8")
def test_attachment_manifest_records_intent_and_commit_stamps(make_store: MakeReopenable) -> None:
    scenarios.attachment_manifest_records_intent_and_commit_stamps(make_store)


@pytest.mark.requirement("ATTACH-5")
def test_noop_attachment_manifest_is_explicit_and_empty(make_store: MakeReopenable) -> None:
    scenarios.noop_attachment_manifest_is_explicit_and_empty(lambda: NoopManifest(make_store()))


@pytest.mark.requirement("QUEUE-1", "QUEUE-2", "QUEUE-3", "LAW-9")
def test_queued_work_source_keys_are_idempotent_and_list_ordered(make_store: MakeReopenable) -> None:
    scenarios.queued_work_source_keys_are_idempotent_and_list_ordered(make_store)


@pytest.mark.requirement("QUEUE-3", "QUEUE-9", "QUEUE-12", "QUEUE-13")
def test_queued_work_cancel_removes_only_unclaimed_batches(make_store: MakeReopenable) -> None:
    scenarios.queued_work_cancel_removes_only_unclaimed_batches(make_store)


@pytest.mark.requirement("QUEUE-3", "QUEUE-10", "LAW-1")
def test_queued_work_exact_claim_uses_selected_batch_ids(make_store: MakeReopenable) -> None:
    scenarios.queued_work_exact_claim_uses_selected_batch_ids(make_store)


@pytest.mark.requirement("QUEUE-5", "QUEUE-6", "QUEUE-7", "QUEUE-8", "QUEUE-9", "QUEUE-11", "QUEUE-12", "LAW-4")
def test_queued_work_claims_respect_boundaries_renewal_and_abandon(make_store: MakeReopenable) -> None:
    scenarios.queued_work_claims_respect_boundaries_renewal_and_abandon(make_store)


@pytest.mark.requirement("QUEUE-5", "QUEUE-7", "QUEUE-8", "QUEUE-9", "LAW-4", "LAW-9")
def test_queued_work_respects_availability_limits_exclusivity_reclaim_and_sessions(make_store: MakeReopenable) -> None:
    scenarios.queued_work_respects_availability_limits_exclusivity_reclaim_and_sessions(make_store)


@pytest.mark.requirement("QUEUE-7")
def test_queued_work_join_groups_by_delivery_policy_and_merge_key(make_store: MakeReopenable) -> None:
    scenarios.queued_work_join_groups_by_delivery_policy_and_merge_key(make_store)


@pytest.mark.requirement("COMMIT-7", "COMMIT-8", "LAW-1", "LAW-5")
def test_queued_work_completion_is_lease_guarded(make_store: MakeReopenable) -> None:
    scenarios.queued_work_completion_is_lease_guarded(make_store)


@pytest.mark.requirement("QUEUE-2", "QUEUE-14", "COMMIT-8", "LAW-5")
def test_queued_wake_delivery_is_source_key_idempotent_and_claimed_once(make_store: MakeReopenable) -> None:
    scenarios.queued_wake_delivery_is_source_key_idempotent_and_claimed_once(make_store)


@pytest.mark.requirement("COMMIT-4", "COMMIT-7", "COMMIT-8", "GRAPH-2", "LAW-1", "LAW-7", "LAW-11")
def test_queue_completion_and_turn_commit_stamp_are_atomic(make_store: MakeReopenable) -> None:
    scenarios.queue_completion_and_turn_commit_stamp_are_atomic(make_store)


@pytest.mark.requirement("META-1")
def test_session_metadata_round_trips(make_store: MakeReopenable) -> None:
    scenarios.session_metadata_round_trips(make_store)


@pytest.mark.requirement("GRAPH-3", "GRAPH-5", "GRAPH-6", "GRAPH-7", "GRAPH-9")
def test_tombstone_vacuum_and_gc_are_minimally_consistent(make_store: MakeReopenable) -> None:
    scenarios.tombstone_vacuum_and_gc_are_minimally_consistent(make_store)


@pytest.mark.requirement("COMMIT-3", "COMMIT-4", "COMMIT-9", "LAW-7")
def test_final_commit_stamp_is_idempotent_and_conflicts_on_changed_hash(make_store: MakeReopenable) -> None:
    scenarios.final_commit_stamp_is_idempotent_and_conflicts_on_changed_hash(make_store)


@pytest.mark.requirement("LEASE-8", "LAW-2")
def test_session_execution_lease_first_claim_excludes_concurrent_reopen_handles(make_store: MakeReopenable) -> None:
    scenarios.session_execution_lease_first_claim_excludes_concurrent_reopen_handles(make_store)


@pytest.mark.requirement("LEASE-8", "META-1", "GRAPH-2", "QUEUE-3", "ATTACH-3", "LAW-10")
def test_runtime_persistence_survives_reopen(make_durable_store: MakeReopenable) -> None:
    scenarios.runtime_persistence_survives_reopen(make_durable_store)


@pytest.mark.requirement("META-1", "GRAPH-2", "QUEUE-3", "ATTACH-3", "LAW-10")
def test_runtime_persistence_survives_reopen_after_close(make_durable_store: MakeReopenable) -> None:
    scenarios.runtime_persistence_survives_closing(make_durable_store)

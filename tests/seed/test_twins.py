"""The scenarios can fail: each is failed by a store that breaks what it is about, and by no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leasehold.store import SystemClock
from leasehold.stores.memory import MemoryStore
from tests.seed import liars, scenarios
from tests.seed.scenarios import Declared, run_suite

DURABILITY = "runtime_persistence_reports_declared_durability"
FRAMES = "commit_increments_head_and_round_trips_agent_frames"
BINDING = "commit_rejects_a_different_session_id"
HYDRATES = "load_hydrates_checkpoint_and_usage"
ACTIVE_PATH = "active_path_read_scope_selects_only_requested_ancestry"
LEASE = "session_execution_lease_contract"
MANIFEST = "attachment_manifest_records_intent_and_commit_stamps"
NOOP = "noop_attachment_manifest_is_explicit_and_empty"
SOURCE_KEYS = "queued_work_source_keys_are_idempotent_and_list_ordered"
CANCEL = "queued_work_cancel_removes_only_unclaimed_batches"
EXACT = "queued_work_exact_claim_uses_selected_batch_ids"
BOUNDARIES = "queued_work_claims_respect_boundaries_renewal_and_abandon"
AVAILABILITY = "queued_work_respects_availability_limits_exclusivity_reclaim_and_sessions"
JOIN = "queued_work_join_groups_by_delivery_policy_and_merge_key"
COMPLETION = "queued_work_completion_is_lease_guarded"
WAKE = "queued_wake_delivery_is_source_key_idempotent_and_claimed_once"
ATOMIC = "queue_completion_and_turn_commit_stamp_are_atomic"
META = "session_metadata_round_trips"
TOMBSTONE = "tombstone_vacuum_and_gc_are_minimally_consistent"
STAMP = "final_commit_stamp_is_idempotent_and_conflicts_on_changed_hash"
RACE = "session_execution_lease_first_claim_excludes_concurrent_reopen_handles"
REOPEN = "runtime_persistence_survives_reopen"

CAUGHT_BY: dict[type[liars.Wrapper], set[str]] = {
    liars.SaysDurable: {DURABILITY},
    liars.LosesFrames: {FRAMES},
    liars.LosesExecutionState: {FRAMES},
    liars.LosesToolState: {HYDRATES, REOPEN},
    liars.LosesUsage: {HYDRATES},
    liars.TakesEverySession: {BINDING},
    liars.ShowsEveryBranch: {ACTIVE_PATH},
    liars.ForgetsTheLeafAskedFor: {ACTIVE_PATH},
    liars.ReleasesByOwner: {LEASE},
    liars.CommitsWithoutLease: {LEASE},
    liars.ClaimsWithoutLease: {LEASE},
    liars.LosesStamps: {LEASE, ATOMIC, STAMP},
    liars.TrustsAnyHash: {STAMP},
    liars.KeepsNoIntents: {MANIFEST, REOPEN},
    liars.CommitsNoAttachments: {MANIFEST},
    liars.CommitsNoReferences: {MANIFEST},
    liars.ForgetsSourceKeys: {SOURCE_KEYS, WAKE},
    liars.ListsEverySession: {SOURCE_KEYS},
    liars.CancelsClaimedWork: {CANCEL},
    liars.ClaimsWhatIsFirst: {EXACT},
    liars.KnowsNoBoundary: {BOUNDARIES},
    liars.ForgetsDeliveryPolicies: {BOUNDARIES},
    liars.AbandonsNothing: {CANCEL, BOUNDARIES},
    liars.KnowsNoLimit: {AVAILABILITY},
    liars.KnowsNoAvailability: {AVAILABILITY},
    liars.JoinsEveryGroup: {JOIN},
    liars.CompletesUnasked: {COMPLETION, ATOMIC},
    liars.CompletesNothing: {COMPLETION, WAKE, ATOMIC},
    liars.LosesTheFolder: {META},
    liars.KeepsTombstonedNodes: {TOMBSTONE},
    liars.ReopensEmpty: {RACE, REOPEN},
}


def failing(make_store: Callable[[], Any], declared: Declared) -> set[str]:
    return {name for name, raised in run_suite(make_store, declared).items() if raised is not None}


@pytest.mark.parametrize("liar", CAUGHT_BY, ids=lambda liar: liar.__name__)
def test_a_liar_fails_the_scenarios_that_are_about_its_lie(liar: type[liars.Wrapper]) -> None:
    assert failing(liar, Declared(second_handle=True)) == CAUGHT_BY[liar]


def test_every_liar_is_listed_and_every_scenario_can_fail() -> None:
    defined = {value for value in vars(liars).values() if isinstance(value, type) and issubclass(value, liars.Wrapper)}
    assert set(CAUGHT_BY) == defined - {liars.Wrapper, liars.NoopManifest}
    run = run_suite(liars.Wrapper, Declared(second_handle=True))
    assert set().union(*CAUGHT_BY.values()) == set(run)


def test_a_right_store_fails_nothing_wrapped_or_not() -> None:
    assert failing(lambda: MemoryStore(SystemClock()), Declared(second_handle=True)) == set()
    assert failing(liars.Wrapper, Declared(second_handle=True)) == set()


def test_the_manifest_is_held_to_what_is_declared() -> None:
    assert failing(liars.NoopManifest, Declared(manifest="noop")) == set()
    assert failing(liars.NoopManifest, Declared(manifest="persistent")) == {MANIFEST}
    assert failing(liars.CommitsNoReferences, Declared(manifest="noop")) == {NOOP}


@pytest.mark.requirement("LAW-10")
def test_a_store_that_reopens_empty_fails_when_closed_in_between_too() -> None:
    with pytest.raises(AssertionError, match="metadata"):
        scenarios.runtime_persistence_survives_closing(liars.ReopensEmpty)

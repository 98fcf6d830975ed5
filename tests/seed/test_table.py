"""docs/seed.md against the tests: the table is complete, not stale, and names the requirements that the markers name."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.seed import scenarios, test_suite

TABLE = (Path(__file__).parents[2] / "docs" / "seed.md").read_text("utf-8")

SEED_FUNCTIONS = frozenset(
    {
        "runtime_persistence_reports_declared_durability",
        "commit_increments_head_and_round_trips_agent_frames",
        "commit_rejects_a_different_session_id",
        "load_hydrates_checkpoint_and_usage",
        "active_path_read_scope_selects_only_requested_ancestry",
        "session_execution_lease_contract",
        "attachment_manifest_records_intent_and_commit_stamps",
        "noop_attachment_manifest_is_explicit_and_empty",
        "queued_work_source_keys_are_idempotent_and_list_ordered",
        "queued_work_cancel_removes_only_unclaimed_batches",
        "queued_work_exact_claim_uses_selected_batch_ids",
        "queued_work_claims_respect_boundaries_renewal_and_abandon",
        "queued_work_respects_availability_limits_exclusivity_reclaim_and_sessions",
        "queued_work_join_groups_by_delivery_policy_and_merge_key",
        "queued_work_completion_is_lease_guarded",
        "queued_wake_delivery_is_source_key_idempotent_and_claimed_once",
        "queue_completion_and_turn_commit_stamp_are_atomic",
        "session_metadata_round_trips",
        "tombstone_vacuum_and_gc_are_minimally_consistent",
        "final_commit_stamp_is_idempotent_and_conflicts_on_changed_hash",
        "runtime_persistence_survives_reopen",
        "session_execution_lease_first_claim_excludes_concurrent_reopen_handles",
    }
)
"""The scenarios of the seed, which is not part of this repository."""

ROW = re.compile(r"^\| `(?P<seed>\w+)` \| `(?P<test>\w+)` \| (?P<requirements>[A-Z0-9, -]+) \|$", re.MULTILINE)


def marked_tests(module: ModuleType) -> dict[str, tuple[str, ...]]:
    """The tests of a module with the requirements they are marked with."""
    found = {}
    for name, value in vars(module).items():
        if name.startswith("test_"):
            marks = [mark for mark in getattr(value, "pytestmark", []) if mark.name == "requirement"]
            found[name] = tuple(one for mark in marks for one in mark.args)
    return found


def complaints(table: str, tests: dict[str, tuple[str, ...]]) -> list[str]:
    """What the table lacks, has too much, or has otherwise than the tests."""
    rows = [row.groupdict() for row in ROW.finditer(table)]
    seed, ours = {row["seed"] for row in rows}, [row["test"] for row in rows]
    found = [f"not in the table: {name}" for name in sorted(SEED_FUNCTIONS - seed | (tests.keys() - set(ours)))]
    found += [f"not in the seed: {name}" for name in sorted(seed - SEED_FUNCTIONS)]
    found += [f"no such test: {name}" for name in sorted(set(ours) - tests.keys())]
    found += [f"listed twice: {name}" for name in sorted(set(ours)) if ours.count(name) > 1]
    for row in rows:
        marked = tests.get(row["test"], ())
        if row["test"] in tests and tuple(row["requirements"].split(", ")) != marked:
            found.append(f"{row['test']} is marked with {', '.join(marked)}")
        if not row["test"].startswith(f"test_{row['seed']}"):
            found.append(f"{row['test']} is not named after {row['seed']}")
    return found


def test_the_table_is_complete_and_not_stale() -> None:
    assert complaints(TABLE, marked_tests(test_suite)) == []


def test_every_seed_function_is_a_scenario() -> None:
    assert [name for name in sorted(SEED_FUNCTIONS) if not callable(getattr(scenarios, name, None))] == []


META_ROW = "| `session_metadata_round_trips` | `test_session_metadata_round_trips` | META-1 |\n"


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (META_ROW, "", "not in the table: session_metadata_round_trips"),
        (META_ROW, "", "not in the table: test_session_metadata_round_trips"),
        (META_ROW, META_ROW * 2, "listed twice: test_session_metadata_round_trips"),
        ("| META-1 |", "| META-2 |", "test_session_metadata_round_trips is marked with META-1"),
        ("`session_metadata_round_trips`", "`session_gone`", "not in the seed: session_gone"),
        ("`test_session_metadata_round_trips`", "`test_gone`", "no such test: test_gone"),
        ("`test_session_metadata_round_trips`", "`test_gone`", "test_gone is not named after session_metadata_round_trips"),
    ],
)
def test_twin_a_wrong_table_is_noticed(before: str, after: str, complaint: str) -> None:
    assert before in TABLE
    assert complaint in complaints(TABLE.replace(before, after), marked_tests(test_suite))


def test_twin_an_empty_table_is_noticed() -> None:
    assert len(complaints("", marked_tests(test_suite))) >= len(SEED_FUNCTIONS)

"""Where a store cannot be asked for its option at a policy point, the option that explains its answers is taken for its own."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.python_door import PythonDoor
from leasehold.records import Lease
from leasehold.store import OPERATIONS, Capabilities, Clock, Contended
from tests.liars.oddities import OTHERWISE
from tests.liars.plain import PlainStore


def report(without: str, store: type[PlainStore] = PlainStore) -> Report:
    """The report on a store that takes no recommended option and lacks one operation."""

    def opened(clock: Clock, session_id: str) -> Any:
        made = store(clock, OTHERWISE, session_id=session_id)
        vars(made)["capabilities"] = Capabilities(ops=frozenset(OPERATIONS) - {without})
        return made

    door = PythonDoor(opened, "odd")
    with door.alarm():
        return check(door, Options(budget=3.0, seed=3))


@pytest.mark.parametrize(
    "without",
    ["load_session", "list_queued_work", "cancel_queued_work_batch", "abandon_queued_work_claim", "claim_ready_queued_work"],
)
def test_a_store_that_could_not_be_asked_is_not_held_to_the_recommended_option(without: str) -> None:
    found = report(without)
    assert [finding.requirement for finding in found.findings] == []
    assert any(one.option is None for one in found.policies), "there is a point that could not be asked"


def test_what_no_option_explains_is_found_all_the_same() -> None:
    class Sharing(PlainStore):
        """Grants a lane to whoever asks."""

        def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
            granted = super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
            return granted or Lease(session_id, owner_id, "another", 10**6, 0, 0)

    assert {"LEASE-2", "LEASE-3"} & {finding.requirement for finding in report("cancel_queued_work_batch", Sharing).findings}


def forgetful_of_refusals(op: str) -> type[PlainStore]:
    """Now and then a call is done, and then refused as contended."""

    class Unsure(PlainStore):
        calls = 0

    def call(self: Any, *args: Any) -> Any:
        value = getattr(PlainStore, op)(self, *args)
        Unsure.calls += 1
        if Unsure.calls % 2 == 0:
            raise Contended("timed out")
        return value

    setattr(Unsure, op, call)
    return Unsure


@pytest.mark.parametrize(
    "op", ["commit_runtime_state", "enqueue_queued_work", "cancel_queued_work_batch", "claim_ready_queued_work", "vacuum"]
)
def test_what_is_refused_as_contended_and_done_all_the_same_breaks_law_1(op: str) -> None:
    door = PythonDoor(lambda clock, session_id: forgetful_of_refusals(op)(clock, session_id=session_id), "unsure")
    with door.alarm():
        found = check(door, Options(budget=5.0, seed=1, max_findings=1)).findings
    assert [one.requirement for one in found] == ([] if op == "vacuum" else ["LAW-1"]), "a vacuum may be done once more"

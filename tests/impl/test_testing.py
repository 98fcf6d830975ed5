"""The door for Python users: right stores pass, wrong ones fail by their rule, in few steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, Verbosity, seed, settings
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from leasehold.oracle.answers import BrokenTarget
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.python_door import Factory, PythonDoor
from leasehold.oracle.stepwise import SIZE, Number, walk_bytes
from leasehold.records import MAX_MS, CommitResult, Fence, Lease, TurnStamp
from leasehold.store import Clock, SessionExecutionLeaseExpired
from leasehold.stores.memory import MemoryStore
from leasehold.testing import (
    EXAMPLES,
    Inconclusive,
    LeaseholdMachine,
    conformance_test,
    replay_case,
    run_conformance_test,
    state_machine,
)
from leasehold_model.ids import Millis, OwnerId, SessionId
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Contract

FEW = settings(max_examples=60, database=None)


class RenewsExpired(MemoryStore):
    """LEASE-5: a lease that ran out is renewed all the same."""

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        lease = self._held_lease(fence)
        if lease is None:
            raise SessionExecutionLeaseExpired(session_id=fence.session_id)
        return self._set_expiry(lease, min(self._clock.now_ms() + lease_ttl_ms, MAX_MS))


class TakesAnyHash(MemoryStore):
    """COMMIT-3: a turn committed before is replayed whatever its hash."""

    def _stamped_result(self, session_id: str, stamp: TurnStamp | None) -> CommitResult | None:
        if stamp is None or stamp.session_id != session_id:
            return super()._stamped_result(session_id, stamp)
        stored = self._state.stamps.get((stamp.session_id, stamp.turn_id))
        return None if stored is None else stored[1]


class LeasesOnly:
    """Not a whole store: leases, and no more."""

    def __init__(self, clock: Clock) -> None:
        inner = MemoryStore(clock)
        self.try_claim_session_execution_lease = inner.try_claim_session_execution_lease
        self.renew_session_execution_lease = inner.renew_session_execution_lease
        self.release_session_execution_lease = inner.release_session_execution_lease


def failing(test: Callable[[], Any]) -> str:
    with pytest.raises(AssertionError) as caught:
        test()
    return str(caught.value)


def steps_of(text: str) -> int:
    """How many steps the run in a failure's text has."""
    return max(int(number) for number in re.findall(r"^ *(?:>>)?(\d+)  ", text, re.MULTILINE))


# -- run_conformance_test ----------------------------------------------------------------------------------------------------------


def test_a_right_store_passes() -> None:
    run_conformance_test(MemoryStore, budget=1.5, seed=7)


def test_a_wrong_store_fails_by_its_rule_in_few_steps() -> None:
    text = failing(lambda: run_conformance_test(RenewsExpired, budget=1.5, seed=7))
    assert "LEASE-5 is broken" in text
    assert "Any other renewal is refused" in text
    assert "the contract allows refused: session_execution_lease_expired" in text
    assert 2 <= steps_of(text) <= 4
    assert "run_conformance_test(factory, seed=7, budget=1.5)" in text


def test_a_part_of_a_store_passes() -> None:
    run_conformance_test(LeasesOnly, budget=1.0, seed=7)


def test_what_was_offered_but_never_exercised_is_inconclusive() -> None:
    with pytest.raises(Inconclusive, match=r"never exercised(.|\n)* LEASE-4 ") as caught:
        run_conformance_test(MemoryStore, budget=0.001, seed=7)
    assert "run_conformance_test(factory, seed=7, budget=0.001)" in str(caught.value)


def test_loose_policies_fail_where_the_recommended_are_required() -> None:
    class ZeroLast(MemoryStore):
        """P-ZERO-BEFORE-LEASE: the fence is checked first."""

        def claim_ready_queued_work(self, session_id: str, session_execution_lease: Fence, *rest: Any, **named: Any) -> Any:
            self._check_fence(session_id, session_execution_lease, self._clock.now_ms())
            return super().claim_ready_queued_work(session_id, session_execution_lease, *rest, **named)

    run_conformance_test(ZeroLast, budget=1.5, seed=7)
    text = failing(lambda: run_conformance_test(ZeroLast, budget=1.5, seed=7, require_recommended=True))
    assert "P-ZERO-BEFORE-LEASE: the store takes" in text
    assert "recommended is 'none-first'" in text
    assert "require_recommended=True" in text


def test_a_factory_may_take_the_session() -> None:
    sessions = set()

    def factory(clock: Clock, *, session_id: str) -> MemoryStore:
        sessions.add(session_id)
        return MemoryStore(clock)

    run_conformance_test(factory, budget=1.0, seed=7)
    assert sessions == {"alpha"}


def nothing(*_: Clock) -> None:
    return None


def something(*_: Clock) -> object:
    return object()


def mistake(*_: Clock) -> object:
    raise OSError("no such host")


@pytest.mark.parametrize("factory", [nothing, something, mistake])
def test_a_broken_factory_says_nothing_about_a_store(factory: Factory) -> None:
    with pytest.raises(BrokenTarget, match="factory"):
        run_conformance_test(factory, budget=1.0)
    with pytest.raises(BrokenTarget, match="factory"):
        conformance_test(factory, settings=FEW)()


# -- cases -------------------------------------------------------------------------------------------------------------------------


def test_a_finding_is_saved_and_replayed(tmp_path: Path) -> None:
    text = failing(lambda: run_conformance_test(RenewsExpired, budget=1.5, seed=7, cases=tmp_path))
    (path,) = tmp_path.glob("LEASE-5-*.json")
    assert f'replay_case("{path}", factory)' in text
    assert "LEASE-5" in failing(lambda: replay_case(path, RenewsExpired))
    assert "LEASE-5" in failing(lambda: replay_case(str(path), RenewsExpired))
    replay_case(path, MemoryStore)


# -- Hypothesis --------------------------------------------------------------------------------------------------------------------

test_a_right_store_passes_under_hypothesis = conformance_test(MemoryStore, settings=settings(max_examples=60))


@pytest.mark.parametrize(("store", "requirement"), [(RenewsExpired, "LEASE-5"), (TakesAnyHash, "COMMIT-3")])
def test_hypothesis_finds_and_shrinks(store: Factory, requirement: str) -> None:
    test = seed(1)(conformance_test(store, settings=settings(max_examples=2_000, database=None)))
    text = failing(test)
    assert text.startswith(f"{requirement} is broken")
    assert steps_of(text) <= 7


def test_settings_are_kept_where_they_make_sense() -> None:
    kept = conformance_test(MemoryStore, settings=settings(max_examples=7, deadline=10, verbosity=Verbosity.quiet))
    found = kept._hypothesis_internal_use_settings  # type: ignore[attr-defined]
    assert (found.max_examples, found.deadline, found.verbosity) == (7, None, Verbosity.quiet)
    assert Phase.explain not in found.phases
    assert Phase.shrink in found.phases
    usual = conformance_test(MemoryStore)._hypothesis_internal_use_settings  # type: ignore[attr-defined]
    assert usual.max_examples == EXAMPLES


def test_nothing_is_opened_before_the_test_runs() -> None:
    opened = []

    def factory(clock: Clock) -> MemoryStore:
        opened.append(clock)
        return MemoryStore(clock)

    test = conformance_test(factory, settings=settings(max_examples=5, database=None))
    state_machine(factory)
    assert not opened
    test()
    before = len(opened)
    test()
    assert len(opened) < before + 30, "the policies were probed a second time"


def operations(data: bytes) -> tuple[int, dict[tuple[str, str], int]]:
    """What a run exercises on a right store."""
    coverage = Coverage()
    assert walk_bytes(PythonDoor(MemoryStore, "memory"), Contract(), data, coverage) is None
    return coverage.operations, dict(coverage.outcomes)


def test_a_byte_string_is_a_run() -> None:
    run = bytes(range(SIZE))
    assert operations(run) == operations(run)
    assert operations(run)[0] > SIZE
    assert operations(run) != operations(b"\x01" + run[1:]), "the first byte chooses the focus"
    assert operations(run) != operations(run[:1] + b"\x02" + run[2:]), "the second byte makes another run of the same steps"


def test_a_zero_leaves_its_step_out_and_the_others_as_they_are() -> None:
    assert operations(bytes(7)) == operations(bytes(SIZE)) == operations(b"")
    one, other = b"\0\0" + b"\0\0\x09", b"\0\0" + b"\0\0\x09\0\0\0"
    assert operations(one) == operations(other)
    assert operations(one) != operations(b"\0\0" + b"\0\x09"), "but the place matters"


def test_zero_draws_the_simplest() -> None:
    source = Number(0)
    assert [source(n) for n in (2, 3, 100)] == [0, 0, 0]
    source.load(5)
    assert len({source(1_000) for _ in range(50)}) > 40


# -- the state machine -------------------------------------------------------------------------------------------------------------


def run(machine: type[LeaseholdMachine], **more: Any) -> None:
    machine.TestCase.settings = settings(machine.TestCase.settings, database=None, **more)
    run_state_machine_as_test(machine)


def test_the_machine_passes_a_right_store() -> None:
    run(state_machine(MemoryStore), max_examples=15)


def test_the_machine_finds_a_wrong_one() -> None:
    machine = seed(1)(state_machine(RenewsExpired))
    assert "LEASE-5 is broken" in failing(lambda: run(machine, phases=[Phase.generate]))


def test_the_machine_can_be_extended() -> None:
    seen: list[Any] = []

    class Extended(state_machine(MemoryStore)):  # type: ignore[misc]
        @rule()
        def ask_for_no_time(self) -> None:
            self.do(TryClaimLease(SessionId(1), OwnerId(1), Millis(0), self.walker.name()))
            self.pass_time(5)

        @invariant()
        def the_store_is_there(self) -> None:
            seen.append((type(self.store), len(self.state.lanes)))

    run(Extended, max_examples=10)
    assert {kind for kind, _ in seen} == {MemoryStore}
    assert max(lanes for _, lanes in seen) > 0


def test_an_own_rule_is_judged_and_an_own_invariant_fails() -> None:
    class OwnRule(state_machine(RenewsExpired)):  # type: ignore[misc]
        @rule()
        def ask_for_no_time(self) -> None:
            self.do(TryClaimLease(SessionId(1), OwnerId(1), Millis(0), self.walker.name()))

    class OwnInvariant(state_machine(MemoryStore)):  # type: ignore[misc]
        @invariant()
        def no_lanes(self) -> None:
            assert not self.state.lanes, "there is a lane"

    assert "LEASE-5" in failing(lambda: run(seed(1)(OwnRule), phases=[Phase.generate], max_examples=300))
    assert "there is a lane" in failing(lambda: run(OwnInvariant, max_examples=50))


def test_the_machine_without_a_store_says_so() -> None:
    with pytest.raises(TypeError, match=r"state_machine\(factory\)"):
        LeaseholdMachine()


def test_the_machine_runs_under_unittest() -> None:
    machine = state_machine(MemoryStore)
    machine.TestCase.settings = settings(machine.TestCase.settings, max_examples=3, database=None)
    machine.TestCase("runTest").debug()

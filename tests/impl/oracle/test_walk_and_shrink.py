"""The walker reaches what it should, the same every time; what it finds is shrunk to what matters."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from leasehold.oracle import commits
from leasehold.oracle.answers import Err
from leasehold.oracle.check import Options, check
from leasehold.oracle.coverage import Coverage, offered
from leasehold.oracle.drive import Bytes, advance, seeded, walk
from leasehold.oracle.findings import investigate
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.relations import related, resolved
from leasehold.oracle.run import BOUND, Execution, Failure, Run
from leasehold.oracle.walker import FOCI, Walker
from leasehold.records import Claim, Fence, Lease, Tier
from leasehold.store import Capabilities, Clock, Refusal, VirtualClock
from leasehold.stores.memory import MemoryStore
from leasehold_model.graph import APPEND
from leasehold_model.ids import Body, NodeId
from leasehold_model.laws import SOMETIMES
from leasehold_model.machine import RECOMMENDED, initial
from leasehold_model.state import Node


def door(factory: Any = MemoryStore) -> PythonDoor:
    return PythonDoor(factory, "test")


def test_the_same_seed_walks_the_same_run() -> None:
    assert _steps(7) == _steps(7)
    assert _steps(7) != _steps(8)


def _steps(seed: int) -> Run:
    execution = Execution(door(), RECOMMENDED)
    walker = Walker(seeded(seed), RECOMMENDED, execution.door.capabilities)
    for _ in range(40):
        assert advance(execution, walker) is None
    return tuple(execution.steps)


def test_names_of_nodes_do_not_run_out() -> None:
    nodes = tuple(Node(NodeId(number), NodeId(number - 1), Body(1), False) for number in range(1, 70))
    state = evolve(initial(RECOMMENDED, BOUND), nodes=nodes)
    given: set[int] = set()
    for seed in range(100):
        delta = commits.drawn_delta(Walker(seeded(seed), RECOMMENDED, Capabilities()), state, flawed=False)
        given |= {node.node for node in delta.nodes if delta.kind == APPEND}
    assert given == {70, 71, 72}


def test_everything_that_must_sometimes_happen_happens() -> None:
    coverage = Coverage()
    here = door()
    for seed in range(150):
        assert walk(here, RECOMMENDED, seeded(seed), coverage, FOCI[seed % len(FOCI)]) is None
    assert coverage.sometimes == set(SOMETIMES)
    able, _ = offered(here.capabilities)
    starved = [one for one in able if coverage.exercised[one] == 0]
    assert set(starved) <= {"TIER-1", "LEASE-8", "LAW-12"}, "those are exercised beside the runs"


def test_a_spent_byte_string_ends_the_run() -> None:
    take = Bytes(b"\x03\x07")
    assert [take(10), take(10), take(10)] == [3, 7, 0]
    assert take.spent
    assert walk(door(), RECOMMENDED, Bytes(b""), Coverage()) is None


class NeverRises(MemoryStore):
    """A takeover after expiry gets the old fencing token."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        lease = super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)
        return None if lease is None else evolve(lease, fencing_token=min(lease.fencing_token, 1))


@pytest.mark.requirement("LAW-3")
def test_a_finding_is_shrunk_and_confirmed() -> None:
    here = door(NeverRises)
    failure = _first(here)
    finding = investigate(here, RECOMMENDED, failure, 5.0)
    assert finding.requirement == "LAW-3"
    assert finding.confirmed
    assert finding.commands <= 3


class RenewsAnyway(MemoryStore):
    """A refused renewal of a claim extends it all the same."""

    def renew_queued_work_claim(self, claim: Claim, lease_ttl_ms: int) -> Claim:
        try:
            return super().renew_queued_work_claim(claim, lease_ttl_ms)
        except Exception:
            for batch in claim.batches:
                self.cancel_queued_work_batch(claim.session_id, batch.batch_id)
            raise


@pytest.mark.requirement("LAW-1", "QUEUE-11")
def test_a_refusal_with_an_effect_is_named_law_1() -> None:
    report = check(door(RenewsAnyway), Options(budget=20, seed=1, max_findings=1))
    assert report.verdict == "violates"
    assert report.findings[0].requirement == "LAW-1"
    assert "QUEUE-11" in report.findings[0].also


def _first(here: PythonDoor) -> Failure:
    for seed in range(1_000):
        failure = walk(here, RECOMMENDED, seeded(seed))
        if failure is not None:
            return failure
    raise AssertionError("nothing was found")


def test_references_keep_their_meaning_when_steps_go() -> None:
    """Deleting an earlier grant of the lane shifts fencing tokens; the fence of a later one is still its own."""
    coverage = Coverage()
    here = door()
    for seed in range(60):
        execution = Execution(here, RECOMMENDED, coverage)
        walker = Walker(seeded(seed), RECOMMENDED, here.capabilities, FOCI[1])
        for _ in range(30):
            assert advance(execution, walker) is None
        steps = tuple(execution.steps)
        meaning = related(steps, RECOMMENDED)
        assert resolved(meaning, RECOMMENDED) == steps, "nothing deleted, nothing changed"


class Boastful(MemoryStore):
    """Reports another tier than it declares."""

    capabilities = Capabilities(tier="inline", handles=8)

    @property
    def durability_tier(self) -> Tier:
        return "durable"


@pytest.mark.requirement("TIER-1")
def test_the_tier_is_what_the_store_reports() -> None:
    report = check(door(Boastful), Options(budget=0.5, seed=1))
    assert "TIER-1" in [one.requirement for one in report.races]
    assert "TIER-1" not in [one.requirement for one in check(door(), Options(budget=0.5, seed=1)).races]


def test_too_little_time_is_inconclusive_not_green() -> None:
    report = check(door(), Options(budget=0.0, seed=1))
    assert report.verdict == "inconclusive"
    assert report.starved


class LeasesOnly:
    """A store that offers leases and nothing else."""

    def __init__(self, clock: Clock) -> None:
        self._inner = MemoryStore(clock)

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        return self._inner.try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        return self._inner.renew_session_execution_lease(fence, lease_ttl_ms)

    def release_session_execution_lease(self, completion: Fence) -> None:
        self._inner.release_session_execution_lease(completion)


def test_what_is_not_offered_is_said_and_not_passed() -> None:
    report = check(door(LeasesOnly), Options(budget=2, seed=1))
    assert report.verdict == "conforms"
    assert "COMMIT-1" in [one.what for one in report.not_checked]
    assert "COMMIT-1" not in report.exercised
    assert report.exercised["LEASE-5"] > 0


def test_a_virtual_clock_stands_still() -> None:
    clock = VirtualClock(5)
    assert clock.now_ms() == clock.now_ms() == 5


class OwnError(Exception):
    """A refusal of a store that does not import leasehold."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class OwnErrors(MemoryStore):
    """Refuses with an exception type of its own."""

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        try:
            return super().renew_session_execution_lease(fence, lease_ttl_ms)
        except Refusal as refusal:
            raise OwnError(refusal.code) from None


@pytest.mark.requirement("LEASE-5", "LAW-15")
def test_an_exception_with_a_code_of_the_contract_is_a_refusal() -> None:
    answer = door(OwnErrors).call(0, "renew_session_execution_lease", (Fence("alpha", "ann", "x", 1), 5))
    assert isinstance(answer, Err)
    assert (answer.code, answer.untyped) == ("session_execution_lease_expired", False)

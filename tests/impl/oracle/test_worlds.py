"""Lost answers: every state that a call may have led to is followed, later answers narrow them, and nothing else is right."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import combinations, product
from typing import Any, ClassVar

import pytest
from attrs import evolve

from leasehold.oracle.answers import Unknown
from leasehold.oracle.binding import Unbound
from leasehold.oracle.moment import Mismatch
from leasehold.oracle.probe import ANN, LOAD, claim, commit, enqueue, fence, lane
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.run import BOUND, START, Execution, Indefinite, Silence, Step, failure
from leasehold.oracle.worlds import MOST_LOST
from leasehold.records import Batch
from leasehold.store import OPERATIONS, Indeterminate, Refusal
from leasehold.stores.memory import MemoryStore
from leasehold_model.claim import AbandonClaim, RenewClaim
from leasehold_model.commit import TurnStamp
from leasehold_model.ids import BatchId, ClaimId, LeaseToken, Millis, Name, OwnerId, TurnHash, TurnId
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract
from leasehold_model.queue import ListQueued

ALL = ListQueued(BOUND, False)
STAMPED = evolve(commit(20), stamp=TurnStamp(BOUND, TurnId(1), TurnHash(1)))

Do = Callable[[], Any]
Lose = Callable[[Do], None]


def never(do: Do) -> None:
    """The call did not take effect."""


def once(do: Do) -> None:
    do()


def twice(do: Do) -> None:
    do()
    do()


class Run:
    """Commands one by one; those in ``lose`` are answered by nothing. ``later`` holds effects that are still to come."""

    def __init__(self, lose: Lose = never) -> None:
        run = self
        self.losing = False

        class Lossy(MemoryStore):
            """Loses an answer when it is told to."""

        for op in (
            "try_claim_session_execution_lease",
            "enqueue_queued_work",
            "commit_runtime_state",
            "release_session_execution_lease",
        ):

            def method(store: Any, *args: Any, op: str = op) -> Any:
                def do() -> Any:
                    return getattr(MemoryStore, op)(store, *args)

                if not run.losing:
                    return do()
                lose(do)
                raise Indeterminate("lost")

            setattr(Lossy, op, method)
        self.execution = Execution(PythonDoor(Lossy, "lossy"), Contract(persistent_manifest=True))

    def __call__(self, command: Command, *, lose: bool = False, at: int = START) -> Mismatch | None:
        self.losing = lose
        mismatch = self.execution.do(Step(at, 0, command))
        self.losing = False
        assert isinstance(self.execution.answers[-1], Unknown) == lose
        return mismatch

    @property
    def worlds(self) -> int:
        """How many states the store may be in."""
        return max(1, len(self.execution.worlds))


@pytest.mark.requirement("LAW-12")
@pytest.mark.parametrize("lose", [never, once])
def test_a_lost_enqueue_may_have_taken_effect_or_not(lose: Lose) -> None:
    run = Run(lose)
    assert run(enqueue(10), lose=True) is None
    assert run(ALL) is None
    assert run(enqueue(11)) is None
    assert run(ALL) is None
    assert run.worlds <= 2  # it may still take effect later, if it has not


@pytest.mark.requirement("LAW-12")
def test_a_lost_enqueue_that_took_effect_is_certain_once_it_was_seen() -> None:
    run = Run(once)
    assert run(enqueue(10), lose=True) is None
    assert run(ALL) is None
    assert run.worlds == 1
    assert not run.execution.worlds, "nothing is open any more"
    assert len(run.execution.state.queue) == 1


@pytest.mark.requirement("LAW-12")
def test_a_lost_enqueue_that_took_effect_twice_is_wrong() -> None:
    run = Run(twice)
    assert run(enqueue(10), lose=True) is None
    mismatch = run(ALL)
    assert mismatch is not None
    assert {mismatch.rule, *mismatch.also} & {"LAW-12", "LAW-5"}
    assert failure(run.execution, mismatch).lost


@pytest.mark.requirement("LAW-12")
def test_a_failure_has_every_possibility_and_what_the_lost_call_did_in_it() -> None:
    run = Run(twice)
    assert run(enqueue(10), lose=True) is None
    mismatch = run(ALL)
    assert mismatch is not None
    failed = failure(run.execution, mismatch)
    assert sorted(len(one.took) for one in failed.possible) == [0, 1]
    assert sorted(len(one.moment.after.queue) for one in failed.possible) == [0, 1], "it is what the model allows in each"
    assert (failed.possible[0].moment, failed.possible[0].took) == (failed.moment, failed.took)


@pytest.mark.requirement("LAW-12")
def test_twin_where_no_answer_was_lost_there_is_one_possibility_and_it_is_not_told() -> None:
    class Forgets(MemoryStore):
        """LAW-5: an enqueued batch is nowhere."""

        def list_queued_work(self, session_id: str) -> list[Batch]:
            return []

    execution = Execution(PythonDoor(Forgets, "forgets"), Contract(persistent_manifest=True))
    assert execution.do(Step(START, 0, enqueue(10))) is None
    mismatch = execution.do(Step(START, 0, ALL))
    assert mismatch is not None
    assert failure(execution, mismatch).possible == ()


@pytest.mark.requirement("LAW-12", "COMMIT-4")
@pytest.mark.parametrize("lose", [never, once])
def test_a_lost_commit_is_tried_again_with_its_stamp(lose: Lose) -> None:
    run = Run(lose)
    assert run(lane()) is None
    assert run(STAMPED, lose=True) is None
    assert run(STAMPED) is None
    assert run(LOAD) is None
    assert run.execution.state.head.revision == 1


@pytest.mark.requirement("LAW-12")
def test_a_lost_call_may_take_effect_later_but_not_twice() -> None:
    late: list[Do] = []
    run = Run(late.append)
    assert run(enqueue(10), lose=True) is None
    assert run(ALL) is None
    assert run(enqueue(11)) is None
    late[0]()
    assert run(ALL) is None, "it took effect after the other one"
    assert [int(batch.batch) for batch in run.execution.state.queue] == [11, 10]
    late[0]()
    assert run(ALL) is not None


@pytest.mark.requirement("LAW-12", "LEASE-1")
def test_a_lost_grant_shows_itself_by_what_others_are_refused() -> None:
    run = Run(once)
    assert run(lane(), lose=True) is None
    assert run(TryClaimLease(BOUND, OwnerId(2), Millis(60_000), Name(5))) is None, "refused, since the lost call was granted"
    assert not run.execution.worlds
    run = Run(never)
    assert run(lane(), lose=True) is None
    assert run(TryClaimLease(BOUND, OwnerId(2), Millis(60_000), Name(5))) is None, "granted, since the lost call was not"


@pytest.mark.requirement("LAW-12", "LEASE-4", "LAW-3")
def test_a_fence_means_the_same_in_every_world_whatever_its_number_there() -> None:
    run = Run(once)
    assert run(TryClaimLease(BOUND, ANN, Millis(10), Name(1)), lose=True) is None
    later = TryClaimLease(BOUND, ANN, Millis(60_000), Name(2))
    assert run(later, at=START + 20) is None, "the first lease, if there was one, is over"
    fenced = fence(name=2)
    state = run.execution.state
    number = next(one.fencing for one in state.lanes if one.token == 2)
    fenced = evolve(fenced, fencing=number)
    assert run(RenewLease(fenced, Millis(90_000)), at=START + 30) is None
    assert run(ReleaseLease(fenced), at=START + 40) is None
    assert run(TryClaimLease(BOUND, OwnerId(2), Millis(60_000), Name(3)), at=START + 50) is None


@pytest.mark.requirement("LAW-12")
def test_a_run_ends_when_too_many_answers_are_lost() -> None:
    run = Run(never)
    for number in range(MOST_LOST):
        assert run(enqueue(10 + number), lose=True) is None
    with pytest.raises(Indefinite, match="still take effect"):
        run(enqueue(30), lose=True)


class LosesSome(MemoryStore):
    """Answers of the calls with these numbers are lost; the value says whether the call took effect."""

    plan: ClassVar[dict[int, bool]] = {}
    calls: ClassVar[int] = 0


def _losing(op: str) -> Any:
    def method(store: Any, *args: Any) -> Any:
        LosesSome.calls += 1
        took = LosesSome.plan.get(LosesSome.calls)
        if took is None:
            return getattr(MemoryStore, op)(store, *args)
        if took:
            with suppress(Refusal):
                getattr(MemoryStore, op)(store, *args)
        raise Indeterminate("lost")

    return method


for _op in OPERATIONS:
    setattr(LosesSome, _op, _losing(_op))


@pytest.mark.requirement("LAW-12", "QUEUE-11", "QUEUE-12")
def test_a_claim_is_sent_as_it_was_given_whatever_the_run_calls_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an enqueue was lost, a claim is of other batches; a second claim, lost too, may or may not have taken one of them."""
    held = (ClaimId(61), LeaseToken(61), (BatchId(10), BatchId(11)))
    door = PythonDoor(LosesSome, "loses some")
    for last in (RenewClaim(BOUND, *held, Millis(9)), AbandonClaim(BOUND, *held)):
        queued = [enqueue(number) for number in (10, 11, 12)]
        run = [lane(), *queued, claim(61, 2, 0), claim(62, 1), last, ALL]
        for lost in (one for count in range(4) for one in combinations(range(1, len(run) + 1), count)):
            for took in product((True, False), repeat=len(lost)):
                monkeypatch.setattr(LosesSome, "plan", dict(zip(lost, took, strict=True)))
                monkeypatch.setattr(LosesSome, "calls", 0)
                execution = Execution(door, Contract(persistent_manifest=True))
                for command in run:
                    with suppress(Unbound, Silence, Indefinite):
                        assert execution.do(Step(START, 0, command)) is None, (LosesSome.plan, command)

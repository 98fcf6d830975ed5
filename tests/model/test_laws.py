"""The laws hold over random guided runs of the model, and each can fail: on an invented transition, and on a broken model."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from attrs import evolve

from leasehold_model.claim import Claimed, ClaimReady
from leasehold_model.commit import Committed, TurnStamp, commit
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import Vacuum
from leasehold_model.ids import (
    BatchId,
    Body,
    CheckpointRef,
    ClaimId,
    FencingToken,
    LeaseToken,
    Millis,
    Name,
    OwnerId,
    SessionId,
    TurnHash,
    TurnId,
)
from leasehold_model.laws import LAWS, SOMETIMES, Transition
from leasehold_model.lease import Leased, TryClaimLease
from leasehold_model.machine import Contract
from leasehold_model.outcome import ANY_ERROR, Absent, Done, Refused
from leasehold_model.policy import POINTS, Policies, choose
from leasehold_model.queue import CancelBatch, Completion
from leasehold_model.state import EMPTY, EMPTY_CHECKPOINT, NO_HEAD, NO_HOLD, Batch, Hold, Lane, Stamp, State, Usage
from tests.model.story import NOBODY
from tests.model.walk import Walker
from tests.proofs.states import bare_commit

RECOMMENDED = Contract()


def broken_laws(seed: int, contract: Contract, steps: int) -> list[str]:
    """The laws that a run breaks."""
    laws = {law: holds for law, holds in LAWS.items() if law != "LAW-4" or contract.policies.claim_fence == "max"}
    return [f"{law}: {t}" for t in Walker(seed, contract).steps(steps) for law, holds in laws.items() if not holds(t)]


@pytest.mark.requirement(
    "LAW-1", "LAW-2", "LAW-3", "LAW-4", "LAW-5", "LAW-6", "LAW-7", "LAW-8", "LAW-9", "LAW-11", "LAW-13", "LAW-14"
)
@pytest.mark.parametrize("seed", range(8))
def test_laws_hold_under_the_recommended_policies(seed: int) -> None:
    assert broken_laws(seed, RECOMMENDED, 1500) == []


@pytest.mark.requirement("LAW-1", "LAW-2", "LAW-3", "LAW-5", "LAW-6", "LAW-7", "LAW-8", "LAW-9", "LAW-11", "LAW-14")
@pytest.mark.parametrize("seed", range(40))
def test_laws_hold_under_any_policies(seed: int) -> None:
    random, policies = Random(seed), Policies()
    for point in POINTS:
        policies = choose(policies, point, random.choice(point.options))
    assert broken_laws(seed, Contract(policies=policies, persistent_manifest=seed % 4 != 0), 400) == []


def test_runs_reach_what_must_sometimes_happen() -> None:
    left = set(SOMETIMES)
    for seed in range(8):
        for t in Walker(seed, RECOMMENDED).steps(1500):
            left -= {what for what in left if SOMETIMES[what](t)}
    assert left == set()


S1, S2 = SessionId(1), SessionId(2)


def lane(session: SessionId = S1, owner: int = 1, token: int = 1, fencing: int = 1, expires: int = 100) -> Lane:
    return Lane(session, OwnerId(owner), LeaseToken(token), FencingToken(fencing), Millis(0), Millis(expires))


def batch(name: int, fencing: int = 0, session: SessionId = S1) -> Batch:
    plain = {"after_commit": False, "exclusive": False, "merge": 0, "available_at": 0, "enqueued_at": 0, "payload": 0}
    return Batch(BatchId(name), session, name, source=0, hold=NO_HOLD, fencing=FencingToken(fencing), **plain)  # type: ignore[arg-type]


ASK = TryClaimLease(S1, OwnerId(2), Millis(10), Name(9))
READY = ClaimReady(S1, NOBODY, OwnerId(1), True, Millis(10), 1, Name(9))
COMMIT = bare_commit(S1, NOBODY)
HEAD = evolve(NO_HEAD, revision=1)
COMMITTED = Committed("COMMIT-8", 1, CheckpointRef(7), EMPTY_CHECKPOINT)
REPLAYED = Committed("COMMIT-4", 1, CheckpointRef(7), EMPTY_CHECKPOINT)
STAMPED = State(head=HEAD, stamps=(Stamp(S1, TurnId(1), TurnHash(1), 1, CheckpointRef(7), EMPTY_CHECKPOINT),))
HELD = Hold(ClaimId(9), OwnerId(1), LeaseToken(9), Millis(0), Millis(10), 1)


def claimed(fencing: int, expires: int = 10) -> Claimed:
    return Claimed("QUEUE-8", evolve(HELD, expires_at=Millis(expires)), FencingToken(fencing), (batch(1),))


BAD: list[tuple[str, str, Transition]] = [
    ("LAW-1", "a refusal changes", Transition(EMPTY, ASK, 0, State(last_seq=1), Refused("LEASE-5", ANY_ERROR))),
    ("LAW-1", "a None changes", Transition(EMPTY, ASK, 0, State(lanes=(lane(),)), Absent("LEASE-3"))),
    (
        "LAW-2",
        "a live lane changes hands",
        Transition(State(lanes=(lane(),)), ASK, 99, State(lanes=(lane(owner=2, token=2, fencing=2),)), Done("")),
    ),
    ("LAW-2", "two lanes of one session", Transition(EMPTY, ASK, 0, State(lanes=(lane(), lane(owner=2, token=2))), Done(""))),
    ("LAW-3", "a counter falls", Transition(State(lanes=(lane(fencing=2),)), ASK, 0, State(lanes=(lane(token=0),)), Done(""))),
    ("LAW-3", "a lane is lost", Transition(State(lanes=(lane(),)), ASK, 0, EMPTY, Done(""))),
    ("LAW-3", "a new token, the old fence", Transition(State(lanes=(lane(),)), ASK, 200, State(lanes=(lane(token=2),)), Done(""))),
    ("LAW-3", "a first fence of 0", Transition(EMPTY, ASK, 0, State(lanes=(lane(fencing=0),)), Done(""))),
    (
        "LAW-3",
        "a re-entry raises",
        Transition(State(lanes=(lane(),)), ASK, 0, State(lanes=(lane(fencing=2),)), Done("")),
    ),
    ("LAW-4", "an equal fence", Transition(State(queue=(batch(1, fencing=3),)), READY, 0, EMPTY, claimed(3))),
    ("LAW-5", "a batch twice", Transition(State(queue=(batch(1),)), Vacuum(), 0, State(queue=(batch(1), batch(1))), Done(""))),
    ("LAW-5", "a batch out of nothing", Transition(EMPTY, Vacuum(), 0, State(queue=(batch(1),)), Done(""))),
    ("LAW-5", "a batch lost", Transition(State(queue=(batch(1),)), Vacuum(), 0, EMPTY, Done(""))),
    (
        "LAW-5",
        "another batch cancelled",
        Transition(State(queue=(batch(1), batch(2))), CancelBatch(S1, BatchId(1)), 0, State(queue=(batch(1),)), Done("")),
    ),
    ("LAW-5", "completed, not named", Transition(State(queue=(batch(1),)), COMMIT, 0, State(head=HEAD), COMMITTED)),
    ("LAW-6", "raised by 2", Transition(EMPTY, COMMIT, 0, State(head=evolve(HEAD, revision=2)), COMMITTED)),
    ("LAW-6", "raised by a vacuum", Transition(EMPTY, Vacuum(), 0, State(head=HEAD), Done(""))),
    ("LAW-6", "accepted, not raised", Transition(EMPTY, COMMIT, 0, EMPTY, COMMITTED)),
    ("LAW-7", "a replay changes", Transition(STAMPED, COMMIT, 0, evolve(STAMPED, last_seq=1), REPLAYED)),
    ("LAW-7", "another result", Transition(STAMPED, COMMIT, 0, STAMPED, evolve(REPLAYED, revision=2))),
    (
        "LAW-8",
        "a row out of nothing",
        Transition(EMPTY, Vacuum(), 0, State(ledger=(Usage(Body(1), Body(1), 1, 0, 0, 0),)), Done("")),
    ),
    (
        "LAW-8",
        "a row forgotten",
        Transition(EMPTY, evolve(COMMIT, usage=(Usage(Body(1), Body(1), 1, 0, 0, 0),)), 0, State(head=HEAD), COMMITTED),
    ),
    ("LAW-9", "another session's lane", Transition(EMPTY, ASK, 0, State(lanes=(lane(session=S2),)), Done(""))),
    ("LAW-9", "another session's batch", Transition(EMPTY, READY, 0, State(queue=(batch(1, session=S2),)), Done(""))),
    (
        "LAW-11",
        "no stamp",
        Transition(EMPTY, evolve(COMMIT, stamp=TurnStamp(S1, TurnId(1), TurnHash(1))), 0, State(head=HEAD), COMMITTED),
    ),
    (
        "LAW-11",
        "a completed batch stays",
        Transition(
            State(queue=(batch(1),)),
            evolve(COMMIT, completions=(Completion(S1, HELD.claim, HELD.token, (BatchId(1),)),)),
            0,
            State(head=HEAD, queue=(batch(1),)),
            COMMITTED,
        ),
    ),
    ("LAW-14", "a lease in the past", Transition(EMPTY, ASK, 50, EMPTY, Leased("LEASE-1", lane(expires=49)))),
    ("LAW-14", "a lease beyond the end", Transition(EMPTY, ASK, 50, EMPTY, Leased("LEASE-1", lane(expires=2**63)))),
    ("LAW-14", "a claim in the past", Transition(EMPTY, READY, 50, EMPTY, claimed(1, expires=49))),
]


@pytest.mark.parametrize(("law", "what", "transition"), BAD, ids=[f"{law} {what}" for law, what, _ in BAD])
def test_a_law_fails_on_an_invented_transition(law: str, what: str, transition: Transition) -> None:
    assert not LAWS[law](transition), what


def test_every_law_was_shown_to_fail() -> None:
    assert {law for law, _, _ in BAD} == {law for law, _, _ in MUTANTS} == set(LAWS)


def changed_after(rule: str, **changes: Any) -> Callable[..., Any]:
    """Commits that, when this rule decides, leave something else behind."""
    original = commit

    def changed(*arguments: Any) -> Any:
        after, response = original(*arguments)
        return (evolve(after, **changes) if getattr(response, "rule", "") == rule else after), response

    return changed


MUTANTS: list[tuple[str, str, Callable[..., Any]]] = [
    ("LAW-1", "leasehold_model.machine.commit", changed_after("COMMIT-5", meta=Body(1))),
    ("LAW-2", "leasehold_model.lease.live", lambda *_: False),
    ("LAW-3", "leasehold_model.lease.next_fence", lambda counter: counter),
    ("LAW-4", "leasehold_model.claim.claim_fence", lambda first, _largest, _head: first),
    ("LAW-5", "leasehold_model.queue.without", lambda state, _gone, _policies: evolve(state, queue=())),
    ("LAW-6", "leasehold_model.machine.commit", changed_after("COMMIT-8", head=evolve(NO_HEAD, revision=7))),
    ("LAW-7", "leasehold_model.machine.commit", changed_after("COMMIT-4", last_seq=0)),
    ("LAW-8", "leasehold_model.commit.merged", lambda ledger, rows: (*ledger, *rows)),
    ("LAW-9", "leasehold_model.state.with_lane", lambda _lanes, lane: (lane,)),
    ("LAW-11", "leasehold_model.commit.completed", lambda state, _completions, _policies: state),
    ("LAW-14", "leasehold_model.lease.add_ms", lambda now, ttl: (now + ttl) % (MAX_MS + 1)),
]
"""For each law, a model that is wrong in one place (its name, and what stands there instead)."""


@pytest.mark.parametrize(("law", "place", "wrong"), MUTANTS, ids=[law for law, _, _ in MUTANTS])
def test_a_law_fails_on_a_broken_model(law: str, place: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, wrong)
    if place.endswith("with_lane"):
        monkeypatch.setattr("leasehold_model.lease.with_lane", wrong)
    assert any(not LAWS[law](t) for seed in range(6) for t in Walker(seed, RECOMMENDED).steps(400))

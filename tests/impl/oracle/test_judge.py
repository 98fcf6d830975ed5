"""Judging one answer: the right one is taken, each wrong one is named by its rule."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from leasehold import records
from leasehold.oracle.answers import BrokenTarget, Err, Hung, Ok
from leasehold.oracle.binding import Binding
from leasehold.oracle.judge import judge
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.oracle.probe import PATH, claim, commit, enqueue, lane
from leasehold.oracle.run import BOUND, START
from leasehold_model.graph import LoadSession
from leasehold_model.ids import Millis, Name, NodeId, OwnerId
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import RECOMMENDED, Command, initial, step
from leasehold_model.queue import ListQueued
from leasehold_model.state import State

LEASE = records.Lease("alpha", "ann", "token-1", 7, START, START + 7_200_000)
ITEM = records.Item("item-1", {"type": "turn_input", "input": {"items": [{"type": "text", "text": "text 10"}]}})
BATCH = records.Batch(
    batch_id="batch-1",
    session_id="alpha",
    enqueue_seq=40,
    source_key=None,
    delivery_policy="earliest_safe_boundary",
    slot_policy="join",
    merge_key=records.Group("group-2"),
    available_at_ms=0,
    enqueued_at_ms=START,
    items=(ITEM,),
)
CLAIM = records.Claim(
    session_id="alpha",
    claim_id="claim-1",
    owner_id="ann",
    lease_token="claim-token-1",
    fencing_token=3,
    claimed_at_epoch_ms=START,
    expires_at_epoch_ms=START + 7_200_000,
    batches=(BATCH,),
)


class Told:
    """A model and a binding that are told answers, one after the other."""

    def __init__(self) -> None:
        self.state: State = initial(RECOMMENDED, BOUND)
        self.binding = Binding()

    def tell(self, command: Command, answer: Any, now: int = START) -> Mismatch | None:
        after, response = step(self.state, command, Millis(now))
        op = self.binding.call(command)[0]
        moment = Moment(op, command, now, self.state, after, response, RECOMMENDED)
        mismatch = judge(self.binding, moment, answer)
        if mismatch is None:
            self.state = after
        return mismatch


def told(*answers: tuple[Command, Any]) -> Told:
    one = Told()
    for command, answer in answers:
        assert one.tell(command, Ok(answer)) is None
    return one


@pytest.mark.requirement("LEASE-1", "LAW-3", "LAW-14")
@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"owner_id": "bob"}, "LEASE-1"),
        ({"expires_at_epoch_ms": START + 1}, "LEASE-1"),
        ({"claimed_at_epoch_ms": START + 1}, "LEASE-1"),
        ({"fencing_token": 0}, "LAW-3"),
    ],
)
def test_a_grant_is_compared_member_by_member(wrong: dict[str, Any], rule: str) -> None:
    assert Told().tell(lane(), Ok(LEASE)) is None
    mismatch = Told().tell(lane(), Ok(evolve(LEASE, **wrong)))
    assert mismatch is not None
    assert mismatch.rule == rule


@pytest.mark.requirement("LEASE-1", "LEASE-3", "LEASE-5", "LAW-3", "LAW-4", "LAW-13", "LAW-15")
def test_what_is_no_lease_is_named_by_what_is_wrong_with_it() -> None:
    bob = TryClaimLease(BOUND, OwnerId(2), Millis(60_000), Name(2))
    late = START + 7_200_000
    assert _rule(Told(), lane(), Ok(None)) == "LEASE-1"
    assert _rule(told((lane(), LEASE)), bob, Ok(evolve(LEASE, owner_id="bob"))) == "LEASE-3"
    assert told((lane(), LEASE)).tell(bob, Ok(None)) is None
    again = evolve(LEASE, owner_id="bob", claimed_at_epoch_ms=late, expires_at_epoch_ms=late + 60_000)
    assert _rule(told((lane(), LEASE)), bob, Ok(evolve(again, fencing_token=8)), late) == "LEASE-1", "a token that was used before"
    assert _rule(told((lane(), LEASE)), bob, Ok(evolve(again, lease_token="token-2")), late) == "LAW-3", "the same fencing token"
    assert told((lane(), LEASE)).tell(bob, Ok(evolve(again, lease_token="token-2", fencing_token=900)), late) is None
    assert _rule(Told(), lane(), Err("backend", "disk")) == "LEASE-1"
    assert _rule(Told(), lane(), Err("untyped", "KeyError", untyped=True)) == "LAW-15"
    assert _rule(Told(), lane(), Hung(3.0)) == "LAW-13"


@pytest.mark.requirement("QUEUE-1", "QUEUE-7", "LAW-4", "LAW-5", "QUEUE-3")
def test_claims_and_lists_are_compared_by_identity_and_order() -> None:
    two = evolve(BATCH, batch_id="batch-2", enqueue_seq=90, items=(_item(11),))
    one = told((enqueue(10), BATCH))
    assert _rule(one, enqueue(11), Ok(evolve(two, enqueue_seq=40))) == "QUEUE-1"
    assert _rule(told((enqueue(10), BATCH)), enqueue(11), Ok(evolve(two, batch_id="batch-1"))) == "QUEUE-1"
    ready = ((enqueue(10), BATCH), (enqueue(11), two), (lane(), LEASE))
    assert told(*ready).tell(claim(), Ok(evolve(CLAIM, batches=(BATCH, two)))) is None
    assert _rule(told(*ready), claim(), Ok(CLAIM)) == "QUEUE-7", "the second joins"
    assert _rule(told(*ready), claim(), Ok(evolve(CLAIM, batches=(two, BATCH)))) == "QUEUE-5"
    assert _rule(told(*ready), claim(), Ok(evolve(CLAIM, batches=(BATCH, two), fencing_token=0))) == "LAW-4"
    assert _rule(told(*ready), ListQueued(BOUND, False), Ok([BATCH])) == "LAW-5"
    assert _rule(told(*ready), ListQueued(BOUND, False), Ok([two, BATCH])) == "QUEUE-3"
    assert told(*ready).tell(ListQueued(BOUND, False), Ok((BATCH, two))) is None


@pytest.mark.requirement("GRAPH-2", "GRAPH-4")
def test_nothing_before_the_first_commit() -> None:
    assert Told().tell(PATH, Ok(None)) is None
    assert _rule(Told(), LoadSession(True, NodeId(0)), Ok(_read())) == "GRAPH-2"


@pytest.mark.requirement("COMMIT-5")
def test_a_refusal_needs_the_code_that_the_contract_names() -> None:
    unfenced = commit(20)
    assert _rule(_with_lane_gone(), unfenced, Err("backend", "no")) == "COMMIT-5"
    assert _with_lane_gone().tell(unfenced, Err("session_execution_lease_expired", "")) is None
    result = records.CommitResult(1, "ref", records.CheckpointManifest(turn_state={}))
    assert _rule(_with_lane_gone(), unfenced, Ok(result)) == "COMMIT-5"


@pytest.mark.parametrize("nonsense", [42, "lease", object(), [1]])
def test_an_answer_out_of_shape_is_the_set_ups_fault(nonsense: Any) -> None:
    with pytest.raises(BrokenTarget, match="answered"):
        Told().tell(lane(), Ok(nonsense))


def _with_lane_gone() -> Told:
    """Ann's lease was granted and has expired."""
    one = told((lane(), LEASE))
    one.state = evolve(one.state, lanes=tuple(evolve(each, expires_at=Millis(START)) for each in one.state.lanes))
    return one


def _rule(one: Told, command: Command, answer: Any, now: int = START) -> str:
    mismatch = one.tell(command, answer, now)
    assert mismatch is not None, "this answer is wrong and was taken"
    return mismatch.rule


def _item(body: int) -> records.Item:
    return records.Item(f"item-{body}", {"type": "turn_input", "input": {"items": [{"type": "text", "text": f"text {body}"}]}})


def _read() -> records.Read:
    return records.Read(
        session_id="alpha",
        head_revision=1,
        config={},
        agent_frames=(),
        current_agent_frame_id="frame-1",
        graph=records.Graph((), None),
        checkpoint_ref=None,
        checkpoint=None,
        token_ledger=(),
    )

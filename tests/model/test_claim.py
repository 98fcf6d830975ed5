"""Claims on queued work, example by example from contract section 6."""

from __future__ import annotations

from typing import Literal

import pytest
from attrs import evolve

from leasehold_model.claim import Claimed
from leasehold_model.ids import Millis, OwnerId, SessionId
from leasehold_model.outcome import Absent, Done, Silent
from tests.model.story import NOBODY, Story, done, ids_of, is_error

MAX = 2**63 - 1
LEASE_EXPIRED = "session_execution_lease_expired"
CLAIM_EXPIRED = "queued_work_claim_expired"


@pytest.mark.requirement("QUEUE-4")
@pytest.mark.parametrize(("now", "granted"), [(109, True), (110, False), (111, False)])
def test_a_claim_needs_a_live_lease(now: int, granted: bool) -> None:
    story = Story()
    story.batch()
    fence = story.lane(now=100, ttl=10)
    got = story.claim(fence, now=now)
    assert isinstance(got, Claimed) if granted else is_error(got, "QUEUE-4", LEASE_EXPIRED)


@pytest.mark.requirement("QUEUE-4", "LAW-9")
def test_a_claim_needs_its_own_sessions_lease() -> None:
    story = Story()
    story.batch()
    other = story.lane(session=2)
    for fence in (other, evolve(other, session=SessionId(1)), NOBODY):
        assert is_error(story.claim(fence), "QUEUE-4", LEASE_EXPIRED)


@pytest.mark.requirement("QUEUE-4", "P-ZERO-BEFORE-LEASE")
@pytest.mark.parametrize("order", ["none-first", "lease-first"])
def test_a_claim_of_at_most_nothing(order: Literal["none-first", "lease-first"]) -> None:
    story = Story(zero_before_lease=order)
    story.batch()
    dead = story.lane(now=0, ttl=5)
    got = story.claim(dead, now=5, limit=0)
    assert got == Absent("QUEUE-4") if order == "none-first" else is_error(got, "QUEUE-4", LEASE_EXPIRED)
    assert story.claim(story.lane(now=5), now=5, limit=0) == Absent("QUEUE-4")


@pytest.mark.requirement("QUEUE-4", "QUEUE-8")
def test_the_claims_owner_need_not_be_the_leases() -> None:
    story = Story()
    story.batch()
    got = story.claim(story.lane(owner=1), owner=2)
    assert isinstance(got, Claimed) and got.hold.owner == OwnerId(2)


@pytest.mark.requirement("QUEUE-5")
@pytest.mark.parametrize(("now", "taken"), [(49, None), (50, [1]), (51, [1])])
def test_work_is_claimed_from_its_time_on(now: int, taken: list[int] | None) -> None:
    story = Story()
    story.batch(at=50)
    got = story.claim(story.lane(), now=now)
    assert got == Absent("QUEUE-5") if taken is None else isinstance(got, Claimed) and list(ids_of(got)) == taken


@pytest.mark.requirement("QUEUE-5", "LAW-14")
def test_a_far_away_time_is_never_past() -> None:
    story = Story()
    story.batch(at=MAX)
    fence = story.lane(now=MAX - 5, ttl=MAX)
    assert story.claim(fence, now=MAX - 1) == Absent("QUEUE-5")


@pytest.mark.requirement("QUEUE-5")
def test_earlier_work_that_waits_or_is_claimed_is_skipped_over() -> None:
    story = Story()
    fence = story.lane()
    first, later, third = story.batch(exclusive=True), story.batch(at=50), story.batch()
    assert ids_of(story.claimed(fence)) == (first,)
    assert ids_of(story.claimed(fence)) == (third,)
    assert story.claim(fence, now=49) == Absent("QUEUE-5")
    assert ids_of(story.claimed(fence, now=50)) == (later,)


@pytest.mark.requirement("QUEUE-6")
def test_at_a_checkpoint_work_for_after_the_commit_bars_all_that_follows() -> None:
    story = Story()
    fence = story.lane()
    waits, second = story.batch(after_commit=True), story.batch()
    assert story.claim(fence, idle=False) == Absent("QUEUE-6")
    assert ids_of(story.claimed(fence, idle=True)) == (waits,)
    assert ids_of(story.claimed(fence, idle=False)) == (second,)


@pytest.mark.requirement("QUEUE-7")
@pytest.mark.parametrize(
    ("second", "joined"),
    [
        ({}, True),
        ({"merge": 2}, False),
        ({"after_commit": True}, False),
        ({"exclusive": True}, False),
        ({"payload": 9, "source": 3}, True),
    ],
)
def test_what_joins(second: dict[str, int], joined: bool) -> None:
    story = Story()
    story.batch()
    story.batch(**second)
    story.batch()
    assert ids_of(story.claimed(story.lane())) == ((1, 2, 3) if joined else (1,))


@pytest.mark.requirement("QUEUE-7")
def test_never_equals_never_and_exclusive_goes_alone() -> None:
    story = Story()
    story.batch(merge=0)
    story.batch(merge=0)
    story.batch(exclusive=True)
    story.batch(exclusive=True)
    fence = story.lane()
    assert [ids_of(story.claimed(fence)) for _ in range(3)] == [(1, 2), (3,), (4,)]


@pytest.mark.requirement("QUEUE-7")
@pytest.mark.parametrize(("limit", "taken"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 3))])
def test_the_limit(limit: int, taken: tuple[int, ...]) -> None:
    story = Story()
    for _ in range(3):
        story.batch()
    assert ids_of(story.claimed(story.lane(), limit=limit)) == taken


@pytest.mark.requirement("QUEUE-7", "P-JOIN-GAP", "LAW-9")
@pytest.mark.parametrize(("gap", "taken"), [("skip", (1, 4)), ("break", (1,))])
@pytest.mark.parametrize("cause", ["not due", "live-claimed"])
def test_a_gap_in_a_run(gap: Literal["skip", "break"], taken: tuple[int, ...], cause: str) -> None:
    story = Story(join_gap=gap)
    fence = story.lane()
    story.batch(at=5)
    story.batch(session=2)
    story.batch(at=50 if cause == "not due" else 0)
    story.batch(at=5)
    if cause == "live-claimed":
        assert ids_of(story.claimed(fence, now=0)) == (3,)
    assert ids_of(story.claimed(fence, now=5)) == taken


@pytest.mark.requirement("QUEUE-7", "P-JOIN-GAP", "LAW-9")
@pytest.mark.parametrize("gap", ["skip", "break"])
def test_another_sessions_batch_is_no_gap(gap: Literal["skip", "break"]) -> None:
    story = Story(join_gap=gap)
    story.batch()
    story.batch(session=2)
    story.batch()
    assert ids_of(story.claimed(story.lane())) == (1, 3)


@pytest.mark.requirement("QUEUE-8", "LAW-14")
def test_what_is_granted() -> None:
    story = Story()
    story.batch()
    story.batch()
    claim = story.claimed(story.lane(), now=7, ttl=20)
    assert (claim.rule, claim.hold.claimed_at, claim.hold.expires_at, claim.fencing) == ("QUEUE-8", 7, 27, 1)
    assert all(batch.hold == claim.hold and batch.fencing == 1 for batch in claim.batches)
    forever = Story()
    forever.batch()
    assert forever.claimed(forever.lane(), now=7, ttl=MAX).hold.expires_at == MAX


@pytest.mark.requirement("QUEUE-8", "P-CLAIM-FENCE", "LAW-4")
@pytest.mark.parametrize(("policy", "third"), [("max", 3), ("head", 1)])
def test_the_counterexample_of_docs_claim_fence(policy: Literal["max", "head"], third: int) -> None:
    story = Story(claim_fence=policy)
    fence = story.lane()
    b1, b2 = story.batch(at=20), story.batch()
    first = story.claimed(fence, now=0, ttl=5)
    assert ids_of(first) == (b2,) and first.fencing == 1
    second = story.claimed(fence, now=5, ttl=5)
    assert ids_of(second) == (b2,) and second.fencing == 2
    joined = story.claimed(fence, now=20)
    assert ids_of(joined) == (b1, b2) and joined.fencing == third
    assert (joined.fencing > second.fencing) == (policy == "max")


@pytest.mark.requirement("QUEUE-9", "LAW-4")
@pytest.mark.parametrize(("now", "again"), [(29, False), (30, True), (31, True)])
def test_a_claim_outlives_the_lease_and_ends_at_its_own_expiry(now: int, again: bool) -> None:
    story = Story()
    batch = story.batch()
    old = story.lane(ttl=10)
    first = story.claimed(old, now=0, ttl=30)
    story.release(old)
    new = story.lane(owner=2, now=11)
    got = story.claim(new, now=now, ttl=30)
    if again:
        assert isinstance(got, Claimed) and ids_of(got) == (batch,)
        assert got.fencing > first.fencing and got.hold.claim != first.hold.claim and got.hold.token != first.hold.token
    else:
        assert got == Absent("QUEUE-5")


@pytest.mark.requirement("QUEUE-10", "LAW-1")
@pytest.mark.parametrize(
    ("ids", "granted"),
    [
        ((1, 2), True),
        ((1,), True),
        ((2, 1), False),
        ((2,), False),
        ((1, 3), False),
        ((1, 2, 3), False),
        ((1, 9), False),
        ((9,), False),
    ],
)
def test_named_batches(ids: tuple[int, ...], granted: bool) -> None:
    story = Story()
    for draft in ({}, {}, {"exclusive": True}):
        story.batch(**draft)
    got = story.claim_ids(story.lane(), *ids)
    if granted:
        assert isinstance(got, Claimed) and got.rule == "QUEUE-10" and ids_of(got) == ids
    else:
        assert got == Absent("QUEUE-10")


@pytest.mark.requirement("QUEUE-10", "QUEUE-4")
def test_no_ids_and_no_lease() -> None:
    story = Story()
    story.batch()
    assert story.claim_ids(story.lane(ttl=10)) == Absent("QUEUE-10")
    assert is_error(story.claim_ids(NOBODY, 1), "QUEUE-4", LEASE_EXPIRED)
    assert isinstance(story.claim_ids(NOBODY), Silent)
    assert isinstance(story.claim_ids(story.lane(), 1, 1), Silent)


@pytest.mark.requirement("QUEUE-11", "P-RENEW-EXPIRED")
@pytest.mark.parametrize(
    ("policy", "now", "renewed"),
    [
        ("accept", 9, True),
        ("accept", 10, True),
        ("accept", 11, True),
        ("refuse", 9, True),
        ("refuse", 10, False),
        ("refuse", 11, False),
    ],
)
def test_a_claim_is_renewed(policy: Literal["accept", "refuse"], now: int, renewed: bool) -> None:
    story = Story(renew_expired=policy)
    story.batch()
    story.batch()
    claim = story.claimed(story.lane(), ttl=10)
    got = story.renew_claim(claim, now=now, ttl=7)
    if renewed:
        assert isinstance(got, Claimed) and got.rule == "QUEUE-11" and ids_of(got) == ids_of(claim)
        assert got.hold == evolve(claim.hold, expires_at=Millis(now + 7)) and got.fencing == claim.fencing
    else:
        assert is_error(got, "QUEUE-11", "")


@pytest.mark.requirement("QUEUE-11", "LAW-1", "LAW-4")
def test_a_claim_that_lost_a_batch_is_not_renewed() -> None:
    story = Story()
    story.batch()
    story.batch()
    fence = story.lane()
    claim = story.claimed(fence, ttl=10)
    again = story.claimed(fence, now=10, limit=1)
    assert is_error(story.renew_claim(claim, now=11), "QUEUE-11", CLAIM_EXPIRED)
    assert is_error(story.renew_claim(again, now=11, token=99), "QUEUE-11", CLAIM_EXPIRED)
    story.abandon(again)
    assert is_error(story.renew_claim(claim, now=12), "QUEUE-11", CLAIM_EXPIRED)
    assert is_error(story.renew_claim(again, now=12), "QUEUE-11", CLAIM_EXPIRED)


@pytest.mark.requirement("QUEUE-11")
def test_a_completed_claim_is_not_renewed() -> None:
    story = Story()
    story.batch()
    fence = story.lane()
    claim = story.claimed(fence)
    story.commit(fence, completions=(done(claim),))
    assert is_error(story.renew_claim(claim, now=1), "QUEUE-11", CLAIM_EXPIRED)


@pytest.mark.requirement("QUEUE-12", "LAW-4")
def test_an_abandoned_claim_gives_its_batches_back() -> None:
    story = Story()
    story.batch()
    story.batch()
    fence = story.lane()
    claim = story.claimed(fence)
    assert story.abandon(claim) == Done("QUEUE-12")
    assert story.queued(pending=True) == [1, 2]
    before = story.state
    assert story.abandon(claim) == Done("QUEUE-12") and story.state == before
    assert story.claimed(fence).fencing == 2


@pytest.mark.requirement("QUEUE-12")
def test_abandoning_what_was_reclaimed_leaves_the_new_claim_alone() -> None:
    story = Story()
    story.batch()
    story.batch()
    fence = story.lane()
    old = story.claimed(fence, ttl=10)
    new = story.claimed(fence, now=10, limit=1)
    assert story.abandon(old) == Done("QUEUE-12")
    assert story.queued(now=11, pending=True) == [2]
    assert isinstance(story.renew_claim(new, now=11), Claimed)


@pytest.mark.requirement("LAW-15")
def test_negative_numbers_are_refused() -> None:
    story = Story()
    story.batch()
    fence = story.lane()
    claim = story.claimed(fence)
    for got in (
        story.claim(fence, ttl=-1),
        story.claim(fence, limit=-1),
        story.claim_ids(fence, 1, ttl=-1),
        story.renew_claim(claim, 1, -1),
    ):
        assert is_error(got, "LAW-15", "invalid_request")

"""The session execution lease, example by example from contract section 3."""

from __future__ import annotations

from typing import Literal

import pytest
from attrs import evolve

from leasehold_model.ids import FencingToken, LeaseToken, OwnerId, SessionId
from leasehold_model.lease import Leased
from leasehold_model.outcome import Absent, Done
from tests.model.story import Story, is_error

MAX = 2**63 - 1
EXPIRED = "session_execution_lease_expired"


@pytest.mark.requirement("LEASE-1", "LEASE-8")
def test_a_free_lane_is_granted() -> None:
    story = Story()
    first = story.ask_lane(owner=1, now=100, ttl=10)
    assert isinstance(first, Leased) and first.rule == "LEASE-1"
    assert (first.lane.owner, first.lane.fencing, first.lane.claimed_at, first.lane.expires_at) == (1, 1, 100, 110)
    assert isinstance(story.ask_lane(owner=2, now=100, ttl=10), Absent)


@pytest.mark.requirement("LEASE-1", "LEASE-3", "LAW-2", "LAW-3")
@pytest.mark.parametrize(("now", "granted"), [(109, False), (110, True), (111, True)])
def test_a_lane_is_taken_over_from_its_expiry_on(now: int, granted: bool) -> None:
    story = Story()
    old = story.lane(owner=1, now=100, ttl=10)
    got = story.ask_lane(owner=2, now=now, ttl=10)
    if granted:
        assert isinstance(got, Leased) and got.rule == "LEASE-1"
        assert (got.lane.owner, got.lane.fencing, got.lane.claimed_at) == (2, 2, now) and got.lane.token != old.token
    else:
        assert got == Absent("LEASE-3")


@pytest.mark.requirement("LEASE-1", "LAW-14")
def test_a_ttl_of_zero_is_granted_already_expired() -> None:
    story = Story()
    fence = story.lane(owner=1, now=100, ttl=0)
    assert is_error(story.renew(fence, now=100), "LEASE-5", EXPIRED)
    assert story.lane(owner=2, now=100).fencing == 2


@pytest.mark.requirement("LEASE-2", "P-REENTRY")
@pytest.mark.parametrize(
    ("reentry", "ttl", "expires"),
    [("extend-only", 3, 110), ("extend-only", 5, 110), ("extend-only", 6, 111), ("reset", 3, 108), ("reset", 6, 111)],
)
def test_a_holder_reenters(reentry: Literal["extend-only", "reset"], ttl: int, expires: int) -> None:
    story = Story(reentry=reentry)
    fence = story.lane(owner=1, now=100, ttl=10)
    got = story.ask_lane(owner=1, now=105, ttl=ttl)
    assert isinstance(got, Leased) and got.rule == "LEASE-2"
    assert (got.lane.token, got.lane.fencing, got.lane.claimed_at) == (fence.token, fence.fencing, 100)
    assert got.lane.expires_at == expires


@pytest.mark.requirement("LEASE-2", "LEASE-1")
@pytest.mark.parametrize(("now", "rule", "fencing"), [(109, "LEASE-2", 1), (110, "LEASE-1", 2), (111, "LEASE-1", 2)])
def test_reentry_ends_with_the_lease(now: int, rule: str, fencing: int) -> None:
    story = Story()
    story.lane(owner=1, now=100, ttl=10)
    got = story.ask_lane(owner=1, now=now, ttl=10)
    assert isinstance(got, Leased) and (got.rule, got.lane.fencing) == (rule, fencing)


@pytest.mark.requirement("LEASE-4", "LEASE-5")
@pytest.mark.parametrize(("now", "renewed"), [(109, True), (110, False), (111, False)])
def test_a_lease_is_renewed_until_it_expires(now: int, renewed: bool) -> None:
    story = Story()
    fence = story.lane(owner=1, now=100, ttl=10)
    got = story.renew(fence, now=now, ttl=3)
    if renewed:
        assert isinstance(got, Leased) and got.rule == "LEASE-4"
        assert (got.lane.token, got.lane.fencing, got.lane.claimed_at, got.lane.expires_at) == (fence.token, 1, 100, 112)
    else:
        assert is_error(got, "LEASE-5", EXPIRED)


@pytest.mark.requirement("LEASE-5", "LEASE-7")
@pytest.mark.parametrize(
    "wrong",
    [
        {"session": SessionId(2)},
        {"owner": OwnerId(2)},
        {"token": LeaseToken(99)},
        {"fencing": FencingToken(0)},
        {"fencing": FencingToken(2)},
    ],
)
def test_every_part_of_a_fence_counts(wrong: dict[str, int]) -> None:
    story = Story()
    fence = story.lane(owner=1, now=100, ttl=10)
    story.lane(owner=3, now=100, ttl=10, session=2)
    forged = evolve(fence, **wrong)  # type: ignore[arg-type]  # one field, by name
    before = story.state
    assert is_error(story.renew(forged, now=105), "LEASE-5", EXPIRED)
    assert story.release(forged) == Done("LEASE-7")
    assert story.state == before


@pytest.mark.requirement("LEASE-6", "LEASE-5", "LEASE-7", "LAW-3")
def test_a_release_keeps_the_counter() -> None:
    story = Story()
    first = story.lane(owner=1, now=100, ttl=10)
    assert story.release(first) == Done("LEASE-6")
    assert is_error(story.renew(first, now=101), "LEASE-5", EXPIRED)
    second = story.lane(owner=2, now=101, ttl=10)
    assert (second.fencing, second.token != first.token) == (2, True)
    assert story.release(first) == Done("LEASE-7")
    assert story.ask_lane(owner=1, now=102) == Absent("LEASE-3")
    assert story.release(second) == Done("LEASE-6")
    assert story.release(second) == Done("LEASE-7")


@pytest.mark.requirement("LEASE-6")
def test_an_expired_lease_is_released_too() -> None:
    story = Story()
    fence = story.lane(owner=1, now=100, ttl=10)
    assert is_error(story.renew(fence, now=200), "LEASE-5", EXPIRED)
    assert story.release(fence) == Done("LEASE-6")
    assert story.state.lanes[0].token == 0 and story.state.lanes[0].fencing == 1


@pytest.mark.requirement("LAW-9")
def test_lanes_of_two_sessions_know_nothing_of_each_other() -> None:
    story = Story()
    for turn in range(3):
        story.release(story.lane(owner=1, now=turn))
    other = story.ask_lane(owner=2, now=3, session=2)
    assert isinstance(other, Leased) and other.lane.fencing == 1


@pytest.mark.requirement("LAW-14")
@pytest.mark.parametrize(("now", "ttl"), [(0, MAX), (1, MAX), (MAX - 1, 1), (MAX - 1, 2), (100, MAX)])
def test_times_saturate(now: int, ttl: int) -> None:
    story = Story()
    got = story.ask_lane(owner=1, now=now, ttl=ttl)
    assert isinstance(got, Leased) and got.lane.expires_at == MAX
    assert story.ask_lane(owner=2, now=now) == Absent("LEASE-3")


@pytest.mark.requirement("LAW-15")
def test_negative_ttls_are_refused() -> None:
    story = Story()
    assert is_error(story.ask_lane(ttl=-1), "LAW-15", "invalid_request")
    assert is_error(story.renew(story.lane(ttl=10), now=5, ttl=-1), "LAW-15", "invalid_request")

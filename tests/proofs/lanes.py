"""Proofs about lanes: two lanes, of which a command touches at most one."""

from __future__ import annotations

from attrs import evolve

from leasehold_model.claim import ClaimReady, claim_ready
from leasehold_model.commit import TurnStamp, commit
from leasehold_model.decisions import MAX_MS
from leasehold_model.ids import CheckpointRef, LeaseToken, Millis, Name, OwnerId, TurnHash, TurnId
from leasehold_model.lease import Leased, ReleaseLease, RenewLease, TryClaimLease, release, renew, try_claim
from leasehold_model.outcome import INVALID_NUMBER, LEASE_EXPIRED, Absent, Done, Refused
from leasehold_model.policy import Policies
from leasehold_model.state import EMPTY_CHECKPOINT, Batch, Fence, Lane, Stamp, State
from tests.proofs.registry import Twin, proved
from tests.proofs.states import bare_commit

EXTENDS, RESETS = Policies(reentry="extend-only"), Policies(reentry="reset")
TWO = "2 lanes, any ids and times"


def apart(lane: Lane, other: Lane) -> bool:
    """Two lanes of one state."""
    return lane.session != other.session


def ends(start: int, ttl: int, end: int) -> bool:
    """``end`` is ``ttl`` after ``start``, or the largest time if that is nearer (LAW-14)."""
    return end - start == ttl if ttl <= MAX_MS - start else end == MAX_MS


@proved(
    "LEASE-1",
    "LEASE-2",
    "LEASE-3",
    "LAW-1",
    "LAW-2",
    "LAW-3",
    over=TWO,
    twins=(
        Twin("lease", "if not live(lane.token, lane.expires_at, now):", "if now > lane.expires_at or lane.token == 0:"),
        Twin("lease", "if lane.owner != command.owner:", "if lane.owner > command.owner:"),
        Twin("lease", "counter = FencingToken(next_fence(lane.fencing))", "counter = lane.fencing"),
        Twin("lease", "LeaseToken(command.name), counter, now,", "lane.token, counter, now,"),
        Twin("lease", "LeaseToken(command.name), counter, now,", "LeaseToken(command.name), counter, lane.claimed_at,"),
        Twin("lease", "lane.token, lane.fencing, lane.claimed_at, expires)", "lane.token, lane.fencing, now, expires)"),
        Twin("lease", 'policies.reentry == "reset"', "False"),
        Twin("state", "        if lane.session == session:\n            return lane", "        return lane"),
        Twin("state", "return (*lanes[:index], lane, *lanes[index + 1 :])", "return (lane, *lanes[index + 1 :])"),
    ),
)
def a_lane_is_granted_iff_it_is_free_or_ones_own(lane: Lane, other: Lane, command: TryClaimLease, now: Millis, reset: bool) -> None:
    """
    pre: apart(lane, other) and lane.session == command.session and now <= MAX_MS and lane.expires_at <= MAX_MS
    post: True
    """
    state = State(lanes=(other, lane))
    after, response = try_claim(state, command, now, RESETS if reset else EXTENDS)
    free = lane.token == 0 or now >= lane.expires_at
    if command.ttl < 0:
        assert (after, response) == (state, INVALID_NUMBER)
    elif not free and lane.owner != command.owner:
        assert (after, response) == (state, Absent("LEASE-3"))
    else:
        assert isinstance(response, Leased) and response.rule == ("LEASE-1" if free else "LEASE-2")
        new = response.lane
        assert after == State(lanes=(other, new))
        assert (new.session, new.owner) == (command.session, command.owner)
        if free:
            assert new.token == LeaseToken(command.name) and new.fencing == lane.fencing + 1 and new.claimed_at == now
            assert ends(now, command.ttl, new.expires_at)
        else:
            assert (new.token, new.fencing, new.claimed_at) == (lane.token, lane.fencing, lane.claimed_at)
            kept = not reset and new.expires_at == lane.expires_at and lane.expires_at - now >= command.ttl
            assert kept or ends(now, command.ttl, new.expires_at)
            assert reset or new.expires_at >= lane.expires_at


@proved(
    "LEASE-1",
    "LAW-3",
    over="2 lanes of other sessions",
    twins=(Twin("state", "    return (*lanes, lane)", "    return (lane,)"),),
)
def a_lane_never_seen_is_granted_with_fence_one(lane: Lane, other: Lane, command: TryClaimLease, now: Millis) -> None:
    """
    pre: apart(lane, other) and lane.session != command.session and other.session != command.session
    pre: command.ttl >= 0 and now <= MAX_MS
    post: True
    """
    after, response = try_claim(State(lanes=(lane, other)), command, now, EXTENDS)
    assert isinstance(response, Leased) and response.rule == "LEASE-1" and response.lane.fencing == 1
    assert after == State(lanes=(lane, other, response.lane))


@proved(
    "LEASE-4",
    "LEASE-5",
    "LAW-1",
    "LAW-3",
    over=TWO,
    twins=(
        Twin("state", "and live(lane.token, lane.expires_at, now)", ""),
        Twin("lease", "lane.claimed_at, Millis(add_ms(now, command.ttl)))", "now, Millis(add_ms(now, command.ttl)))"),
        Twin("lease", "lane.claimed_at, Millis(add_ms(now, command.ttl)))", "lane.claimed_at, Millis(now + command.ttl))"),
    ),
)
def a_lane_is_renewed_iff_its_holder_is_live(lane: Lane, other: Lane, command: RenewLease, now: Millis) -> None:
    """
    pre: apart(lane, other) and now <= MAX_MS and other.session != command.fence.session
    post: True
    """
    state = State(lanes=(other, lane))
    after, response = renew(state, command, now)
    fence = command.fence
    own = (lane.session, lane.owner, lane.token, lane.fencing) == (fence.session, fence.owner, fence.token, fence.fencing)
    if command.ttl < 0:
        assert (after, response) == (state, INVALID_NUMBER)
    elif own and lane.token != 0 and now < lane.expires_at:
        assert isinstance(response, Leased) and response.rule == "LEASE-4"
        assert response.lane == evolve(lane, expires_at=response.lane.expires_at)
        assert ends(now, command.ttl, response.lane.expires_at)
        assert after == State(lanes=(other, response.lane))
    else:
        assert (after, response) == (state, Refused("LEASE-5", LEASE_EXPIRED))


@proved(
    "LEASE-6",
    "LEASE-7",
    "LAW-3",
    over=TWO,
    twins=(
        Twin(
            "state", "LeaseToken(0), lane.fencing, Millis(0), Millis(0)))", "LeaseToken(0), FencingToken(0), Millis(0), Millis(0)))"
        ),
        Twin("state", "OwnerId(0), LeaseToken(0), lane.fencing, Millis(0)", "OwnerId(0), lane.token, lane.fencing, Millis(0)"),
        Twin("state", "return lane.session == fence.session and same_holder(", "return same_holder("),
        Twin("lease", 'return state, Done("LEASE-7")', 'return State(), Done("LEASE-7")'),
    ),
)
def a_lane_is_released_iff_by_its_holder(lane: Lane, other: Lane, command: ReleaseLease) -> None:
    """
    pre: apart(lane, other) and other.session != command.completion.session
    post: True
    """
    state = State(lanes=(other, lane))
    after, response = release(state, command)
    shown = command.completion
    own = (lane.session, lane.owner, lane.token, lane.fencing) == (shown.session, shown.owner, shown.token, shown.fencing)
    if own and shown.token != 0:
        cleared = Lane(lane.session, OwnerId(0), LeaseToken(0), lane.fencing, Millis(0), Millis(0))
        assert (after, response) == (State(lanes=(other, cleared)), Done("LEASE-6"))
    else:
        assert (after, response) == (state, Done("LEASE-7"))


@proved(
    "LAW-3",
    over="1 lane, a renewal or release, then a grant",
    twins=(
        Twin("decisions", "return counter + 1", "return counter"),
        Twin(
            "state", "LeaseToken(0), lane.fencing, Millis(0), Millis(0)))", "LeaseToken(0), FencingToken(0), Millis(0), Millis(0)))"
        ),
    ),
)
def fencing_tokens_of_a_lane_rise(lane: Lane, shown: Fence, owner: OwnerId, ttl: Millis, now: Millis, then: Millis) -> None:
    """
    pre: lane.fencing >= 0 and ttl >= 0 and then >= now and lane.token != 9
    post: True
    """
    state = State(lanes=(lane,))
    for between in (renew(state, RenewLease(shown, ttl), now)[0], release(state, ReleaseLease(shown))[0]):
        after, granted = try_claim(between, TryClaimLease(lane.session, owner, ttl, Name(9)), then, RESETS)
        assert lane.fencing <= between.lanes[0].fencing <= after.lanes[0].fencing
        if isinstance(granted, Leased):
            assert granted.lane.fencing > lane.fencing or granted.lane.token == lane.token


@proved(
    "LAW-3",
    over="1 lane, a grant, a release, a grant",
    twins=(
        Twin("decisions", "return counter + 1", "return 1 if counter == 0 else counter"),
        Twin(
            "state", "LeaseToken(0), lane.fencing, Millis(0), Millis(0)))", "LeaseToken(0), FencingToken(0), Millis(0), Millis(0)))"
        ),
    ),
)
def a_second_grant_is_above_the_first(lane: Lane, owner: OwnerId, rival: OwnerId, ttl: Millis, now: Millis, then: Millis) -> None:
    """
    pre: lane.fencing >= 0 and ttl >= 0 and then >= now and lane.token != 8 and lane.token != 9
    post: True
    """
    state, first = try_claim(State(lanes=(lane,)), TryClaimLease(lane.session, owner, ttl, Name(8)), now, EXTENDS)
    if not isinstance(first, Leased):
        return
    mine = Fence(lane.session, owner, first.lane.token, first.lane.fencing)
    for between in (state, release(state, ReleaseLease(mine))[0]):
        _, second = try_claim(between, TryClaimLease(lane.session, rival, ttl, Name(9)), then, EXTENDS)
        if isinstance(second, Leased):
            assert (second.lane.fencing > first.lane.fencing) == (second.lane.token == 9)
            assert second.lane.fencing >= first.lane.fencing


@proved(
    "LAW-3",
    "LEASE-6",
    "LEASE-7",
    "COMMIT-4",
    over="2 lanes, 1 stamp",
    twins=(
        Twin("commit", "lanes=released(state.lanes, command.release),", "lanes=(),"),
        Twin("commit", "after = evolve(state, lanes=released(state.lanes, command.release))", "after = evolve(state, lanes=())"),
        Twin("state", "        if is_holder(lane, completion):", "        if lane.session == completion.session:"),
    ),
)
def a_commit_releases_the_named_lease_if_it_matches(
    lane: Lane, other: Lane, fence: Fence, shown: Fence, replayed: bool, now: Millis
) -> None:
    """
    pre: apart(lane, other) and shown.session == lane.session
    post: True
    """
    state = State(lanes=(lane, other))
    command = bare_commit(lane.session, fence, release=shown)
    if replayed:
        state = State(
            lanes=(lane, other), stamps=(Stamp(lane.session, TurnId(1), TurnHash(1), 1, CheckpointRef(1), EMPTY_CHECKPOINT),)
        )
        command = evolve(command, stamp=TurnStamp(lane.session, TurnId(1), TurnHash(1)))
    after, _ = commit(state, command, now, EXTENDS)
    assert len(after.lanes) == 2 and after.lanes[1] == other and after.lanes[0].fencing == lane.fencing
    if after.lanes[0] != lane:
        assert (lane.owner, lane.token, lane.fencing) == (shown.owner, shown.token, shown.fencing) and shown.token != 0
        assert after.lanes[0] == Lane(lane.session, OwnerId(0), LeaseToken(0), lane.fencing, Millis(0), Millis(0))
        assert replayed or (fence == shown and lane.expires_at > now)
    elif replayed:
        assert shown.token == 0 or (lane.owner, lane.token, lane.fencing) != (shown.owner, shown.token, shown.fencing)


@proved(
    "LAW-2",
    over="1 lane, 2 grants at any two times, a renewal between",
    twins=(
        Twin("lease", 'return state, Absent("LEASE-3")', "pass"),
        Twin("decisions", "holder != 0 and expires_at > now", "holder != 0 and expires_at > now + 1"),
    ),
)
def two_owners_never_hold_a_lane_at_once(
    lane: Lane, owner: OwnerId, rival: OwnerId, ttl: Millis, longer: Millis, now: Millis, between: Millis, then: Millis
) -> None:
    """
    pre: owner != rival and now <= between <= then <= MAX_MS and ttl >= 0 and longer >= 0
    pre: lane.expires_at <= MAX_MS and lane.token != 8 and lane.token != 9
    post: True
    """
    state, first = try_claim(State(lanes=(lane,)), TryClaimLease(lane.session, owner, ttl, Name(8)), now, EXTENDS)
    if not isinstance(first, Leased):
        return
    mine = Fence(lane.session, owner, first.lane.token, first.lane.fencing)
    state, renewed = renew(state, RenewLease(mine, longer), between)
    until = renewed.lane.expires_at if isinstance(renewed, Leased) else first.lane.expires_at
    state, second = try_claim(state, TryClaimLease(lane.session, rival, ttl, Name(9)), then, EXTENDS)
    assert isinstance(second, Leased) == (then >= until)
    if isinstance(second, Leased):
        assert second.lane.fencing > first.lane.fencing and second.lane.token != first.lane.token


@proved(
    "LAW-2",
    "LAW-3",
    "LEASE-5",
    "LEASE-7",
    "QUEUE-4",
    "COMMIT-5",
    over="1 lane, 1 batch, take-over, then 4 commands at any later times",
    twins=(
        Twin("decisions", " and held_token == token and held_fence == fence", ""),
        Twin("claim", "    if not is_live_holder(state, command.session, command.fence, now):\n", "    if not state.lanes:\n"),
        Twin("commit", "    if not is_live_holder(state, session, command.fence, now):\n", "    if not state.lanes:\n"),
    ),
)
def a_fence_that_was_taken_over_does_nothing(
    lane: Lane, batch: Batch, owner: OwnerId, rival: OwnerId, ttl: Millis, now: Millis, then: Millis, later: Millis
) -> None:
    """
    pre: now <= then and then <= later and ttl >= 0
    post: True
    """
    session = lane.session
    state, first = try_claim(State(lanes=(lane,), queue=(batch,)), TryClaimLease(session, owner, ttl, Name(8)), now, EXTENDS)
    state, second = try_claim(state, TryClaimLease(session, rival, ttl, Name(9)), then, EXTENDS)
    if not (isinstance(first, Leased) and isinstance(second, Leased) and second.rule == "LEASE-1"):
        return
    old = Fence(session, owner, first.lane.token, first.lane.fencing)
    assert renew(state, RenewLease(old, ttl), later) == (state, Refused("LEASE-5", LEASE_EXPIRED))
    assert release(state, ReleaseLease(old)) == (state, Done("LEASE-7"))
    ready = ClaimReady(session, old, owner, True, ttl, 1, Name(7))
    assert claim_ready(state, ready, later, EXTENDS) == (state, Refused("QUEUE-4", LEASE_EXPIRED))
    assert commit(state, bare_commit(session, old), later, EXTENDS) == (state, Refused("COMMIT-5", LEASE_EXPIRED))


@proved(
    "LAW-14",
    "LEASE-1",
    "LEASE-2",
    over="1 lane, then any command time up to 2^63-1",
    twins=(
        Twin(
            "lease",
            "counter, now, Millis(add_ms(now, command.ttl))",
            "counter, now, Millis((now + command.ttl) % 2**63)",
        ),
        Twin("decisions", "MAX_MS = 2**63 - 1", "MAX_MS = 2**63"),
    ),
)
def a_far_expiry_is_never_in_the_past(lane: Lane, command: TryClaimLease, now: Millis) -> None:
    """
    pre: lane.session == command.session and 0 <= now <= 2**63 - 1 and command.ttl >= 0 and lane.expires_at <= 2**63 - 1
    post: True
    """
    _, answer = try_claim(State(lanes=(lane,)), command, now, EXTENDS)
    assert not isinstance(answer, Leased) or now <= answer.lane.expires_at <= 2**63 - 1

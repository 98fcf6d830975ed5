"""The session execution lease: contract section 3."""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold_model.decisions import add_ms, live, next_fence, reentry_expiry
from leasehold_model.ids import FencingToken, LeaseToken, Millis, Name, OwnerId, SessionId
from leasehold_model.outcome import INVALID_NUMBER, LEASE_EXPIRED, Absent, Done, Refused
from leasehold_model.policy import Policies
from leasehold_model.state import Fence, Lane, State, is_holder, is_live_holder, lane_of, released, with_lane


@frozen
class TryClaimLease:
    """Ask for a session's lane."""

    session: SessionId
    owner: OwnerId
    ttl: Millis
    name: Name


@frozen
class RenewLease:
    """Extend a live lease."""

    fence: Fence
    ttl: Millis


@frozen
class ReleaseLease:
    """Give a lane back."""

    completion: Fence


@frozen
class Leased:
    """A lease, as granted, re-entered or renewed."""

    rule: str
    lane: Lane


def try_claim(state: State, command: TryClaimLease, now: Millis, policies: Policies) -> tuple[State, Leased | Absent | Refused]:
    """LEASE-1 to LEASE-3. Of two handles that ask at once, one is first: exactly one is granted (LEASE-8)."""
    if command.ttl < 0:
        return state, INVALID_NUMBER
    lane = lane_of(state, command.session)
    if not live(lane.token, lane.expires_at, now):
        counter = FencingToken(next_fence(lane.fencing))
        lane = Lane(command.session, command.owner, LeaseToken(command.name), counter, now, Millis(add_ms(now, command.ttl)))
        return evolve(state, lanes=with_lane(state.lanes, lane)), Leased("LEASE-1", lane)
    if lane.owner != command.owner:
        return state, Absent("LEASE-3")
    expires = Millis(reentry_expiry(lane.expires_at, now, command.ttl, policies.reentry == "reset"))
    lane = Lane(lane.session, lane.owner, lane.token, lane.fencing, lane.claimed_at, expires)
    return evolve(state, lanes=with_lane(state.lanes, lane)), Leased("LEASE-2", lane)


def renew(state: State, command: RenewLease, now: Millis) -> tuple[State, Leased | Refused]:
    """LEASE-4 and LEASE-5."""
    if command.ttl < 0:
        return state, INVALID_NUMBER
    if not is_live_holder(state, command.fence.session, command.fence, now):
        return state, Refused("LEASE-5", LEASE_EXPIRED)
    lane = lane_of(state, command.fence.session)
    lane = Lane(lane.session, lane.owner, lane.token, lane.fencing, lane.claimed_at, Millis(add_ms(now, command.ttl)))
    return evolve(state, lanes=with_lane(state.lanes, lane)), Leased("LEASE-4", lane)


def release(state: State, command: ReleaseLease) -> tuple[State, Done]:
    """LEASE-6 and LEASE-7: an old release succeeds and changes nothing."""
    if not is_holder(lane_of(state, command.completion.session), command.completion):
        return state, Done("LEASE-7")
    return evolve(state, lanes=released(state.lanes, command.completion)), Done("LEASE-6")

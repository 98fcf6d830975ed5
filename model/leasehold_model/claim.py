"""Claims on queued work: contract section 6, QUEUE-4 to QUEUE-12."""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold_model.decisions import add_ms, claim_fence, claimable, joins
from leasehold_model.ids import BatchId, ClaimId, FencingToken, LeaseToken, Millis, Name, OwnerId, SessionId
from leasehold_model.outcome import ANY_ERROR, CLAIM_EXPIRED, INVALID_NUMBER, LEASE_EXPIRED, Absent, Done, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.state import NO_HOLD, Batch, Fence, Hold, State, is_held, is_live_holder, repeats, under_claim, with_batches


@frozen
class ClaimReady:
    """Claim what is at the front of a session's queue, up to ``limit`` batches. ``idle`` false: an active turn's checkpoint."""

    session: SessionId
    fence: Fence
    owner: OwnerId
    idle: bool
    ttl: Millis
    limit: int
    name: Name


@frozen
class ClaimByIds:
    """Claim exactly these batches."""

    session: SessionId
    fence: Fence
    owner: OwnerId
    idle: bool
    ttl: Millis
    batches: tuple[BatchId, ...]
    name: Name


@frozen
class RenewClaim:
    """Extend a claim, shown with all of its batches."""

    session: SessionId
    claim: ClaimId
    token: LeaseToken
    batches: tuple[BatchId, ...]
    ttl: Millis


@frozen
class AbandonClaim:
    """Give a claim's batches back."""

    session: SessionId
    claim: ClaimId
    token: LeaseToken
    batches: tuple[BatchId, ...]


@frozen
class Claimed:
    """A claim as granted or renewed. Its holder, token and times are those of its batches' hold."""

    rule: str
    hold: Hold
    fencing: FencingToken
    batches: tuple[Batch, ...]


def select(
    state: State, session: SessionId, idle: bool, limit: int, now: Millis, policies: Policies
) -> tuple[str, tuple[Batch, ...]]:
    """The batches that a claim takes (QUEUE-5 to QUEUE-7), and the rule that decided."""
    chosen: list[Batch] = []
    for batch in state.queue:
        if batch.session != session:
            continue  # QUEUE-7: other sessions' batches never end a run (LAW-9)
        if not claimable(batch.hold.claim, batch.hold.expires_at, batch.available_at, now):
            if chosen and policies.join_gap == "break":
                break
            continue
        if not chosen:
            if not idle and batch.after_commit:
                return "QUEUE-6", ()
            chosen.append(batch)
            continue
        first = chosen[0]
        if not joins(
            first.exclusive, first.after_commit, first.merge, batch.exclusive, batch.after_commit, batch.merge, len(chosen), limit
        ):
            break
        chosen.append(batch)
    return ("QUEUE-8" if chosen else "QUEUE-5"), tuple(chosen)


def grant(
    state: State, chosen: tuple[Batch, ...], owner: OwnerId, ttl: Millis, name: Name, now: Millis, policies: Policies
) -> tuple[State, Claimed]:
    """QUEUE-8: one claim over the chosen batches. It outlives the session lease it was taken under (QUEUE-9)."""
    hold = Hold(ClaimId(name), owner, LeaseToken(name), now, Millis(add_ms(now, ttl)), len(chosen))
    largest = max(batch.fencing for batch in chosen)
    fencing = FencingToken(claim_fence(chosen[0].fencing, largest, policies.claim_fence == "head"))
    taken = tuple(evolve(batch, hold=hold, fencing=fencing) for batch in chosen)
    return evolve(state, queue=with_batches(state.queue, taken)), Claimed("QUEUE-8", hold, fencing, taken)


def claim_ready(state: State, command: ClaimReady, now: Millis, policies: Policies) -> tuple[State, Claimed | Absent | Refused]:
    """QUEUE-4 to QUEUE-9."""
    if command.ttl < 0 or command.limit < 0:
        return state, INVALID_NUMBER
    if command.limit == 0 and policies.zero_before_lease == "none-first":
        return state, Absent("QUEUE-4")
    if not is_live_holder(state, command.session, command.fence, now):
        return state, Refused("QUEUE-4", LEASE_EXPIRED)
    if command.limit == 0:
        return state, Absent("QUEUE-4")
    rule, chosen = select(state, command.session, command.idle, command.limit, now, policies)
    if not chosen:
        return state, Absent(rule)
    return grant(state, chosen, command.owner, command.ttl, command.name, now, policies)


def claim_by_ids(
    state: State, command: ClaimByIds, now: Millis, policies: Policies
) -> tuple[State, Claimed | Absent | Refused | Silent]:
    """QUEUE-10: the claim that `claim_ready` would make is exactly these batches, or there is none."""
    if command.ttl < 0:
        return state, INVALID_NUMBER
    if repeats(command.batches):
        return state, Silent("QUEUE-10 does not say what an id named twice means")
    fence_holds = is_live_holder(state, command.session, command.fence, now)
    if not command.batches:
        return state, Absent("QUEUE-10") if fence_holds else Silent(
            "QUEUE-10 does not say whether no ids or the lease is looked at first"
        )
    if not fence_holds:
        return state, Refused("QUEUE-4", LEASE_EXPIRED)
    _, chosen = select(state, command.session, command.idle, len(command.batches), now, policies)
    if tuple(batch.batch for batch in chosen) != command.batches:
        return state, Absent("QUEUE-10")
    after, claimed = grant(state, chosen, command.owner, command.ttl, command.name, now, policies)
    return after, Claimed("QUEUE-10", claimed.hold, claimed.fencing, claimed.batches)


def renew_claim(state: State, command: RenewClaim, now: Millis, policies: Policies) -> tuple[State, Claimed | Refused | Silent]:
    """QUEUE-11: every batch is still held, or nothing changes."""
    if command.ttl < 0:
        return state, INVALID_NUMBER
    held = tuple(
        batch for batch in state.queue if batch.batch in command.batches and under_claim(batch, command.claim, command.token)
    )
    if not command.batches or len(held) != len(command.batches):
        if held and held[0].hold.size == len(held):
            return state, Silent("QUEUE-11 does not say whether completed batches end a claim")
        return state, Refused("QUEUE-11", CLAIM_EXPIRED)
    if policies.renew_expired == "refuse" and not is_held(held[0], now):
        return state, Refused("QUEUE-11", ANY_ERROR)
    hold = evolve(held[0].hold, expires_at=Millis(add_ms(now, command.ttl)))
    renewed = tuple(evolve(batch, hold=hold) for batch in held)
    return evolve(state, queue=with_batches(state.queue, renewed)), Claimed("QUEUE-11", hold, held[0].fencing, renewed)


def abandon_claim(state: State, command: AbandonClaim) -> tuple[State, Done]:
    """QUEUE-12: what is still held becomes pending, fencing counters kept."""
    held = tuple(batch for batch in state.queue if under_claim(batch, command.claim, command.token))
    freed = tuple(evolve(batch, hold=NO_HOLD) for batch in held)
    return (evolve(state, queue=with_batches(state.queue, freed)) if held else state), Done("QUEUE-12")

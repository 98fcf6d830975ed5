"""The small decisions, over integers only, that everything else is made of. CrossHair confirms their properties over all paths."""

from __future__ import annotations

MAX_MS = 2**63 - 1


def live(holder: int, expires_at: int, now: int) -> bool:
    """A lease or claim is live iff it is held and has not expired; at equality it has expired (contract section 1)."""
    return holder != 0 and expires_at > now


def due(at: int, now: int) -> bool:
    """Something is due iff its time has come (contract section 1)."""
    return at <= now


def add_ms(now: int, ttl: int) -> int:
    """now + ttl, saturating at the largest time (LAW-14)."""
    return now + ttl if now + ttl < MAX_MS else MAX_MS


def reentry_expiry(old_expiry: int, now: int, ttl: int, may_shorten: bool) -> int:
    """The expiry of a re-entered lease (LEASE-2, P-REENTRY)."""
    renewed = add_ms(now, ttl)
    return renewed if may_shorten or renewed > old_expiry else old_expiry


def next_fence(counter: int) -> int:
    """The fencing token of a fresh grant (LEASE-1, LAW-3)."""
    return counter + 1


def same_holder(held_by: int, owner: int, held_token: int, token: int, held_fence: int, fence: int) -> bool:
    """A fence or completion is the holder's iff the lane is held and owner, token and fencing token match (LEASE-4, LEASE-6)."""
    return held_token != 0 and held_by == owner and held_token == token and held_fence == fence


def revision_agrees(expected: int, actual: int) -> bool:
    """Compare-and-swap of the head revision; -1 means that the caller expects nothing (COMMIT-6)."""
    return expected == -1 or expected == actual


def claimable(holder: int, expires_at: int, available_at: int, now: int) -> bool:
    """A batch is a candidate iff it is due and not live-claimed (QUEUE-5)."""
    return due(available_at, now) and not live(holder, expires_at, now)


def joins(
    first_exclusive: bool, first_delivery: int, first_merge: int, exclusive: bool, delivery: int, merge: int, count: int, limit: int
) -> bool:
    """A candidate extends the run that the first one began (QUEUE-7)."""
    return not first_exclusive and not exclusive and first_delivery == delivery and first_merge == merge and count < limit


def claim_fence(first_counter: int, largest_counter: int, head_only: bool) -> int:
    """The fencing token of a claim, from the counters of its batches (QUEUE-8, P-CLAIM-FENCE)."""
    return (first_counter if head_only else largest_counter) + 1


def held_under(holder: int, claim: int, held_token: int, token: int) -> bool:
    """A batch is held under a claim iff claim id and lease token both match (COMMIT-7, QUEUE-11)."""
    return holder != 0 and holder == claim and held_token == token


STAMP_FRESH, STAMP_REPLAY, STAMP_CONFLICT = 0, 1, 2


def stamp_decision(stored: bool, stored_hash: int, turn_hash: int) -> int:
    """What a stamp that is presented means (COMMIT-3, COMMIT-4)."""
    if not stored:
        return STAMP_FRESH
    return STAMP_REPLAY if stored_hash == turn_hash else STAMP_CONFLICT

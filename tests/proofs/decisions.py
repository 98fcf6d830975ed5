"""Proofs about the small decisions, for all integers. The laws are stated in other words than the code's."""

from __future__ import annotations

from leasehold_model.decisions import (
    MAX_MS,
    STAMP_CONFLICT,
    STAMP_FRESH,
    STAMP_REPLAY,
    add_ms,
    claim_fence,
    claimable,
    due,
    held_under,
    joins,
    live,
    next_fence,
    reentry_expiry,
    revision_agrees,
    same_holder,
    stamp_decision,
)
from tests.proofs.registry import Twin, proved

INTS = "all integers"


@proved(
    "LEASE-1",
    "LAW-2",
    over=INTS,
    twins=(
        Twin("decisions", "holder != 0 and expires_at > now", "holder != 0 and expires_at >= now"),
        Twin("decisions", "holder != 0 and expires_at > now", "expires_at > now"),
    ),
)
def live_until_just_before_its_expiry(holder: int, expires_at: int, now: int, later: int) -> None:
    """
    pre: later >= now
    post: True
    """
    assert not live(0, expires_at, now)
    assert not live(holder, expires_at, expires_at)
    assert holder == 0 or live(holder, expires_at, expires_at - 1)
    assert not live(holder, expires_at, later) or live(holder, expires_at, now)
    assert live(holder, now, later) is False
    assert not live(holder, expires_at, now) or not expires_at <= now


@proved("QUEUE-5", over=INTS, twins=(Twin("decisions", "return at <= now", "return at < now"),))
def due_from_its_time_on(at: int, now: int, later: int) -> None:
    """
    pre: later >= now
    post: True
    """
    assert due(at, at)
    assert not due(at, at - 1)
    assert not due(at, now) or due(at, later)
    assert due(at, now) != (at > now)


@proved(
    "LAW-14",
    over="all ttl >= 0, now <= 2^63-1",
    twins=(
        Twin("decisions", "return now + ttl if now + ttl < MAX_MS else MAX_MS", "return now + ttl"),
        Twin("decisions", "if now + ttl < MAX_MS else MAX_MS", "if now + ttl < MAX_MS else now"),
    ),
)
def sums_of_time_saturate(now: int, ttl: int, more: int) -> None:
    """
    pre: ttl >= 0 and more >= 0 and now <= MAX_MS
    post: True
    """
    total = add_ms(now, ttl)
    assert now <= total <= MAX_MS == 9223372036854775807
    assert total - now == ttl or (total == MAX_MS and ttl > MAX_MS - now)
    assert add_ms(now, ttl + more) >= total
    assert add_ms(total, more) == add_ms(now, ttl + more)


@proved(
    "LEASE-2",
    "P-REENTRY",
    "LAW-14",
    over="all ttl >= 0, times <= 2^63-1",
    twins=(
        Twin("decisions", "may_shorten or renewed > old_expiry", "renewed > old_expiry"),
        Twin("decisions", "may_shorten or renewed > old_expiry", "may_shorten or renewed < old_expiry"),
    ),
)
def reentry_extends_or_resets(old: int, now: int, ttl: int) -> None:
    """
    pre: ttl >= 0 and now < old <= MAX_MS
    post: True
    """
    asked = add_ms(now, ttl)
    assert reentry_expiry(old, now, ttl, True) == asked
    extended = reentry_expiry(old, now, ttl, False)
    assert asked <= extended <= MAX_MS and old <= extended
    assert extended in (old, asked)


@proved("LAW-3", "LEASE-1", over=INTS, twins=(Twin("decisions", "return counter + 1", "return max(counter, 1)"),))
def a_fresh_fence_is_above_its_counter(counter: int) -> None:
    """
    post: True
    """
    assert next_fence(counter) - counter == 1


@proved(
    "LEASE-4",
    "LEASE-6",
    over=INTS,
    twins=(
        Twin("decisions", " and held_fence == fence", ""),
        Twin("decisions", " and held_token == token and held_fence", " and held_fence"),
        Twin("decisions", "held_token != 0 and held_by == owner and", "held_token != 0 and"),
        Twin("decisions", "return held_token != 0 and held_by", "return held_by"),
    ),
)
def a_holder_is_known_by_all_three(held_by: int, owner: int, held_token: int, token: int, held_fence: int, fence: int) -> None:
    """
    post: True
    """
    differences = int(held_by != owner) + int(held_token != token) + int(held_fence != fence)
    assert same_holder(held_by, owner, held_token, token, held_fence, fence) == (differences == 0 and token != 0)


@proved(
    "COMMIT-6",
    over=INTS,
    twins=(
        Twin("decisions", "expected == -1 or expected == actual", "expected == -1 or expected >= actual"),
        Twin("decisions", "expected == -1 or expected == actual", "expected <= 0 or expected == actual"),
    ),
)
def revisions_agree_by_value_or_if_none_is_expected(expected: int, actual: int) -> None:
    """
    pre: expected >= -1 and actual >= 0
    post: True
    """
    assert revision_agrees(-1, actual)
    assert revision_agrees(actual, actual)
    assert revision_agrees(expected, actual) != (expected >= 0 and (expected > actual or expected < actual))


@proved(
    "QUEUE-5",
    "QUEUE-9",
    over=INTS,
    twins=(
        Twin("decisions", "due(available_at, now) and not live", "not live"),
        Twin("decisions", "and not live(holder, expires_at, now)", "and holder == 0"),
    ),
)
def claimable_iff_due_and_not_held(holder: int, expires_at: int, available_at: int, now: int) -> None:
    """
    post: True
    """
    if claimable(holder, expires_at, available_at, now):
        assert not available_at > now
        assert holder == 0 or now >= expires_at
    else:
        assert available_at > now or (holder != 0 and now < expires_at)


@proved(
    "QUEUE-7",
    over=INTS,
    twins=(
        Twin("decisions", " and first_merge == merge", ""),
        Twin("decisions", " and first_delivery == delivery", ""),
        Twin("decisions", "count < limit", "count <= limit"),
        Twin("decisions", "not first_exclusive and not exclusive", "not first_exclusive"),
        Twin("decisions", "not first_exclusive and not exclusive", "not exclusive"),
    ),
)
def joins_only_its_like_and_within_the_limit(
    first_exclusive: bool, exclusive: bool, delivery: int, other_delivery: int, merge: int, other_merge: int, count: int, limit: int
) -> None:
    """
    post: True
    """
    joined = joins(first_exclusive, delivery, merge, exclusive, other_delivery, other_merge, count, limit)
    reasons_against = (first_exclusive, exclusive, delivery != other_delivery, merge != other_merge, count >= limit)
    assert joined != any(reasons_against)


@proved(
    "LAW-4",
    "QUEUE-8",
    "P-CLAIM-FENCE",
    over=INTS,
    twins=(
        Twin("decisions", "largest_counter) + 1", "largest_counter)"),
        Twin("decisions", "(first_counter if head_only else largest_counter) + 1", "first_counter + 1"),
    ),
)
def a_claim_fence_is_above_what_its_policy_names(first: int, largest: int) -> None:
    """
    pre: first <= largest
    post: True
    """
    assert claim_fence(first, largest, False) > largest >= first
    assert claim_fence(first, largest, False) == 1 + largest
    assert claim_fence(first, largest, True) == 1 + first


@proved(
    "COMMIT-7",
    "QUEUE-11",
    over=INTS,
    twins=(
        Twin("decisions", "holder == claim and held_token == token", "holder == claim"),
        Twin("decisions", "holder == claim and held_token == token", "held_token == token"),
        Twin("decisions", "return holder != 0 and holder == claim", "return holder == claim"),
    ),
)
def held_under_a_claim_by_id_and_token(holder: int, claim: int, held_token: int, token: int) -> None:
    """
    post: True
    """
    assert not held_under(0, claim, held_token, token)
    assert held_under(holder, claim, held_token, token) == (claim != 0 and (holder, held_token) == (claim, token))


@proved(
    "COMMIT-3",
    "COMMIT-4",
    over=INTS,
    twins=(
        Twin("decisions", "STAMP_REPLAY if stored_hash == turn_hash else STAMP_CONFLICT", "STAMP_REPLAY"),
        Twin("decisions", "    if not stored:\n        return STAMP_FRESH\n", ""),
    ),
)
def a_stamp_is_fresh_replayed_or_in_conflict(stored: bool, stored_hash: int, turn_hash: int) -> None:
    """
    post: True
    """
    met = stamp_decision(stored, stored_hash, turn_hash)
    assert (met == STAMP_FRESH) == (not stored)
    assert (met == STAMP_REPLAY) == (stored and stored_hash - turn_hash == 0)
    assert (met == STAMP_CONFLICT) == (stored and stored_hash - turn_hash != 0)

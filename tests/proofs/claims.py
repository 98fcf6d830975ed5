"""Proofs about claims on queued work: three batches of any sessions, or two and a lane."""

from __future__ import annotations

from attrs import evolve

from leasehold_model.claim import (
    AbandonClaim,
    ClaimByIds,
    Claimed,
    ClaimReady,
    RenewClaim,
    abandon_claim,
    claim_by_ids,
    claim_ready,
    grant,
    renew_claim,
    select,
)
from leasehold_model.decisions import MAX_MS
from leasehold_model.ids import BatchId, ClaimId, LeaseToken, Millis, Name, OwnerId, SessionId
from leasehold_model.outcome import ANY_ERROR, CLAIM_EXPIRED, INVALID_NUMBER, LEASE_EXPIRED, Absent, Done, Refused
from leasehold_model.policy import Policies
from leasehold_model.state import NO_HOLD, Batch, Lane, State
from tests.proofs.registry import Twin, proved
from tests.proofs.states import holder_of, numbered

SKIP, BREAK = Policies(join_gap="skip"), Policies(join_gap="break")
HEAD = Policies(claim_fence="head")


def free(batch: Batch, session: SessionId, now: Millis) -> bool:
    """A claim could begin with it."""
    return batch.session == session and not batch.available_at > now and (batch.hold.claim == 0 or not batch.hold.expires_at > now)


def alike(first: Batch, other: Batch) -> bool:
    """The two may be in one claim."""
    return not (first.exclusive or other.exclusive) and (first.after_commit, first.merge) == (other.after_commit, other.merge)


def selects_right(queue: tuple[Batch, ...], session: SessionId, idle: bool, limit: int, now: Millis, gap_ends: bool) -> None:
    """What `select` takes, judged by positions: all of it may be taken, nothing before it was passed over wrongly, and nothing more
    could be taken."""
    rule, chosen = select(State(queue=queue), session, idle, limit, now, BREAK if gap_ends else SKIP)
    places = [place for place, batch in enumerate(queue) if any(batch is taken for taken in chosen)]
    assert len(places) == len(chosen) and all(queue[place] is taken for place, taken in zip(places, chosen, strict=True))
    if not chosen:
        first = next((batch for batch in queue if free(batch, session, now)), None)
        if first is None:
            assert rule == "QUEUE-5"
        else:
            assert rule == "QUEUE-6" and not idle and first.after_commit
        return
    assert rule == "QUEUE-8" and (idle or not chosen[0].after_commit) and len(chosen) <= limit
    for place, batch in enumerate(queue[: places[-1] + 1]):
        assert free(batch, session, now) == (place in places)
        if gap_ends and place > places[0]:
            assert place in places or batch.session != session
    for taken in chosen[1:]:
        assert alike(chosen[0], taken)
    for batch in queue[places[-1] + 1 :]:
        if batch.session == session and not free(batch, session, now):
            if gap_ends:
                return
        elif batch.session == session:
            assert len(chosen) == limit or not alike(chosen[0], batch)
            return


THREE = "3 batches of any sessions, each claimed before"


@proved(
    "QUEUE-5",
    "QUEUE-6",
    "QUEUE-7",
    "LAW-9",
    over="2 batches of any sessions",
    twins=(
        Twin(
            "claim",
            "        if batch.session != session:\n            continue",
            "        if batch.session != session:\n            break",
        ),
        Twin("claim", "            if not idle and batch.after_commit:", "            if batch.after_commit:"),
        Twin("claim", 'return ("QUEUE-8" if chosen else "QUEUE-5")', 'return ("QUEUE-8" if chosen else "QUEUE-6")'),
        Twin("decisions", "and first_merge == merge and", "and"),
        Twin("decisions", "first_delivery == delivery and", "first_delivery >= delivery and"),
        Twin("decisions", "due(available_at, now) and", "available_at < now and"),
    ),
)
def a_claim_takes_the_longest_run_of_two(a: Batch, b: Batch, session: SessionId, idle: bool, limit: int, now: Millis) -> None:
    """
    pre: limit >= 1
    post: True
    """
    selects_right(numbered(a, b), session, idle, limit, now, False)


@proved(
    "QUEUE-5",
    "QUEUE-6",
    "QUEUE-7",
    "LAW-9",
    "P-JOIN-GAP",
    over=THREE,
    twins=(
        Twin("claim", 'if chosen and policies.join_gap == "break":', "if chosen:"),
        Twin("claim", "        first = chosen[0]", "        first = chosen[0] if len(chosen) < 2 else batch"),
    ),
)
def a_claim_takes_the_longest_run_gaps_skipped(
    a: Batch, b: Batch, c: Batch, session: SessionId, idle: bool, limit: int, now: Millis
) -> None:
    """
    pre: limit >= 1 and a.hold.claim != 0 and b.hold.claim != 0 and c.hold.claim != 0
    post: True
    """
    selects_right(numbered(a, b, c), session, idle, limit, now, False)


@proved(
    "QUEUE-5",
    "QUEUE-6",
    "QUEUE-7",
    "LAW-9",
    "P-JOIN-GAP",
    over=THREE,
    twins=(
        Twin("claim", 'if chosen and policies.join_gap == "break":', 'if policies.join_gap == "break":'),
        Twin("claim", 'if chosen and policies.join_gap == "break":', "if False:"),
    ),
)
def a_claim_takes_the_longest_run_gaps_break(
    a: Batch, b: Batch, c: Batch, session: SessionId, idle: bool, limit: int, now: Millis
) -> None:
    """
    pre: limit >= 1 and a.hold.claim != 0 and b.hold.claim != 0 and c.hold.claim != 0
    post: True
    """
    selects_right(numbered(a, b, c), session, idle, limit, now, True)


@proved(
    "QUEUE-5",
    "QUEUE-6",
    "QUEUE-7",
    over="4 batches of any sessions",
    twins=(),
    bound="6 s",
)
def a_claim_takes_the_longest_run_of_four(
    a: Batch, b: Batch, c: Batch, d: Batch, session: SessionId, idle: bool, limit: int, now: Millis
) -> None:
    """
    pre: limit >= 1
    post: True
    """
    selects_right(numbered(a, b, c, d), session, idle, limit, now, False)


@proved(
    "LAW-4",
    "QUEUE-8",
    "QUEUE-9",
    over="a claim over 3 of 4 batches",
    twins=(
        Twin("claim", "largest = max(batch.fencing for batch in chosen)", "largest = min(batch.fencing for batch in chosen)"),
        Twin("claim", "largest = max(batch.fencing for batch in chosen)", "largest = chosen[-1].fencing"),
        Twin("claim", "hold=hold, fencing=fencing) for batch in chosen", "hold=hold) for batch in chosen"),
        Twin("claim", "hold=hold, fencing=fencing) for batch in chosen)", "hold=hold, fencing=fencing) for batch in chosen[:2])"),
        Twin("claim", "Millis(add_ms(now, ttl)), len(chosen))", "Millis(add_ms(now, ttl)), 1)"),
    ),
)
def a_claim_is_above_every_claim_before(a: Batch, b: Batch, c: Batch, d: Batch, owner: OwnerId, ttl: Millis, now: Millis) -> None:
    """
    pre: ttl >= 0 and now <= MAX_MS
    post: True
    """
    queue = numbered(a, b, c, d)
    after, claimed = grant(State(queue=queue), queue[:3], owner, ttl, Name(9), now, SKIP)
    assert all(claimed.fencing > batch.fencing for batch in queue[:3])
    assert any(claimed.fencing == batch.fencing + 1 for batch in queue[:3])
    hold = claimed.hold
    assert (hold.claim, hold.token, hold.owner, hold.claimed_at, hold.size) == (9, 9, owner, now, 3)
    assert hold.expires_at - now == ttl or (hold.expires_at == MAX_MS and ttl > MAX_MS - now)
    assert claimed.batches == tuple(evolve(batch, hold=hold, fencing=claimed.fencing) for batch in queue[:3])
    assert after == State(queue=(*claimed.batches, queue[3]))


def two_claims(policies: Policies, a: Batch, b: Batch, lane: Lane, ttl: Millis, now: Millis, then: Millis) -> None:
    """A claim of the first batch, then a claim of both: the second is above the first, and above what its batches had."""
    state = State(lanes=(lane,), queue=tuple(evolve(batch, hold=NO_HOLD, exclusive=False) for batch in numbered(a, b)))
    fence = holder_of(lane)
    state, first = claim_ready(state, ClaimReady(lane.session, fence, OwnerId(1), True, ttl, 1, Name(8)), now, policies)
    _, second = claim_ready(state, ClaimReady(lane.session, fence, OwnerId(2), True, ttl, 2, Name(9)), then, policies)
    if isinstance(second, Claimed):
        assert not isinstance(first, Claimed) or second.fencing > first.fencing or second.batches[0].batch != first.batches[0].batch
        for old in state.queue:
            assert old.batch not in [batch.batch for batch in second.batches] or second.fencing > old.fencing


@proved(
    "LAW-4",
    "QUEUE-8",
    "P-CLAIM-FENCE",
    over="1 lane, 2 pending join batches, 2 claims at any two times",
    twins=(
        Twin("decisions", "(first_counter if head_only else largest_counter) + 1", "first_counter + 1"),
        Twin("decisions", "(first_counter if head_only else largest_counter) + 1", "largest_counter"),
    ),
)
def claims_are_fenced_when_above_the_largest_counter(
    a: Batch, b: Batch, lane: Lane, ttl: Millis, now: Millis, then: Millis
) -> None:
    """
    pre: ttl >= 0 and now <= then < lane.expires_at and lane.token != 0
    pre: a.fencing >= 0 and b.fencing >= 0 and a.session == b.session == lane.session
    post: True
    """
    two_claims(SKIP, a, b, lane, ttl, now, then)


@proved("LAW-4", "QUEUE-8", "P-CLAIM-FENCE", over="1 lane, 2 pending join batches, 2 claims at any two times", twins=())
def claims_are_fenced_when_above_the_heads_counter(a: Batch, b: Batch, lane: Lane, ttl: Millis, now: Millis, then: Millis) -> None:
    """
    pre: ttl >= 0 and now <= then < lane.expires_at and lane.token != 0
    pre: a.fencing >= 0 and b.fencing >= 0 and a.session == b.session == lane.session
    post: True
    """
    two_claims(HEAD, a, b, lane, ttl, now, then)


@proved(
    "QUEUE-4",
    "QUEUE-8",
    "LAW-1",
    "LAW-14",
    "P-ZERO-BEFORE-LEASE",
    over="1 lane, 1 batch of any session",
    twins=(
        Twin("claim", "if command.ttl < 0 or command.limit < 0:", "if command.ttl < 0:"),
        Twin("claim", 'if command.limit == 0 and policies.zero_before_lease == "none-first":', "if command.limit == 0:"),
        Twin(
            "claim",
            "return grant(state, chosen, command.owner, command.ttl, command.name, now, policies)",
            "return grant(state, chosen, command.fence.owner, command.ttl, command.name, now, policies)",
        ),
        Twin(
            "claim",
            "select(state, command.session, command.idle, command.limit, now, policies)",
            "select(state, command.session, True, command.limit, now, policies)",
        ),
    ),
)
def a_claim_is_granted_iff_the_lane_is_held_and_work_is_ready(
    a: Batch, lane: Lane, command: ClaimReady, now: Millis, lease_first: bool
) -> None:
    """
    pre: now <= MAX_MS
    post: True
    """
    policies = Policies(zero_before_lease="lease-first" if lease_first else "none-first")
    state = State(lanes=(lane,), queue=numbered(a))
    answer = claim_ready(state, command, now, policies)
    fence = command.fence
    shown = (fence.session, fence.owner, fence.token, fence.fencing) == (lane.session, lane.owner, lane.token, lane.fencing)
    leased = shown and lane.session == command.session and lane.token != 0 and now < lane.expires_at
    if command.ttl < 0 or command.limit < 0:
        assert answer == (state, INVALID_NUMBER)
    elif command.limit == 0 and (leased or not lease_first):
        assert answer == (state, Absent("QUEUE-4"))
    elif not leased:
        assert answer == (state, Refused("QUEUE-4", LEASE_EXPIRED))
    else:
        rule, chosen = select(state, lane.session, command.idle, command.limit, now, policies)
        if chosen:
            assert answer == grant(state, chosen, command.owner, command.ttl, command.name, now, policies)
        else:
            assert answer == (state, Absent(rule))


@proved(
    "QUEUE-10",
    "LAW-1",
    over="1 lane held, 2 batches of its session, 1 or 2 ids",
    twins=(
        Twin("claim", "if tuple(batch.batch for batch in chosen) != command.batches:", "if not chosen:"),
        Twin(
            "claim", "command.idle, len(command.batches), now, policies)", "command.idle, len(command.batches) + 1, now, policies)"
        ),
    ),
)
def named_batches_are_claimed_iff_a_claim_would_take_just_them(
    a: Batch, b: Batch, lane: Lane, idle: bool, ttl: Millis, one: BatchId, two: BatchId, now: Millis
) -> None:
    """
    pre: lane.token != 0 and now < lane.expires_at and ttl >= 0 and one != two
    pre: a.hold.claim != 0 and b.hold.claim != 0 and a.session == b.session == lane.session
    post: True
    """
    state = State(lanes=(lane,), queue=numbered(a, b))
    fence = holder_of(lane)
    for ids in ((one,), (one, two)):
        after, answer = claim_by_ids(state, ClaimByIds(lane.session, fence, OwnerId(1), idle, ttl, ids, Name(9)), now, SKIP)
        _, chosen = select(state, lane.session, idle, len(ids), now, SKIP)
        if len(chosen) == len(ids) and all(taken.batch == named for taken, named in zip(chosen, ids, strict=True)):
            granted, claimed = grant(state, chosen, OwnerId(1), ttl, Name(9), now, SKIP)
            assert (after, answer) == (granted, evolve(claimed, rule="QUEUE-10"))
        else:
            assert (after, answer) == (state, Absent("QUEUE-10"))


@proved(
    "QUEUE-11",
    "LAW-1",
    "P-RENEW-EXPIRED",
    over="2 batches of one claim or of none, and 1 frame batch; 2 ids shown",
    twins=(
        Twin("claim", "if not command.batches or len(held) != len(command.batches):", "if not held:"),
        Twin("claim", 'policies.renew_expired == "refuse" and not is_held(held[0], now)', "not is_held(held[0], now)"),
        Twin(
            "claim",
            "expires_at=Millis(add_ms(now, command.ttl)))",
            "expires_at=Millis(add_ms(held[0].hold.expires_at, command.ttl)))",
        ),
        Twin(
            "claim",
            "batch.batch in command.batches and under_claim(batch, command.claim, command.token)",
            "batch.batch in command.batches",
        ),
        Twin(
            "claim",
            "renewed = tuple(evolve(batch, hold=hold) for batch in held)",
            "renewed = tuple(evolve(batch, hold=hold) for batch in held[:1])",
        ),
    ),
)
def a_claim_is_renewed_iff_it_holds_all_that_is_shown(
    a: Batch, b: Batch, claim: ClaimId, token: LeaseToken, ttl: Millis, now: Millis, refuses: bool
) -> None:
    """
    pre: a.hold.size == 2 and b.hold.size == 2 and now <= MAX_MS
    pre: (a.hold.claim != b.hold.claim and claim != 0) or a.hold == b.hold
    post: True
    """
    policies = Policies(renew_expired="refuse" if refuses else "accept")
    frame = evolve(a, hold=NO_HOLD)
    state = State(queue=numbered(a, frame, b), last_seq=3)
    command = RenewClaim(a.session, claim, token, (BatchId(1), BatchId(3)), ttl)
    after, answer = renew_claim(state, command, now, policies)
    holds = claim != 0 and all((hold.claim, hold.token) == (claim, token) for hold in (a.hold, b.hold))
    if ttl < 0:
        assert (after, answer) == (state, INVALID_NUMBER)
    elif not holds:
        assert (after, answer) == (state, Refused("QUEUE-11", CLAIM_EXPIRED))
    elif refuses and a.hold.expires_at <= now:
        assert (after, answer) == (state, Refused("QUEUE-11", ANY_ERROR))
    else:
        assert isinstance(answer, Claimed) and answer.rule == "QUEUE-11"
        end = answer.hold.expires_at
        assert end - now == ttl or (end == MAX_MS and ttl > MAX_MS - now)
        assert answer.hold == evolve(a.hold, expires_at=end) and answer.fencing == a.fencing
        renewed = tuple(evolve(batch, hold=answer.hold) for batch in (state.queue[0], state.queue[2]))
        assert answer.batches == renewed
        assert after == State(queue=(renewed[0], state.queue[1], renewed[1]), last_seq=3)


@proved(
    "QUEUE-12",
    "LAW-1",
    over="3 batches under any claims",
    twins=(
        Twin(
            "claim",
            "freed = tuple(evolve(batch, hold=NO_HOLD) for batch in held)",
            "freed = tuple(evolve(batch, hold=NO_HOLD) for batch in held[:1])",
        ),
        Twin(
            "claim",
            "freed = tuple(evolve(batch, hold=NO_HOLD) for batch in held)",
            "freed = tuple(evolve(batch, hold=NO_HOLD, fencing=0) for batch in held)",
        ),
        Twin(
            "claim",
            "for batch in state.queue if under_claim(batch, command.claim, command.token))\n    freed",
            "for batch in state.queue if batch.hold.claim == command.claim)\n    freed",
        ),
    ),
)
def exactly_what_a_claim_holds_is_given_back(a: Batch, b: Batch, c: Batch, claim: ClaimId, token: LeaseToken) -> None:
    """
    post: True
    """
    state = State(queue=numbered(a, b, c), last_seq=3)
    after, answer = abandon_claim(state, AbandonClaim(a.session, claim, token, (BatchId(1), BatchId(2))))
    assert answer == Done("QUEUE-12")
    assert after == State(queue=after.queue, last_seq=3) and len(after.queue) == 3
    for old, new in zip(state.queue, after.queue, strict=True):
        if claim != 0 and (old.hold.claim, old.hold.token) == (claim, token):
            assert new == evolve(old, hold=NO_HOLD)
        else:
            assert new == old

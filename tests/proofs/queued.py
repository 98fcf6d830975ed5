"""Proofs about the queue: enqueue, cancel, lists, and the completions that a commit names."""

from __future__ import annotations

from attrs import evolve

from leasehold_model.ids import BatchId, ClaimId, FencingToken, LeaseToken, Millis, SessionId
from leasehold_model.outcome import ANY_ERROR, CLAIM_EXPIRED, Absent, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.queue import (
    CancelBatch,
    Completion,
    Enqueue,
    ListQueued,
    cancel,
    completed,
    completion_flaw,
    enqueue,
    listed,
)
from leasehold_model.state import NO_HOLD, Batch, State
from tests.proofs.registry import Twin, proved
from tests.proofs.states import numbered

NEW, REMEMBERED = Policies(source_key_reuse="new-batch"), Policies(source_key_reuse="remembered")
STRICT = Policies()
LENIENT = Policies(
    complete_subset="accept",
    complete_duplicate="accept",
    complete_empty="accept",
    complete_twice="accept",
    complete_expired="accept",
)


def busy(batch: Batch, now: Millis) -> bool:
    """Somebody works on it."""
    return batch.hold.claim != 0 and batch.hold.expires_at - now > 0


def held(batch: Batch, session: SessionId, claim: ClaimId, token: LeaseToken) -> bool:
    """It is this claim's, live or not."""
    return claim != 0 and (batch.session, batch.hold.claim, batch.hold.token) == (session, claim, token)


@proved(
    "QUEUE-1",
    "QUEUE-2",
    "LAW-5",
    over="2 batches queued, 1 remembered",
    twins=(
        Twin("queue", "seq = state.last_seq + 1", "seq = state.last_seq"),
        Twin("queue", "seq = state.last_seq + 1", "seq = len(state.queue) + 1"),
        Twin("queue", "(*state.queue, *state.remembered)", "state.queue"),
        Twin("queue", "batch.session == command.session and batch.source == command.source", "batch.source == command.source"),
        Twin("queue", "    if command.source != 0:\n", "    if True:\n"),
        Twin("queue", "enqueued_at=now", "enqueued_at=command.available_at"),
        Twin("queue", "queue=(*state.queue, batch), last_seq=seq)", "queue=(batch, *state.queue), last_seq=seq)"),
    ),
)
def work_is_appended_iff_its_source_is_new(a: Batch, b: Batch, old: Batch, command: Enqueue, last: int, now: Millis) -> None:
    """
    pre: last >= 2
    post: True
    """
    state = State(queue=numbered(a, b), remembered=(evolve(old, batch=BatchId(3)),), last_seq=last)
    known = [
        batch
        for batch in (*state.queue, *state.remembered)
        if batch.source == command.source and command.source != 0 and batch.session == command.session
    ]
    after, response = enqueue(state, command, now)
    if known:
        assert after == state and response.rule == "QUEUE-2" and response.batch == known[0]
        return
    new = response.batch
    assert response.rule == "QUEUE-1"
    assert after == State(queue=(*state.queue, new), remembered=state.remembered, last_seq=new.seq)
    assert new.seq == last + 1 and all(new.seq > batch.seq for batch in state.queue)
    assert (new.batch, new.fencing) == (BatchId(command.name), FencingToken(0)) and (new.enqueued_at, new.hold) == (now, NO_HOLD)
    assert (new.session, new.source, new.payload) == (command.session, command.source, command.payload)
    assert (new.after_commit, new.exclusive, new.merge) == (command.after_commit, command.exclusive, command.merge)
    assert new.available_at == command.available_at


@proved(
    "QUEUE-2",
    "LAW-9",
    over="1 batch, 2 enqueues of one source key",
    twins=(
        Twin("queue", "batch.session == command.session and batch.source == command.source", "batch.source == command.source"),
        Twin("queue", 'return state, Queued("QUEUE-2", batch)', 'return evolve(state, last_seq=0), Queued("QUEUE-2", batch)'),
    ),
)
def a_source_key_queues_once_per_session(a: Batch, one: Enqueue, two: Enqueue, now: Millis, then: Millis) -> None:
    """
    pre: one.source != 0 and one.source == two.source
    post: True
    """
    state, first = enqueue(State(queue=numbered(a), last_seq=1), one, now)
    after, second = enqueue(state, two, then)
    if one.session == two.session:
        assert after == state and second.batch == first.batch and second.rule == "QUEUE-2"
    elif second.rule == "QUEUE-1":
        assert second.batch.seq == state.last_seq + 1 and second.batch.payload == two.payload
    else:
        assert second.batch == state.queue[0] and a.session == two.session


@proved(
    "QUEUE-13",
    "QUEUE-2",
    "LAW-1",
    "LAW-5",
    "P-SOURCE-KEY-REUSE",
    over="3 batches",
    twins=(
        Twin("queue", "batch.session == command.session and not is_held(batch, now)", "batch.session == command.session"),
        Twin(
            "queue",
            "if batch.batch == command.batch and batch.session == command.session and",
            "if batch.batch == command.batch and",
        ),
        Twin("queue", "for batch in gone if batch.source != 0)", "for batch in gone)"),
        Twin("queue", "evolve(batch, hold=NO_HOLD) for batch in gone", "batch for batch in gone"),
        Twin("queue", 'policies.source_key_reuse == "remembered"', "True"),
        Twin("queue", "if batch not in gone)", "if batch.session != gone[0].session)"),
    ),
)
def a_batch_is_cancelled_iff_nobody_works_on_it(
    a: Batch, b: Batch, c: Batch, command: CancelBatch, now: Millis, remembers: bool
) -> None:
    """
    post: True
    """
    state = State(queue=numbered(a, b, c), last_seq=3)
    after, response = cancel(state, command, now, REMEMBERED if remembers else NEW)
    found = [batch for batch in state.queue if batch.batch == command.batch]
    if not found or found[0].session != command.session or busy(found[0], now):
        assert (after, response) == (state, Absent("QUEUE-13"))
        return
    gone = found[0]
    others = tuple(batch for batch in state.queue if batch is not gone)
    keyed = (evolve(gone, hold=NO_HOLD),) if remembers and gone.source != 0 else ()
    assert not isinstance(response, Absent) and (response.rule, response.batch) == ("QUEUE-13", gone)
    assert after == State(queue=others, last_seq=3, remembered=keyed)


@proved(
    "QUEUE-3",
    "LAW-9",
    over="3 batches",
    twins=(
        Twin("queue", "if not (command.pending and is_held(batch, now))", "if not command.pending"),
        Twin("queue", "if not (command.pending and is_held(batch, now))", "if not is_held(batch, now)"),
        Twin(
            "queue",
            "for batch in state.queue if batch.session == command.session)\n    return",
            "for batch in state.queue)\n    return",
        ),
    ),
)
def lists_hold_the_sessions_batches_in_order(a: Batch, b: Batch, c: Batch, command: ListQueued, now: Millis) -> None:
    """
    post: True
    """
    state = State(queue=numbered(a, b, c), last_seq=3)
    after, response = listed(state, command, now)
    assert after == state and response.rule == "QUEUE-3"
    seqs = [batch.seq for batch in response.batches]
    assert seqs == sorted(set(seqs))
    for batch in state.queue:
        wanted = batch.session == command.session and not (command.pending and busy(batch, now))
        assert (batch in response.batches) == wanted


@proved(
    "COMMIT-7",
    "P-COMPLETE-SUBSET",
    "P-COMPLETE-DUPLICATE",
    over="2 batches of one claim or of none, a completion of 2 ids, recommended policies",
    twins=(
        Twin("queue", "if completion.session != session:", "if completion.session != session and False:"),
        Twin(
            "queue",
            "if under_claim(batch, completion.claim, completion.token) and batch.session == session",
            "if batch.session == session",
        ),
        Twin("queue", "if any(batch not in [other.batch for other in held] for batch in completion.batches):", "if not held:"),
        Twin("queue", "if repeats(completion.batches) and", "if False and"),
    ),
)
def a_completion_of_two_is_accepted_iff_its_claim_holds_just_them(
    a: Batch,
    b: Batch,
    session: SessionId,
    its: SessionId,
    claim: ClaimId,
    token: LeaseToken,
    one: BatchId,
    two: BatchId,
    now: Millis,
) -> None:
    """
    pre: a.hold.size == b.hold.size and 1 <= a.hold.size <= 3 and a.hold.claim != 0
    post: True
    """
    queue = numbered(a, b)
    done = Completion(its, claim, token, (one, two))
    flaw = completion_flaw(State(queue=queue), session, (done,), now, STRICT)
    mine = [batch for batch in queue if held(batch, session, done.claim, done.token)]
    all_held = all(any(batch.batch == named for batch in mine) for named in done.batches)
    if one == two:
        assert flaw == Refused("COMMIT-7", ANY_ERROR)
    elif done.session != session or not all_held:
        assert flaw == Refused("COMMIT-7", CLAIM_EXPIRED)
    elif a.hold.size == 3:
        assert isinstance(flaw, Silent)
    else:
        assert flaw is None


@proved(
    "COMMIT-7",
    "LAW-11",
    "P-COMPLETE-TWICE",
    "P-COMPLETE-EXPIRED",
    over="2 claimed batches, 2 completions of 1 id each",
    twins=(
        Twin("queue", "return flaws[0] if flaws else None", "return None"),
        Twin(
            "queue",
            "        if flaw is not None:\n            flaws.append(flaw)\n",
            "        if flaw is None:\n            return None\n        flaws.append(flaw)\n",
        ),
        Twin("queue", 'earlier == completion and policies.complete_twice == "refuse"', "False"),
        Twin("queue", 'policies.complete_expired == "refuse" and', ""),
    ),
)
def two_completions_are_accepted_iff_each_is(
    a: Batch, b: Batch, claim: ClaimId, token: LeaseToken, second: ClaimId, second_token: LeaseToken, named: BatchId, now: Millis
) -> None:
    """
    pre: a.hold.size == 1 and b.hold.size == 1 and a.session == b.session and a.hold.claim != 0 and b.hold.claim != 0
    post: True
    """
    state = State(queue=numbered(a, b))
    one, two = Completion(a.session, claim, token, (BatchId(1),)), Completion(a.session, second, second_token, (named,))
    flaw = completion_flaw(state, a.session, (one, two), now, STRICT)
    good = [
        any(batch.batch == done.batches[0] and held(batch, a.session, done.claim, done.token) for batch in state.queue)
        for done in (one, two)
    ]
    if claim == second:
        if named == 1 and token == second_token:
            assert flaw == Refused("COMMIT-7", ANY_ERROR)
        else:
            assert isinstance(flaw, Silent)
    elif all(good):
        assert flaw is None
    else:
        assert flaw == Refused("COMMIT-7", CLAIM_EXPIRED)


@proved(
    "COMMIT-7",
    "P-COMPLETE-EMPTY",
    "P-COMPLETE-SUBSET",
    "P-COMPLETE-EXPIRED",
    over="3 batches of one claim, a completion of 0 to 2 ids, any options",
    twins=(
        Twin("queue", 'if policies.complete_empty == "refuse" else None', 'if policies.complete_empty == "accept" else None'),
        Twin("queue", 'if policies.complete_subset == "refuse" and len(named)', "if len(named)"),
        Twin("queue", "len(named) < held[0].hold.size:", "len(named) + 1 < held[0].hold.size:"),
        Twin("queue", 'policies.complete_expired == "refuse" and not is_held', 'policies.complete_expired == "refuse" and is_held'),
    ),
)
def options_decide_on_partial_empty_and_expired_completions(
    batch: Batch, count: int, now: Millis, subset: bool, empty: bool, expired: bool
) -> None:
    """
    pre: 0 <= count <= 3 and batch.hold.claim != 0 and batch.hold.size == 3
    post: True
    """
    queue = numbered(batch, batch, batch)
    policies = Policies(
        complete_subset="accept" if subset else "refuse",
        complete_empty="accept" if empty else "refuse",
        complete_expired="accept" if expired else "refuse",
    )
    names = tuple(BatchId(number) for number in (1, 2, 3) if number <= count)
    done = Completion(batch.session, batch.hold.claim, batch.hold.token, names)
    flaw = completion_flaw(State(queue=queue), batch.session, (done,), now, policies)
    if count == 0:
        allowed = empty
        if not busy(batch, now):
            assert isinstance(flaw, Silent)
            return
    else:
        allowed = (count == 3 or subset) and (expired or busy(batch, now))
    assert flaw == (None if allowed else Refused("COMMIT-7", ANY_ERROR))


@proved(
    "COMMIT-8",
    "LAW-5",
    "LAW-11",
    over="3 batches, a completion of 2 of them",
    twins=(
        Twin(
            "queue",
            "for batch in state.queue if batch.batch in completion.batches)\n        state",
            "for batch in state.queue if under_claim(batch, completion.claim, completion.token))\n        state",
        ),
        Twin("queue", "size=batch.hold.size - len(done)", "size=batch.hold.size"),
        Twin("queue", "state = without(state, done, policies)", "state = without(state, done[:1], policies)"),
        Twin(
            "state",
            "queue = tuple(batch if other.batch == batch.batch else other for other in queue)",
            "queue = tuple(other for other in queue)",
        ),
    ),
)
def exactly_the_named_batches_are_completed(
    a: Batch, b: Batch, c: Batch, one: BatchId, two: BatchId, claim: ClaimId, token: LeaseToken
) -> None:
    """
    pre: 1 <= one < two <= 3
    post: True
    """
    state = State(queue=numbered(a, b, c), last_seq=3)
    done = Completion(a.session, claim, token, (one, two))
    after = completed(state, (done,), LENIENT)
    assert len(after.queue) == 1 and after.remembered == ()
    left = after.queue[0]
    before = state.queue[int(6 - one - two) - 1]
    assert left.batch + one + two == 6
    if claim != 0 and (before.hold.claim, before.hold.token) == (claim, token):
        assert left == evolve(before, hold=evolve(before.hold, size=before.hold.size - 2))
    else:
        assert left == before
    assert after == State(queue=(left,), last_seq=3)

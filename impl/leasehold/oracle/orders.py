"""Orders of operations in which queues break and that random runs meet late: the part of the tour about claims."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from leasehold.oracle.probe import ANN, LOAD, LONG, claim, commit, enqueue, fence, lane
from leasehold.oracle.run import BOUND
from leasehold.oracle.vocabulary import EMPTY
from leasehold_model.claim import AbandonClaim, ClaimByIds, RenewClaim
from leasehold_model.commit import TurnStamp
from leasehold_model.ids import BatchId, Body, ClaimId, LeaseToken, MergeKey, Millis, Name, OwnerId, SourceKey, TurnHash, TurnId
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Command
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued
from leasehold_model.state import NO_FENCE, Part

ALL, PENDING = ListQueued(BOUND, False), ListQueued(BOUND, True)


def _of(name: int, *batches: int) -> tuple[ClaimId, LeaseToken, tuple[BatchId, ...]]:
    """What names a claim and its batches."""
    return ClaimId(name), LeaseToken(name), tuple(BatchId(batch) for batch in batches)


def _kind(name: int, *, after_commit: bool = False, exclusive: bool = False, merge: int = 0) -> Command:
    return Enqueue(BOUND, SourceKey(0), after_commit, exclusive, MergeKey(merge), Millis(0), Body(name), Name(name))


def orders() -> Iterator[list[Command]]:
    """Each a short run."""
    yield from _runs_and_gaps()
    yield from _lost_claims()
    yield from _completions()


def _runs_and_gaps() -> Iterator[list[Command]]:
    three = [lane(), enqueue(10), enqueue(11), enqueue(12)]
    yield [  # QUEUE-7: every reason to end a run
        lane(),
        _kind(20, exclusive=True),
        _kind(21),
        _kind(22),
        _kind(23, after_commit=True),
        _kind(24, after_commit=True, merge=2),
        _kind(25, after_commit=True, exclusive=True, merge=2),
        *(claim(61 + number) for number in range(5)),
    ]
    # QUEUE-7: a group is no other kind of key, whatever it is called
    yield [
        lane(),
        _kind(20),
        _kind(21, merge=4),
        claim(61),
        _kind(22, merge=1),
        _kind(23, merge=5),
        claim(62),
        claim(63),
        claim(64),
    ]
    # P-JOIN-GAP: the gap is live-claimed
    yield [*three, claim(61, 1), claim(62, 1), AbandonClaim(BOUND, *_of(61, 10)), claim(63)]
    # LAW-4: the first batch's counter is the highest
    yield [*three, claim(61, 1), AbandonClaim(BOUND, *_of(61, 10)), claim(62)]
    # QUEUE-10: the order counts
    yield [*three, ClaimByIds(BOUND, fence(), ANN, True, LONG, (BatchId(11), BatchId(10)), Name(61)), PENDING]


def _lost_claims() -> Iterator[list[Command]]:
    three = [lane(), enqueue(10), enqueue(11), enqueue(12)]
    both = _of(61, 10, 11)
    yield [*three, claim(61, ttl=0), RenewClaim(BOUND, *_of(61, 10, 11, 12), LONG), PENDING]  # P-RENEW-EXPIRED, several batches
    lost = [*three, claim(61, 2, 0), claim(62, 1)]  # an expired claim loses one of its two
    yield [*lost, RenewClaim(BOUND, *both, LONG), PENDING, claim(63)]
    yield [*lost, AbandonClaim(BOUND, *both), PENDING, CancelBatch(BOUND, BatchId(10))]
    yield [*lost, commit(30, completions=(Completion(BOUND, *both),)), ALL]


def _completions() -> Iterator[list[Command]]:
    three = [lane(), enqueue(10), enqueue(11), enqueue(12)]
    done = Completion(BOUND, *_of(61, 10))
    yield [*three, claim(61, 1), commit(30, completions=(evolve(done, batches=(BatchId(11),)),)), ALL]  # another batch is named
    yield [*three, claim(61, 1), claim(62, 1), commit(30, completions=(done,)), ALL, PENDING]  # the other claim's batch stays
    yield [lane(), enqueue(10, source=1), claim(61), commit(30, completions=(done,)), enqueue(11, source=1)]  # P-SOURCE-KEY-REUSE
    # P-COMPLETE-SUBSET: what is left of a claim can be given back
    yield [*three, claim(61, 2), commit(30, completions=(done,)), AbandonClaim(BOUND, *_of(61, 10, 11)), PENDING]
    # COMMIT-10: an empty body is a body
    yield [lane(), commit(30, tool_state=Part(Body(EMPTY), Body(0))), LOAD, commit(31, tool_state=Part(Body(0), Body(EMPTY))), LOAD]
    stamped = evolve(commit(30), stamp=TurnStamp(BOUND, TurnId(1), TurnHash(1)))
    again = evolve(stamped, release=fence(), fence=NO_FENCE, name=Name(32))
    yield [
        lane(),
        stamped,
        commit(31),
        again,
        TryClaimLease(BOUND, OwnerId(2), LONG, Name(2)),
    ]  # LAW-7: what a replay says and releases
    yield [lane(), commit(30, (1, 0), (1, 0), leaf=1), LOAD]  # P-NODE-DUPLICATE, within one append

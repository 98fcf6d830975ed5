"""Every command can be answered in each of these ways: a postcondition says 'never so', and CrossHair must refute it."""

from __future__ import annotations

from attrs import evolve

from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import TurnStamp
from leasehold_model.graph import APPEND, CollectGarbage, Delta, LoadNode, LoadSession, Tombstone, Vacuum
from leasehold_model.ids import BatchId, Body, ClaimId, LeaseToken, Millis, Name, NodeId, OwnerId, SessionId
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, step
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued
from leasehold_model.state import EMPTY_CHECKPOINT, NO_HEAD, NO_PART, Batch, Entry, Fence, Lane, Node, Part, Stamp, State
from tests.proofs.registry import witnessed
from tests.proofs.states import bare_commit, holder_of, numbered


def answered(state: State, command: Command, now: Millis) -> str:
    """The kind of the response, the rule that decided it, and whether anything changed."""
    after, response = step(state, command, now)
    kind = type(response).__name__
    rule = getattr(response, "rule", "")
    return f"{kind} {rule}" + ("" if after == state else ", changed")


@witnessed
def try_claim_lease(lane: Lane, command: TryClaimLease, now: Millis) -> str:
    """
    post: _ != "Leased LEASE-1, changed"
    post: _ != "Leased LEASE-2, changed"
    post: _ != "Leased LEASE-2"
    post: _ != "Absent LEASE-3"
    post: _ != "Refused LAW-15"
    """
    return answered(State(lanes=(lane,)), command, now)


@witnessed
def renew_lease(lane: Lane, command: RenewLease, now: Millis) -> str:
    """
    post: _ != "Leased LEASE-4, changed"
    post: _ != "Refused LEASE-5"
    post: _ != "Refused LAW-15"
    """
    return answered(State(lanes=(lane,)), command, now)


@witnessed
def release_lease(lane: Lane, command: ReleaseLease) -> str:
    """
    post: _ != "Done LEASE-6, changed"
    post: _ != "Done LEASE-7"
    """
    return answered(State(lanes=(lane,)), command, Millis(0))


@witnessed
def enqueue(batch: Batch, command: Enqueue, now: Millis) -> str:
    """
    post: _ != "Queued QUEUE-1, changed"
    post: _ != "Queued QUEUE-2"
    """
    return answered(State(queue=numbered(batch), last_seq=1), command, now)


@witnessed
def cancel(batch: Batch, command: CancelBatch, now: Millis) -> str:
    """
    post: _ != "Queued QUEUE-13, changed"
    post: _ != "Absent QUEUE-13"
    """
    return answered(State(queue=numbered(batch), last_seq=1), command, now)


@witnessed
def list_queued(batch: Batch, command: ListQueued, now: Millis) -> str:
    """
    post: _ != "Listed QUEUE-3"
    """
    return answered(State(queue=numbered(batch), last_seq=1), command, now)


@witnessed
def claim_ready(batch: Batch, lane: Lane, command: ClaimReady, now: Millis) -> str:
    """
    post: _ != "Claimed QUEUE-8, changed"
    post: _ != "Absent QUEUE-4"
    post: _ != "Absent QUEUE-5"
    post: _ != "Absent QUEUE-6"
    post: _ != "Refused QUEUE-4"
    post: _ != "Refused LAW-15"
    """
    return answered(State(lanes=(lane,), queue=numbered(batch), last_seq=1), command, now)


@witnessed
def claim_by_ids(batch: Batch, lane: Lane, fence: Fence, ttl: Millis, count: int, one: BatchId, now: Millis) -> str:
    """
    pre: 0 <= count <= 2
    post: _ != "Claimed QUEUE-10, changed"
    post: _ != "Absent QUEUE-10"
    post: _ != "Refused QUEUE-4"
    post: _ != "Refused LAW-15"
    post: _ != "Silent "
    """
    ids = (one, BatchId(1))[:1] if count == 1 else (one, BatchId(1)) if count == 2 else ()
    command = ClaimByIds(lane.session, fence, OwnerId(1), True, ttl, ids, Name(9))
    return answered(State(lanes=(lane,), queue=numbered(batch), last_seq=1), command, now)


@witnessed
def renew_claim(a: Batch, b: Batch, claim: ClaimId, token: LeaseToken, ttl: Millis, now: Millis) -> str:
    """
    post: _ != "Claimed QUEUE-11, changed"
    post: _ != "Refused QUEUE-11"
    post: _ != "Refused LAW-15"
    post: _ != "Silent "
    """
    command = RenewClaim(a.session, claim, token, (BatchId(1), BatchId(2)), ttl)
    return answered(State(queue=numbered(a, b), last_seq=2), command, now)


@witnessed
def abandon_claim(a: Batch, claim: ClaimId, token: LeaseToken) -> str:
    """
    post: _ != "Done QUEUE-12, changed"
    post: _ != "Done QUEUE-12"
    """
    return answered(State(queue=numbered(a), last_seq=1), AbandonClaim(a.session, claim, token, (BatchId(1),)), Millis(0))


@witnessed
def commit_identity(
    lane: Lane, known: Stamp, bound: SessionId, fence: Fence, session: SessionId, stamp: TurnStamp, now: Millis
) -> str:
    """
    pre: known.turn != 0
    post: _ != "Refused COMMIT-1"
    post: _ != "Refused COMMIT-2"
    post: _ != "Refused COMMIT-3"
    post: _ != "Committed COMMIT-4"
    post: _ != "Committed COMMIT-4, changed"
    post: _ != "Refused COMMIT-5"
    """
    state = State(lanes=(lane,), stamps=(known,), bound=bound)
    return answered(state, evolve(bare_commit(session, fence, holder_of(lane)), stamp=stamp), now)


@witnessed
def commit_order(lane: Lane, batch: Batch, expected: int, now: Millis) -> str:
    """
    post: _ != "Refused COMMIT-5"
    post: _ != "Refused COMMIT-6"
    post: _ != "Refused COMMIT-7"
    post: _ != "Committed COMMIT-8, changed"
    """
    done = Completion(lane.session, batch.hold.claim, batch.hold.token, (BatchId(1),))
    command = evolve(bare_commit(lane.session, holder_of(lane)), expected_revision=expected, completions=(done,))
    return answered(State(lanes=(lane,), queue=numbered(batch), last_seq=1), command, now)


@witnessed
def commit_content(lane: Lane, stored: Node, new: Node, leaf: NodeId, ref: Body, known: Body, before: Body) -> str:
    """
    pre: lane.token != 0 and lane.expires_at > 0
    post: _ != "Refused GRAPH-8"
    post: _ != "Refused COMMIT-10"
    post: _ != "Silent "
    post: _ != "Committed COMMIT-8, changed"
    """
    kept = evolve(EMPTY_CHECKPOINT, tool_state=Part(before, before))
    state = State(lanes=(lane,), nodes=(stored,), bodies=(known,), head=evolve(NO_HEAD, revision=1, checkpoint=kept))
    checkpoint = evolve(EMPTY_CHECKPOINT, tool_state=evolve(NO_PART, ref=ref))
    command = evolve(bare_commit(lane.session, holder_of(lane)), delta=Delta(APPEND, (new,), leaf), checkpoint=checkpoint)
    return answered(state, command, Millis(0))


@witnessed
def load_session(a: Node, revision: int, command: LoadSession) -> str:
    """
    post: _ != "Absent GRAPH-2"
    post: _ != "Loaded GRAPH-3"
    post: _ != "Loaded GRAPH-4"
    """
    return answered(State(nodes=(a,), head=evolve(NO_HEAD, revision=revision)), command, Millis(0))


@witnessed
def load_node(a: Node, command: LoadNode) -> str:
    """
    post: _ != "FoundNode GRAPH-5"
    post: _ != "Absent GRAPH-5"
    """
    return answered(State(nodes=(a,)), command, Millis(0))


@witnessed
def tombstone(a: Node, name: NodeId) -> str:
    """
    post: _ != "Done GRAPH-6"
    post: _ != "Done GRAPH-6, changed"
    """
    return answered(State(nodes=(a,)), Tombstone((name,)), Millis(0))


@witnessed
def vacuum(a: Node) -> str:
    """
    post: _ != "Vacuumed GRAPH-7"
    post: _ != "Vacuumed GRAPH-7, changed"
    """
    return answered(State(nodes=(a,)), Vacuum(), Millis(0))


@witnessed
def collect_garbage(known: Body, before: Body) -> str:
    """
    post: _ != "Done GRAPH-9"
    post: _ != "Done GRAPH-9, changed"
    """
    kept = evolve(EMPTY_CHECKPOINT, tool_state=Part(before, before))
    return answered(State(bodies=(known,), head=evolve(NO_HEAD, checkpoint=kept)), CollectGarbage(), Millis(0))


@witnessed
def record_intent(row: Entry, command: RecordIntent) -> str:
    """
    post: _ != "Done ATTACH-1"
    post: _ != "Done ATTACH-1, changed"
    """
    return answered(State(manifest=(row,)), command, Millis(0))


@witnessed
def commit_refs(row: Entry, session: SessionId) -> str:
    """
    post: _ != "Done ATTACH-2"
    post: _ != "Done ATTACH-2, changed"
    """
    return answered(State(manifest=(row,)), CommitRefs(session, (row.attachment,)), Millis(0))


@witnessed
def list_uncommitted(row: Entry, command: ListUncommitted) -> str:
    """
    post: _ != "Uncommitted ATTACH-3"
    """
    return answered(State(manifest=(row,)), command, Millis(0))


@witnessed
def forget(row: Entry, other: Entry, command: Forget) -> str:
    """
    post: _ != "Done ATTACH-4"
    post: _ != "Done ATTACH-4, changed"
    post: _ != "Silent "
    """
    return answered(State(manifest=(row, other)), command, Millis(0))


@witnessed
def session_meta(meta: Body, saves: bool) -> str:
    """
    post: _ != "Done META-1, changed"
    post: _ != "FoundMeta META-1"
    post: _ != "Absent META-1"
    """
    return answered(State(meta=meta), SaveMeta(Body(meta + 1)) if saves else LoadMeta(), Millis(0))

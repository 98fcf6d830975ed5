"""Commands and batches that proofs and examples begin from."""

from __future__ import annotations

from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.graph import UNCHANGED, Delta
from leasehold_model.ids import BatchId, Body, FencingToken, LeaseToken, Name, NodeId, OwnerId, SessionId, TurnHash, TurnId
from leasehold_model.state import EMPTY_CHECKPOINT, Batch, Fence, Lane

NOT_GIVEN = Fence(SessionId(0), OwnerId(0), LeaseToken(0), FencingToken(0))
NO_STAMP = TurnStamp(SessionId(0), TurnId(0), TurnHash(0))


def bare_commit(session: SessionId, fence: Fence, release: Fence = NOT_GIVEN) -> CommitState:
    """A commit that brings nothing."""
    return CommitState(
        session=session,
        fence=fence,
        release=release,
        expected_revision=EXPECT_NOTHING,
        stamp=NO_STAMP,
        config=Body(0),
        agent_frames=Body(0),
        current_frame=Body(0),
        delta=Delta(UNCHANGED, (), NodeId(0)),
        checkpoint=EMPTY_CHECKPOINT,
        usage=(),
        completions=(),
        attachments=(),
        name=Name(7),
    )


def numbered(*batches: Batch) -> tuple[Batch, ...]:
    """The batches as a queue: ids and sequence numbers 1, 2, ... Ids are only compared with ``==``, which they are is all one."""
    return tuple(
        Batch(
            BatchId(number),
            batch.session,
            number,
            batch.source,
            batch.after_commit,
            batch.exclusive,
            batch.merge,
            batch.available_at,
            batch.enqueued_at,
            batch.payload,
            batch.hold,
            batch.fencing,
        )
        for number, batch in enumerate(batches, start=1)
    )


def holder_of(lane: Lane) -> Fence:
    """The fence of the lane's holder."""
    return Fence(lane.session, lane.owner, lane.token, lane.fencing)

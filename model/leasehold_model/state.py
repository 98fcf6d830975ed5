"""The state of one store, on one page (contract section 1), and the look-ups that several concepts share."""

from __future__ import annotations

from attrs import frozen

from leasehold_model.decisions import held_under, live, same_holder
from leasehold_model.ids import (
    AttachmentId,
    BatchId,
    Body,
    CheckpointRef,
    ClaimId,
    FencingToken,
    LeaseToken,
    MergeKey,
    Millis,
    NodeId,
    OwnerId,
    SessionId,
    SourceKey,
    TurnHash,
    TurnId,
)


@frozen
class Fence:
    """What shows that a lane is held; a completion has the same parts."""

    session: SessionId
    owner: OwnerId
    token: LeaseToken
    fencing: FencingToken


NO_FENCE = Fence(SessionId(0), OwnerId(0), LeaseToken(0), FencingToken(0))


@frozen
class Lane:
    """A session's execution lane. Token 0: released or never granted; the fencing counter stays."""

    session: SessionId
    owner: OwnerId
    token: LeaseToken
    fencing: FencingToken
    claimed_at: Millis
    expires_at: Millis


@frozen
class Hold:
    """The claim on a batch; claim 0: none. ``size`` is how many batches the claim was granted and has not completed."""

    claim: ClaimId
    owner: OwnerId
    token: LeaseToken
    claimed_at: Millis
    expires_at: Millis
    size: int


NO_HOLD = Hold(ClaimId(0), OwnerId(0), LeaseToken(0), Millis(0), Millis(0), 0)


@frozen
class Batch:
    """A queued batch. ``fencing`` is the counter that survives the claim: the token of the last claim that included it."""

    batch: BatchId
    session: SessionId
    seq: int
    source: SourceKey
    after_commit: bool
    exclusive: bool
    merge: MergeKey
    available_at: Millis
    enqueued_at: Millis
    payload: Body
    hold: Hold
    fencing: FencingToken


@frozen
class Node:
    """A graph node; parent 0: a root."""

    node: NodeId
    parent: NodeId
    record: Body
    tombstoned: bool


@frozen
class Part:
    """A part of a checkpoint, as body and as content reference; 0: absent. A reference is called by the body it names."""

    body: Body
    ref: Body


NO_PART = Part(Body(0), Body(0))


@frozen
class Checkpoint:
    """The state a turn left: the turn state is always there, the three parts may be absent."""

    turn_state: Body
    tool_state: Part
    plugin_snapshot: Part
    execution_state: Part
    plugin_snapshot_revision: int


EMPTY_CHECKPOINT = Checkpoint(Body(0), NO_PART, NO_PART, NO_PART, -1)


@frozen
class Head:
    """The head of the session; revision 0: nothing committed yet."""

    revision: int
    config: Body
    agent_frames: Body
    current_frame: Body
    leaf: NodeId
    checkpoint: Checkpoint
    checkpoint_ref: CheckpointRef


NO_HEAD = Head(0, Body(0), Body(0), Body(0), NodeId(0), EMPTY_CHECKPOINT, CheckpointRef(0))


@frozen
class Usage:
    """Token usage of one (source, model): a row of a commit, or a sum of the ledger (LAW-8)."""

    source: Body
    model: Body
    input: int
    output: int
    cached_input: int
    reasoning: int


@frozen
class Stamp:
    """A turn's commit: its hash, and the result then returned."""

    session: SessionId
    turn: TurnId
    turn_hash: TurnHash
    revision: int
    checkpoint_ref: CheckpointRef
    checkpoint: Checkpoint


@frozen
class Entry:
    """A row of the attachment manifest."""

    attachment: AttachmentId
    session: SessionId
    uri: Body
    intent_at: Millis
    stamped: bool


@frozen(kw_only=True)
class State:
    """Everything a store holds. ``replaced``: which nodes went by replacement since the last vacuum (GRAPH-7)."""

    bound: SessionId = SessionId(0)
    head: Head = NO_HEAD
    nodes: tuple[Node, ...] = ()
    replaced: tuple[NodeId, ...] = ()
    bodies: tuple[Body, ...] = ()
    ledger: tuple[Usage, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    lanes: tuple[Lane, ...] = ()
    queue: tuple[Batch, ...] = ()
    last_seq: int = 0
    remembered: tuple[Batch, ...] = ()
    manifest: tuple[Entry, ...] = ()
    meta: Body = Body(0)


EMPTY = State()


def lane_of(state: State, session: SessionId) -> Lane:
    """The lane of a session; one that was never granted has counter 0."""
    for lane in state.lanes:
        if lane.session == session:
            return lane
    return Lane(session, OwnerId(0), LeaseToken(0), FencingToken(0), Millis(0), Millis(0))


def with_lane(lanes: tuple[Lane, ...], lane: Lane) -> tuple[Lane, ...]:
    """The lanes, with this one in its place."""
    for index, other in enumerate(lanes):
        if other.session == lane.session:
            return (*lanes[:index], lane, *lanes[index + 1 :])
    return (*lanes, lane)


def is_holder(lane: Lane, fence: Fence) -> bool:
    """The fence is that of the lane's holder, live or not (LEASE-6)."""
    return lane.session == fence.session and same_holder(
        lane.owner, fence.owner, lane.token, fence.token, lane.fencing, fence.fencing
    )


def is_live_holder(state: State, session: SessionId, fence: Fence, now: Millis) -> bool:
    """The fence is for this session and shows its live lease (COMMIT-5, QUEUE-4)."""
    lane = lane_of(state, session)
    return fence.session == session and is_holder(lane, fence) and live(lane.token, lane.expires_at, now)


def released(lanes: tuple[Lane, ...], completion: Fence) -> tuple[Lane, ...]:
    """The lanes after a release: cleared iff the completion matches, counter kept (LEASE-6, LEASE-7)."""
    for lane in lanes:
        if is_holder(lane, completion):
            return with_lane(lanes, Lane(lane.session, OwnerId(0), LeaseToken(0), lane.fencing, Millis(0), Millis(0)))
    return lanes


def is_held(batch: Batch, now: Millis) -> bool:
    """The batch is live-claimed."""
    return live(batch.hold.claim, batch.hold.expires_at, now)


def under_claim(batch: Batch, claim: ClaimId, token: LeaseToken) -> bool:
    """The batch is held under this claim, live or not."""
    return held_under(batch.hold.claim, claim, batch.hold.token, token)


def with_batches(queue: tuple[Batch, ...], changed: tuple[Batch, ...]) -> tuple[Batch, ...]:
    """The queue, with these batches in their places."""
    for batch in changed:
        queue = tuple(batch if other.batch == batch.batch else other for other in queue)
    return queue


def repeats(ids: tuple[int, ...]) -> bool:
    """Some id stands twice."""
    return any(ids[index] in ids[:index] for index in range(1, len(ids)))

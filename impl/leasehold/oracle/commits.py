"""How commits are drawn: by default valid in every part, sometimes wrong in one (see `walker`)."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from attrs import evolve

from leasehold.oracle.run import BOUND, OTHER
from leasehold.oracle.vocabulary import EMPTY
from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.decisions import live
from leasehold_model.graph import APPEND, REPLACE_FULL, UNCHANGED, Delta, visible
from leasehold_model.ids import (
    AttachmentId,
    BatchId,
    Body,
    LeaseToken,
    Millis,
    NodeId,
    OwnerId,
    SessionId,
    TurnHash,
    TurnId,
)
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Command
from leasehold_model.queue import Completion
from leasehold_model.state import NO_FENCE, NO_PART, Checkpoint, Fence, Node, Part, State, Usage, is_held, lane_of, under_claim

if TYPE_CHECKING:
    from leasehold.oracle.walker import Walker

NOWHERE = range(80, 100)
"""Nodes that are never there: what hangs on them is dangling."""

NO_STAMP = TurnStamp(SessionId(0), TurnId(0), TurnHash(0))


def draw(walker: Walker, state: State) -> Command:
    """A commit of the bound session; when its lane is free, mostly a claim of the lane first."""
    take = walker.take
    session = state.bound or BOUND
    if take(16) == 15:
        session = OTHER if session == BOUND else BOUND
    lane = lane_of(state, session)
    if not live(lane.token, lane.expires_at, walker.now) and take(4):
        return TryClaimLease(session, OwnerId(1 + take(3)), Millis(60_000 if not walker.real else 7_200_000), walker.name())
    flaw = take(12)
    fence = walker.fence(state, session, 3 if flaw == 1 else 1_000) or NO_FENCE
    if flaw == 2:
        fence = NO_FENCE
    frames = Body(EMPTY) if take(10) == 9 else walker.body()
    return CommitState(
        session=session,
        fence=fence,
        release=_release(walker, session, fence),
        expected_revision=_expected(walker, state, flaw == 3),
        stamp=_stamp(walker, state, session),
        config=walker.body(),
        agent_frames=frames,
        current_frame=frames if frames == EMPTY else Body(1 + take(2)),
        delta=drawn_delta(walker, state, flawed=flaw == 4),
        checkpoint=_checkpoint(walker, state, flaw == 5),
        usage=_usage(walker),
        completions=_completions(walker, state, session, flaw in (6, 7, 8)),
        attachments=tuple(AttachmentId(1 + take(3)) for _ in range(take(3))),
        name=walker.name(),
    )


def draw_replay(walker: Walker, state: State) -> Command | None:
    """A stamped commit again: as it was, without its fence, with other contents, with another hash."""
    if not walker.replays:
        return None
    take = walker.take
    old = walker.replays[take(len(walker.replays))]
    again = evolve(old, name=walker.name(), fence=NO_FENCE if take(2) else old.fence)
    lane = lane_of(state, again.session)
    if take(2):
        again = evolve(again, release=Fence(lane.session, lane.owner, lane.token, lane.fencing) if take(2) else NO_FENCE)
    if take(4) == 3:
        again = evolve(again, stamp=evolve(again.stamp, turn_hash=TurnHash(again.stamp.turn_hash % 3 + 1)))
    if take(4) == 3:
        again = evolve(again, config=walker.body(), usage=_usage(walker))
    return again


def _release(walker: Walker, session: SessionId, fence: Fence) -> Fence:
    take = walker.take
    kind = take(8)
    if kind < 4 or fence.session != session:
        return NO_FENCE
    if kind < 7:
        return fence
    known = walker.leases.get(session, [])
    return known[take(len(known))] if known and take(2) else evolve(fence, token=LeaseToken(-1))


def _expected(walker: Walker, state: State, flawed: bool) -> int:
    actual = state.head.revision
    if flawed:
        return max(0, actual + (1 if walker.take(2) or actual == 0 else -1))
    return actual if walker.take(2) else EXPECT_NOTHING


def _stamp(walker: Walker, state: State, session: SessionId) -> TurnStamp:
    take = walker.take
    if take(2):
        return NO_STAMP
    if take(12) == 11:
        session = OTHER if session == BOUND else BOUND
    used = [stamp.turn for stamp in state.stamps]
    fresh = next(turn for turn in count(1) if turn not in used)
    return TurnStamp(session, TurnId(1 + take(3)) if take(6) == 5 else TurnId(fresh), TurnHash(1 + take(3)))


def drawn_delta(walker: Walker, state: State, *, flawed: bool) -> Delta:
    """What happens to the graph."""
    take = walker.take
    shown = [node.node for node in state.nodes if not node.tombstoned]
    kind = (APPEND, APPEND, UNCHANGED, REPLACE_FULL)[take(4)]
    if kind == UNCHANGED:
        leaf = state.head.leaf if take(2) and visible(state.nodes, state.head.leaf) else NodeId(0)
        if shown and take(3) == 2:
            leaf = shown[take(len(shown))]
        return Delta(UNCHANGED, (), NodeId(90 + take(3)) if flawed else leaf)
    known = {node.node for node in state.nodes} if kind == APPEND else {node.node for node in state.nodes if node.tombstoned}
    free = (NodeId(number) for number in count(1) if number not in known and number not in NOWHERE)
    parents = list(shown) if kind == APPEND else []
    nodes: list[Node] = []
    for _ in range(1 + take(3)):
        name = next(free)
        parent = parents[-1] if parents and take(3) else (parents[take(len(parents))] if parents and take(3) else NodeId(0))
        nodes.append(Node(name, parent, walker.body(), False))
        parents.append(name)
    if flawed:
        nodes = _flawed(walker, state, nodes)
    leaf = nodes[-1].node
    if take(4) == 3:
        leaf = parents[take(len(parents))]
    if take(12) == 11:
        leaf = NodeId(0)
    if flawed and take(4) == 3:
        leaf = NodeId(90)
    return Delta(kind, tuple(nodes), leaf)


def _flawed(walker: Walker, state: State, nodes: list[Node]) -> list[Node]:
    """A duplicate, a revived node, a dangling parent or a cycle."""
    take = walker.take
    kind = take(5)
    last = nodes[-1]
    if kind == 0 and state.nodes:
        return [*nodes, Node(state.nodes[take(len(state.nodes))].node, NodeId(0), walker.body(), False)]
    if kind == 1:
        return [*nodes, Node(last.node, NodeId(0), walker.body(), False)]
    if kind == 2:
        return [*nodes[:-1], evolve(last, parent=NodeId(80))]
    if kind == 3 and len(nodes) > 1:
        return [evolve(nodes[0], parent=last.node), *nodes[1:-1], evolve(last, parent=nodes[-2].node)]
    return [*nodes[:-1], evolve(last, parent=last.node)]


def _checkpoint(walker: Walker, state: State, flawed: bool) -> Checkpoint:
    take = walker.take
    before = state.head.checkpoint
    parts = [_part(walker, part) for part in (before.tool_state, before.plugin_snapshot, before.execution_state)]
    if flawed:
        parts[take(3)] = Part(Body(0), Body(-1 - take(3)))
    return Checkpoint(walker.body(), parts[0], parts[1], parts[2], take(20) if take(2) else -1)


def _part(walker: Walker, before: Part) -> Part:
    kind = walker.take(4)
    if kind < 2 and before.body != 0 and walker.contract.policies.checkpoint_ref == "content":
        return Part(Body(0), before.body) if kind else Part(before.body, before.body)
    if kind == 3:
        return NO_PART
    return Part(Body(EMPTY) if walker.take(8) == 7 else walker.body(), Body(0))


def _usage(walker: Walker) -> tuple[Usage, ...]:
    """Up to two rows; sometimes a count that a float does not carry exactly."""
    take = walker.take
    exact = 2**53 + 1 if walker.capabilities.max_integer > 2**60 else 50
    return tuple(
        Usage(Body(1 + take(2)), Body(1 + take(2)), exact if take(16) == 15 else 1 + take(50), take(50), take(9), take(9))
        for _ in range(take(3))
    )


def _completions(walker: Walker, state: State, session: SessionId, flawed: bool) -> tuple[Completion, ...]:
    take = walker.take
    intact = [
        held
        for held in walker.claims
        if held.session == session
        and all(any(b.batch == name and under_claim(b, held.claim, held.token) for b in state.queue) for name in held.batches)
    ]
    good = [walker.completion(held) for held in intact if take(3)]
    if not flawed:
        return tuple(good)
    known = walker.claims
    if not known:
        return tuple(good)
    held = intact[-1] if intact and take(3) else known[take(len(known))]
    bad = _bad_completion(walker, state, walker.completion(held))
    rest = tuple(done for done in good if done.claim != held.claim)
    if take(6) == 5 and good:
        return (*good, good[0])
    return (*rest, bad) if take(2) else (bad, *rest)


def _bad_completion(walker: Walker, state: State, done: Completion) -> Completion:
    take = walker.take
    kind = take(8)
    if kind == 0:
        return evolve(done, token=LeaseToken(-1))
    if kind == 1:
        return evolve(done, batches=done.batches[: len(done.batches) - 1] if len(done.batches) > 1 else done.batches)
    if kind == 2:
        return evolve(done, batches=(*done.batches, done.batches[0]))
    if kind == 3 and state.queue:
        foreign = state.queue[take(len(state.queue))].batch
        return evolve(done, batches=(*done.batches, foreign) if take(2) else (*done.batches[:-1], foreign))
    if kind == 4:
        return evolve(done, batches=(*done.batches, BatchId(-1)))
    if kind == 5:
        return evolve(done, session=OTHER if done.session == BOUND else BOUND)
    if kind == 6 and any(under_claim(b, done.claim, done.token) and is_held(b, Millis(walker.now)) for b in state.queue):
        return evolve(done, batches=())
    other = walker.claims[take(len(walker.claims))]
    return evolve(done, token=other.token) if other.claim != done.claim else done

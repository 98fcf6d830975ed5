"""The scripted part of the tour, the same on every check: every rule once, then sizes that random runs do not reach.

Real stores broke where a scan was limited, a path was walked by recursion, or a list was sorted as text.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from leasehold.oracle.binding import operation
from leasehold.oracle.orders import orders
from leasehold.oracle.probe import ANN, LOAD, LONG, PATH, claim, commit, enqueue, fence, lane
from leasehold.oracle.run import BOUND, OTHER, START, Reopen, Run, Step
from leasehold.oracle.vocabulary import RICH, RICHER
from leasehold.store import Capabilities
from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import REPLACE_FULL, CollectGarbage, LoadNode, LoadSession, Tombstone, Vacuum
from leasehold_model.ids import (
    AttachmentId,
    BatchId,
    Body,
    ClaimId,
    FencingToken,
    LeaseToken,
    MergeKey,
    Millis,
    Name,
    NodeId,
    OwnerId,
    SessionId,
    SourceKey,
    TurnHash,
    TurnId,
)
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued
from leasehold_model.state import NO_FENCE, NO_PART, Checkpoint, Fence, Node, Part, Usage

DEEP = 120
"""Batches that stand before the one that is due."""

MANY = 300
"""Grants, commits, claims and batches in one run: more than a byte counts."""

LONG_PATH = 1_200
"""Nodes on one path: more than Python's or a database's usual recursion limit."""


def _run(*commands: Command) -> Run:
    return tuple(Step(START, 0, command) for command in commands)


def _one_by_one(first: int, count: int) -> Iterator[Command]:
    for number in range(count):
        yield ClaimReady(BOUND, fence(), ANN, True, LONG, 1, Name(first + number))


def _as_it_was(capabilities: Capabilities) -> Iterator[Run]:
    """Values into which no store looks come back as they were given."""
    rich = RICHER if capabilities.max_integer >= MAX_MS else RICH
    nodes = tuple(Node(NodeId(node), NodeId(node - 1), Body(rich + node), False) for node in (1, 2))
    part = Part(Body(rich + 9), Body(0))
    plain = commit(20, (1, 0), (2, 1), leaf=2)
    checkpoint = Checkpoint(Body(rich + 3), part, part, part, 1)
    frames, delta = Body(rich + 4), evolve(plain.delta, nodes=nodes)
    full = evolve(plain, config=Body(rich + 5), agent_frames=frames, current_frame=frames, delta=delta, checkpoint=checkpoint)
    wake = Enqueue(BOUND, SourceKey(100), False, True, MergeKey(0), Millis(0), Body(rich + 6), Name(31))
    turn = Enqueue(BOUND, SourceKey(0), False, False, MergeKey(2), Millis(0), Body(rich + 7), Name(10))
    commands: list[Command] = [lane(), full, LOAD, LoadNode(NodeId(2)), turn, wake]
    commands += [ListQueued(BOUND, False), SaveMeta(Body(rich + 8)), LoadMeta()]
    yield tuple(Step(START, 0, one) for one in commands if operation(one) in capabilities.ops)


def _again_and_again() -> Iterator[Command]:
    """One batch is claimed and given back, many times: its fencing counter grows."""
    for name in range(600, 600 + MANY):
        yield ClaimReady(BOUND, fence(), ANN, True, LONG, 1, Name(name))
        yield AbandonClaim(BOUND, ClaimId(name), LeaseToken(name), (BatchId(10),))


def _turn_by_turn() -> Iterator[Command]:
    """A lease for each of many turns, released by the turn's commit: fencing tokens and revisions grow."""
    for number in range(1, MANY + 1):
        held = Fence(BOUND, ANN, LeaseToken(number), FencingToken(number))
        yield TryClaimLease(BOUND, ANN, LONG, Name(number))
        yield evolve(commit(2_000 + number), fence=held, release=held, expected_revision=number - 1)


def _turns() -> Iterator[Command]:
    """Many turns, and then the first ones once more: however many there are, none is forgotten."""
    turns = [
        evolve(commit(2_000 + number), stamp=TurnStamp(BOUND, TurnId(number), TurnHash(number))) for number in range(1, MANY + 1)
    ]
    yield from (*turns, *turns[:2], turns[MANY // 2], turns[-1])


def tour(capabilities: Capabilities) -> Iterator[Run]:
    """Every rule once, then long runs, through the operations that the store offers."""
    yield from every_rule(capabilities)
    yield from _as_it_was(capabilities)
    queue = {"try_claim_session_execution_lease", "enqueue_queued_work", "claim_ready_queued_work"} <= capabilities.ops
    far = min(MAX_MS, capabilities.max_integer)
    if queue:
        waiting = [enqueue(10 + number, available=far) for number in range(DEEP)]
        yield _run(lane(), *waiting, enqueue(500), claim(600), ListQueued(BOUND, False))
        joined = [enqueue(10 + number) for number in range(DEEP)]
        yield _run(lane(), *joined, claim(600, DEEP - 1), enqueue(500), claim(601), ListQueued(BOUND, True))
        yield _run(lane(), *joined[:40], *_one_by_one(600, 39), claim(700), ListQueued(BOUND, True))
    if queue and "abandon_queued_work_claim" in capabilities.ops:
        yield _run(lane(), enqueue(10), *_again_and_again())
        yield _run(*(enqueue(10 + number) for number in range(MANY)), ListQueued(BOUND, True))
    if {"try_claim_session_execution_lease", "commit_runtime_state"} <= capabilities.ops:
        yield _run(*_turn_by_turn())
        yield _run(lane(), *_turns())
    if {"try_claim_session_execution_lease", "commit_runtime_state", "load_session"} <= capabilities.ops:
        chain = [(number, number - 1) for number in range(1, LONG_PATH + 1)]
        yield _run(lane(), commit(2_000, *chain, leaf=LONG_PATH), PATH)
        yield _run(lane(), *(commit(2_000 + number, (number, number - 1), leaf=number) for number in range(1, 15)), LOAD)


BOB = OwnerId(2)
FORGED = LeaseToken(-1)


def _leases() -> list[Command]:
    """LEASE-1 to LEASE-7: a lane is granted, entered again, refused, renewed, released, lost to expiry."""
    stale = evolve(fence(), token=FORGED)
    second = Fence(BOUND, BOB, LeaseToken(4), FencingToken(2))
    return [
        TryClaimLease(BOUND, ANN, LONG, Name(1)),
        TryClaimLease(BOUND, BOB, LONG, Name(2)),
        TryClaimLease(BOUND, ANN, Millis(2 * LONG), Name(3)),
        RenewLease(fence(), Millis(2 * LONG)),
        RenewLease(stale, LONG),
        ReleaseLease(stale),
        TryClaimLease(BOUND, BOB, LONG, Name(9)),
        ReleaseLease(fence()),
        TryClaimLease(BOUND, BOB, Millis(MAX_MS), Name(4)),
        ReleaseLease(fence()),
        RenewLease(fence(), LONG),
        TryClaimLease(BOUND, ANN, LONG, Name(5)),
        RenewLease(second, Millis(0)),
        RenewLease(second, LONG),
        TryClaimLease(BOUND, ANN, LONG, Name(6)),
    ]


def _queue() -> list[Command]:
    """QUEUE-1 to QUEUE-14."""
    wake = Enqueue(BOUND, SourceKey(100), False, True, MergeKey(0), Millis(0), Body(31), Name(31))
    late = Enqueue(BOUND, SourceKey(0), True, False, MergeKey(3), Millis(0), Body(32), Name(32))
    other = Enqueue(OTHER, SourceKey(1), False, False, MergeKey(2), Millis(0), Body(33), Name(33))
    checkpoint = ClaimReady(BOUND, fence(), ANN, False, LONG, 10, Name(60))
    held = (ClaimId(61), LeaseToken(61), (BatchId(10), BatchId(12)))
    return [
        enqueue(10, source=1),
        enqueue(11, source=1),
        other,
        enqueue(12),
        wake,
        late,
        lane(),
        ClaimReady(BOUND, evolve(fence(), token=FORGED), ANN, True, LONG, 10, Name(51)),
        ClaimReady(BOUND, fence(), ANN, True, LONG, 0, Name(52)),
        ClaimByIds(BOUND, fence(), ANN, True, LONG, (BatchId(12),), Name(53)),
        ClaimByIds(BOUND, fence(), ANN, True, LONG, (BatchId(10), BatchId(12)), Name(61)),
        ListQueued(BOUND, True),
        CancelBatch(BOUND, BatchId(10)),
        RenewClaim(BOUND, *held, Millis(2 * LONG)),
        RenewClaim(BOUND, held[0], FORGED, held[2], LONG),
        checkpoint,
        evolve(checkpoint, name=Name(62)),
        ClaimReady(BOUND, fence(), ANN, True, Millis(0), 10, Name(63)),
        ClaimReady(BOUND, fence(), ANN, True, LONG, 10, Name(64)),
        ClaimReady(BOUND, fence(), ANN, True, LONG, 10, Name(65)),
        AbandonClaim(BOUND, *held),
        AbandonClaim(BOUND, *held),
        ListQueued(BOUND, True),
        ClaimReady(BOUND, fence(), ANN, True, Millis(MAX_MS), 10, Name(66)),
        RenewClaim(BOUND, *held, LONG),
        CancelBatch(OTHER, BatchId(33)),
        CancelBatch(OTHER, BatchId(33)),
        ListQueued(BOUND, False),
        ListQueued(OTHER, False),
    ]


def _commits() -> list[Command]:
    """COMMIT-1 to COMMIT-10: what is refused first, then two commits, a replay, two claims completed at once."""
    first = evolve(_commit(20, (1, 0), leaf=1), fence=NO_FENCE)
    stamped = evolve(
        _commit(21, (2, 1), leaf=2, tool_state=Part(Body(5), Body(0))),
        stamp=TurnStamp(BOUND, TurnId(1), TurnHash(1)),
        usage=(Usage(Body(1), Body(1), 3, 2, 1, 0), Usage(Body(2), Body(1), 1, 0, 0, 0), Usage(Body(1), Body(1), 1, 1, 1, 1)),
        attachments=(AttachmentId(1),),
    )
    one, two = (
        Completion(BOUND, ClaimId(50), LeaseToken(50), (BatchId(10),)),
        Completion(BOUND, ClaimId(51), LeaseToken(51), (BatchId(11),)),
    )
    replay = evolve(stamped, fence=NO_FENCE, name=Name(23))
    return [
        RecordIntent(AttachmentId(1), BOUND, Body(1), Millis(START)),
        RecordIntent(AttachmentId(2), BOUND, Body(2), Millis(START)),
        first,
        LOAD,
        lane(),
        evolve(stamped, expected_revision=7, name=Name(22)),
        LOAD,
        stamped,
        ListUncommitted(Millis(START)),
        LOAD,
        replay,
        evolve(replay, stamp=evolve(stamped.stamp, turn_hash=TurnHash(2)), name=Name(24)),
        evolve(replay, stamp=evolve(stamped.stamp, session=OTHER), name=Name(25)),
        lane(OTHER, 2),
        _commit(26, session=OTHER, lane=2),
        LOAD,
        _commit(27, tool_state=Part(Body(0), Body(5)), expected=1),
        CollectGarbage(),
        LOAD,
        enqueue(10),
        enqueue(11),
        *_one_by_one(50, 2),
        _commit(28, completions=(one, evolve(two, token=FORGED))),
        ListQueued(BOUND, False),
        LOAD,
        evolve(_commit(29, completions=(one, two)), release=fence(), usage=(Usage(Body(1), Body(1), 1, 1, 1, 1),)),
        ListQueued(BOUND, False),
        LOAD,
        _commit(30),
        lane(name=3),
    ]


def _graph() -> list[Command]:
    """GRAPH-1 to GRAPH-9: branches, hidden nodes, a cycle, a duplicate, a full replacement."""
    replaced = _commit(23, (8, 0), (9, 8), leaf=9)
    return [
        LOAD,
        PATH,
        lane(),
        _commit(20, (1, 0), (2, 1), (3, 2), (4, 1), leaf=3),
        LOAD,
        PATH,
        LoadSession(False, NodeId(4)),
        LoadSession(False, NodeId(7)),
        LoadNode(NodeId(2)),
        LoadNode(NodeId(7)),
        Tombstone((NodeId(2), NodeId(7))),
        LoadNode(NodeId(2)),
        LOAD,
        PATH,
        _commit(21, (5, 3), leaf=5),
        PATH,
        Vacuum(),
        Vacuum(),
        LOAD,
        _commit(22, (5, 0), leaf=5),
        LOAD,
        CollectGarbage(),
        evolve(replaced, delta=evolve(replaced.delta, kind=REPLACE_FULL)),
        LOAD,
        _commit(24, (10, 11), (11, 10), leaf=11),
        PATH,
    ]


def _manifest() -> list[Command]:
    """ATTACH-1 to ATTACH-5 and META-1."""
    at = Millis(START)
    return [
        LoadMeta(),
        RecordIntent(AttachmentId(1), BOUND, Body(1), at),
        RecordIntent(AttachmentId(2), BOUND, Body(2), Millis(START + 1)),
        RecordIntent(AttachmentId(3), OTHER, Body(3), at),
        RecordIntent(AttachmentId(2), BOUND, Body(4), at),
        ListUncommitted(Millis(START - 1)),
        ListUncommitted(at),
        CommitRefs(BOUND, (AttachmentId(1), AttachmentId(3), AttachmentId(9))),
        ListUncommitted(Millis(START + 1)),
        Forget(AttachmentId(3)),
        Forget(AttachmentId(9)),
        ListUncommitted(Millis(START + 1)),
        SaveMeta(Body(1)),
        LoadMeta(),
        SaveMeta(Body(2)),
        LoadMeta(),
    ]


def _commit(
    name: int,
    *nodes: tuple[int, int],
    leaf: int = 0,
    completions: tuple[Completion, ...] = (),
    tool_state: Part = NO_PART,
    session: SessionId = BOUND,
    lane: int = 1,
    expected: int = EXPECT_NOTHING,
) -> CommitState:
    made = commit(name, *nodes, leaf=leaf, completions=completions, tool_state=tool_state, session=session)
    return evolve(made, fence=fence(session, lane), expected_revision=expected)


def _within(command: Command, capabilities: Capabilities) -> Command:
    """The command with a ttl that the store's language can carry."""
    ttl = getattr(command, "ttl", 0)
    if ttl + START <= capabilities.max_integer or capabilities.max_integer >= MAX_MS:
        return command
    ttl = Millis(capabilities.max_integer - START - 1)
    return evolve(command, ttl=ttl)  # type: ignore[arg-type]  # those that have a ttl


def every_rule(capabilities: Capabilities) -> Iterator[Run]:
    """Short runs that meet every requirement; where the store can be reopened, once more with a reopen after every few steps."""
    for commands in (_leases(), _queue(), _commits(), _graph(), _manifest(), *orders()):
        offered = [Step(START, 0, _within(one, capabilities)) for one in commands if operation(one) in capabilities.ops]
        yield tuple(offered)
        if capabilities.reopen:
            yield tuple(
                one
                for number, step in enumerate(offered)
                for one in ((step, Step(START, 0, Reopen())) if number % 3 == 2 else (step,))
            )

"""Probing: which option does a store take at each policy point? One short scenario a point, judged under each of the options.

The first option whose model explains the store's answers is the store's. If none does, it breaks a rule: runs will show which.
"""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold.oracle.answers import Door, Hung, Skip, Unknown
from leasehold.oracle.binding import Unbound
from leasehold.oracle.run import BOUND, OTHER, START, Execution, Failure, Indefinite, Silence, Step, failure
from leasehold_model.attachment import ListUncommitted, RecordIntent
from leasehold_model.claim import AbandonClaim, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.graph import APPEND, UNCHANGED, Delta, LoadSession, Tombstone
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
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Command, Contract
from leasehold_model.policy import POINTS, Point, Policies, choose
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued
from leasehold_model.state import NO_FENCE, NO_PART, Checkpoint, Fence, Node, Part

ANN = OwnerId(1)
LONG = Millis(7_200_000)
FAR = Millis(4_102_444_800_000)
CLAIM = 50
"""The name of a scenario's claim."""


@frozen
class Probed:
    """What was found at one point. ``option`` None: none explains the answers (``failure``), or ``why`` it was not asked."""

    point: Point
    option: str | None
    why: str = ""
    failure: Failure | None = None


def lane(session: SessionId = BOUND, name: int = 1) -> Command:
    """Ann claims a lane for a long time."""
    return TryClaimLease(session, ANN, LONG, Name(name))


def fence(session: SessionId = BOUND, name: int = 1) -> Fence:
    """Her fence."""
    return Fence(session, ANN, LeaseToken(name), FencingToken(1))


def enqueue(name: int, available: int = 0, source: int = 0) -> Command:
    """A batch that joins others."""
    return Enqueue(BOUND, SourceKey(source), False, False, MergeKey(2), Millis(available), Body(name), Name(name))


def claim(name: int = CLAIM, limit: int = 10, ttl: int = LONG) -> Command:
    """Ann claims what is ready."""
    return ClaimReady(BOUND, fence(), ANN, True, Millis(ttl), limit, Name(name))


def done(*batches: int) -> Completion:
    """The scenario's claim is done with these batches."""
    return Completion(BOUND, ClaimId(CLAIM), LeaseToken(CLAIM), tuple(BatchId(batch) for batch in batches))


def commit(
    name: int,
    *nodes: tuple[int, int],
    leaf: int = 0,
    completions: tuple[Completion, ...] = (),
    tool_state: Part = NO_PART,
    session: SessionId = BOUND,
) -> CommitState:
    """Ann commits: nodes as (id, parent) are appended."""
    appended = tuple(Node(NodeId(node), NodeId(parent), Body(name * 10 + node), False) for node, parent in nodes)
    return CommitState(
        session=session,
        fence=fence(session),
        release=NO_FENCE,
        expected_revision=EXPECT_NOTHING,
        stamp=TurnStamp(SessionId(0), TurnId(0), TurnHash(0)),
        config=Body(1),
        agent_frames=Body(1),
        current_frame=Body(1),
        delta=Delta(APPEND if nodes else UNCHANGED, appended, NodeId(leaf)),
        checkpoint=Checkpoint(Body(name), tool_state, NO_PART, NO_PART, -1),
        usage=(),
        completions=completions,
        attachments=(),
        name=Name(name),
    )


LOAD = LoadSession(True, NodeId(0))
PATH = LoadSession(False, NodeId(0))
BOTH_CLAIMED: tuple[Command, ...] = (lane(), enqueue(10), enqueue(11), claim())
ROWS = ListUncommitted(FAR)


def _intent(session: SessionId, uri: int) -> Command:
    return RecordIntent(AttachmentId(1), session, Body(uri), Millis(START))


def _reclaim(name: int) -> tuple[Command, ...]:
    """Claim one batch and give it back."""
    return claim(name, 1), AbandonClaim(BOUND, ClaimId(name), LeaseToken(name), (BatchId(11),))


SCENARIOS: dict[str, tuple[Command, ...]] = {
    "P-REENTRY": (lane(), TryClaimLease(BOUND, ANN, Millis(LONG - 3_600_000), Name(2))),
    "P-BINDING": (lane(OTHER), commit(20, session=OTHER)),
    "P-COMPLETE-SUBSET": (*BOTH_CLAIMED, commit(20, completions=(done(10),))),
    "P-COMPLETE-DUPLICATE": (*BOTH_CLAIMED, commit(20, completions=(done(10, 11, 10),))),
    "P-COMPLETE-EMPTY": (*BOTH_CLAIMED, commit(20, completions=(done(),))),
    "P-COMPLETE-TWICE": (*BOTH_CLAIMED, commit(20, completions=(done(10, 11), done(10, 11)))),
    "P-COMPLETE-EXPIRED": (lane(), enqueue(10), claim(ttl=0), commit(20, completions=(done(10),))),
    "P-CHECKPOINT-REF": (lane(), commit(20, tool_state=Part(Body(5), Body(0)))),
    "P-DANGLING-REF": (lane(), commit(20, tool_state=Part(Body(0), Body(-1)))),
    "P-LEAF-TOMBSTONED": (lane(), commit(20, (1, 0), (2, 1), leaf=2), Tombstone((NodeId(2),)), LOAD),
    "P-PATH-NO-LEAF": (lane(), commit(20, (1, 0)), PATH),
    "P-PATH-TOMBSTONED": (lane(), commit(20, (1, 0), (2, 1), (3, 2), leaf=3), Tombstone((NodeId(2),)), PATH),
    "P-NODE-DUPLICATE": (lane(), commit(20, (1, 0), leaf=1), commit(21, (1, 0), leaf=1), LOAD),
    "P-NODE-REVIVE": (lane(), commit(20, (1, 0)), Tombstone((NodeId(1),)), commit(21, (1, 0), leaf=1), LOAD),
    "P-LEAF-UNKNOWN": (lane(), commit(20, (1, 0), leaf=9)),
    "P-SOURCE-KEY-REUSE": (enqueue(10, source=1), CancelBatch(BOUND, BatchId(10)), enqueue(11, source=1), ListQueued(BOUND, False)),
    "P-ZERO-BEFORE-LEASE": (lane(), ClaimReady(BOUND, evolve(fence(), token=LeaseToken(-1)), ANN, True, LONG, 0, Name(2))),
    "P-JOIN-GAP": (lane(), enqueue(10), enqueue(11, available=FAR), enqueue(12), claim()),
    "P-CLAIM-FENCE": (
        lane(),
        enqueue(10),
        enqueue(11),
        claim(30, 1),
        *_reclaim(31),
        *_reclaim(32),
        AbandonClaim(BOUND, ClaimId(30), LeaseToken(30), (BatchId(10),)),
        claim(),
    ),
    "P-RENEW-EXPIRED": (
        lane(),
        enqueue(10),
        claim(ttl=0),
        RenewClaim(BOUND, ClaimId(CLAIM), LeaseToken(CLAIM), (BatchId(10),), LONG),
    ),
    "P-INTENT-REPEAT": (_intent(BOUND, 1), _intent(BOUND, 2), ROWS),
    "P-MANIFEST-KEY": (_intent(BOUND, 1), _intent(OTHER, 2), ROWS),
    "P-REPLACE-ORDER": (lane(), commit(20, (1, 0), (2, 1), leaf=2), commit(21, (1, 0), leaf=2), LOAD),
    "P-REVIVE-ORDER": (lane(), commit(20, (1, 0), (2, 0), leaf=2), Tombstone((NodeId(1),)), commit(21, (1, 0), leaf=2), LOAD),
    "P-PARENT-DANGLING": (lane(), commit(20, (1, 8), leaf=1)),
    "P-PARENT-CYCLE": (lane(), commit(20, (1, 2), (2, 1), leaf=2)),
}
"""One scenario a point."""


def probe(door: Door, contract: Contract) -> tuple[Contract, list[Probed]]:
    """Ask at every point; returns the contract with the options found."""
    found = []
    hung = False
    for point in POINTS:
        probed = Probed(point, None, "the store hung before") if hung else _probe(door, contract, point)
        hung = hung or (probed.failure is not None and isinstance(probed.failure.answers[-1], Hung))
        found.append(probed)
        if probed.option is not None:
            contract = evolve(contract, policies=choose(contract.policies, point, probed.option))
    return contract, found


def _probe(door: Door, contract: Contract, point: Point) -> Probed:
    if point.field in {"intent_repeat", "manifest_key"} and not contract.persistent_manifest:
        return Probed(point, None, "the manifest is a declared no-op")
    first: Failure | None = None
    for option in point.options:
        policies: Policies = choose(contract.policies, point, option)
        if first is not None and isinstance(first.answers[-1], Hung):
            break  # every further option would wait for the deadline again
        broken, skipped = _try_until_definite(door, evolve(contract, policies=policies), SCENARIOS[point.id])
        if skipped:
            return Probed(point, None, skipped)
        if broken is None:
            return Probed(point, option)
        first = first or broken
    return Probed(point, None, "no option explains the store's answers", first)


LOST = "an answer was indefinite each time"

TRIES = 40
"""How often a scenario is tried anew because an answer was lost."""


def _try_until_definite(door: Door, contract: Contract, commands: tuple[Command, ...]) -> tuple[Failure | None, str]:
    """An option is not taken for the store's as long as a lost answer leaves it open."""
    tried = _try(door, contract, commands)
    for _ in range(TRIES):
        if tried[1] != LOST:
            break
        tried = _try(door, contract, commands)
    return tried


def _try(door: Door, contract: Contract, commands: tuple[Command, ...]) -> tuple[Failure | None, str]:
    """The failure of a scenario, or why it says nothing."""
    execution = Execution(door, contract)
    for command in commands:
        try:
            mismatch = execution.do(Step(START, 0, command))
        except Unbound:
            continue
        except Silence as silence:
            return None, f"it cannot be asked: {silence}"
        except Indefinite:
            return None, LOST
        if isinstance(execution.answers[-1], Unknown):
            return None, LOST
        if mismatch is not None:
            return failure(execution, mismatch), ""
        answer = execution.answers[-1]
        if isinstance(answer, Skip):
            return None, f"not offered: {answer.reason}"
    return None, ""

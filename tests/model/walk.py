"""Random runs of the model, guided by its state: references are usually the valid ones, and time goes to the instants that matter.

A seed gives the same run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from attrs import evolve

from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, RecordIntent
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.graph import APPEND, REPLACE_FULL, UNCHANGED, Delta, LoadSession, Tombstone, Vacuum
from leasehold_model.ids import (
    AttachmentId,
    BatchId,
    Body,
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
from leasehold_model.laws import Transition
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract, initial, step
from leasehold_model.queue import CancelBatch, Completion, Enqueue
from leasehold_model.state import EMPTY_CHECKPOINT, Batch, Fence, Node, Part, State, Usage, lane_of
from tests.model.story import NO_STAMP, NOBODY

SESSION = SessionId(1)


class Walker:
    """One run: the state, the time, and the fences and commits of old, to be shown again."""

    def __init__(self, seed: int, contract: Contract) -> None:
        self.random = Random(seed)
        self.contract = contract
        self.state: State = initial(contract, SESSION)
        self.now = 0
        self.last_name = 0
        self.fences = [NOBODY]
        self.commits: list[CommitState] = []

    def steps(self, count: int) -> Iterator[Transition]:
        """The transitions of a run."""
        for _ in range(count):
            self.tick()
            command, before = self.command(), self.state
            self.state, response = step(before, command, Millis(self.now), self.contract)
            yield Transition(before, command, self.now, self.state, response)

    def often(self, share: int = 6) -> bool:
        return self.random.randrange(share) != 0

    def name(self) -> Name:
        self.last_name += 1
        return Name(self.last_name)

    def tick(self) -> None:
        held = [lane.expires_at for lane in self.state.lanes] + [batch.hold.expires_at for batch in self.state.queue]
        ahead = [at for at in (*held, *(batch.available_at for batch in self.state.queue)) if self.now <= at < self.now + 50]
        if not self.often(4) and ahead:
            self.now = max(self.now, min(ahead) + self.random.choice((-1, 0, 1)))

    def session(self) -> SessionId:
        return SESSION if self.often(5) else SessionId(2)

    def fence(self, session: SessionId) -> Fence:
        lane = lane_of(self.state, session)
        current = Fence(session, lane.owner, lane.token, lane.fencing)
        self.fences.append(current)
        return current if self.often() else self.random.choice(self.fences)

    def ttl(self) -> Millis:
        return Millis(self.random.choice((0, 5, 20, 20, 20, 2**63 - 1) if self.often(9) else (-1, 1)))

    def command(self) -> Command:
        makers = [self.lane, self.lane, self.enqueue, self.enqueue, self.claim, self.claim, self.claim, self.held, self.held]
        makers += [self.commit, self.commit, self.commit, self.commit, self.graph, self.manifest]
        return self.random.choice(makers)()

    def lane(self) -> Command:
        session = self.session()
        kind = self.random.randrange(6)
        if kind == 0:
            return ReleaseLease(self.fence(session))
        if kind == 1:
            return RenewLease(self.fence(session), self.ttl())
        return TryClaimLease(session, OwnerId(1 + self.random.randrange(2)), self.ttl(), self.name())

    def enqueue(self) -> Command:
        pick = self.random.randrange
        available = Millis(self.now + pick(3) * 5 if self.often() else 2**63 - 1)
        exclusive, after_commit = not self.often(4), not self.often(5)
        merge, payload = MergeKey(pick(2)), Body(pick(9))
        return Enqueue(self.session(), SourceKey(pick(4)), after_commit, exclusive, merge, available, payload, self.name())

    def claim(self) -> Command:
        session = self.session()
        fence, owner, idle = self.fence(session), OwnerId(1), self.often(4)
        mine = tuple(batch.batch for batch in self.state.queue if batch.session == session)
        if self.often(4):
            return ClaimReady(session, fence, owner, idle, self.ttl(), self.random.randrange(4), self.name())
        return ClaimByIds(session, fence, owner, idle, self.ttl(), mine[: 1 + self.random.randrange(2)], self.name())

    def claims(self) -> list[tuple[Batch, tuple[BatchId, ...]]]:
        """The claims that hold batches: one of the batches, and the ids of all."""
        found: dict[int, list[Batch]] = {}
        for batch in self.state.queue:
            if batch.hold.claim != 0:
                found.setdefault(batch.hold.claim, []).append(batch)
        return [(batches[0], tuple(batch.batch for batch in batches)) for batches in found.values()]

    def held(self) -> Command:
        claims = self.claims()
        if not claims:
            return CancelBatch(self.session(), BatchId(1 + self.random.randrange(max(self.last_name, 1))))
        batch, ids = self.random.choice(claims)
        token = batch.hold.token if self.often() else LeaseToken(batch.hold.token - 1)
        if not self.often(3):
            return AbandonClaim(batch.session, batch.hold.claim, token, ids)
        if not self.often(3):
            return CancelBatch(batch.session, batch.batch)
        return RenewClaim(batch.session, batch.hold.claim, token, ids, self.ttl())

    def completions(self, session: SessionId) -> tuple[Completion, ...]:
        mine = [(batch, ids) for batch, ids in self.claims() if batch.session == session or not self.often()]
        chosen = self.random.sample(mine, min(len(mine), self.random.randrange(3)))
        return tuple(
            Completion(batch.session, batch.hold.claim, batch.hold.token, ids if self.often() else ids[1:] or (BatchId(999),))
            for batch, ids in chosen
        )

    def delta(self) -> Delta:
        pick = self.random.randrange
        if self.often(3):
            return Delta(UNCHANGED, (), self.state.head.leaf)
        parent = self.random.choice((0, *(node.node for node in self.state.nodes), pick(30)))
        nodes = (Node(NodeId(1 + pick(30)), NodeId(parent), Body(pick(9)), False),)
        return Delta(APPEND if self.often() else REPLACE_FULL, nodes, nodes[0].node if self.often() else NodeId(pick(30)))

    def commit(self) -> Command:
        if self.commits and not self.often(3):
            old = self.random.choice(self.commits)
            return evolve(old, stamp=evolve(old.stamp, turn_hash=TurnHash(pick_hash(self.random))), config=Body(77))
        session = self.session() if self.state.bound == 0 or not self.often() else self.state.bound
        fence, pick = self.fence(session), self.random.randrange
        tool = self.state.head.checkpoint.tool_state
        new = CommitState(
            session=session,
            fence=fence,
            release=fence if not self.often(4) else NOBODY,
            expected_revision=self.state.head.revision if self.often(3) else self.random.choice((EXPECT_NOTHING, 0, 1)),
            stamp=TurnStamp(session, TurnId(1 + pick(8)), TurnHash(pick_hash(self.random))) if self.often(2) else NO_STAMP,
            config=Body(pick(9)),
            agent_frames=Body(pick(9)),
            current_frame=Body(pick(9)),
            delta=self.delta(),
            checkpoint=evolve(
                EMPTY_CHECKPOINT,
                turn_state=Body(pick(9)),
                tool_state=self.random.choice((Part(Body(pick(9)), Body(0)), Part(Body(0), tool.ref))),
            ),
            usage=tuple(Usage(Body(pick(2)), Body(pick(2)), pick(9), pick(9), pick(9), pick(9)) for _ in range(pick(3))),
            completions=self.completions(session),
            attachments=(AttachmentId(pick(4)),),
            name=self.name(),
        )
        if new.stamp.turn != 0:
            self.commits.append(new)
        return new

    def graph(self) -> Command:
        names = (*(node.node for node in self.state.nodes), NodeId(99))
        kind = self.random.randrange(4)
        if kind == 0:
            return Tombstone((self.random.choice(names),))
        return Vacuum() if kind == 1 else LoadSession(kind == 2, self.random.choice((NodeId(0), *names)))

    def manifest(self) -> Command:
        pick = self.random.randrange
        attachment, session = AttachmentId(pick(4)), self.session()
        makers: tuple[Command, ...] = (
            RecordIntent(attachment, session, Body(pick(9)), Millis(self.now)),
            CommitRefs(session, (attachment,)),
            Forget(attachment),
            ListUncommitted(Millis(self.now)),
        )
        return self.random.choice(makers)


def pick_hash(random: Random) -> int:
    """Mostly the same one."""
    return 1 if random.randrange(4) else 2

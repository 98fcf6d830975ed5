"""Uniform random testing: any command, any argument, each as likely as the others; nothing looks at the model's state.

What is drawn from is small, so that draws meet: two sessions, two owners, a handful of times and ids, and every lease, claim and
batch that the store returned so far, plus one entry that is made up. A commit's optional parts are left out as often as they are
given. The answers are judged as the oracle judges them. Many short runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from attrs import evolve

from leasehold.oracle.answers import Ok
from leasehold.oracle.binding import Unbound
from leasehold.oracle.moment import Mismatch
from leasehold.oracle.run import BOUND, OTHER, START, Execution, Indefinite, Reopen, Silence, Step
from leasehold.oracle.vocabulary import EMPTY
from leasehold.oracle.walker import REAL_TTLS
from leasehold.store import Capabilities
from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, Claimed, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, Committed, TurnStamp
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import APPEND, REPLACE_FULL, UNCHANGED, CollectGarbage, Delta, LoadNode, LoadSession, Tombstone, Vacuum
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
from leasehold_model.lease import Leased, ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract, Response
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued, Queued
from leasehold_model.state import NO_FENCE, NO_PART, Checkpoint, Fence, Node, Part, Usage
from tests.grade.trial import Found, Trial

T = TypeVar("T")

LENGTHS = (10, 20, 40, 80)
SESSIONS = (BOUND, OTHER)
OWNERS = (OwnerId(1), OwnerId(2))
TTLS = (0, 1, 10, 1_000, 60_000, 7_200_000, 2**53, MAX_MS)
PAUSES = (1, 10, 1_000, 60_000, 7_200_000)
FAR = (2**53, MAX_MS)
SOURCES = (0, 0, 1, 2, 100, 200)
NODES = tuple(map(NodeId, range(1, 7)))
PARTS = ("tool_state", "plugin_snapshot", "execution_state")
BODIES = (*map(Body, range(1, 10)), Body(EMPTY))


def uniform(trial: Trial, contract: Contract, seed: int) -> Found | None:
    """Runs until a failure or the limit."""
    rng = random.Random(seed)
    while not trial.over:
        execution = Execution(trial.door, contract)
        tester = Tester(rng, trial.door.capabilities)
        with suppress(Indefinite):
            for _ in range(rng.choice(LENGTHS)):
                mismatch = tester.step(execution)
                if mismatch is not None:
                    return trial.found(mismatch.rule, sum(not isinstance(one.action, Reopen) for one in execution.steps))
    return None


class Tester:
    """Draws the steps of one run, from pools that grow with the store's answers."""

    def __init__(self, rng: random.Random, capabilities: Capabilities) -> None:
        self.rng = rng
        self.real = capabilities.clock == "real"
        self.largest = capabilities.max_integer
        self.handles = (0, 1) if capabilities.handles > 1 else (0,)
        self.now = START
        self.names = 0
        self.fences: list[Fence] = []
        self.claims: list[Completion] = []
        self.batches: list[BatchId] = []
        self.revisions = [0]
        self.kept: dict[str, list[Body]] = {kind: [] for kind in PARTS}
        self.commits: list[CommitState] = []
        self._draws: tuple[Callable[[], Command | Reopen | None], ...] = (
            *(self.try_claim, self.renew, self.release, self.enqueue, self.cancel, self.listed, self.claim, self.claim_ids),
            *(self.renew_claim, self.abandon, self.commit, self.commit_again, self.load, self.load_node, self.tombstone),
            *(Vacuum, CollectGarbage, self.intent, self.refs, self.uncommitted, self.forget, self.save_meta, LoadMeta),
            *(() if self.real else (self.pause,)),
            *((Reopen,) if capabilities.reopen else ()),
        )

    def step(self, execution: Execution) -> Mismatch | None:
        """Draw one step, execute it, remember what it returned."""
        drawn = self.one(self._draws)()
        if drawn is None:
            return None
        count = len(execution.steps)
        try:
            mismatch = execution.do(Step(self.now, 0 if isinstance(drawn, Reopen) else self.one(self.handles), drawn))
        except (Unbound, Silence):
            return None
        answered = len(execution.steps) > count and isinstance(execution.answers[-1], Ok)
        if mismatch is None and answered and execution.last is not None and not isinstance(drawn, Reopen):
            self.remember(drawn, execution.last.response)
        return mismatch

    def remember(self, command: Command, response: Response) -> None:
        """What the store returned goes into the pools."""
        if isinstance(response, Leased):
            lane = response.lane
            self.fences.append(Fence(lane.session, lane.owner, lane.token, lane.fencing))
        elif isinstance(response, Queued):
            self.batches.append(response.batch.batch)
        elif isinstance(response, Claimed):
            hold, batches = response.hold, response.batches
            self.claims.append(Completion(batches[0].session, hold.claim, hold.token, tuple(batch.batch for batch in batches)))
        elif isinstance(response, Committed) and isinstance(command, CommitState):
            self.revisions.append(response.revision)
            self.commits.append(command)
            for kind, known in self.kept.items():
                known += [body for body in [getattr(command.checkpoint, kind).body] if body]

    # -- values ----------------------------------------------------------------------------------------------------------

    def one(self, pool: Sequence[T]) -> T:
        """One of a pool, each as likely as the others."""
        return pool[int(self.rng.random() * len(pool))]

    def some(self, pool: Sequence[T], most: int) -> tuple[T, ...]:
        """None to ``most`` of a pool."""
        return tuple([self.one(pool) for _ in range(self.one(range(most + 1)))]) if pool else ()

    def name(self) -> Name:
        """A number not used before."""
        self.names += 1
        return Name(self.names)

    def body(self) -> Body:
        """A payload."""
        return self.one(BODIES)

    def ttl(self) -> Millis:
        """A ttl."""
        return Millis(min(self.one(REAL_TTLS if self.real else TTLS), self.largest - (self.now if self.largest < MAX_MS else 0)))

    def fence(self) -> Fence:
        """A fence that was returned, or one put together from any parts."""
        known = self.one(range(len(self.fences) + 1))
        if known < len(self.fences):
            return self.fences[known]
        tokens = (LeaseToken(-1), *(fence.token for fence in self.fences))
        return Fence(self.one(SESSIONS), self.one(OWNERS), self.one(tokens), FencingToken(self.one(range(1, 4))))

    def session_for(self, fence: Fence) -> SessionId:
        """Where a fence is used: in its own session, or in any."""
        return self.one((fence.session, self.one(SESSIONS)))

    def held(self) -> Completion:
        """A claim that was returned, or one put together from any parts."""
        known = self.one(range(len(self.claims) + 1))
        if known < len(self.claims):
            return self.claims[known]
        claims = (ClaimId(-1), *(claim.claim for claim in self.claims))
        tokens = (LeaseToken(-1), *(claim.token for claim in self.claims))
        return Completion(self.one(SESSIONS), self.one(claims), self.one(tokens), self.some(self.batches, 3))

    # -- commands ----------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Time passes."""
        self.now += self.one(PAUSES)

    def try_claim(self) -> Command:
        return TryClaimLease(self.one(SESSIONS), self.one(OWNERS), self.ttl(), self.name())

    def renew(self) -> Command:
        return RenewLease(self.fence(), self.ttl())

    def release(self) -> Command:
        return ReleaseLease(self.fence())

    def enqueue(self) -> Command:
        source = self.one(SOURCES)
        if source >= 100:  # a wake or a session command (QUEUE-14)
            session = BOUND if source == 100 else self.one(SESSIONS)
            return Enqueue(session, SourceKey(source), False, True, MergeKey(0), Millis(0), self.body(), self.name())
        available = (0, 0, *FAR) if self.real else (0, self.now, self.now + 1_000, *FAR)
        return Enqueue(
            self.one(SESSIONS),
            SourceKey(source),
            self.one((False, True)),
            self.one((False, True)),
            MergeKey(self.one((0, 1, 2, 3))),
            Millis(min(self.one(available), self.largest)),
            self.body(),
            self.name(),
        )

    def cancel(self) -> Command:
        return CancelBatch(self.one(SESSIONS), self.one((BatchId(-1), *self.batches)))

    def listed(self) -> Command:
        return ListQueued(self.one(SESSIONS), self.one((False, True)))

    def claim(self) -> Command:
        idle = self.one((False, True))
        limit = self.one((0, 1, 2, 10))
        fence = self.fence()
        return ClaimReady(self.session_for(fence), fence, self.one(OWNERS), idle, self.ttl(), limit, self.name())

    def claim_ids(self) -> Command:
        idle = self.one((False, True))
        batches = self.some((BatchId(-1), *self.batches), 3)
        fence = self.fence()
        return ClaimByIds(self.session_for(fence), fence, self.one(OWNERS), idle, self.ttl(), batches, self.name())

    def whole_claim(self) -> Completion | None:
        """A claim that was returned, with its own token or any other: a claim is sent whole, so nothing else in it may change."""
        if not self.claims:
            return None
        held = self.one(self.claims)
        return evolve(held, token=self.one((held.token, self.one((LeaseToken(-1), *(claim.token for claim in self.claims))))))

    def renew_claim(self) -> Command | None:
        held = self.whole_claim()
        return None if held is None else RenewClaim(held.session, held.claim, held.token, held.batches, self.ttl())

    def abandon(self) -> Command | None:
        held = self.whole_claim()
        return None if held is None else AbandonClaim(held.session, held.claim, held.token, held.batches)

    def commit(self) -> Command:
        fence = self.fence()
        session = self.session_for(fence)
        stamp = TurnStamp(self.session_for(fence), TurnId(self.one((1, 2, 3))), TurnHash(self.one((1, 2))))
        no_stamp = TurnStamp(session, TurnId(0), TurnHash(0))
        frames = self.body()
        return CommitState(
            session=session,
            fence=fence,
            release=self.one((NO_FENCE, fence, self.fence())),
            expected_revision=self.one((EXPECT_NOTHING, self.one(self.revisions))),
            stamp=self.one((no_stamp, stamp)),
            config=self.body(),
            agent_frames=frames,
            current_frame=frames if frames == EMPTY else self.one((Body(1), Body(2))),
            delta=self.delta(),
            checkpoint=Checkpoint(self.body(), self.part(PARTS[0]), self.part(PARTS[1]), self.part(PARTS[2]), self.one((-1, 0, 1))),
            usage=self.some([self.usage(), self.usage()], 2),
            completions=self.one(((), (self.held(),))),
            attachments=self.some((AttachmentId(1), AttachmentId(2)), 2),
            name=self.name(),
        )

    def commit_again(self) -> Command | None:
        """A commit that was accepted, sent again."""
        if not self.commits:
            return None
        return evolve(self.one(self.commits), name=self.name())

    def delta(self) -> Delta:
        kind = self.one((UNCHANGED, APPEND, REPLACE_FULL))
        parents = (NodeId(0), *NODES)
        nodes = () if kind == UNCHANGED else tuple(Node(self.one(NODES), self.one(parents), self.body(), False) for _ in range(2))
        nodes = nodes[: self.one((1, 2))]
        leaves = [NodeId(0), self.one(NODES), *(node.node for node in nodes)]
        return Delta(kind, nodes, self.one(leaves))

    def part(self, kind: str) -> Part:
        given = Part(self.body(), Body(0))
        by_reference = Part(Body(0), self.one((Body(-1), *self.kept[kind])))
        return self.one((NO_PART, given, by_reference))

    def usage(self) -> Usage:
        return Usage(self.one(BODIES[:2]), self.one(BODIES[:2]), *[self.one((0, 1, 50)) for _ in range(4)])

    def load(self) -> Command:
        return self.one((LoadSession(True, NodeId(0)), LoadSession(False, self.one((NodeId(0), *NODES)))))

    def load_node(self) -> Command:
        return LoadNode(self.one(NODES))

    def tombstone(self) -> Command:
        return Tombstone(self.some(NODES, 2))

    def intent(self) -> Command:
        at = self.one((0, self.now - 1_000, self.now))
        return RecordIntent(AttachmentId(self.one((1, 2))), self.one(SESSIONS), self.body(), Millis(at))

    def refs(self) -> Command:
        return CommitRefs(self.one(SESSIONS), self.some((AttachmentId(1), AttachmentId(2)), 2))

    def uncommitted(self) -> Command:
        return ListUncommitted(Millis(self.one((0, self.now - 1_000, self.now, self.largest))))

    def forget(self) -> Command:
        return Forget(AttachmentId(self.one((1, 2))))

    def save_meta(self) -> Command:
        return SaveMeta(self.body())

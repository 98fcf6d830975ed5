"""A store made of the model, told command by command: what the examples from the contract are written in.

Every expected value in the examples is written from the contract; none was got by running the model.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, RecordIntent, Uncommitted
from leasehold_model.claim import AbandonClaim, ClaimByIds, Claimed, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.graph import APPEND, UNCHANGED, Delta, Loaded, LoadSession
from leasehold_model.ids import (
    NEVER,
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
from leasehold_model.machine import Command, Contract, Response, initial, step
from leasehold_model.outcome import Absent, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.queue import CancelBatch, Completion, Enqueue, Listed, ListQueued, Queued
from leasehold_model.state import EMPTY_CHECKPOINT, Checkpoint, Fence, Node, Part, State, Usage

NOBODY = Fence(SessionId(0), OwnerId(0), LeaseToken(0), FencingToken(0))
NO_STAMP = TurnStamp(SessionId(0), TurnId(0), TurnHash(0))


def node(name: int, parent: int = 0, record: int = 0) -> Node:
    """A node as a commit brings it."""
    return Node(NodeId(name), NodeId(parent), Body(record or name), False)


def append(*nodes: Node, leaf: int | None = None) -> Delta:
    """An append whose leaf is the last node, if no other is named."""
    return Delta(APPEND, nodes, NodeId(leaf) if leaf is not None else nodes[-1].node)


def checkpoint(turn_state: int = 0, tool: tuple[int, int] = (0, 0)) -> Checkpoint:
    """A checkpoint with a turn state, and a tool state as (body, reference)."""
    return evolve(EMPTY_CHECKPOINT, turn_state=Body(turn_state), tool_state=Part(Body(tool[0]), Body(tool[1])))


def usage(source: int, model: int, *counts: int) -> Usage:
    """A usage row: input, output, cached input, reasoning."""
    given = (*counts, 0, 0, 0, 0)
    return Usage(Body(source), Body(model), given[0], given[1], given[2], given[3])


def is_error(response: Response, rule: str, code: str) -> bool:
    """The response is this error, for this rule."""
    return isinstance(response, Refused) and (response.rule, response.code) == (rule, code)


class Story:
    """A fresh store of session 1 and what has happened to it. Sessions and owners are small numbers; batches are 1, 2, ..."""

    def __init__(self, persistent_manifest: bool = True, **policies: Any) -> None:
        self.contract = Contract(policies=Policies(**policies), persistent_manifest=persistent_manifest)
        self.state: State = initial(self.contract, SessionId(1))
        self.last_batch, self.last_name = 0, 1000

    def do(self, command: Command, now: int = 0) -> Response:
        """One step. What is refused or not granted must have changed nothing (LAW-1)."""
        before = self.state
        self.state, response = step(before, command, Millis(now), self.contract)
        assert not isinstance(response, Refused | Absent | Silent) or self.state == before
        return response

    def name(self) -> Name:
        self.last_name += 1
        return Name(self.last_name)

    def ask_lane(self, owner: int = 1, now: int = 0, ttl: int = 1000, session: int = 1) -> Response:
        return self.do(TryClaimLease(SessionId(session), OwnerId(owner), Millis(ttl), self.name()), now)

    def lane(self, owner: int = 1, now: int = 0, ttl: int = 1000, session: int = 1) -> Fence:
        """A lane that is granted."""
        got = self.ask_lane(owner, now, ttl, session)
        assert isinstance(got, Leased)
        return Fence(got.lane.session, got.lane.owner, got.lane.token, got.lane.fencing)

    def renew(self, fence: Fence, now: int, ttl: int = 1000) -> Response:
        return self.do(RenewLease(fence, Millis(ttl)), now)

    def release(self, fence: Fence) -> Response:
        return self.do(ReleaseLease(fence))

    def enqueue(self, now: int = 0, **draft: Any) -> Response:
        fields = {"source": 0, "after_commit": False, "exclusive": False, "merge": 1, "at": 0, "payload": 0, "session": 1} | draft
        self.last_batch += 1
        command = Enqueue(
            SessionId(fields["session"]),
            SourceKey(fields["source"]),
            fields["after_commit"],
            fields["exclusive"],
            MergeKey(fields["merge"]),
            Millis(fields["at"]),
            Body(fields["payload"]),
            Name(self.last_batch),
        )
        return self.do(command, now)

    def batch(self, now: int = 0, **draft: Any) -> BatchId:
        """Work that is queued anew."""
        got = self.enqueue(now, **draft)
        assert isinstance(got, Queued) and got.rule == "QUEUE-1"
        return got.batch.batch

    def wake(self, source: int) -> BatchId:
        """A process wake, as QUEUE-14 drafts it."""
        return self.batch(source=source, exclusive=True, merge=NEVER)

    def claim(
        self, fence: Fence, now: int = 0, limit: int = 10, ttl: int = 100, idle: bool = True, owner: int = 1, session: int = 1
    ) -> Response:
        return self.do(ClaimReady(SessionId(session), fence, OwnerId(owner), idle, Millis(ttl), limit, self.name()), now)

    def claimed(self, fence: Fence, now: int = 0, limit: int = 10, ttl: int = 100, idle: bool = True) -> Claimed:
        """A claim that is granted."""
        got = self.claim(fence, now, limit, ttl, idle)
        assert isinstance(got, Claimed)
        return got

    def claim_ids(self, fence: Fence, *ids: int, now: int = 0, ttl: int = 100, idle: bool = True) -> Response:
        named = tuple(BatchId(name) for name in ids)
        return self.do(ClaimByIds(SessionId(1), fence, OwnerId(1), idle, Millis(ttl), named, self.name()), now)

    def renew_claim(self, claim: Claimed, now: int, ttl: int = 100, token: int | None = None) -> Response:
        shown = claim.hold.token if token is None else LeaseToken(token)
        return self.do(RenewClaim(SessionId(1), claim.hold.claim, shown, ids_of(claim), Millis(ttl)), now)

    def abandon(self, claim: Claimed) -> Response:
        return self.do(AbandonClaim(SessionId(1), claim.hold.claim, claim.hold.token, ids_of(claim)))

    def cancel(self, batch: int, now: int = 0, session: int = 1) -> Response:
        return self.do(CancelBatch(SessionId(session), BatchId(batch)), now)

    def queued(self, now: int = 0, session: int = 1, pending: bool = False) -> list[int]:
        """The ids that a list shows."""
        got = self.do(ListQueued(SessionId(session), pending), now)
        assert isinstance(got, Listed)
        return [int(batch.batch) for batch in got.batches]

    def commit(self, fence: Fence, now: int = 0, **parts: Any) -> Response:
        command = CommitState(
            session=SessionId(1),
            fence=fence,
            release=NOBODY,
            expected_revision=EXPECT_NOTHING,
            stamp=NO_STAMP,
            config=Body(0),
            agent_frames=Body(0),
            current_frame=Body(0),
            delta=Delta(UNCHANGED, (), self.state.head.leaf),
            checkpoint=EMPTY_CHECKPOINT,
            usage=(),
            completions=(),
            attachments=(),
            name=self.name(),
        )
        return self.do(evolve(command, **parts), now)

    def load(self, full: bool = True, leaf: int = 0) -> Response:
        return self.do(LoadSession(full, NodeId(leaf)))

    def shown(self, full: bool = True, leaf: int = 0) -> tuple[list[int], int]:
        """The nodes and the leaf of a load."""
        got = self.load(full, leaf)
        assert isinstance(got, Loaded)
        return [int(shown.node) for shown in got.nodes], int(got.leaf)

    def intend(self, attachment: int, session: int = 1, uri: int = 1, at: int = 0) -> Response:
        return self.do(RecordIntent(AttachmentId(attachment), SessionId(session), Body(uri), Millis(at)))

    def refer(self, *attachments: int, session: int = 1) -> Response:
        return self.do(CommitRefs(SessionId(session), tuple(AttachmentId(a) for a in attachments)))

    def forget(self, attachment: int) -> Response:
        return self.do(Forget(AttachmentId(attachment)))

    def uncommitted(self, older_than: int = 1000) -> list[tuple[int, int, int]]:
        """(session, id, uri) of the rows that a list shows."""
        got = self.do(ListUncommitted(Millis(older_than)))
        assert isinstance(got, Uncommitted)
        return sorted((int(row.session), int(row.attachment), int(row.uri)) for row in got.entries)


def ids_of(claim: Claimed) -> tuple[BatchId, ...]:
    """The batches of a claim."""
    return tuple(batch.batch for batch in claim.batches)


def done(claim: Claimed, *ids: int, session: int = 1, claim_id: int | None = None, token: int | None = None) -> Completion:
    """A completion of a claim: of all its batches, or of those that are named."""
    return Completion(
        SessionId(session),
        claim.hold.claim if claim_id is None else ClaimId(claim_id),
        claim.hold.token if token is None else LeaseToken(token),
        tuple(BatchId(name) for name in ids) if ids else ids_of(claim),
    )


def stamp(turn: int, turn_hash: int, session: int = 1) -> TurnStamp:
    """The stamp of a turn."""
    return TurnStamp(SessionId(session), TurnId(turn), TurnHash(turn_hash))

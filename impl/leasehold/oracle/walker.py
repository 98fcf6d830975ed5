"""The walker: draws the next step, guided by the model's state. Every driver (seeded, Hypothesis, rules) uses this one.

Every reference is by default the one that is valid now; in a small share of draws one part of it is wrong in one way: an older one,
another's, a forged one, a partial or doubled one. Time mostly jumps to an instant that matters: one before, exactly, one after.
Randomness comes from ``take(n)``, a number from 0 to n - 1 where 0 is the simplest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from attrs import evolve, frozen

from leasehold.oracle import commits
from leasehold.oracle import vocabulary as word
from leasehold.oracle.run import BOUND, OTHER, START, Reopen, Step
from leasehold.oracle.worlds import READS
from leasehold.store import Capabilities
from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim, select
from leasehold_model.commit import CommitState
from leasehold_model.decisions import MAX_MS, claimable, live
from leasehold_model.graph import CollectGarbage, LoadNode, LoadSession, Tombstone, Vacuum
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
)
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued
from leasehold_model.state import Batch, Fence, State, is_held, lane_of, under_claim

Take: TypeAlias = Callable[[int], int]

HOUR = 3_600_000
TTLS = (60_000, 1_000, 10, 60_000, 1, 0, 2 * HOUR, 2**31, 2**32, 2**53, 2**62, MAX_MS, MAX_MS - 1)
REAL_TTLS = (2 * HOUR, 0, 48 * HOUR, MAX_MS)
PATIENCE = 1_000
"""How often a command is drawn anew that makes no sense yet, such as to renew a claim where none was granted."""


@frozen
class Held:
    """A claim that was granted at some time, with the batches it then had."""

    session: SessionId
    claim: ClaimId
    token: LeaseToken
    batches: tuple[BatchId, ...]


@frozen(kw_only=True)
class Focus:
    """Which commands a run prefers."""

    name: str
    weights: dict[str, int]


BASE = {
    "try_claim": 9,
    "renew": 3,
    "release": 3,
    "enqueue": 10,
    "claim": 9,
    "claim_ids": 3,
    "renew_claim": 3,
    "abandon": 3,
    "cancel": 3,
    "commit": 12,
    "replay": 2,
    "load": 4,
    "load_node": 1,
    "tombstone": 2,
    "vacuum": 1,
    "gc": 1,
    "intent": 2,
    "refs": 1,
    "uncommitted": 1,
    "forget": 1,
    "meta": 1,
    "load_meta": 1,
    "list": 3,
    "reopen": 1,
}


def _focus(name: str, **more: int) -> Focus:
    return Focus(name=name, weights={op: more.get(op, max(1, weight // 4)) for op, weight in BASE.items()})


FOCI = (
    Focus(name="all", weights=BASE),
    _focus("lease", try_claim=16, renew=12, release=10, commit=3, reopen=2),
    _focus("queue", try_claim=8, enqueue=20, claim=16, claim_ids=6, renew_claim=6, abandon=8, cancel=6, list=6, commit=4, reopen=1),
    _focus("completion", try_claim=8, enqueue=16, claim=14, commit=20, replay=4, renew_claim=3, list=4),
    _focus("commit", try_claim=8, commit=24, replay=8, load=8, gc=3, reopen=2),
    _focus("graph", try_claim=5, commit=20, load=14, load_node=6, tombstone=8, vacuum=4, gc=3),
    _focus("manifest", try_claim=4, intent=12, refs=6, uncommitted=8, forget=5, commit=8, meta=4, load_meta=4, reopen=3),
)

_PREFERRED = {"LEASE": "lease", "QUEUE": "queue", "COMMIT": "commit", "GRAPH": "graph", "ATTACH": "manifest", "META": "manifest"}
_OPS = {
    "try_claim": "try_claim_session_execution_lease",
    "renew": "renew_session_execution_lease",
    "release": "release_session_execution_lease",
    "enqueue": "enqueue_queued_work",
    "claim": "claim_ready_queued_work",
    "claim_ids": "claim_ready_queued_work_by_batch_ids",
    "renew_claim": "renew_queued_work_claim",
    "abandon": "abandon_queued_work_claim",
    "cancel": "cancel_queued_work_batch",
    "commit": "commit_runtime_state",
    "replay": "commit_runtime_state",
    "load": "load_session",
    "load_node": "load_node",
    "tombstone": "tombstone_nodes",
    "vacuum": "vacuum",
    "gc": "gc_unreachable",
    "intent": "record_intent",
    "refs": "commit_refs",
    "uncommitted": "list_uncommitted",
    "forget": "forget",
    "meta": "save_session_meta",
    "load_meta": "load_session_meta",
    "list": "list_queued_work",
}


def focus_for(requirement: str) -> Focus:
    """The focus that reaches a requirement most."""
    wanted = _PREFERRED.get(requirement.split("-", maxsplit=1)[0], "all")
    if requirement in {"COMMIT-7", "QUEUE-9", "LAW-4", "LAW-5"}:
        wanted = "completion"
    return next(focus for focus in FOCI if focus.name == wanted)


class Walker:
    """One run's source of steps. Tell it what was executed with `took`; it remembers what may be used again later."""

    def __init__(self, take: Take, contract: Contract, capabilities: Capabilities, focus: Focus = FOCI[0]) -> None:
        self.take = take
        self.contract = contract
        self.capabilities = capabilities
        self.real = capabilities.clock == "real"
        self.now = START
        self.names = 0
        self.leases: dict[int, list[Fence]] = {}
        self.claims: list[Held] = []
        self.replays: list[CommitState] = []
        self.batches: list[tuple[SessionId, BatchId]] = []
        self.pending: list[Command] = []
        weights = {op: weight for op, weight in focus.weights.items() if self._offered(op)}
        self._choices = [op for op, weight in weights.items() for _ in range(weight)]
        self._draws: dict[str, Callable[[State], Command | None]] = {
            "try_claim": self._try_claim,
            "renew": self._renew,
            "release": self._release,
            "enqueue": self._enqueue,
            "claim": self._claim,
            "claim_ids": self._claim_ids,
            "renew_claim": self._renew_claim,
            "abandon": self._abandon,
            "cancel": self._cancel,
            "commit": lambda state: commits.draw(self, state),
            "replay": lambda state: commits.draw_replay(self, state),
            "load": self._load,
            "load_node": lambda state: LoadNode(NodeId(1 + take(7))),
            "tombstone": lambda state: Tombstone(tuple(NodeId(1 + take(7)) for _ in range(1 + (take(4) == 3)))),
            "vacuum": lambda state: Vacuum(),
            "gc": lambda state: CollectGarbage(),
            "intent": self._intent,
            "refs": lambda state: CommitRefs(self.any_session(), tuple(AttachmentId(1 + take(3)) for _ in range(1 + take(2)))),
            "uncommitted": lambda state: ListUncommitted(Millis(self.time_near(state))),
            "forget": lambda state: Forget(AttachmentId(1 + take(3))),
            "meta": lambda state: SaveMeta(self.body()),
            "load_meta": lambda state: LoadMeta(),
            "list": lambda state: ListQueued(self.any_session(), take(2) == 0),
        }

    def offered(self, ops: Sequence[str]) -> tuple[str, ...]:
        """Those of these commands that the store offers."""
        return tuple(op for op in ops if self._offered(op))

    def _offered(self, op: str) -> bool:
        return self.capabilities.reopen if op == "reopen" else _OPS[op] in self.capabilities.ops

    # -- steps ---------------------------------------------------------------------------------------------------------

    def next(self, state: State, among: Sequence[str] = ()) -> Step:
        """The next step from this state. ``among``: the commands to choose from; empty: those of the focus."""
        take = self.take
        choices = among or self._choices
        handle = 1 if self.capabilities.handles > 1 and take(4) == 3 else 0
        if self.pending:
            return Step(self.now, handle, self.pending.pop())
        if not self.real and take(5) == 4:
            self.now = self._instant(state)
        for _ in range(PATIENCE if choices else 0):
            op = choices[take(len(choices))]
            if op == "reopen":
                return Step(self.now, 0, Reopen())
            command = self._draws[op](state)
            if command is not None:
                return Step(self.now, handle, command)
        return Step(self.now, handle, LoadMeta())

    def took(self, command: Command | Reopen, granted: bool, before: State, after: State) -> None:
        """Learn from an executed step; after a refusal, and now and then, read back what it may have touched."""
        if isinstance(command, Reopen):
            self.pending += self.read_back(after)
            return
        if granted:
            self._remember(command, after)
        changed = before is not after
        if not isinstance(command, READS) and self.take(4 if changed else 3) == 0:
            self.pending += self._reads_for(command)

    def lost(self, command: Command) -> None:
        """Learn that the answer was lost: do what a client would, look, or try again."""
        reads = self._reads_for(command)
        if self.take(3):
            self.pending += reads
        if self.take(3) == 0:
            again = evolve(command, name=self.name()) if hasattr(command, "name") else command  # type: ignore[arg-type]
            self.pending.append(again)
        if isinstance(command, CommitState) and command.stamp.turn:
            self.replays.append(command)

    def _remember(self, command: Command, after: State) -> None:
        if isinstance(command, TryClaimLease):
            lane = lane_of(after, command.session)
            known = self.leases.setdefault(command.session, [])
            fence = Fence(lane.session, lane.owner, lane.token, lane.fencing)
            if fence not in known:
                known.append(fence)
        elif isinstance(command, ClaimReady | ClaimByIds):
            taken = tuple(batch.batch for batch in after.queue if int(batch.hold.claim) == command.name)
            self.claims.append(Held(command.session, ClaimId(command.name), LeaseToken(command.name), taken))
        elif isinstance(command, Enqueue) and any(int(batch.batch) == command.name for batch in after.queue):
            self.batches.append((command.session, BatchId(command.name)))
        elif isinstance(command, CommitState) and command.stamp.turn:
            self.replays.append(command)

    def _reads_for(self, command: Command) -> list[Command]:
        ops = self.capabilities.ops
        reads: list[Command] = []
        if isinstance(command, CommitState | Tombstone | Vacuum | CollectGarbage) and "load_session" in ops:
            reads.append(LoadSession(True, NodeId(0)))
            if self.take(3) == 0:
                reads.append(LoadSession(False, NodeId(0)))
        if isinstance(command, CommitState) and self.take(2) == 0 and "list_uncommitted" in ops:
            reads.append(ListUncommitted(Millis(self.now)))
        if isinstance(
            command, CommitState | Enqueue | ClaimReady | ClaimByIds | RenewClaim | AbandonClaim | CancelBatch | ReleaseLease
        ):
            session = BOUND if self.take(4) else OTHER
            both = (ListQueued(session, False), ListQueued(session, True))
            reads += [one for one in both if ("list_pending_queued_work" if one.pending else "list_queued_work") in ops]
        if isinstance(command, RecordIntent | CommitRefs | Forget) and "list_uncommitted" in ops:
            reads.append(ListUncommitted(Millis(self.now)))
        if isinstance(command, SaveMeta) and "load_session_meta" in ops:
            reads.append(LoadMeta())
        return reads

    def read_back(self, state: State) -> list[Command]:
        """The whole observable state."""
        latest = min(MAX_MS, self.capabilities.max_integer)
        reads: list[Command] = [
            LoadSession(True, NodeId(0)),
            LoadSession(False, NodeId(0)),
            LoadMeta(),
            ListUncommitted(Millis(latest)),
        ]
        for session in (BOUND, OTHER):
            reads += [ListQueued(session, False), ListQueued(session, True)]
        if state.nodes:
            reads.append(LoadNode(state.nodes[self.take(len(state.nodes))].node))
        names = {
            LoadSession: "load_session",
            LoadMeta: "load_session_meta",
            ListUncommitted: "list_uncommitted",
            LoadNode: "load_node",
        }
        return [read for read in reads if self._reads(names, read)]

    def _reads(self, names: dict[type, str], read: Command) -> bool:
        if isinstance(read, ListQueued):
            return ("list_pending_queued_work" if read.pending else "list_queued_work") in self.capabilities.ops
        return names[type(read)] in self.capabilities.ops

    def epilogue(self, state: State) -> Iterator[Step]:
        """The end of a run: read everything back, then see each live lane and claim end exactly when it should."""
        for read in self.read_back(state):
            yield Step(self.now, 0, read)
        if self.real or self.take(2):
            return
        lanes = [lane for lane in state.lanes if live(lane.token, lane.expires_at, self.now) and lane.expires_at < 2**50]
        claims = {
            batch.hold.expires_at: batch
            for batch in state.queue
            if is_held(batch, Millis(self.now)) and batch.hold.expires_at < 2**50
        }
        ends = sorted(
            [(int(lane.expires_at), int(lane.session), True) for lane in lanes]
            + [(int(t), int(b.session), False) for t, b in claims.items()]
        )
        for expires, session, is_lane in ends:
            for at in (expires - 1, expires):
                if at < self.now:
                    continue
                self.now = at
                if is_lane and self._offered("try_claim"):
                    stranger = next(OwnerId(n) for n in (1, 2) if n != lane_of(state, SessionId(session)).owner)
                    yield Step(at, 0, TryClaimLease(SessionId(session), stranger, Millis(60_000), self.name()))
                elif not is_lane and "list_pending_queued_work" in self.capabilities.ops:
                    yield Step(at, 0, ListQueued(SessionId(session), True))

    # -- draws ---------------------------------------------------------------------------------------------------------

    def name(self) -> Name:
        """A number not used before."""
        self.names += 1
        return Name(self.names)

    def body(self) -> Body:
        """A payload not used before in this run: mostly a plain one."""
        self.names += 1
        if self.take(8) < 7:
            return Body(self.names)
        return Body(self.names + (word.RICHER if self.capabilities.max_integer >= MAX_MS else word.RICH))

    def any_session(self) -> SessionId:
        """Mostly the bound session, sometimes another."""
        return OTHER if self.take(4) == 3 else BOUND

    def ttl(self) -> Millis:
        """Mostly ordinary, sometimes 0 or large."""
        if self.real:
            return Millis(min(REAL_TTLS[self.take(len(REAL_TTLS))], self._largest()))
        if self.take(8) == 7:
            edge = (MAX_MS - self.now, MAX_MS - self.now - 1, MAX_MS - self.now + 1)[self.take(3)]
            return Millis(min(edge, self._largest()))
        return Millis(min(TTLS[self.take(len(TTLS))], self._largest()))

    def _largest(self) -> int:
        largest = self.capabilities.max_integer
        return MAX_MS if largest >= MAX_MS else largest - self.now - 1

    def _instant(self, state: State) -> int:
        """A time not before now: near an expiry or an availability, or a while later."""
        instants = sorted(
            {int(lane.expires_at) for lane in state.lanes if lane.token and lane.expires_at >= self.now}
            | {int(batch.hold.expires_at) for batch in state.queue if batch.hold.claim and batch.hold.expires_at >= self.now}
            | {int(batch.available_at) for batch in state.queue if batch.available_at >= self.now}
        )
        instants = [one for one in instants if one < START + 2**45]
        kind = self.take(8)
        if instants and kind < 6:
            return max(self.now, instants[min(self.take(4), len(instants) - 1)] + self.take(3) - 1)
        return self.now + (1, 1_000, 1, 10 * 365 * 24 * HOUR if self.take(4) == 3 else 90_000)[self.take(4)]

    def time_near(self, state: State) -> int:
        """A time near an intent, for listing."""
        if state.manifest and self.take(2):
            return max(0, int(state.manifest[self.take(len(state.manifest))].intent_at) + self.take(3) - 1)
        return min(MAX_MS, self.capabilities.max_integer) if self.take(2) else self.now

    def fence(self, state: State, session: SessionId, flawed: int = 6) -> Fence | None:
        """The lane's fence; one in ``flawed`` draws has one thing wrong."""
        lane = lane_of(state, session)
        valid = Fence(session, lane.owner, lane.token, lane.fencing)
        known = self.leases.get(session, [])
        if lane.token == 0 or self.take(flawed) == flawed - 1:
            return self._wrong_fence(state, valid, known)
        return valid

    def _wrong_fence(self, state: State, valid: Fence, known: list[Fence]) -> Fence | None:
        kind = self.take(6)
        old = known[self.take(len(known))] if known else None
        if valid.token == 0 or kind == 0:
            return old
        if kind == 1:
            return evolve(valid, owner=OwnerId(valid.owner % 3 + 1))
        if kind == 2:
            return evolve(valid, token=LeaseToken(-1 - self.take(2)))
        if kind == 3:
            return evolve(valid, fencing=FencingToken(max(0, valid.fencing + (1 if self.take(2) else -1))))
        if kind == 4 and old is not None:
            return evolve(valid, token=old.token) if self.take(2) else evolve(old, fencing=valid.fencing)
        other = lane_of(state, OTHER if valid.session == BOUND else BOUND)
        return Fence(other.session, other.owner, other.token, other.fencing) if other.token else old

    def _try_claim(self, state: State) -> Command:
        session = self.any_session()
        lane = lane_of(state, session)
        owner = OwnerId(1 + self.take(3))
        if live(lane.token, lane.expires_at, self.now):
            owner = lane.owner if self.take(2) else OwnerId(lane.owner % 3 + 1)
        return TryClaimLease(session, owner, self.ttl(), self.name())

    def _renew(self, state: State) -> Command | None:
        fence = self.fence(state, self.any_session(), 3)
        return RenewLease(fence, self.ttl()) if fence else None

    def _release(self, state: State) -> Command | None:
        fence = self.fence(state, self.any_session(), 2)
        return ReleaseLease(fence) if fence else None

    def _enqueue(self, state: State) -> Command:
        take = self.take
        source = (0, 0, 1 + take(3), 1 + take(3), 100 + take(2), 200 + take(2))[take(6)]
        session = BOUND if source in {100, 101} else self.any_session()
        joins = take(4) > 0
        merge = (0, 2, 2, 3, 1, 2, 4, 5)[take(8)]
        available = (0, 0, 0, self.now, self.now + (1, 1_000, 60_000)[take(3)], self._far())[take(6)]
        if self.real:
            available = (0, 0, 0, self._far())[take(4)]
        after_commit = take(4) == 3
        last = next((batch for batch in reversed(state.queue) if batch.session == session), None)
        if last is not None and take(2):  # often like the one before it, so that runs of joined batches come about
            joins, merge, after_commit = not last.exclusive, last.merge, last.after_commit
        if source >= 100:  # QUEUE-14: what a wake or command draft looks like
            joins, merge, available, after_commit = False, 0, 0, False
        return Enqueue(
            session, SourceKey(source), after_commit, not joins, MergeKey(merge), Millis(available), self.body(), self.name()
        )

    def _far(self) -> int:
        return min((MAX_MS, MAX_MS - 1, 2**62, 2**53, 4_102_444_800_000)[self.take(5)], self.capabilities.max_integer)

    def _work_session(self, state: State) -> SessionId:
        """Mostly a session that has claimable work."""
        session = self.any_session()
        ready = [b.session for b in state.queue if self._claimable(b)]
        return ready[self.take(len(ready))] if ready and self.take(4) else session

    def _claim(self, state: State) -> Command | None:
        session = self._work_session(state)
        fence = self.fence(state, session, 8)
        lane = lane_of(state, session)
        if fence is None or not live(lane.token, lane.expires_at, self.now):
            return TryClaimLease(session, OwnerId(1 + self.take(2)), Millis(self._plain_ttl()), self.name())
        limit = (10, 1, 2, 10, 1, 3, 10, 0)[self.take(8)]
        owner = fence.owner if self.take(4) else OwnerId(1 + self.take(3))
        first = next((b for b in state.queue if b.session == session and self._claimable(b)), None)
        if first is None and self.take(4):
            return self._enqueue(state)
        idle = self.take(2 if first is not None and first.after_commit else 4) > 0
        return ClaimReady(session, fence, owner, idle, self.ttl(), limit, self.name())

    def _claimable(self, batch: Batch) -> bool:
        return claimable(batch.hold.claim, batch.hold.expires_at, batch.available_at, self.now)

    def _plain_ttl(self) -> int:
        return 2 * HOUR if self.real else 60_000

    def _claim_ids(self, state: State) -> Command | None:
        session = self._work_session(state)
        fence = self.fence(state, session, 10)
        if fence is None:
            return None
        idle = self.take(4) > 0
        limit = 1 + self.take(3)
        chosen = [b.batch for b in select(state, session, idle, limit, Millis(self.now), self.contract.policies)[1]]
        if self.take(4) == 3:  # not what an ordinary claim would take
            ready = [b.batch for b in state.queue if b.session == session and self._claimable(b)]
            chosen = (chosen[::-1], chosen[1:], ready[1 : 1 + limit], ready[:limit])[self.take(4)]
        if self.batches and self.take(8) == 7:
            chosen.append(self.batches[self.take(len(self.batches))][1])
        return ClaimByIds(session, fence, fence.owner, idle, self.ttl(), tuple(chosen), self.name())

    def held(self, state: State) -> Held | None:
        """Mostly the newest claim that still holds batches, sometimes one that lost some of them, or any other."""
        if not self.claims:
            return None
        if self.take(4) == 3:
            for claim in reversed(self.claims):
                count = sum(under_claim(batch, claim.claim, claim.token) for batch in state.queue)
                if 0 < count < len(claim.batches):
                    return claim
        if self.take(4):
            for claim in reversed(self.claims):
                if any(under_claim(batch, claim.claim, claim.token) for batch in state.queue):
                    return claim
        return self.claims[self.take(len(self.claims))]

    def _renew_claim(self, state: State) -> Command | None:
        held = self.held(state)
        if held is None:
            return None
        token = LeaseToken(-1) if self.take(6) == 5 else held.token
        return RenewClaim(held.session, held.claim, token, held.batches, self.ttl())

    def _abandon(self, state: State) -> Command | None:
        held = self.held(state)
        if held is None:
            return None
        token = LeaseToken(-1) if self.take(6) == 5 else held.token
        return AbandonClaim(held.session, held.claim, token, held.batches)

    def _cancel(self, state: State) -> Command | None:
        if not self.batches:
            return None
        session, batch = self.batches[self.take(len(self.batches))]
        if state.queue and self.take(3):
            at = state.queue[self.take(len(state.queue))]
            session, batch = at.session, at.batch
        if self.take(8) == 7:
            session = OTHER if session == BOUND else BOUND
        return CancelBatch(session, BatchId(-1) if self.take(16) == 15 else batch)

    def completion(self, held: Held) -> Completion:
        """The completion that names all batches of a claim."""
        return Completion(held.session, held.claim, held.token, held.batches)

    def _load(self, state: State) -> Command:
        kind = self.take(4)
        if kind < 2:
            return LoadSession(kind == 0, NodeId(0))
        if state.nodes and self.take(4):
            return LoadSession(False, state.nodes[self.take(len(state.nodes))].node)
        return LoadSession(False, NodeId(1 + self.take(8)))

    def _intent(self, state: State) -> Command:
        at = max(0, (self.now, self.now - 1_000, self.now + 1_000, 100)[self.take(4)])
        return RecordIntent(AttachmentId(1 + self.take(3)), self.any_session(), self.body(), Millis(at))

"""Hypothesis alone: a state machine as its manual shows it, with bundles for what was returned and plain strategies for values.

Only the judging is the oracle's. A failing run is shrunk by Hypothesis; the time to failure ends where the shrinking begins.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

from attrs import evolve
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, FlakyStrategyDefinition
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, precondition, rule, run_state_machine_as_test

from leasehold.oracle.answers import Ok
from leasehold.oracle.binding import Unbound
from leasehold.oracle.run import BOUND, OTHER, START, Execution, Indefinite, Reopen, Silence, Step
from leasehold.oracle.vocabulary import EMPTY
from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, Claimed, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, Committed, TurnStamp
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import APPEND, REPLACE_FULL, UNCHANGED, CollectGarbage, Delta, LoadNode, LoadSession, Tombstone, Vacuum
from leasehold_model.ids import BatchId, Body, LeaseToken, MergeKey, Millis, Name, NodeId, SessionId, TurnHash, TurnId
from leasehold_model.lease import Leased, ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract, Response
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued, Queued
from leasehold_model.state import NO_FENCE, NO_PART, Checkpoint, Fence, Node, Part, Usage
from tests.grade.trial import Found, Trial

SHRINKING = 1.0
"""Seconds that Hypothesis may shrink."""

MANY = 1_000_000
"""Examples: more than fit into any limit."""

sessions: Any = st.sampled_from((BOUND, OTHER))
owners: Any = st.integers(1, 3)
ttls: Any = st.integers(0, 100_000) | st.integers(0, MAX_MS)
real_ttls: Any = st.just(0) | st.integers(7_200_000, MAX_MS)
bodies: Any = st.integers(1, 50) | st.just(EMPTY)
node_ids: Any = st.integers(1, 8)
attachments: Any = st.integers(1, 3)
no_node = st.just(NodeId(0))
node = st.builds(Node, node_ids, no_node | node_ids, bodies, st.just(value=False))
nodes = st.lists(node, max_size=3, unique_by=lambda node: node.node) | st.lists(node, max_size=3)
no_part = st.just(NO_PART)
parts: Any = no_part | st.builds(Part, bodies, st.just(0))
checkpoints = st.builds(Checkpoint, bodies, parts, parts, parts, st.integers(-1, 20))
counts = st.integers(0, 1_000)
usages = st.lists(st.builds(Usage, st.integers(1, 3), st.integers(1, 3), counts, counts, counts, counts), max_size=3)
stamps: Any = st.builds(TurnStamp, sessions, st.integers(1, 3), st.integers(1, 3))

BARE: Any = {"kind": UNCHANGED, "given": (), "leaf": NodeId(0), "usage": (), "refs": (), "expected": EXPECT_NOTHING}
"""A commit without a graph, usage, attachments or an expected revision."""


class _Enough(KeyboardInterrupt):
    """The time is up. Hypothesis lets an interrupt through in the middle of an example, and nothing else."""


def by_the_manual(trial: Trial, contract: Contract, number: int) -> Found | None:
    """Examples until a failure or the limit; then the failure, shrunk a while."""
    hunt = Hunt(trial, contract)
    while hunt.first is None and not trial.over:
        machine = seed(number)(type("Machine", (Machine,), {"hunt": hunt}))
        with suppress(AssertionError, _Enough, Flaky, FlakyStrategyDefinition):
            run_state_machine_as_test(machine, settings=SETTINGS)
        number += 1_000_003  # on a store that is not repeatable, such as one that loses answers, Hypothesis gives up: begin again
    return None if hunt.first is None else evolve(hunt.first, size=hunt.smallest)


SETTINGS = settings(
    max_examples=MANY,
    deadline=None,
    database=None,
    derandomize=False,
    phases=(Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    print_blob=False,
    verbosity=Verbosity.quiet,
    suppress_health_check=list(HealthCheck),
)


class Hunt:
    """What outlives a run: the first failure, and the smallest run that fails alike."""

    def __init__(self, trial: Trial, contract: Contract) -> None:
        self.trial = trial
        self.contract = contract
        self.first: Found | None = None
        self.smallest = 0

    def go_on(self) -> None:
        """Raises `_Enough` if the time for looking, or for shrinking, is up."""
        enough = self.trial.over if self.first is None else self.trial.elapsed >= self.first.seconds + SHRINKING
        if enough:
            raise _Enough

    def failed(self, broken: str, size: int) -> bool:
        """Whether this is the failure to be shrunk."""
        if self.first is None:
            self.first = self.trial.found(broken, size)
            self.smallest = size
        elif broken == self.first.rule:
            self.smallest = min(self.smallest, size)
        return broken == self.first.rule


class Machine(RuleBasedStateMachine):
    """Operations as rules."""

    hunt: ClassVar[Hunt]

    leases = Bundle("leases")
    batches = Bundle("batches")
    claims = Bundle("claims")
    commits = Bundle("commits")

    def __init__(self) -> None:
        super().__init__()
        self.hunt.go_on()
        self.execution = Execution(self.hunt.trial.door, self.hunt.contract)
        self.capabilities = self.hunt.trial.door.capabilities
        self.real = self.capabilities.clock == "real"
        self.now = START
        self.names = 0
        self.over = False

    def name(self) -> Name:
        """A number not used before."""
        self.names += 1
        return Name(self.names)

    def ttl(self, data: Any) -> Any:
        """A ttl that the store's clock and integers allow."""
        drawn = data.draw(real_ttls if self.real else ttls)
        return drawn if self.capabilities.max_integer >= MAX_MS else min(drawn, self.capabilities.max_integer - self.now - 1)

    def do(self, action: Command | Reopen, handle: int = 0) -> Response | None:
        """Send it, and have the answer judged: the model's response if it was answered with a value."""
        self.hunt.go_on()
        if self.over:
            return None
        count = len(self.execution.steps)
        try:
            mismatch = self.execution.do(Step(self.now, handle if self.capabilities.handles > 1 else 0, action))
        except (Unbound, Silence):
            return None
        except Indefinite:
            self.over = True
            return None
        if mismatch is not None:
            self.over = True
            size = sum(not isinstance(one.action, Reopen) for one in self.execution.steps)
            if self.hunt.failed(mismatch.rule, size):
                raise AssertionError(mismatch.rule)
        answered = len(self.execution.steps) > count and isinstance(self.execution.answers[-1], Ok)
        return self.execution.last.response if answered and self.execution.last is not None else None

    @precondition(lambda self: not self.real)
    @rule(milliseconds=st.integers(1, 100_000))
    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds

    @precondition(lambda self: self.capabilities.reopen)
    @rule()
    def reopen(self) -> None:
        self.do(Reopen())

    # -- leases ------------------------------------------------------------------------------------------------------------

    @rule(target=leases, session=sessions, owner=owners, handle=st.integers(0, 1), data=st.data())
    def try_claim(self, session: SessionId, owner: Any, handle: int, data: Any) -> Any:
        response = self.do(TryClaimLease(session, owner, self.ttl(data), self.name()), handle)
        if not isinstance(response, Leased):
            return multiple()
        lane = response.lane
        return Fence(lane.session, lane.owner, lane.token, lane.fencing)

    @rule(lease=leases, owner=owners, fencing=st.integers(0, 5), forged=st.booleans(), how=st.integers(0, 3), config=bodies)
    def use_a_wrong_lease(self, lease: Fence, owner: Any, fencing: Any, forged: bool, how: int, config: Any) -> None:
        """A lease of which something may be wrong, where one is taken."""
        wrong = evolve(lease, owner=owner, fencing=fencing, token=LeaseToken(-1) if forged else lease.token)
        if how == 0:
            self.do(RenewLease(wrong, Millis(100_000)))
        elif how == 1:
            self.do(ReleaseLease(wrong))
        elif how == 2:
            self.do(ClaimReady(wrong.session, wrong, owner, True, Millis(0), 1, self.name()))
        else:
            checkpoint = Checkpoint(config, NO_PART, NO_PART, NO_PART, -1)
            self.committed(wrong, False, None, (), config=config, frames=config, checkpoint=checkpoint, **BARE)

    @rule(lease=leases, data=st.data())
    def renew(self, lease: Fence, data: Any) -> None:
        self.do(RenewLease(lease, self.ttl(data)))

    @rule(lease=leases)
    def release(self, lease: Fence) -> None:
        self.do(ReleaseLease(lease))

    # -- queued work ---------------------------------------------------------------------------------------------------------

    @rule(
        target=batches,
        session=sessions,
        source=st.integers(0, 3),
        after_commit=st.booleans(),
        exclusive=st.booleans(),
        merge=st.integers(0, 3),
        available=st.just(0) | st.integers(0, 200_000).map(START.__add__) | st.integers(0, MAX_MS),
        body=bodies,
        handle=st.integers(0, 1),
    )
    def enqueue(
        self,
        session: SessionId,
        source: Any,
        after_commit: bool,
        exclusive: bool,
        merge: Any,
        available: Any,
        body: Any,
        handle: int,
    ) -> Any:
        if self.real:
            available = 0
        available = min(available, self.capabilities.max_integer)
        response = self.do(Enqueue(session, source, after_commit, exclusive, merge, available, body, self.name()), handle)
        return (response.batch.session, response.batch.batch) if isinstance(response, Queued) else multiple()

    @rule(target=batches, session=sessions, source=st.sampled_from((100, 101, 200, 201)), body=bodies)
    def wake_or_command(self, session: SessionId, source: Any, body: Any) -> Any:
        session = session if source >= 200 else BOUND
        response = self.do(Enqueue(session, source, False, True, MergeKey(0), Millis(0), body, self.name()))
        return (response.batch.session, response.batch.batch) if isinstance(response, Queued) else multiple()

    @rule(batch=batches)
    def cancel(self, batch: tuple[SessionId, BatchId]) -> None:
        self.do(CancelBatch(*batch))

    @rule(session=sessions, batch=batches)
    def cancel_in(self, session: SessionId, batch: tuple[SessionId, BatchId]) -> None:
        self.do(CancelBatch(session, batch[1]))

    @rule(session=sessions, pending=st.booleans(), handle=st.integers(0, 1))
    def list_queued(self, session: SessionId, pending: bool, handle: int) -> None:
        self.do(ListQueued(session, pending), handle)

    @rule(target=claims, lease=leases, owner=owners, idle=st.booleans(), limit=st.integers(0, 10), data=st.data())
    def claim(self, lease: Fence, owner: Any, idle: bool, limit: int, data: Any) -> Any:
        return self.claimed(self.do(ClaimReady(lease.session, lease, owner, idle, self.ttl(data), limit, self.name())))

    @rule(target=claims, lease=leases, idle=st.booleans(), chosen=st.lists(batches, max_size=3), data=st.data())
    def claim_by_ids(self, lease: Fence, idle: bool, chosen: list[tuple[SessionId, BatchId]], data: Any) -> Any:
        ids = tuple([batch for _, batch in chosen])
        return self.claimed(self.do(ClaimByIds(lease.session, lease, lease.owner, idle, self.ttl(data), ids, self.name())))

    def claimed(self, response: Response | None) -> Any:
        """The claim that was granted."""
        if not isinstance(response, Claimed):
            return multiple()
        hold, granted = response.hold, response.batches
        return Completion(granted[0].session, hold.claim, hold.token, tuple(batch.batch for batch in granted))

    @rule(claim=claims, forged=st.booleans(), data=st.data())
    def renew_claim(self, claim: Completion, forged: bool, data: Any) -> None:
        token = LeaseToken(-1) if forged else claim.token
        self.do(RenewClaim(claim.session, claim.claim, token, claim.batches, self.ttl(data)))

    @rule(claim=claims, forged=st.booleans())
    def abandon(self, claim: Completion, forged: bool) -> None:
        token = LeaseToken(-1) if forged else claim.token
        self.do(AbandonClaim(claim.session, claim.claim, token, claim.batches))

    # -- commits -------------------------------------------------------------------------------------------------------------

    @rule(
        target=commits,
        lease=leases,
        released=st.booleans(),
        expected=st.just(EXPECT_NOTHING) | st.integers(0, 5),
        stamp=st.none() | stamps,
        config=bodies,
        frames=bodies,
        kind=st.sampled_from((UNCHANGED, APPEND, REPLACE_FULL)),
        given=nodes,
        leaf=no_node | node_ids,
        checkpoint=checkpoints,
        usage=usages,
        refs=st.lists(attachments, max_size=2),
    )
    def commit(self, lease: Fence, released: bool, stamp: TurnStamp | None, **more: Any) -> Any:
        return self.committed(lease, released, stamp, (), **more)

    @rule(
        target=commits,
        lease=leases,
        released=st.booleans(),
        done=st.lists(claims, min_size=1, max_size=2),
        named=st.none() | st.lists(batches, max_size=3),
        forged=st.booleans(),
        config=bodies,
    )
    def complete(
        self, lease: Fence, released: bool, done: list[Completion], named: list[Any] | None, forged: bool, config: Any
    ) -> Any:
        """A commit of nothing but completions: whole claims, or one with other batches or another token."""
        if named is not None:
            done[0] = evolve(done[0], batches=tuple([batch for _, batch in named]))
        if forged:
            done[-1] = evolve(done[-1], token=LeaseToken(-1))
        checkpoint = Checkpoint(config, NO_PART, NO_PART, NO_PART, -1)
        return self.committed(lease, released, None, tuple(done), config=config, frames=config, checkpoint=checkpoint, **BARE)

    def committed(
        self, lease: Fence, released: bool, stamp: TurnStamp | None, completions: tuple[Completion, ...], **more: Any
    ) -> Any:
        """Commit under a lease; the commit if it was accepted."""
        kind, frames = more["kind"], more["frames"]
        command = CommitState(
            session=lease.session,
            fence=lease,
            release=lease if released else NO_FENCE,
            expected_revision=more["expected"],
            stamp=stamp or TurnStamp(lease.session, TurnId(0), TurnHash(0)),
            config=more["config"],
            agent_frames=frames,
            current_frame=frames,
            delta=Delta(kind, () if kind == UNCHANGED else tuple(more["given"]), more["leaf"]),
            checkpoint=more["checkpoint"],
            usage=tuple(more["usage"]),
            completions=completions,
            attachments=tuple(more["refs"]),
            name=self.name(),
        )
        return command if isinstance(self.do(command), Committed) else multiple()

    @rule(target=commits, old=commits, lease=leases, dangling=st.booleans(), body=bodies)
    def keep_parts(self, old: CommitState, lease: Fence, dangling: bool, body: Any) -> Any:
        """A commit that keeps the bodies of an earlier one by reference, or names what does not exist."""
        given = old.checkpoint
        tools, plugins, execution = (part.body for part in (given.tool_state, given.plugin_snapshot, given.execution_state))
        first = Part(Body(0), Body(-1) if dangling else tools)
        checkpoint = Checkpoint(body, first, Part(Body(0), plugins), Part(Body(0), execution), -1)
        return self.committed(lease, False, None, (), config=body, frames=body, checkpoint=checkpoint, **BARE)

    @rule(old=commits, lease=st.none() | leases, same=st.booleans())
    def commit_again(self, old: CommitState, lease: Fence | None, same: bool) -> None:
        other = TurnHash(old.stamp.turn_hash % 3 + 1)
        stamp = old.stamp if same else evolve(old.stamp, turn_hash=other)
        self.do(evolve(old, fence=lease or NO_FENCE, release=lease or NO_FENCE, stamp=stamp, name=self.name()))

    # -- loads and the rest --------------------------------------------------------------------------------------------------

    @rule(full=st.booleans(), leaf=no_node | node_ids, handle=st.integers(0, 1))
    def load(self, full: bool, leaf: Any, handle: int) -> None:
        self.do(LoadSession(full, NodeId(0) if full else leaf), handle)

    @rule(node=node_ids)
    def load_node(self, node: Any) -> None:
        self.do(LoadNode(node))

    @rule(chosen=st.lists(node_ids, max_size=3))
    def tombstone(self, chosen: list[Any]) -> None:
        self.do(Tombstone(tuple(chosen)))

    @rule()
    def vacuum(self) -> None:
        self.do(Vacuum())

    @rule()
    def collect_garbage(self) -> None:
        self.do(CollectGarbage())

    @rule(attachment=attachments, session=sessions, uri=bodies, ago=st.integers(0, 100_000))
    def record_intent(self, attachment: Any, session: SessionId, uri: Any, ago: Any) -> None:
        self.do(RecordIntent(attachment, session, uri, Millis(self.now - ago)))

    @rule(session=sessions, chosen=st.lists(attachments, max_size=3))
    def commit_refs(self, session: SessionId, chosen: list[Any]) -> None:
        self.do(CommitRefs(session, tuple(chosen)))

    @rule(ago=st.integers(0, 100_000))
    def list_uncommitted(self, ago: Any) -> None:
        self.do(ListUncommitted(Millis(self.now - ago)))

    @rule(attachment=attachments)
    def forget(self, attachment: Any) -> None:
        self.do(Forget(attachment))

    @rule(body=bodies)
    def save_meta(self, body: Any) -> None:
        self.do(SaveMeta(body))

    @rule()
    def load_meta(self) -> None:
        self.do(LoadMeta())

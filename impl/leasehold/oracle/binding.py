"""The binding: pairs the model's names with what the store minted, and translates commands into the store's vocabulary.

The only place that knows both vocabularies. Opaque ids are paired one to one, by identity; fencing tokens and enqueue_seq by order.
Negative names stand for forged ids: text that no store minted.
"""

from __future__ import annotations

import itertools
from typing import Any

from attrs import evolve

from leasehold import records
from leasehold.oracle import vocabulary as word
from leasehold_model import attachment, claim, commit, graph, lease, queue
from leasehold_model.claim import ClaimByIds, ClaimReady
from leasehold_model.ids import Name
from leasehold_model.machine import Command
from leasehold_model.state import Batch, Checkpoint, Fence, Part

Call = tuple[str, tuple[Any, ...]]


class Unbound(Exception):
    """A command names something that the store never showed, so it cannot be sent."""


def _counted(seen: dict[int, int], number: int) -> int:
    """What a number is paired with; for one that was not seen, as far from the nearest one's as it is from that."""
    if number in seen or not seen:
        return seen.get(number, number)
    nearest = min(seen, key=lambda known: abs(known - number))
    return max(0, seen[nearest] + number - nearest)


class Binding:
    """What is known of one store's ids within one run."""

    def __init__(self) -> None:
        self.tokens: dict[int, str] = {}
        self.token_of: dict[tuple[int, str], int] = {}
        self.fences: dict[int, dict[int, int]] = {}
        self.claims: dict[int, records.Claim] = {}
        self.claim_of: dict[str, int] = {}
        self.batches: dict[int, records.Batch] = {}
        self.batch_of: dict[str, int] = {}
        self.claim_fences: dict[int, int] = {}
        self.last_seq: int | None = None
        self.checkpoints: dict[str, Checkpoint] = {}
        self.checkpoint_refs: dict[int, str] = {}
        self.refs: dict[str, tuple[str, int]] = {}
        self.ref_of: dict[tuple[str, int], str] = {}
        self.times: dict[int, int] = {}
        self.lost: tuple[tuple[int, int], ...] = ()

    def copy(self) -> Binding:
        """The same knowledge, to go on separately."""
        new = Binding.__new__(Binding)
        for name, value in vars(self).items():
            setattr(new, name, dict(value) if isinstance(value, dict) else value)
        new.fences = {session: dict(seen) for session, seen in self.fences.items()}
        return new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Binding) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it learns

    # -- from the model's names to the store's -------------------------------------------------------------------------

    def token(self, name: int) -> str:
        """A lease token."""
        return self._known(self.tokens, name, "token")

    def fencing(self, session: int, number: int) -> int:
        """A lane's fencing token: the store's number where it was seen, else one as far from it as the model's is."""
        return _counted(self.fences.get(session, {}), number)

    def number(self, session: int, shown: int) -> int:
        """The other way round: the model's number of a fencing token that the store showed, or as far from a known one."""
        return _counted({theirs: ours for ours, theirs in self.fences.get(session, {}).items()}, shown)

    def fence(self, fence: Fence) -> records.Fence | None:
        """A fence; None where token is 0."""
        if fence.token == 0:
            return None
        return records.Fence(
            word.session(fence.session),
            word.owner(fence.owner),
            self.token(fence.token),
            self.fencing(fence.session, fence.fencing),
        )

    def batch_id(self, name: int) -> str:
        """A batch id."""
        if name < 0:
            return f"forged-batch-{-name}"
        if name not in self.batches:
            raise Unbound(f"batch {name}")
        return self.batches[name].batch_id

    def claim_id(self, name: int) -> str:
        """A claim id."""
        if name < 0:
            return f"forged-claim-{-name}"
        if name not in self.claims:
            raise Unbound(f"claim {name}")
        return self.claims[name].claim_id

    def claim_token(self, name: int) -> str:
        """The lease token of a claim."""
        if name < 0:
            return f"forged-token-{-name}"
        if name not in self.claims:
            raise Unbound(f"claim {name}")
        return self.claims[name].lease_token

    def claim(self, name: int, token: int) -> records.Claim:
        """A claim as the store gave it last, with another token if the command has another one."""
        if name not in self.claims:
            raise Unbound(f"claim {name}")
        known = self.claims[name]
        if token == name:
            return known
        return records.Claim(
            session_id=known.session_id,
            claim_id=known.claim_id,
            owner_id=known.owner_id,
            lease_token=self.claim_token(token),
            fencing_token=known.fencing_token,
            claimed_at_epoch_ms=known.claimed_at_epoch_ms,
            expires_at_epoch_ms=known.expires_at_epoch_ms,
            batches=known.batches,
        )

    def ref(self, kind: str, body: int) -> str | None:
        """A content reference; None for 0."""
        if body == 0:
            return None
        if body < 0:
            return f"forged-{kind}-ref-{-body}"
        if (kind, body) not in self.ref_of:
            raise Unbound(f"{kind} reference {body}")
        return self.ref_of[kind, body]

    def _known(self, table: dict[int, str], name: int, what: str) -> str:
        if name < 0:
            return f"forged-{what}-{-name}"
        if name not in table:
            raise Unbound(f"{what} {name}")
        return table[name]

    # -- commands --------------------------------------------------------------------------------------------------------

    def call(self, command: Command) -> Call:
        """The store operation and its arguments. Raises `Unbound` where the store never showed what the command names."""
        call: Call = _CALLS[type(command)](self, command)
        return call

    def _commit(self, c: commit.CommitState) -> records.Commit:
        nodes = tuple([word.node(node) for node in c.delta.nodes])
        leaf = word.node_id(c.delta.leaf) if c.delta.leaf else None
        delta: records.GraphDelta
        if c.delta.kind == graph.UNCHANGED:
            delta = records.Unchanged(leaf)
        else:
            delta = records.Append(nodes, leaf) if c.delta.kind == graph.APPEND else records.ReplaceFull(nodes, leaf)
        stamp = c.stamp
        return records.Commit(
            session_id=word.session(c.session),
            config=word.config(c.config),
            agent_frames=word.agent_frames(c.agent_frames),
            current_agent_frame_id=word.current_frame(c.current_frame),
            graph=delta,
            checkpoint=self._checkpoint(c.checkpoint),
            expected_head_revision=None if c.expected_revision < 0 else c.expected_revision,
            session_execution_lease=self.fence(c.fence),
            release_session_execution_lease=self.fence(c.release),
            usage_deltas=tuple([word.usage(row) for row in c.usage]),
            turn_commit=records.TurnStamp(word.session(stamp.session), word.turn_id(stamp.turn), word.turn_hash(stamp.turn_hash))
            if stamp.turn
            else None,
            completed_queue_claims=tuple(
                [
                    records.ClaimCompletion(
                        word.session(done.session),
                        self.claim_id(done.claim),
                        self.claim_token(done.token),
                        tuple([self.batch_id(batch) for batch in done.batches]),
                    )
                    for done in c.completions
                ]
            ),
            committed_attachment_ids=tuple([word.attachment(number) for number in c.attachments]),
        )

    def _checkpoint(self, given: Checkpoint) -> records.Checkpoint:
        return records.Checkpoint(
            turn_state=word.turn_state(given.turn_state),
            tool_state=word.tool_state(given.tool_state.body),
            tool_state_ref=self.ref("tool_state", given.tool_state.ref),
            plugin_snapshot=word.plugin_snapshot(given.plugin_snapshot.body),
            plugin_snapshot_ref=self.ref("plugin_snapshot", given.plugin_snapshot.ref),
            plugin_snapshot_revision=None if given.plugin_snapshot_revision < 0 else given.plugin_snapshot_revision,
            execution_state=word.execution_state(given.execution_state.body),
            execution_state_ref=self.ref("execution_state", given.execution_state.ref),
        )

    def _draft(self, c: queue.Enqueue) -> records.BatchDraft:
        return records.BatchDraft(
            session_id=word.session(c.session),
            delivery_policy="after_current_turn_commit" if c.after_commit else "earliest_safe_boundary",
            slot_policy="exclusive" if c.exclusive else "join",
            payloads=word.payloads(c.payload, c.source),
            merge_key=word.merge_key(c.merge),
            available_at_ms=c.available_at,
            source_key=word.source_key(c.source),
        )

    def _claim_args(self, c: ClaimReady | ClaimByIds) -> tuple[Any, ...]:
        fence = self.fence(c.fence)
        if fence is None:
            raise Unbound("no fence")
        return word.session(c.session), fence, word.owner(c.owner), "idle" if c.idle else "active_turn_checkpoint", c.ttl

    # -- what the store shows ----------------------------------------------------------------------------------------------

    def show_token(self, session: int, name: int, text: str) -> bool:
        """Pair a lease token; False where the pair contradicts what is known."""
        known = self.tokens.get(name)
        if known is not None:
            return known == text
        if (session, text) in self.token_of:
            return False
        self.tokens[name] = text
        self.token_of[session, text] = name
        return True

    def show_fencing(self, session: int, number: int, shown: int) -> bool:
        """Pair a lane's fencing token: equal where it is known, else beyond all before (LAW-3)."""
        seen = self.fences.setdefault(session, {})
        if number in seen:
            return seen[number] == shown
        if shown < 1 or (seen and shown <= max(seen.values())):
            return False
        seen[number] = shown
        return True

    def named(self, batches: tuple[Batch, ...], given: Any) -> list[int]:
        """The model's names of batches that the store shows; 0 for one that it should not know.

        A batch whose enqueue was answered indefinitely has no id yet: it gets the one that stands in its place.
        """
        shown = [self.batch_of.get(one.batch_id, 0) for one in given]
        if 0 in shown and len(shown) == len(batches):
            for index, batch in enumerate(batches):
                if shown[index] == 0 and batch.batch not in self.batches:
                    shown[index] = int(batch.batch)
        return shown

    def show_seq(self, shown: int) -> bool:
        """A fresh enqueue_seq is greater than all before (QUEUE-1)."""
        if self.last_seq is not None and shown <= self.last_seq:
            return False
        self.last_seq = shown
        return True

    def show_ref(self, kind: str, body: int, text: str, *, current: bool) -> bool:
        """Pair a content reference: one reference never names two bodies; one body may have several references.

        One that is ``current`` stands for its body from now on; a replay may show one that was collected since.
        """
        if self.refs.setdefault(text, (kind, body)) != (kind, body):
            return False
        if current or (kind, body) not in self.ref_of:
            self.ref_of[kind, body] = text
        return True

    def show_checkpoint_ref(self, name: int, content: Checkpoint, text: str) -> bool:
        """Pair a checkpoint reference: one reference never names two different checkpoints."""
        if name in self.checkpoint_refs:
            return self.checkpoint_refs[name] == text
        if self.checkpoints.setdefault(text, content) != content:
            return False
        self.checkpoint_refs[name] = text
        return True


_CALLS: dict[type, Any] = {
    lease.TryClaimLease: lambda b, c: (
        "try_claim_session_execution_lease",
        (word.session(c.session), word.owner(c.owner), c.ttl),
    ),
    lease.RenewLease: lambda b, c: ("renew_session_execution_lease", (b.fence(c.fence), c.ttl)),
    lease.ReleaseLease: lambda b, c: ("release_session_execution_lease", (b.fence(c.completion),)),
    commit.CommitState: lambda b, c: ("commit_runtime_state", (b._commit(c),)),
    graph.LoadSession: lambda b, c: (
        "load_session",
        (records.FullGraph() if c.full else records.ActivePath(word.node_id(c.leaf) if c.leaf else None),),
    ),
    graph.LoadNode: lambda b, c: ("load_node", (word.node_id(c.node),)),
    graph.Tombstone: lambda b, c: ("tombstone_nodes", (tuple(map(word.node_id, c.nodes)),)),
    graph.Vacuum: lambda b, c: ("vacuum", ()),
    graph.CollectGarbage: lambda b, c: ("gc_unreachable", ()),
    queue.Enqueue: lambda b, c: ("enqueue_queued_work", (b._draft(c),)),
    claim.ClaimReady: lambda b, c: ("claim_ready_queued_work", (*b._claim_args(c), c.limit)),
    claim.ClaimByIds: lambda b, c: (
        "claim_ready_queued_work_by_batch_ids",
        (*b._claim_args(c), tuple(map(b.batch_id, c.batches))),
    ),
    claim.RenewClaim: lambda b, c: ("renew_queued_work_claim", (b.claim(c.claim, c.token), c.ttl)),
    claim.AbandonClaim: lambda b, c: ("abandon_queued_work_claim", (b.claim(c.claim, c.token),)),
    queue.CancelBatch: lambda b, c: ("cancel_queued_work_batch", (word.session(c.session), b.batch_id(c.batch))),
    queue.ListQueued: lambda b, c: ("list_pending_queued_work" if c.pending else "list_queued_work", (word.session(c.session),)),
    attachment.RecordIntent: lambda b, c: (
        "record_intent",
        (
            records.Intent(
                attachment_id=word.attachment(c.attachment),
                session_id=word.session(c.session),
                canonical_uri=word.uri(c.uri),
                intent_at_epoch_ms=c.intent_at,
            ),
        ),
    ),
    attachment.CommitRefs: lambda b, c: ("commit_refs", (word.session(c.session), tuple(map(word.attachment, c.attachments)))),
    attachment.ListUncommitted: lambda b, c: ("list_uncommitted", (c.older_than,)),
    attachment.Forget: lambda b, c: ("forget", (word.attachment(c.attachment),)),
    attachment.SaveMeta: lambda b, c: ("save_session_meta", (word.meta(c.meta),)),
    attachment.LoadMeta: lambda b, c: ("load_session_meta", ()),
}

OPERATION: dict[type, str] = {
    lease.TryClaimLease: "try_claim_session_execution_lease",
    lease.RenewLease: "renew_session_execution_lease",
    lease.ReleaseLease: "release_session_execution_lease",
    commit.CommitState: "commit_runtime_state",
    graph.LoadSession: "load_session",
    graph.LoadNode: "load_node",
    graph.Tombstone: "tombstone_nodes",
    graph.Vacuum: "vacuum",
    graph.CollectGarbage: "gc_unreachable",
    queue.Enqueue: "enqueue_queued_work",
    claim.ClaimReady: "claim_ready_queued_work",
    claim.ClaimByIds: "claim_ready_queued_work_by_batch_ids",
    claim.RenewClaim: "renew_queued_work_claim",
    claim.AbandonClaim: "abandon_queued_work_claim",
    queue.CancelBatch: "cancel_queued_work_batch",
    queue.ListQueued: "list_queued_work",
    attachment.RecordIntent: "record_intent",
    attachment.CommitRefs: "commit_refs",
    attachment.ListUncommitted: "list_uncommitted",
    attachment.Forget: "forget",
    attachment.SaveMeta: "save_session_meta",
    attachment.LoadMeta: "load_session_meta",
}
"""The store operation of each kind of command."""


def renamed(command: Command, name: int) -> Command:
    """The command as another call, where what it makes has a name."""
    return evolve(command, name=Name(name)) if hasattr(command, "name") else command  # type: ignore[arg-type]


def operation(command: Command) -> str:
    """The store operation that a command becomes."""
    if isinstance(command, queue.ListQueued) and command.pending:
        return "list_pending_queued_work"
    return OPERATION[type(command)]


def parts(checkpoint: Checkpoint) -> itertools.chain[tuple[str, Part]]:
    """The three parts of a checkpoint, with their kinds."""
    return itertools.chain(
        (("tool_state", checkpoint.tool_state),),
        (("plugin_snapshot", checkpoint.plugin_snapshot),),
        (("execution_state", checkpoint.execution_state),),
    )

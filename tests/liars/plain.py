"""A third store: lists, loops and no index, with any option at every policy point. The oddities are made of it.

Written from the contract alone and as plainly as can be; of the model it knows only the names of the policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from attrs import define, evolve, frozen

from leasehold.records import (
    MAX_MS,
    Append,
    Batch,
    BatchDraft,
    Boundary,
    Checkpoint,
    CheckpointManifest,
    Claim,
    ClaimCompletion,
    Commit,
    CommitResult,
    Fence,
    FullGraph,
    GcReport,
    Graph,
    GraphDelta,
    Intent,
    Item,
    Json,
    Lease,
    LeaseCompletion,
    ManifestEntry,
    Node,
    Read,
    ReadScope,
    SessionMeta,
    Tier,
    Unchanged,
    UsageRow,
    VacuumReport,
)
from leasehold.store import (
    Backend,
    Clock,
    HeadRevisionConflict,
    InvalidRequest,
    QueuedWorkClaimExpired,
    RuntimeTurnCommitConflict,
    SessionBindingMismatch,
    SessionExecutionLeaseExpired,
)
from leasehold_model.policy import Policies


@frozen
class Slot:
    """A node in its place."""

    node: Node
    hidden: bool


@define(eq=False)
class Held:
    """A claim."""

    claim_id: str
    token: str
    owner: str
    fencing: int
    claimed_at: int
    expires_at: int


@define(eq=False)
class Row:
    """A queued batch."""

    batch: Batch
    fencing: int = 0
    held: Held | None = None


@define(eq=False)
class Lane:
    """A lane, and the lease on it unless it was released."""

    fencing: int
    lease: Lease | None


@frozen
class Head:
    """What the last commit said."""

    revision: int
    commit: Commit
    checkpoint: Checkpoint
    ref: str


_COUNT = count(1)


def counted(kind: str) -> str:
    """Ids that are counted."""
    return f"{kind}#{next(_COUNT)}"


class PlainStore:
    """One handle, in memory. With ``session_id`` it is bound from its creation."""

    durability_tier: Tier = "inline"

    def __init__(
        self,
        clock: Clock,
        policies: Policies | None = None,
        *,
        session_id: str | None = None,
        numbers: Iterator[int] | None = None,
        mint: Callable[[str], str] = counted,
        fresh_refs: bool = False,
        eager: bool = False,
    ) -> None:
        self.clock = clock
        self.policies = policies or Policies()
        self.numbers = numbers or count(1)
        self.mint = mint
        self.fresh_refs = fresh_refs
        self.eager = eager
        self.bound = session_id
        self.head: Head | None = None
        self.slots: list[Slot] = []
        self.bodies: dict[str, tuple[str, Json]] = {}
        self.ledger: list[UsageRow] = []
        self.stamps: dict[tuple[str, str], tuple[str, CommitResult]] = {}
        self.lanes: dict[str, Lane] = {}
        self.rows: list[Row] = []
        self.remembered: dict[tuple[str, str], Batch] = {}
        self.manifest: list[ManifestEntry] = []
        self.meta: SessionMeta | None = None

    # Leases.

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        now = self.clock.now_ms()
        lane = self.lanes.get(session_id)
        lease = None if lane is None else lane.lease
        expires = ending(now, lease_ttl_ms)
        if lane is None or lease is None or lease.expires_at_epoch_ms <= now:
            lease = Lease(session_id, owner_id, self.mint("lease"), next(self.numbers), now, expires)
            self.lanes[session_id] = Lane(lease.fencing_token, lease)
            return lease
        if lease.owner_id != owner_id:
            return None
        keep = self.policies.reentry == "extend-only"
        lane.lease = evolve(lease, expires_at_epoch_ms=max(lease.expires_at_epoch_ms, expires) if keep else expires)
        return lane.lease

    def renew_session_execution_lease(self, fence: Fence, lease_ttl_ms: int) -> Lease:
        now = self.clock.now_ms()
        self.require_lease(fence.session_id, fence, now)
        lane = self.lanes[fence.session_id]
        assert lane.lease is not None
        lane.lease = evolve(lane.lease, expires_at_epoch_ms=ending(now, lease_ttl_ms))
        return lane.lease

    def release_session_execution_lease(self, completion: LeaseCompletion) -> None:
        if self.holder(completion) is not None:
            self.lanes[completion.session_id].lease = None

    def holder(self, fence: Fence | None) -> Lease | None:
        lane = None if fence is None else self.lanes.get(fence.session_id)
        return lane.lease if lane is not None and lane.lease is not None and lane.lease.fence() == fence else None

    def require_lease(self, session_id: str, fence: Fence | None, now: int) -> None:
        lease = self.holder(fence)
        if lease is None or lease.session_id != session_id or lease.expires_at_epoch_ms <= now:
            raise SessionExecutionLeaseExpired(session_id=session_id)

    # Commit.

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        now = self.clock.now_ms()
        session, stamp = commit.session_id, commit.turn_commit
        if self.bound not in (None, session):
            raise SessionBindingMismatch(bound_session_id=self.bound, attempted_session_id=session)
        if stamp is not None:
            known = self.stamps.get((stamp.session_id, stamp.turn_id))
            if stamp.session_id != session or (known is not None and known[0] != stamp.turn_commit_hash):
                raise RuntimeTurnCommitConflict(session_id=stamp.session_id, turn_id=stamp.turn_id)
            if known is not None:
                self.release_named(commit)
                return known[1]
        self.require_lease(session, commit.session_execution_lease, now)
        revision = 0 if self.head is None else self.head.revision
        if commit.expected_head_revision not in (None, revision):
            raise HeadRevisionConflict(expected=commit.expected_head_revision, actual=revision)
        done = self.completed(commit, now)
        slots = self.after(commit.graph)
        checkpoint, bodies = self.stored(commit.checkpoint)
        manifest = CheckpointManifest(
            turn_state=checkpoint.turn_state,
            tool_state_ref=checkpoint.tool_state_ref,
            plugin_snapshot_ref=checkpoint.plugin_snapshot_ref,
            plugin_snapshot_revision=checkpoint.plugin_snapshot_revision,
            execution_state_ref=checkpoint.execution_state_ref,
        )
        result = CommitResult(revision + 1, self.mint("checkpoint"), manifest)
        self.bodies.update(bodies)
        self.slots = slots
        self.bound = session
        self.head = Head(result.head_revision, commit, checkpoint, result.checkpoint_ref)
        for row in done:
            self.remove(row)
        for usage in commit.usage_deltas:
            self.add_usage(usage)
        self.commit_refs(session, commit.committed_attachment_ids)
        if stamp is not None:
            self.stamps[stamp.session_id, stamp.turn_id] = (stamp.turn_commit_hash, result)
        self.release_named(commit)
        return result

    def release_named(self, commit: Commit) -> None:
        if commit.release_session_execution_lease is not None:
            self.release_session_execution_lease(commit.release_session_execution_lease)

    def completed(self, commit: Commit, now: int) -> list[Row]:
        """The rows that the completions name."""
        done: list[Row] = []
        for index, one in enumerate(commit.completed_queue_claims):
            again = one.claim_id in [earlier.claim_id for earlier in commit.completed_queue_claims[:index]]
            if again and self.policies.complete_twice == "refuse":
                raise InvalidRequest("a claim is completed twice", field="completed_queue_claims")
            done += [row for row in self.completion(commit.session_id, one, now) if row not in done]
        return done

    def completion(self, session_id: str, one: ClaimCompletion, now: int) -> list[Row]:
        held = [row for row in self.rows if holds(row, one.session_id, one.claim_id, one.lease_token)]
        named = [row for row in held if row.batch.batch_id in one.batch_ids]
        if one.session_id != session_id or len(named) < len(set(one.batch_ids)):
            raise QueuedWorkClaimExpired(session_id=one.session_id, claim_id=one.claim_id)
        if not one.batch_ids:
            if self.policies.complete_empty == "refuse":
                raise InvalidRequest("nothing is named", field="batch_ids")
            return []
        if len(named) < len(one.batch_ids) and self.policies.complete_duplicate == "refuse":
            raise InvalidRequest("a batch is named twice", field="batch_ids")
        if len(named) < len(held) and self.policies.complete_subset == "refuse":
            raise InvalidRequest("a batch is left out", field="batch_ids")
        if self.policies.complete_expired == "refuse" and not live(named[0], now):
            raise QueuedWorkClaimExpired(session_id=one.session_id, claim_id=one.claim_id)
        return named

    def add_usage(self, usage: UsageRow) -> None:
        for index, row in enumerate(self.ledger):
            if (row.source, row.model) == (usage.source, usage.model):
                self.ledger[index] = evolve(
                    row,
                    input_tokens=row.input_tokens + usage.input_tokens,
                    output_tokens=row.output_tokens + usage.output_tokens,
                    cached_input_tokens=row.cached_input_tokens + usage.cached_input_tokens,
                    reasoning_tokens=row.reasoning_tokens + usage.reasoning_tokens,
                )
                return
        self.ledger.append(usage)

    def stored(self, given: Checkpoint) -> tuple[Checkpoint, dict[str, tuple[str, Json]]]:
        """The checkpoint with a reference for every part, and the bodies that are new."""
        new: dict[str, tuple[str, Json]] = {}
        tool, tool_ref = self.part("tool_state", given.tool_state, given.tool_state_ref, new)
        plugin, plugin_ref = self.part("plugin_snapshot", given.plugin_snapshot, given.plugin_snapshot_ref, new)
        execution, execution_ref = self.part("execution_state", given.execution_state, given.execution_state_ref, new)
        checkpoint = Checkpoint(
            turn_state=given.turn_state,
            tool_state=tool,
            tool_state_ref=tool_ref,
            plugin_snapshot=plugin,
            plugin_snapshot_ref=plugin_ref,
            plugin_snapshot_revision=given.plugin_snapshot_revision,
            execution_state=execution,
            execution_state_ref=execution_ref,
        )
        return checkpoint, new

    def part(self, kind: str, body: Json, ref: str | None, new: dict[str, tuple[str, Json]]) -> tuple[Json, str | None]:
        content = self.policies.checkpoint_ref == "content"
        if content and body is not None:
            same = [known for known, stored in self.bodies.items() if stored == (kind, body)]
            ref = same[0] if same and not self.fresh_refs else self.mint("body")
            new[ref] = (kind, body)
        elif content and ref is not None and self.bodies.get(ref, ("", None))[0] == kind:
            body = self.bodies[ref][1]
        elif body is None and ref is not None and self.policies.dangling_ref == "refuse":
            raise InvalidRequest(f"{ref} names nothing", field=f"{kind}_ref")
        return body, ref

    # The graph.

    def after(self, delta: GraphDelta) -> list[Slot]:
        """The nodes after a delta."""
        slots = list(self.slots) if isinstance(delta, Append | Unchanged) else []
        nodes = () if isinstance(delta, Unchanged) else delta.nodes
        for node in nodes:
            slots = self.with_node(slots, node)
        leaf = delta.leaf_node_id
        if leaf is not None and self.policies.leaf_unknown == "refuse" and find(slots, leaf) is None:
            raise InvalidRequest("the leaf names no visible node", field="leaf_node_id")
        for node in nodes:
            self.check_parents(slots, node)
        return slots

    def with_node(self, slots: list[Slot], node: Node) -> list[Slot]:
        same = [slot for slot in slots if slot.node.node_id == node.node_id]
        if not same:
            return [*slots, Slot(node, False)]
        revived = all(slot.hidden for slot in same)
        if (self.policies.node_revive if revived else self.policies.node_duplicate) == "refuse":
            raise InvalidRequest("the node exists", field="node_id")
        if not revived and self.policies.node_duplicate == "keep-both":
            return [*slots, Slot(node, False)]
        if (self.policies.revive_order if revived else self.policies.replace_order) == "at-end":
            return [*(slot for slot in slots if slot not in same), Slot(node, False)]
        return [Slot(node, False) if slot in same else slot for slot in slots]

    def check_parents(self, slots: list[Slot], node: Node) -> None:
        parents = {slot.node.node_id: slot.node.parent_node_id for slot in slots}
        if self.policies.parent_dangling == "refuse" and node.parent_node_id is not None and node.parent_node_id not in parents:
            raise InvalidRequest("the parent does not exist", field="parent_node_id")
        at, met = node.parent_node_id, {node.node_id}
        while self.policies.parent_cycle == "refuse" and at is not None:
            if at in met:
                raise InvalidRequest("the parents form a cycle", field="parent_node_id")
            met.add(at)
            at = parents.get(at)

    def load_session(self, scope: ReadScope) -> Read | None:
        head = self.head
        if head is None:
            return None
        commit = head.commit
        return Read(
            session_id=commit.session_id,
            head_revision=head.revision,
            config=commit.config,
            agent_frames=commit.agent_frames,
            current_agent_frame_id=commit.current_agent_frame_id,
            graph=self.full(head) if isinstance(scope, FullGraph) else self.path(scope.leaf_node_id or commit.graph.leaf_node_id),
            checkpoint_ref=head.ref,
            checkpoint=head.checkpoint,
            token_ledger=tuple(row for row in self.ledger if evolve(row, source="", model="") != UsageRow(source="", model="")),
        )

    def full(self, head: Head) -> Graph:
        leaf = head.commit.graph.leaf_node_id
        if self.policies.leaf_tombstoned == "none" and find(self.slots, leaf) is None:
            leaf = None
        return Graph(tuple(slot.node for slot in self.slots if not slot.hidden), leaf)

    def path(self, leaf: str | None) -> Graph:
        if leaf is None:
            every = tuple(slot.node for slot in self.slots if not slot.hidden)
            return Graph(every if self.policies.path_no_leaf == "all" else (), None)
        path: list[Node] = []
        at: str | None = leaf
        met: set[str] = set()
        while at is not None:
            if at in met:
                raise Backend(f"the parents of {leaf} form a cycle")
            met.add(at)
            node = find(self.slots, at)
            if node is not None:
                path.insert(0, node)
            elif self.policies.path_tombstoned == "skip":
                node = next((slot.node for slot in self.slots if slot.node.node_id == at), None)
            at = None if node is None else node.parent_node_id
        return Graph(tuple(path), leaf)

    def load_node(self, node_id: str) -> Node | None:
        return find(self.slots, node_id)

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        self.slots = [Slot(slot.node, True) if slot.node.node_id in ids else slot for slot in self.slots]
        if self.eager:
            self.vacuum()

    def vacuum(self) -> VacuumReport:
        before = len(self.slots)
        self.slots = [slot for slot in self.slots if not slot.hidden]
        return VacuumReport(before - len(self.slots))

    def gc_unreachable(self) -> GcReport:
        kept: set[str | None] = set()
        if self.head is not None:
            checkpoint = self.head.checkpoint
            kept = {checkpoint.tool_state_ref, checkpoint.plugin_snapshot_ref, checkpoint.execution_state_ref}
        self.bodies = {ref: body for ref, body in self.bodies.items() if ref in kept}
        return GcReport(0, 0, 0)

    # Queued work.

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        now = self.clock.now_ms()
        if batch.source_key is not None:
            for row in self.rows:
                if (row.batch.session_id, row.batch.source_key) == (batch.session_id, batch.source_key):
                    return row.batch
            if (batch.session_id, batch.source_key) in self.remembered:
                return self.remembered[batch.session_id, batch.source_key]
        stored = Batch(
            batch_id=self.mint("batch"),
            session_id=batch.session_id,
            enqueue_seq=next(self.numbers),
            source_key=batch.source_key,
            delivery_policy=batch.delivery_policy,
            slot_policy=batch.slot_policy,
            merge_key=batch.merge_key,
            available_at_ms=batch.available_at_ms,
            enqueued_at_ms=now,
            items=tuple([Item(self.mint("item"), payload) for payload in batch.payloads]),
        )
        self.rows.append(Row(stored))
        return stored

    def claim_ready_queued_work(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        max_batches: int,
    ) -> Claim | None:
        now = self.clock.now_ms()
        if max_batches == 0 and self.policies.zero_before_lease == "none-first":
            return None
        self.require_lease(session_id, session_execution_lease, now)
        run = self.run(session_id, boundary, max_batches, now) if max_batches else []
        return self.claim(run, owner_id, now, lease_ttl_ms) if run else None

    def claim_ready_queued_work_by_batch_ids(
        self,
        session_id: str,
        session_execution_lease: Fence,
        owner_id: str,
        boundary: Boundary,
        lease_ttl_ms: int,
        batch_ids: Sequence[str],
    ) -> Claim | None:
        now = self.clock.now_ms()
        if not batch_ids:
            return None
        self.require_lease(session_id, session_execution_lease, now)
        next(self.numbers)  # QUEUE-10 lets a store burn fencing numbers
        run = self.run(session_id, boundary, len(batch_ids), now)
        if [row.batch.batch_id for row in run] != list(batch_ids):
            return None
        return self.claim(run, owner_id, now, lease_ttl_ms)

    def run(self, session_id: str, boundary: Boundary, limit: int, now: int) -> list[Row]:
        """What a claim takes."""
        run: list[Row] = []
        for row in self.rows:
            batch = row.batch
            if batch.session_id != session_id or len(run) == limit:
                continue
            if batch.available_at_ms > now or live(row, now):
                if run and self.policies.join_gap == "break":
                    break
                continue
            if not run:
                if boundary == "active_turn_checkpoint" and batch.delivery_policy != "earliest_safe_boundary":
                    return []
                run.append(row)
                continue
            first = run[0].batch
            if not first.slot_policy == batch.slot_policy == "join":
                break
            if (batch.delivery_policy, batch.merge_key) != (first.delivery_policy, first.merge_key):
                break
            run.append(row)
        return run

    def claim(self, run: list[Row], owner_id: str, now: int, ttl: int) -> Claim:
        fencing = run[0].fencing + 1 if self.policies.claim_fence == "head" else next(self.numbers)
        held = Held(self.mint("claim"), self.mint("token"), owner_id, fencing, now, ending(now, ttl))
        for row in run:
            row.held, row.fencing = held, fencing
        return shown(held, run)

    def renew_queued_work_claim(self, claim: Claim, lease_ttl_ms: int) -> Claim:
        now = self.clock.now_ms()
        ids = [batch.batch_id for batch in claim.batches]
        run = [row for row in self.rows if row.batch.batch_id in ids and holds_claim(row, claim)]
        expired = self.policies.renew_expired == "refuse" and not all(live(row, now) for row in run)
        if len(run) < max(1, len(ids)) or expired:
            raise QueuedWorkClaimExpired(session_id=claim.session_id, claim_id=claim.claim_id)
        held = run[0].held
        assert held is not None
        held.expires_at = ending(now, lease_ttl_ms)
        return shown(held, run)

    def abandon_queued_work_claim(self, claim: Claim) -> None:
        for row in self.rows:
            if holds_claim(row, claim):
                row.held = None

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Batch | None:
        now = self.clock.now_ms()
        for row in self.rows:
            if (row.batch.session_id, row.batch.batch_id) == (session_id, batch_id) and not live(row, now):
                self.remove(row)
                return row.batch
        return None

    def remove(self, row: Row) -> None:
        self.rows.remove(row)
        if row.batch.source_key is not None and self.policies.source_key_reuse == "remembered":
            self.remembered[row.batch.session_id, row.batch.source_key] = row.batch

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        return [row.batch for row in self.rows if row.batch.session_id == session_id]

    def list_pending_queued_work(self, session_id: str) -> Sequence[Batch]:
        now = self.clock.now_ms()
        return [row.batch for row in self.rows if row.batch.session_id == session_id and not live(row, now)]

    # Metadata and attachments.

    def save_session_meta(self, meta: SessionMeta) -> None:
        self.meta = meta

    def load_session_meta(self) -> SessionMeta | None:
        return self.meta

    def record_intent(self, intent: Intent) -> None:
        by_id = self.policies.manifest_key == "id"
        new = ManifestEntry(
            attachment_id=intent.attachment_id,
            session_id=intent.session_id,
            canonical_uri=intent.canonical_uri,
            intent_at_epoch_ms=intent.intent_at_epoch_ms,
        )
        for index, entry in enumerate(self.manifest):
            if entry.attachment_id == intent.attachment_id and (by_id or entry.session_id == intent.session_id):
                if self.policies.intent_repeat == "refuse":
                    raise InvalidRequest("the attachment was recorded", field="attachment_id")
                if self.policies.intent_repeat == "last-wins":
                    self.manifest[index] = evolve(new, committed_at_epoch_ms=entry.committed_at_epoch_ms)
                return
        self.manifest.append(new)

    def commit_refs(self, session_id: str, attachment_ids: Sequence[str]) -> None:
        now = self.clock.now_ms()
        for index, entry in enumerate(self.manifest):
            if entry.session_id == session_id and entry.attachment_id in attachment_ids and entry.committed_at_epoch_ms is None:
                self.manifest[index] = evolve(entry, committed_at_epoch_ms=now)

    def list_uncommitted(self, older_than_epoch_ms: int) -> Sequence[ManifestEntry]:
        rows = [entry for entry in self.manifest if entry.committed_at_epoch_ms is None]
        return [entry for entry in reversed(rows) if entry.intent_at_epoch_ms <= older_than_epoch_ms]

    def forget(self, attachment_id: str) -> None:
        self.manifest = [entry for entry in self.manifest if entry.attachment_id != attachment_id]


def ending(now: int, ttl: int) -> int:
    """LAW-14."""
    return min(now + ttl, MAX_MS)


def live(row: Row, now: int) -> bool:
    """The row is under a live claim."""
    return row.held is not None and row.held.expires_at > now


def holds(row: Row, session_id: str, claim_id: str, token: str) -> bool:
    """The row is under that claim, live or not."""
    return row.batch.session_id == session_id and row.held is not None and (row.held.claim_id, row.held.token) == (claim_id, token)


def holds_claim(row: Row, claim: Claim) -> bool:
    """The row is under that claim, live or not."""
    return holds(row, claim.session_id, claim.claim_id, claim.lease_token)


def find(slots: list[Slot], node_id: str | None) -> Node | None:
    """The visible node of that id."""
    return next((slot.node for slot in slots if slot.node.node_id == node_id and not slot.hidden), None)


def shown(held: Held, run: list[Row]) -> Claim:
    """A claim as it is returned."""
    return Claim(
        session_id=run[0].batch.session_id,
        claim_id=held.claim_id,
        owner_id=held.owner,
        lease_token=held.token,
        fencing_token=held.fencing,
        claimed_at_epoch_ms=held.claimed_at,
        expires_at_epoch_ms=held.expires_at,
        batches=tuple([row.batch for row in run]),
    )

"""The seed's conformance scenarios, one function each, under the seed's names and with the seed's assertions.

A scenario takes ``make_store``, which gives a fresh, empty store on each call, and drives the store through its public interface.
It returns if the store is right and raises if not: AssertionError for a wrong answer, the store's own exception for a refusal
that should not have been. Nothing here knows of pytest, so that a grading tool can run them too: `run_suite`.

What the seed checks beyond the contract's words, or leaves open, is noted at the line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any, Literal, Protocol, TypeVar

from attrs import evolve, frozen

from leasehold.drafts import process_wake_draft
from leasehold.records import (
    ActivePath,
    Batch,
    BatchDraft,
    Boundary,
    Claim,
    ClaimCompletion,
    Commit,
    CommitResult,
    Fence,
    FullGraph,
    Group,
    Intent,
    Lease,
    ManifestEntry,
    Node,
    Read,
    SessionMeta,
    Tier,
    TurnStamp,
    UsageRow,
)
from leasehold.store import (
    QueuedWorkClaimExpired,
    Refusal,
    RuntimeTurnCommitConflict,
    SessionExecutionLeaseExpired,
    Store,
)
from leasehold.wire.codec import from_wire, to_wire
from leasehold_model.session_state import (
    SessionState,
    agent_frame,
    append_agent_frame,
    current_agent_frame,
    ensure_agent_frame,
    initial_session_state,
    persisted_commit,
    set_execution_state_snapshot,
)
from leasehold_model.turn_hash import turn_commit_hash

T = TypeVar("T")
R = TypeVar("R", bound=Refusal)

MINUTE = 60_000
FAR_FUTURE = 4_102_444_800_000


class Reopenable(Store, Protocol):
    """A store whose data another handle finds."""

    def open_handle(self) -> Reopenable:
        """One more handle, also after every other was closed."""
        ...

    def close(self) -> None:
        """Let this handle go."""
        ...


MakeStore = Callable[[], Store]
MakeReopenable = Callable[[], Reopenable]


# ---- what the scenarios share -----------------------------------------------------------------------------------------------


def present(value: T | None, what: str) -> T:
    """The value, which must be there."""
    assert value is not None, f"{what} must be there"
    return value


def refusal(kind: type[R], call: Callable[[], object], why: str) -> R:
    """The refusal of this kind that the call must end in."""
    try:
        answer = call()
    except kind as refused:
        return refused
    raise AssertionError(f"{why}: expected {kind.__name__}, got {answer!r}")


def claim_lease(store: Store, session_id: str, owner_id: str) -> Lease:
    """The lease on a lane that must be free."""
    return present(store.try_claim_session_execution_lease(session_id, owner_id, MINUTE), "the lease on a free lane")


def release_lease(store: Store, lease: Lease) -> None:
    """Let the lane go."""
    store.release_session_execution_lease(lease.completion())


def commit_of(state: SessionState, *usage: UsageRow) -> Commit:
    """The commit that persists a session state."""
    return from_wire(Commit, persisted_commit(state, tuple(to_wire(row) for row in usage)))


def hash_of(commit: Commit) -> str:
    """The turn commit hash of a commit (COMMIT-9)."""
    return turn_commit_hash(to_wire(commit))


def under(commit: Commit, lease: Lease, *completed: ClaimCompletion) -> Commit:
    """The commit under this lease, which it releases, with these completions."""
    return evolve(
        commit,
        session_execution_lease=lease.fence(),
        release_session_execution_lease=lease.completion(),
        completed_queue_claims=(*commit.completed_queue_claims, *completed),
    )


def commit_under_fresh_lease(store: Store, commit: Commit, owner_id: str) -> CommitResult:
    """Claim the commit's lane, commit, and release the lane in the commit."""
    return store.commit_runtime_state(under(commit, claim_lease(store, commit.session_id, owner_id)))


def draft(
    session_id: str,
    text: str,
    delivery_policy: Literal["earliest_safe_boundary", "after_current_turn_commit"],
    slot_policy: Literal["join", "exclusive"],
    **others: Any,
) -> BatchDraft:
    """A batch of one turn input."""
    payload = {"type": "turn_input", "input": {"items": [{"type": "text", "text": text}]}}
    return BatchDraft(
        session_id=session_id, delivery_policy=delivery_policy, slot_policy=slot_policy, payloads=(payload,), **others
    )


def text_of(batch: Batch) -> str | None:
    """The text of a batch of one turn input; None for any other payload."""
    payload = batch.items[0].payload
    return str(payload["input"]["items"][0]["text"]) if payload["type"] == "turn_input" else None


def ids_of(batches: Sequence[Batch]) -> list[str]:
    """The batch ids, in the order given."""
    return [batch.batch_id for batch in batches]


def try_claim_work(
    store: Store, session_id: str, owner_id: str, boundary: Boundary, *, ttl: int = MINUTE, max_batches: int = 10
) -> Claim | None:
    """Claim ready work under a session lease of the same owner, which is released again."""
    lease = claim_lease(store, session_id, owner_id)
    claim = store.claim_ready_queued_work(session_id, lease.fence(), owner_id, boundary, ttl, max_batches)
    release_lease(store, lease)
    return claim


def claim_work(store: Store, session_id: str, owner_id: str, boundary: Boundary = "idle", **others: int) -> Claim:
    """Claim ready work, of which there must be some."""
    return present(try_claim_work(store, session_id, owner_id, boundary, **others), f"a claim of {owner_id} on {session_id}")


def try_claim_batches(store: Store, session_id: str, owner_id: str, batch_ids: Sequence[str]) -> Claim | None:
    """Claim exactly these batches under a session lease of the same owner, which is released again."""
    lease = claim_lease(store, session_id, owner_id)
    claim = store.claim_ready_queued_work_by_batch_ids(session_id, lease.fence(), owner_id, "idle", MINUTE, batch_ids)
    release_lease(store, lease)
    return claim


def load(store: Store) -> Read:
    """The session with its full graph, which must be there."""
    return present(store.load_session(FullGraph()), "the committed session")


def node(node_id: str, parent: str | None = None) -> Node:
    """A protocol event that names its node."""
    event = {"type": "protocol", "protocol": "conformance", "payload": {"node": node_id}}
    return Node(node_id=node_id, parent_node_id=parent, content={"kind": "event", "event": event})


def with_graph(session_id: str, nodes: Sequence[Node], leaf: str) -> SessionState:
    """A session whose graph is to be replaced by these nodes."""
    return initial_session_state(
        session_id, nodes=tuple(to_wire(one) for one in nodes), leaf_node_id=leaf, graph_replace_required=True
    )


def node_ids(read: Read) -> list[str]:
    """The node ids of a read, in its order."""
    return [one.node_id for one in read.graph.nodes]


def intent(attachment_id: str) -> Intent:
    """An attachment of the session root, about to be written at 100."""
    return Intent(attachment_id=attachment_id, session_id="root", canonical_uri=f"sha256:{attachment_id}", intent_at_epoch_ms=100)


def attachments(entries: Sequence[ManifestEntry]) -> list[str]:
    """The attachment ids in alphabetical order."""
    return sorted(entry.attachment_id for entry in entries)


def meta(session_name: str) -> SessionMeta:
    """Metadata of the session root."""
    return SessionMeta(
        session_id="root",
        session_name=session_name,
        created_at="2026-06-02T00:00:00Z",
        model="gpt-5.4-mini",
        cwd="conformance/work",
        relation={"kind": "root"},
    )


# ---- declared durability, head, loads ----------------------------------------------------------------------------------------


def runtime_persistence_reports_declared_durability(make_store: MakeStore, tier: Tier) -> None:
    """The store's tier is the one it was declared with."""
    declared = make_store().durability_tier
    assert declared == tier, f"the declared tier is {tier}, the store says {declared}"


def commit_increments_head_and_round_trips_agent_frames(make_store: MakeStore) -> None:
    """Frames and the execution state come back as committed."""
    store = make_store()
    config = {"provider_id": "unset", "model": {"id": "gpt-5.4-mini", "limits": {"context_window_tokens": 200_000}}}
    state = ensure_agent_frame(initial_session_state("root", config=config))
    previous = state.current_agent_frame_id
    assignment = current_agent_frame(state).get("assignment")
    frame = agent_frame("root", "frame-2", reason="plan_mode", previous_frame_id=previous, assignment=assignment)
    state = set_execution_state_snapshot(append_agent_frame(state, frame), b"frame-vm")

    commit_under_fresh_lease(store, commit_of(state), "commit-round-trip")
    read = load(store)

    assert read.current_agent_frame_id == "frame-2"
    assert len(read.agent_frames) == 2
    current = next((one for one in read.agent_frames if one["frame_id"] == "frame-2"), None)
    assert current is not None, "the appended frame must be loaded"
    assert current["reason"] == "plan_mode"
    assert bytes(current["execution_state_snapshot"]) == b"frame-vm"
    assert present(read.checkpoint, "the checkpoint").execution_state == b"frame-vm"


def commit_rejects_a_different_session_id(make_store: MakeStore) -> None:
    """The first commit binds the store; a commit for another session is refused, with whatever refusal."""
    store = make_store()
    commit_under_fresh_lease(store, commit_of(initial_session_state("alpha")), "bind-alpha")
    beta = commit_of(initial_session_state("beta"))
    refusal(Refusal, lambda: commit_under_fresh_lease(store, beta, "bind-beta"), "the store is bound to another session")


def load_hydrates_checkpoint_and_usage(make_store: MakeStore) -> None:
    """A load brings the checkpoint's bodies and the ledger."""
    store = make_store()
    state = initial_session_state(
        "hydrated", tool_state={"generation": 9}, plugin_snapshot={"plugins": {}}, plugin_snapshot_revision=12
    )
    usage = UsageRow(source="turn", model="mock-model", input_tokens=11, output_tokens=7, cached_input_tokens=3, reasoning_tokens=5)
    commit_under_fresh_lease(store, commit_of(state, usage), "hydrate")

    read = load(store)
    checkpoint = present(read.checkpoint, "the checkpoint")
    assert read.session_id == "hydrated"
    assert present(checkpoint.tool_state, "the tool state")["generation"] == 9
    assert checkpoint.plugin_snapshot_revision == 12
    assert len(read.token_ledger) == 1
    assert read.token_ledger[0].input_tokens == 11


def active_path_read_scope_selects_only_requested_ancestry(make_store: MakeStore) -> None:
    """The full graph has every branch; the active path only the one that leads to its leaf."""
    store = make_store()
    nodes = [
        node("root-node"),
        node("left-node", "root-node"),
        node("left-leaf", "left-node"),
        node("right-leaf", "root-node"),
    ]
    commit_under_fresh_lease(store, commit_of(with_graph("branchy", nodes, "left-leaf")), "active-path")

    full = load(store)
    assert node_ids(full) == ["root-node", "left-node", "left-leaf", "right-leaf"], "the full graph keeps every branch"

    persisted = present(store.load_session(ActivePath(None)), "the active path")
    assert node_ids(persisted) == ["root-node", "left-node", "left-leaf"], "without a leaf: to the head's, siblings hidden"
    assert persisted.graph.leaf_node_id == "left-leaf"

    explicit = present(store.load_session(ActivePath("right-leaf")), "the path to the leaf asked for")
    assert node_ids(explicit) == ["root-node", "right-leaf"], "with a leaf: to that one, not to the head's"
    assert explicit.graph.leaf_node_id == "right-leaf"


# ---- session execution lease -------------------------------------------------------------------------------------------------


def session_execution_lease_contract(make_store: MakeStore) -> None:
    """Leases exclude, fence and renew; commits and queue claims need one; a replay does not."""
    store = make_store()
    _lease_excludes_and_fences(store)
    commit_lease = _commits_need_a_live_lease(store)
    _replay_needs_none(store)
    _queue_claims_need_a_live_lease(store, commit_lease)


def _lease_excludes_and_fences(store: Store) -> None:
    first = claim_lease(store, "root", "owner-a")
    reentered = present(store.try_claim_session_execution_lease("root", "owner-a", 2 * MINUTE), "the re-entered lease")
    assert reentered.lease_token == first.lease_token
    assert reentered.fencing_token == first.fencing_token
    assert reentered.expires_at_epoch_ms >= first.expires_at_epoch_ms
    assert store.try_claim_session_execution_lease("root", "owner-b", MINUTE) is None, "a live lease excludes other owners"

    renewed = store.renew_session_execution_lease(reentered.fence(), 2 * MINUTE)
    assert renewed.lease_token == first.lease_token
    assert renewed.expires_at_epoch_ms >= reentered.expires_at_epoch_ms

    stale = _stale_fence(reentered.fence())
    refusal(
        SessionExecutionLeaseExpired,
        lambda: store.renew_session_execution_lease(stale, MINUTE),
        "a renewal with a stale token must fail",
    )
    store.release_session_execution_lease(_stale_fence(first.completion()))
    assert store.try_claim_session_execution_lease("root", "owner-b", MINUTE) is None, "a stale release clears nothing"

    release_lease(store, renewed)
    second = claim_lease(store, "root", "owner-b")
    assert second.fencing_token > first.fencing_token, "a lane claimed again has a greater fencing token"
    store.release_session_execution_lease(first.completion())
    assert store.try_claim_session_execution_lease("root", "owner-c", MINUTE) is None, "an old release clears no newer lease"
    release_lease(store, second)

    expired = present(store.try_claim_session_execution_lease("root", "owner-expired", 0), "a lease of no length")
    reclaimed = claim_lease(store, "root", "owner-reclaim")
    assert reclaimed.fencing_token > expired.fencing_token
    release_lease(store, reclaimed)


def _stale_fence(fence: Fence) -> Fence:
    return evolve(fence, lease_token=f"{fence.lease_token}:stale")


def _commits_need_a_live_lease(store: Store) -> Lease:
    commit = commit_of(initial_session_state("root"))
    refusal(
        SessionExecutionLeaseExpired, lambda: store.commit_runtime_state(commit), "a commit without a live lease must be refused"
    )
    lease = claim_lease(store, "root", "commit-owner")
    store.commit_runtime_state(under(commit, lease))
    release_lease(store, claim_lease(store, "root", "after-commit"))
    return lease


def _replay_needs_none(store: Store) -> None:
    """The seed commits a second time without naming the revision it expects (COMMIT-6)."""
    commit = commit_of(initial_session_state("root", turn_index=1))
    commit = evolve(commit, turn_commit=TurnStamp("root", "lease-replay-turn", hash_of(commit)))
    first = store.commit_runtime_state(under(commit, claim_lease(store, "root", "turn-owner")))
    replay = store.commit_runtime_state(commit)
    assert replay.head_revision == first.head_revision


def _queue_claims_need_a_live_lease(store: Store, released: Lease) -> None:
    batch = store.enqueue_queued_work(draft("root", "fenced queue", "earliest_safe_boundary", "exclusive"))
    refusal(
        SessionExecutionLeaseExpired,
        lambda: store.claim_ready_queued_work("root", released.fence(), "queue-owner", "idle", MINUTE, 1),
        "a queue claim without a live lease must be refused",
    )
    claim = claim_work(store, "root", "queue-owner", max_batches=1)
    assert claim.batches[0].batch_id == batch.batch_id


# ---- attachment manifest -----------------------------------------------------------------------------------------------------


def attachment_manifest_records_intent_and_commit_stamps(make_store: MakeStore) -> None:
    """Intents are listed until a commit, or a reference committed apart, stamps them, or they are forgotten."""
    store = make_store()
    for attachment_id in ("runtime-commit", "manual-commit", "orphan"):
        store.record_intent(intent(attachment_id))
    assert len(store.list_uncommitted(200)) == 3

    store.commit_refs("root", ["manual-commit"])
    commit = evolve(commit_of(initial_session_state("root")), committed_attachment_ids=("runtime-commit",))
    commit_under_fresh_lease(store, commit, "attachment-manifest")

    still = store.list_uncommitted(200)
    assert len(still) == 1
    assert still[0].attachment_id == "orphan"
    assert still[0].committed_at_epoch_ms is None

    store.forget("orphan")
    assert attachments(store.list_uncommitted(200)) == []


def noop_attachment_manifest_is_explicit_and_empty(make_store: MakeStore) -> None:
    """A declared no-op manifest takes everything and keeps nothing."""
    store = make_store()
    store.record_intent(intent("noop"))
    store.commit_refs("root", ["noop"])
    assert attachments(store.list_uncommitted(200)) == [], "a declared no-op manifest keeps no intent"
    store.forget("noop")


# ---- queued work -------------------------------------------------------------------------------------------------------------


def queued_work_source_keys_are_idempotent_and_list_ordered(make_store: MakeStore) -> None:
    """A source key met again gives the first batch; lists are per session and in order."""
    store = make_store()
    first = store.enqueue_queued_work(draft("root", "first", "earliest_safe_boundary", "join", source_key="source:first"))
    replay = store.enqueue_queued_work(
        draft("root", "different replay payload", "earliest_safe_boundary", "join", source_key="source:first")
    )
    second = store.enqueue_queued_work(draft("root", "second", "earliest_safe_boundary", "exclusive"))
    store.enqueue_queued_work(draft("other", "other session", "earliest_safe_boundary", "exclusive"))

    assert first.batch_id == replay.batch_id, "the replay of a source key gives the first batch"
    assert first.items[0].item_id == replay.items[0].item_id
    assert text_of(replay) == "first", "the replay gives the stored payload, not its own"
    listed = store.list_queued_work("root")
    assert ids_of(listed) == [first.batch_id, second.batch_id]
    assert listed[0].enqueue_seq < listed[1].enqueue_seq


def queued_work_cancel_removes_only_unclaimed_batches(make_store: MakeStore) -> None:
    """A batch can be cancelled unless it is claimed, and again once the claim is abandoned."""
    store = make_store()
    cancellable = store.enqueue_queued_work(draft("root", "cancel me", "after_current_turn_commit", "exclusive"))
    cancelled = present(store.cancel_queued_work_batch("root", cancellable.batch_id), "the cancelled batch")
    assert cancelled.batch_id == cancellable.batch_id
    assert text_of(cancelled) == "cancel me"
    assert ids_of(store.list_queued_work("root")) == [], "a cancelled batch leaves the queue"

    claimed = store.enqueue_queued_work(draft("root", "claimed", "after_current_turn_commit", "exclusive"))
    claim = claim_work(store, "root", "owner", max_batches=1)
    assert claim.batches[0].batch_id == claimed.batch_id
    assert ids_of(store.list_pending_queued_work("root")) == [], "a claimed batch is not pending"
    assert len(store.list_queued_work("root")) == 1, "a claimed batch stays queued until it is completed"
    assert store.cancel_queued_work_batch("root", claimed.batch_id) is None, "a claimed batch cannot be cancelled"

    store.abandon_queued_work_claim(claim)
    assert len(store.list_pending_queued_work("root")) == 1, "the batch of an abandoned claim is pending again"
    present(store.cancel_queued_work_batch("root", claimed.batch_id), "the batch of an abandoned claim")


def queued_work_exact_claim_uses_selected_batch_ids(make_store: MakeStore) -> None:
    """A claim by ids takes what stands first in the queue, or nothing."""
    store = make_store()
    first = store.enqueue_queued_work(draft("root", "first", "after_current_turn_commit", "exclusive"))
    second = store.enqueue_queued_work(draft("root", "second", "after_current_turn_commit", "exclusive"))

    assert try_claim_batches(store, "root", "owner", [second.batch_id]) is None, "earlier work is not skipped"
    assert ids_of(store.list_pending_queued_work("root")) == [first.batch_id, second.batch_id]

    claim = present(try_claim_batches(store, "root", "owner", [first.batch_id]), "the claim on the first batch")
    assert ids_of(claim.batches) == [first.batch_id]
    assert ids_of(store.list_pending_queued_work("root")) == [second.batch_id]


def queued_work_claims_respect_boundaries_renewal_and_abandon(make_store: MakeStore) -> None:
    """The boundary decides on the first batch; an abandoned claim is taken over with a greater fence; a claim is renewed."""
    store = make_store()
    after_commit = store.enqueue_queued_work(draft("root", "after current commit", "after_current_turn_commit", "exclusive"))
    earliest = store.enqueue_queued_work(draft("root", "earliest", "earliest_safe_boundary", "exclusive"))

    at_checkpoint = try_claim_work(store, "root", "owner-a", "active_turn_checkpoint")
    assert at_checkpoint is None, "work for after the commit, standing first, waits for the idle boundary"

    idle_claim = claim_work(store, "root", "owner-a")
    assert len(idle_claim.batches) == 1
    assert idle_claim.batches[0].batch_id == after_commit.batch_id

    checkpoint_claim = claim_work(store, "root", "owner-b", "active_turn_checkpoint")
    assert checkpoint_claim.batches[0].batch_id == earliest.batch_id

    store.abandon_queued_work_claim(idle_claim)
    reclaimed = claim_work(store, "root", "owner-c")
    assert reclaimed.batches[0].batch_id == after_commit.batch_id
    assert reclaimed.fencing_token > idle_claim.fencing_token, "abandoned work is claimed with a greater fencing token"

    renewed = store.renew_queued_work_claim(reclaimed, MINUTE)
    assert renewed.claim_id == reclaimed.claim_id
    assert renewed.lease_token == reclaimed.lease_token
    assert renewed.batches[0].batch_id == reclaimed.batches[0].batch_id
    assert renewed.expires_at_epoch_ms >= reclaimed.expires_at_epoch_ms


def queued_work_respects_availability_limits_exclusivity_reclaim_and_sessions(make_store: MakeStore) -> None:
    """Undue work is skipped, exclusive work goes alone, sessions are apart, expired claims are taken over, limits hold."""
    store = make_store()
    store.enqueue_queued_work(draft("root", "not ready", "earliest_safe_boundary", "exclusive", available_at_ms=FAR_FUTURE))
    exclusive = store.enqueue_queued_work(draft("root", "exclusive", "earliest_safe_boundary", "exclusive"))
    joined = store.enqueue_queued_work(draft("root", "joined", "earliest_safe_boundary", "join", merge_key=Group("root")))
    other = store.enqueue_queued_work(draft("other", "other session", "earliest_safe_boundary", "exclusive"))

    claim = claim_work(store, "root", "owner-a")
    assert ids_of(claim.batches) == [exclusive.batch_id], "exclusive work is claimed alone, undue work before it is skipped"
    assert claim_work(store, "root", "owner-b").batches[0].batch_id == joined.batch_id
    assert claim_work(store, "other", "owner-c").batches[0].batch_id == other.batch_id, "one session takes nothing of another's"
    _expired_claims_are_taken_over(store)
    _claims_are_limited(store)


def _expired_claims_are_taken_over(store: Store) -> None:
    source = store.enqueue_queued_work(draft("reclaim", "expired claim", "earliest_safe_boundary", "exclusive"))
    expired = claim_work(store, "reclaim", "owner-a", ttl=0, max_batches=1)
    reclaimed = claim_work(store, "reclaim", "owner-b", max_batches=1)
    assert reclaimed.batches[0].batch_id == source.batch_id
    assert reclaimed.fencing_token > expired.fencing_token, "an expired claim is taken over with a greater fencing token"


def _claims_are_limited(store: Store) -> None:
    one, two, three = (
        store.enqueue_queued_work(draft("limited", text, "earliest_safe_boundary", "join", merge_key=Group("limited")))
        for text in ("one", "two", "three")
    )
    limited = claim_work(store, "limited", "owner", max_batches=2)
    assert ids_of(limited.batches) == [one.batch_id, two.batch_id], "max_batches limits a joined claim"
    assert claim_work(store, "limited", "owner-next").batches[0].batch_id == three.batch_id


def queued_work_join_groups_by_delivery_policy_and_merge_key(make_store: MakeStore) -> None:
    """A claim joins the neighbours that share delivery policy and merge key, and no others."""
    store = make_store()
    first = store.enqueue_queued_work(draft("root", "group a one", "earliest_safe_boundary", "join", merge_key=Group("a")))
    second = store.enqueue_queued_work(draft("root", "group a two", "earliest_safe_boundary", "join", merge_key=Group("a")))
    other_key = store.enqueue_queued_work(draft("root", "group b", "earliest_safe_boundary", "join", merge_key=Group("b")))
    other_delivery = store.enqueue_queued_work(
        draft("root", "after commit", "after_current_turn_commit", "join", merge_key=Group("a"))
    )

    first_claim = claim_work(store, "root", "owner-a")
    assert ids_of(first_claim.batches) == [first.batch_id, second.batch_id], "only neighbours of one policy and key are joined"
    assert claim_work(store, "root", "owner-b").batches[0].batch_id == other_key.batch_id
    assert claim_work(store, "root", "owner-c").batches[0].batch_id == other_delivery.batch_id


def queued_work_completion_is_lease_guarded(make_store: MakeStore) -> None:
    """A commit completes a claim only with the claim's own token."""
    store = make_store()
    first, second = (
        store.enqueue_queued_work(draft("root", text, "earliest_safe_boundary", "join", merge_key=Group("joined")))
        for text in ("join one", "join two")
    )
    lease = claim_lease(store, "root", "owner-a")
    claim = present(store.claim_ready_queued_work("root", lease.fence(), "owner-a", "idle", MINUTE, 10), "the joined claim")
    assert ids_of(claim.batches) == [first.batch_id, second.batch_id]

    commit = commit_of(initial_session_state("root"))
    stale = evolve(commit, session_execution_lease=lease.fence(), completed_queue_claims=(_stale(claim),))
    refusal(QueuedWorkClaimExpired, lambda: store.commit_runtime_state(stale), "a stale completion must be refused")
    assert len(store.list_queued_work("root")) == 2, "a refused completion leaves the queue as it was"

    store.commit_runtime_state(under(commit, lease, claim.completion()))
    assert ids_of(store.list_queued_work("root")) == [], "completed work leaves the queue"


def _stale(claim: Claim) -> ClaimCompletion:
    return evolve(claim.completion(), lease_token=f"{claim.lease_token}:stale")


def queued_wake_delivery_is_source_key_idempotent_and_claimed_once(make_store: MakeStore) -> None:
    """A wake that is sent twice is queued, claimed and completed once."""
    store = make_store()
    subject = {"kind": "process_event", "process_id": "process-1", "sequence": 7, "event_type": "process.wake"}
    wake = {
        "wake_id": "wake-1",
        "target_session_id": "root",
        "target_scope_id": "session:root",
        "process_id": "process-1",
        "sequence": 7,
        "event_type": "process.wake",
        "event_invocation": {"scope": {"session_id": "root"}, "subject": subject},
        "dedupe_key": "wake-dedupe-1",
        "input": "wake payload",
        "created_at_ms": 1,
    }
    first = store.enqueue_queued_work(process_wake_draft(wake))
    replay = store.enqueue_queued_work(process_wake_draft(wake))
    assert first.batch_id == replay.batch_id, "the wake sent again is the batch already queued"
    assert len(store.list_queued_work("root")) == 1, "the wake sent again makes no second batch"

    lease = claim_lease(store, "root", "wake-owner")
    claim = present(store.claim_ready_queued_work("root", lease.fence(), "wake-owner", "idle", MINUTE, 10), "the wake's claim")
    assert len(claim.batches) == 1
    assert len(claim.batches[0].items) == 1
    assert claim.batches[0].items[0].payload["type"] == "process_wake"

    store.commit_runtime_state(under(commit_of(initial_session_state("root")), lease, claim.completion()))
    assert ids_of(store.list_queued_work("root")) == [], "a completed wake leaves the queue"


# ---- commits and stamps ------------------------------------------------------------------------------------------------------


def queue_completion_and_turn_commit_stamp_are_atomic(make_store: MakeStore) -> None:
    """A refused completion refuses head and stamp with it; an accepted one is replayed with its first result."""
    store = make_store()
    batch = store.enqueue_queued_work(draft("root", "atomic queue", "earliest_safe_boundary", "exclusive"))
    lease = claim_lease(store, "root", "queue-owner")
    claim = present(store.claim_ready_queued_work("root", lease.fence(), "queue-owner", "idle", MINUTE, 1), "the claim")
    assert claim.batches[0].batch_id == batch.batch_id

    base = commit_of(initial_session_state("root", turn_index=41))
    commit = evolve(base, turn_commit=TurnStamp("root", "turn-atomic", hash_of(base)))
    stale = evolve(commit, session_execution_lease=lease.fence(), completed_queue_claims=(_stale(claim),))
    refusal(QueuedWorkClaimExpired, lambda: store.commit_runtime_state(stale), "a stale completion must refuse the whole commit")
    assert store.load_session(FullGraph()) is None, "a refused commit stores no session"
    assert len(store.list_queued_work("root")) == 1, "a refused commit leaves the queue as it was"

    first = store.commit_runtime_state(under(commit, lease, claim.completion()))
    retry = store.commit_runtime_state(under(commit, lease, claim.completion()))
    assert retry.head_revision == first.head_revision
    assert retry.checkpoint_ref == first.checkpoint_ref
    assert store.load_session(FullGraph()) is not None, "an accepted commit stores the session"
    assert ids_of(store.list_queued_work("root")) == [], "an accepted commit completes the claim"


def session_metadata_round_trips(make_store: MakeStore) -> None:
    """All six fields come back."""
    store = make_store()
    saved = meta("Conformance Root")
    store.save_session_meta(saved)
    loaded = present(store.load_session_meta(), "the saved metadata")
    assert loaded.session_id == saved.session_id
    assert loaded.session_name == saved.session_name
    assert loaded.created_at == saved.created_at
    assert loaded.model == saved.model
    assert loaded.cwd == saved.cwd
    assert loaded.relation == saved.relation


def tombstone_vacuum_and_gc_are_minimally_consistent(make_store: MakeStore) -> None:
    """A tombstoned node is hidden from loads; vacuum counts what it removed; collecting garbage does no harm."""
    store = make_store()
    state = with_graph("root", [node("node-live"), node("node-delete", "node-live")], "node-delete")
    commit_under_fresh_lease(store, commit_of(state), "tombstone")
    present(store.load_node("node-delete"), "the node before its tombstone")

    store.tombstone_nodes(["node-delete"])
    assert store.load_node("node-delete") is None, "a tombstoned node cannot be loaded"
    assert "node-delete" not in node_ids(load(store)), "a tombstoned node is in no graph"
    removed = store.vacuum().removed_node_count
    assert removed <= 1, f"vacuum counts what this call removed, not {removed}"
    store.gc_unreachable()


def final_commit_stamp_is_idempotent_and_conflicts_on_changed_hash(make_store: MakeStore) -> None:
    """A stamped commit is replayed without a lease; its name with another hash is refused."""
    store = make_store()
    state = initial_session_state("root")
    commit = commit_of(state)
    stamp = TurnStamp("root", "provider-turn", hash_of(commit))
    stamped = evolve(commit, turn_commit=stamp)

    first = store.commit_runtime_state(under(stamped, claim_lease(store, "root", "provider-turn")))
    retry = store.commit_runtime_state(stamped)
    assert retry.head_revision == first.head_revision
    assert retry.checkpoint_ref == first.checkpoint_ref

    from_new_head = evolve(commit_of(state), expected_head_revision=first.head_revision)
    assert hash_of(from_new_head) == stamp.turn_commit_hash, "a turn's identity does not depend on the expected revision"

    changed = commit_of(initial_session_state("root", turn_index=1))
    conflicting = evolve(changed, turn_commit=TurnStamp("root", "provider-turn", hash_of(changed)))
    refusal(RuntimeTurnCommitConflict, lambda: store.commit_runtime_state(conflicting), "one turn, another commit")


# ---- reopening ---------------------------------------------------------------------------------------------------------------


def session_execution_lease_first_claim_excludes_concurrent_reopen_handles(make_store: MakeReopenable) -> None:
    """Of two handles that claim a new lane at once, one is granted."""
    store = make_store()
    with closing(store.open_handle()) as reopened:
        _race_for_the_first_claim(store, reopened)


def runtime_persistence_survives_reopen(make_store: MakeReopenable) -> None:
    """What one handle wrote, a second one, opened while the first was open, reads; after the race for the first claim."""
    store = make_store()
    with closing(store.open_handle()) as reopened:
        _race_for_the_first_claim(store, reopened)
        queued = _write_what_must_survive(store)
        _read_what_survived(reopened, queued)


def runtime_persistence_survives_closing(make_store: MakeReopenable) -> None:
    """The same with the only handle closed before the next one is opened. Not in the seed, which keeps both open."""
    store = make_store()
    queued = _write_what_must_survive(store)
    store.close()
    with closing(store.open_handle()) as reopened:
        _read_what_survived(reopened, queued)


def _race_for_the_first_claim(one: Store, other: Store) -> None:
    barrier = Barrier(3, timeout=30)

    def claim(store: Store, owner_id: str) -> Lease | None:
        barrier.wait()
        return store.try_claim_session_execution_lease("first-claim-race", owner_id, MINUTE)

    with ThreadPoolExecutor(2) as racers:
        claims = [racers.submit(claim, one, "owner-a"), racers.submit(claim, other, "owner-b")]
        barrier.wait()
        granted = [lease for lease in (future.result() for future in claims) if lease is not None]
    assert len(granted) == 1, f"exactly one of two first claims is granted, not {len(granted)}"
    release_lease(one, granted[0])


def _write_what_must_survive(store: Store) -> Batch:
    store.save_session_meta(meta("Durable Root"))
    state = initial_session_state("root", tool_state={"generation": 77})
    commit_under_fresh_lease(store, commit_of(state), "reopen")
    queued = store.enqueue_queued_work(
        draft("root", "survives reopen", "earliest_safe_boundary", "exclusive", source_key="reopen:queued")
    )
    store.record_intent(intent("reopen-attachment"))
    return queued


def _read_what_survived(store: Store, queued: Batch) -> None:
    assert present(store.load_session_meta(), "the metadata").session_name == "Durable Root"
    read = load(store)
    assert read.session_id == "root"
    assert present(read.checkpoint, "the checkpoint").tool_state == {"generation": 77}
    queue = store.list_queued_work("root")
    assert len(queue) == 1
    assert queue[0].batch_id == queued.batch_id
    assert text_of(queue[0]) == "survives reopen"
    assert "reopen-attachment" in attachments(store.list_uncommitted(200)), "intents survive reopening"


# ---- the whole suite ---------------------------------------------------------------------------------------------------------

EVERY_STORE: tuple[Callable[[MakeStore], None], ...] = (
    commit_increments_head_and_round_trips_agent_frames,
    commit_rejects_a_different_session_id,
    load_hydrates_checkpoint_and_usage,
    active_path_read_scope_selects_only_requested_ancestry,
    session_execution_lease_contract,
    queued_work_source_keys_are_idempotent_and_list_ordered,
    queued_work_cancel_removes_only_unclaimed_batches,
    queued_work_exact_claim_uses_selected_batch_ids,
    queued_work_claims_respect_boundaries_renewal_and_abandon,
    queued_work_respects_availability_limits_exclusivity_reclaim_and_sessions,
    queued_work_join_groups_by_delivery_policy_and_merge_key,
    queued_work_completion_is_lease_guarded,
    queued_wake_delivery_is_source_key_idempotent_and_claimed_once,
    queue_completion_and_turn_commit_stamp_are_atomic,
    session_metadata_round_trips,
    tombstone_vacuum_and_gc_are_minimally_consistent,
    final_commit_stamp_is_idempotent_and_conflicts_on_changed_hash,
)
"""What the seed runs on every store, whatever it declares."""

SECOND_HANDLE: tuple[Callable[[MakeReopenable], None], ...] = (
    session_execution_lease_first_claim_excludes_concurrent_reopen_handles,
    runtime_persistence_survives_reopen,
)
"""What the seed runs on a store with a second handle."""


@frozen(kw_only=True)
class Declared:
    """What a store declares of itself, as far as the seed asks."""

    tier: Tier = "inline"
    manifest: Literal["persistent", "noop"] = "persistent"
    second_handle: bool = False


def run_suite(make_store: Callable[[], Any], declared: Declared) -> Mapping[str, Exception | None]:
    """Every scenario that the declaration asks for: its name, and what it raised or None."""
    manifest = (
        attachment_manifest_records_intent_and_commit_stamps
        if declared.manifest == "persistent"
        else noop_attachment_manifest_is_explicit_and_empty
    )
    outcomes: dict[str, Exception | None] = {}
    for scenario in (*EVERY_STORE, manifest, *(SECOND_HANDLE if declared.second_handle else ())):
        outcomes[scenario.__name__] = _outcome(scenario, make_store)
    durability = runtime_persistence_reports_declared_durability
    outcomes[durability.__name__] = _outcome(durability, make_store, declared.tier)
    return outcomes


def _outcome(scenario: Callable[..., None], *args: object) -> Exception | None:
    try:
        scenario(*args)
    except Exception as raised:  # noqa: BLE001  # whatever a broken store raises is a finding
        return raised
    return None

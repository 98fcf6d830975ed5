"""The laws as predicates over whole transitions, in other words than the code's, and what must sometimes happen.

A predicate takes a `Transition` and is true where the law holds. Laws about concurrency and crashes (LAW-2 across handles, LAW-10,
LAW-12) speak of runs, not of one transition, and are checked by the oracle.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from leasehold_model.attachment import ListUncommitted
from leasehold_model.claim import AbandonClaim, ClaimByIds, Claimed, ClaimReady
from leasehold_model.commit import CommitState, Committed
from leasehold_model.graph import APPEND, REPLACE_FULL, Loaded
from leasehold_model.lease import Leased, ReleaseLease, TryClaimLease
from leasehold_model.machine import Command, Response
from leasehold_model.outcome import Absent, Refused
from leasehold_model.queue import CancelBatch, Enqueue, Queued
from leasehold_model.state import Batch, State


@frozen
class Transition:
    """One step of the machine."""

    before: State
    command: Command
    now: int
    after: State
    response: Response


def law_1_refusal_is_inert(t: Transition) -> bool:
    """LAW-1: errors and 'not granted' leave everything as it was."""
    return not isinstance(t.response, Refused | Absent) or t.after == t.before


def law_2_one_writer(t: Transition) -> bool:
    """LAW-2: a live lane changes hands only by release or expiry."""
    for old in t.before.lanes:
        for new in t.after.lanes:
            if old.session == new.session and old.token != 0 and t.now < old.expires_at and new.token not in (0, old.token):
                return False
    return len({lane.session for lane in t.after.lanes}) == len(t.after.lanes)


def law_3_fences_rise(t: Transition) -> bool:
    """LAW-3: counters of lanes never fall; a new token comes with a greater one, an old token with the same."""
    counters = {lane.session: lane for lane in t.before.lanes}
    for lane in t.after.lanes:
        old = counters.pop(lane.session, None)
        if old is not None and (lane.fencing < old.fencing or (lane.token == old.token and lane.fencing != old.fencing)):
            return False
        if lane.token != 0 and (old is None or lane.token != old.token) and lane.fencing <= (old.fencing if old else 0):
            return False
    return not counters


def law_4_claims_are_fenced(t: Transition) -> bool:
    """LAW-4: a fresh claim's token is greater than the counter of each of its batches was."""
    if not isinstance(t.response, Claimed) or not isinstance(t.command, ClaimReady | ClaimByIds):
        return True
    counters = {batch.batch: batch.fencing for batch in t.before.queue}
    return all(t.response.fencing > counters[batch.batch] == _find(t.before, batch).fencing for batch in t.response.batches)


def law_5_conservation(t: Transition) -> bool:
    """LAW-5: batches appear by enqueue, and go only by completion under a claim or by cancellation."""
    before, after = [int(batch.batch) for batch in t.before.queue], [int(batch.batch) for batch in t.after.queue]
    if len(set(after)) != len(after):
        return False
    new, gone = [b for b in after if b not in before], [b for b in before if b not in after]
    if new and not (isinstance(t.command, Enqueue) and new == [t.command.name] and after[-1] == t.command.name):
        return False
    if isinstance(t.command, CommitState) and isinstance(t.response, Committed):
        named = {batch: (done.claim, done.token) for done in t.command.completions for batch in done.batches}
        return all(named.get(b.batch) == (b.hold.claim, b.hold.token) for b in t.before.queue if b.batch in gone)
    return not gone or (isinstance(t.command, CancelBatch) and gone == [t.command.batch])


def law_6_revision(t: Transition) -> bool:
    """LAW-6: the revision rises by 1 with an accepted commit, and never otherwise."""
    accepted = isinstance(t.response, Committed) and t.response.rule == "COMMIT-8"
    return t.after.head.revision - t.before.head.revision == int(accepted)


def law_7_replay(t: Transition) -> bool:
    """LAW-7: a replay returns the stored result and touches nothing but lanes."""
    if not isinstance(t.response, Committed) or t.response.rule != "COMMIT-4":
        return True
    stored = [s for s in t.before.stamps if (s.revision, s.checkpoint_ref) == (t.response.revision, t.response.checkpoint_ref)]
    same = all(getattr(t.before, name) == getattr(t.after, name) for name in _PARTS if name != "lanes")
    return same and len(stored) == 1 and stored[0].checkpoint == t.response.checkpoint


def law_8_ledger(t: Transition) -> bool:
    """LAW-8: totals grow by exactly the rows of an accepted commit; one row per (source, model); order is kept."""
    rows = t.command.usage if isinstance(t.command, CommitState) and t.after.head != t.before.head else ()
    keys = [(row.source, row.model) for row in t.after.ledger]
    old_keys = [(row.source, row.model) for row in t.before.ledger]
    totals = [
        sum(r.input + r.output * 3 + r.cached_input * 7 + r.reasoning * 11 for r in part)
        for part in (t.before.ledger, rows, t.after.ledger)
    ]
    return len(set(keys)) == len(keys) and keys[: len(old_keys)] == old_keys and totals[0] + totals[1] == totals[2]


def law_9_sessions_are_isolated(t: Transition) -> bool:
    """LAW-9: lanes and batches of other sessions than the command's are untouched."""
    session = _session_of(t.command)
    if session is None:
        return t.before.lanes == t.after.lanes and t.before.queue == t.after.queue
    lanes = [tuple(lane for lane in s.lanes if lane.session != session) for s in (t.before, t.after)]
    queues = [tuple(batch for batch in s.queue if batch.session != session) for s in (t.before, t.after)]
    return lanes[0] == lanes[1] and queues[0] == queues[1]


def law_11_atomic_commit(t: Transition) -> bool:
    """LAW-11: head, checkpoint, stamp and completions of a commit are all there after it, or none is."""
    if not isinstance(t.command, CommitState) or t.after.head == t.before.head:
        return True
    done = {batch for completion in t.command.completions for batch in completion.batches}
    head = t.after.head
    return (
        head.checkpoint.turn_state == t.command.checkpoint.turn_state
        and head.leaf == t.command.delta.leaf
        and not any(batch.batch in done for batch in t.after.queue)
        and len(t.after.stamps) - len(t.before.stamps) == int(t.command.stamp.turn != 0)
        and (t.command.delta.kind != REPLACE_FULL or t.after.nodes == t.command.delta.nodes)
    )


def law_14_large_times(t: Transition) -> bool:
    """LAW-14: no time is beyond 2^63-1, and what is granted with a ttl is not in the past."""
    if isinstance(t.response, Leased):
        return t.now <= t.response.lane.expires_at <= 2**63 - 1
    if isinstance(t.response, Claimed):
        return t.now <= t.response.hold.expires_at <= 2**63 - 1
    return True


LAWS: dict[str, Callable[[Transition], bool]] = {
    "LAW-1": law_1_refusal_is_inert,
    "LAW-2": law_2_one_writer,
    "LAW-3": law_3_fences_rise,
    "LAW-4": law_4_claims_are_fenced,
    "LAW-5": law_5_conservation,
    "LAW-6": law_6_revision,
    "LAW-7": law_7_replay,
    "LAW-8": law_8_ledger,
    "LAW-9": law_9_sessions_are_isolated,
    "LAW-11": law_11_atomic_commit,
    "LAW-14": law_14_large_times,
}
"""Identifier -> predicate. LAW-4 holds under P-CLAIM-FENCE ``max``; ``head`` breaks it (docs/claim-fence.md)."""

SOMETIMES: dict[str, Callable[[Transition], bool]] = {
    "a lane is taken over after its lease expired": lambda t: (
        isinstance(t.command, TryClaimLease)
        and isinstance(t.response, Leased)
        and t.response.rule == "LEASE-1"
        and any(lane.session == t.command.session and lane.token != 0 for lane in t.before.lanes)
    ),
    "a released lane is granted again": lambda t: (
        isinstance(t.response, Leased)
        and t.response.rule == "LEASE-1"
        and any(lane.session == t.response.lane.session and lane.token == 0 for lane in t.before.lanes)
    ),
    "an old release meets a newer lease": lambda t: (
        isinstance(t.command, ReleaseLease)
        and t.before == t.after
        and any(lane.session == t.command.completion.session and lane.token != 0 for lane in t.before.lanes)
    ),
    "a claim joins several batches": lambda t: isinstance(t.response, Claimed) and len(t.response.batches) > 1,
    "a claim skips over earlier work": lambda t: (
        isinstance(t.response, Claimed)
        and isinstance(t.command, ClaimReady)
        and any(b.session == t.command.session and b.seq < t.response.batches[0].seq for b in t.before.queue)
    ),
    "an expired claim is taken over": lambda t: (
        isinstance(t.response, Claimed)
        and isinstance(t.command, ClaimReady | ClaimByIds)
        and any(_find(t.before, batch).hold.claim != 0 for batch in t.response.batches)
    ),
    "a commit completes several claims": lambda t: (
        isinstance(t.command, CommitState) and t.after.head != t.before.head and len(t.command.completions) > 1
    ),
    "a good completion is refused beside a bad one": lambda t: (
        isinstance(t.command, CommitState)
        and isinstance(t.response, Refused)
        and t.response.rule == "COMMIT-7"
        and len(t.command.completions) > 1
    ),
    "a turn is replayed": lambda t: isinstance(t.response, Committed) and t.response.rule == "COMMIT-4",
    "a commit keeps a body by its reference": lambda t: (
        isinstance(t.command, CommitState)
        and t.after.head != t.before.head
        and t.command.checkpoint.tool_state.body == 0 != t.command.checkpoint.tool_state.ref
    ),
    "an append meets hidden nodes": lambda t: (
        isinstance(t.command, CommitState) and t.command.delta.kind == APPEND and any(node.tombstoned for node in t.before.nodes)
    ),
    "a path is cut by a hidden node": lambda t: (
        isinstance(t.response, Loaded)
        and t.response.rule == "GRAPH-4"
        and any(node.tombstoned for node in t.before.nodes)
        and len(t.response.nodes) > 0
    ),
    "a source key is met again": lambda t: (
        isinstance(t.command, Enqueue) and isinstance(t.response, Queued) and t.response.rule == "QUEUE-2"
    ),
    "an abandoned claim frees work": lambda t: isinstance(t.command, AbandonClaim) and t.before != t.after,
    "an intent stays uncommitted": lambda t: isinstance(t.command, ListUncommitted) and len(t.before.manifest) > 0,
}
"""What a run that means anything reaches at some time."""

_PARTS = (
    "bound",
    "head",
    "nodes",
    "replaced",
    "bodies",
    "ledger",
    "stamps",
    "lanes",
    "queue",
    "last_seq",
    "remembered",
    "manifest",
    "meta",
)


def _find(state: State, batch: Batch) -> Batch:
    return next(other for other in state.queue if other.batch == batch.batch)


def _session_of(command: Command) -> int | None:
    for name in ("fence", "completion"):
        fence = getattr(command, name, None)
        if fence is not None and not hasattr(command, "session"):
            return int(fence.session)
    session = getattr(command, "session", None)
    return None if session is None else int(session)

"""The state machine: every command, every response, one step."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from attrs import frozen

from leasehold_model import attachment, claim, graph, lease, queue
from leasehold_model.attachment import CommitRefs, Forget, FoundMeta, ListUncommitted, LoadMeta, RecordIntent, SaveMeta, Uncommitted
from leasehold_model.claim import AbandonClaim, ClaimByIds, Claimed, ClaimReady, RenewClaim
from leasehold_model.commit import CommitState, Committed, commit
from leasehold_model.graph import CollectGarbage, FoundNode, Loaded, LoadNode, LoadSession, Tombstone, Vacuum, Vacuumed
from leasehold_model.ids import Millis, SessionId
from leasehold_model.lease import Leased, ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.outcome import Absent, Done, Refused, Silent
from leasehold_model.policy import SEED, Policies
from leasehold_model.queue import CancelBatch, Enqueue, Listed, ListQueued, Queued
from leasehold_model.state import State

Command: TypeAlias = (
    TryClaimLease
    | RenewLease
    | ReleaseLease
    | CommitState
    | LoadSession
    | LoadNode
    | Tombstone
    | Vacuum
    | CollectGarbage
    | Enqueue
    | ClaimReady
    | ClaimByIds
    | RenewClaim
    | AbandonClaim
    | CancelBatch
    | ListQueued
    | RecordIntent
    | CommitRefs
    | ListUncommitted
    | Forget
    | SaveMeta
    | LoadMeta
)

Response: TypeAlias = (
    Refused
    | Absent
    | Done
    | Silent
    | Leased
    | Queued
    | Claimed
    | Listed
    | Committed
    | Loaded
    | FoundNode
    | Vacuumed
    | Uncommitted
    | FoundMeta
)


@frozen(kw_only=True)
class Contract:
    """What one store is held to: its policies, and whether its manifest keeps rows (ATTACH-5)."""

    policies: Policies = SEED.recommended
    persistent_manifest: bool = True


RECOMMENDED = Contract()


def initial(contract: Contract, session: SessionId) -> State:
    """A fresh store, made for this session (COMMIT-1, P-BINDING)."""
    return State(bound=session if contract.policies.binding == "at-create" else SessionId(0))


def step(state: State, command: Command, now: Millis, contract: Contract = RECOMMENDED) -> tuple[State, Response]:
    """What a right store answers at ``now`` (milliseconds), and what it holds afterwards. Total, pure, the only judge."""
    policies = contract.policies
    match command:
        case TryClaimLease():
            return lease.try_claim(state, command, now, policies)
        case RenewLease():
            return lease.renew(state, command, now)
        case ReleaseLease():
            return lease.release(state, command)
        case CommitState():
            return commit(state, command, now, policies)
        case LoadSession():
            return graph.load_session(state, command, policies)
        case LoadNode():
            return graph.load_node(state, command)
        case Tombstone():
            return graph.tombstone(state, command)
        case Vacuum():
            return graph.vacuum(state)
        case CollectGarbage():
            return graph.collect_garbage(state)
        case Enqueue():
            return queue.enqueue(state, command, now)
        case ClaimReady():
            return claim.claim_ready(state, command, now, policies)
        case ClaimByIds():
            return claim.claim_by_ids(state, command, now, policies)
        case RenewClaim():
            return claim.renew_claim(state, command, now, policies)
        case AbandonClaim():
            return claim.abandon_claim(state, command)
        case CancelBatch():
            return queue.cancel(state, command, now, policies)
        case ListQueued():
            return queue.listed(state, command, now)
        case RecordIntent():
            return attachment.record_intent(state, command, policies, contract.persistent_manifest)
        case CommitRefs():
            return attachment.commit_refs(state, command)
        case ListUncommitted():
            return attachment.list_uncommitted(state, command)
        case Forget():
            return attachment.forget(state, command)
        case SaveMeta():
            return attachment.save_meta(state, command)
        case LoadMeta():
            return attachment.load_meta(state)
        case _:
            assert_never(command)

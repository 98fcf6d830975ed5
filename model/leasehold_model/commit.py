"""The atomic commit: contract section 4. The order of the checks is the order of the requirements."""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold_model.attachment import stamped
from leasehold_model.decisions import STAMP_CONFLICT, STAMP_REPLAY, revision_agrees, stamp_decision
from leasehold_model.graph import Delta, applied, delta_flaw, replaced
from leasehold_model.ids import AttachmentId, Body, CheckpointRef, Millis, Name, SessionId, TurnHash, TurnId
from leasehold_model.outcome import (
    ANY_ERROR,
    BINDING_MISMATCH,
    LEASE_EXPIRED,
    REVISION_CONFLICT,
    TURN_CONFLICT,
    Refused,
    Silent,
)
from leasehold_model.policy import Policies
from leasehold_model.queue import Completion, completed, completion_flaw
from leasehold_model.state import NO_PART, Checkpoint, Fence, Head, Part, Stamp, State, Usage, is_live_holder, released

EXPECT_NOTHING = -1
"""An ``expected_revision`` that asks for no compare-and-swap."""


@frozen
class TurnStamp:
    """The identity of a turn's commit; turn 0: no stamp."""

    session: SessionId
    turn: TurnId
    turn_hash: TurnHash


@frozen(kw_only=True)
class CommitState:
    """Commit a session's state. Token 0 in ``fence`` or ``release``: not given."""

    session: SessionId
    fence: Fence
    release: Fence
    expected_revision: int
    stamp: TurnStamp
    config: Body
    agent_frames: Body
    current_frame: Body
    delta: Delta
    checkpoint: Checkpoint
    usage: tuple[Usage, ...]
    completions: tuple[Completion, ...]
    attachments: tuple[AttachmentId, ...]
    name: Name


@frozen
class Committed:
    """The result of an accepted commit, or of the replay of one. The manifest is the checkpoint's references."""

    rule: str
    revision: int
    checkpoint_ref: CheckpointRef
    checkpoint: Checkpoint


def commit(state: State, command: CommitState, now: Millis, policies: Policies) -> tuple[State, Committed | Refused | Silent]:
    """COMMIT-1 to COMMIT-8: the first check that fails decides; else everything happens in one step (LAW-11)."""
    session, stamp = command.session, command.stamp
    if command.release.token != 0 and command.release.session != session:
        return state, Silent("COMMIT-8 does not say whether a commit may release another session's lane")
    if state.bound not in (0, session):
        return state, Refused("COMMIT-1", BINDING_MISMATCH, (state.bound, session))
    if stamp.turn != 0:
        if stamp.session != session:
            return state, Refused("COMMIT-2", TURN_CONFLICT)
        known = stamp_of(state, stamp)
        decision = stamp_decision(known is not None, known.turn_hash if known else 0, stamp.turn_hash)
        if decision == STAMP_CONFLICT:
            return state, Refused("COMMIT-3", TURN_CONFLICT)
        if decision == STAMP_REPLAY and known is not None:
            after = evolve(state, lanes=released(state.lanes, command.release))
            return after, Committed("COMMIT-4", known.revision, known.checkpoint_ref, known.checkpoint)
    flaw = content_flaw(state, command, now, policies)
    if isinstance(flaw, Silent):
        return state, flaw
    malformed = flaw is not None and flaw.code == ANY_ERROR
    if not is_live_holder(state, session, command.fence, now):
        return state, Refused("COMMIT-5", ANY_ERROR if malformed else LEASE_EXPIRED)
    if not revision_agrees(command.expected_revision, state.head.revision):
        details = (command.expected_revision, state.head.revision)
        return state, Refused("COMMIT-6", ANY_ERROR if malformed else REVISION_CONFLICT, () if malformed else details)
    if flaw is not None:
        return state, flaw
    return accepted(state, command, policies)


def stamp_of(state: State, stamp: TurnStamp) -> Stamp | None:
    """What is stored under (session, turn)."""
    for known in state.stamps:
        if known.session == stamp.session and known.turn == stamp.turn:
            return known
    return None


def content_flaw(state: State, command: CommitState, now: Millis, policies: Policies) -> Refused | Silent | None:
    """What is wrong with what the commit brings: completions first (COMMIT-7), then the graph, then the checkpoint.

    A flaw that a policy refuses may be noticed before the lease or the revision is looked at: then any error is right.
    """
    completion = completion_flaw(state, command.session, command.completions, now, policies)
    delta = delta_flaw(state, command.delta, policies)
    checkpoint = checkpoint_flaw(state, command.checkpoint, policies)
    for flaw in (completion, delta, checkpoint):
        if isinstance(flaw, Silent):
            return flaw
    return delta or checkpoint or completion


def checkpoint_flaw(state: State, checkpoint: Checkpoint, policies: Policies) -> Refused | Silent | None:
    """Whether the content references of a checkpoint can be kept (COMMIT-10, P-DANGLING-REF)."""
    current = state.head.checkpoint
    for part, before in (
        (checkpoint.tool_state, current.tool_state),
        (checkpoint.plugin_snapshot, current.plugin_snapshot),
        (checkpoint.execution_state, current.execution_state),
    ):
        if part.ref == 0:
            continue
        if part.body != 0:
            if policies.checkpoint_ref == "echo" or part.body != part.ref:
                return Silent("COMMIT-10 does not say which counts when a body and another reference are given")
        elif policies.checkpoint_ref == "content" and part.ref in state.bodies:
            if part.ref != before.body:
                return Silent("COMMIT-10 does not say how long a reference outlives the checkpoint it was in")
        elif policies.dangling_ref == "refuse":
            return Refused("COMMIT-10", ANY_ERROR)
    return None


def stored_part(part: Part, bodies: tuple[Body, ...], policies: Policies) -> Part:
    """A part as stored (COMMIT-10): a body gets a reference; a reference alone keeps the body it names."""
    if policies.checkpoint_ref == "echo":
        return part
    if part.body != 0:
        return Part(part.body, part.body)
    if part.ref == 0:
        return NO_PART
    return Part(part.ref, part.ref) if part.ref in bodies else part


def accepted(state: State, command: CommitState, policies: Policies) -> tuple[State, Committed]:
    """COMMIT-8: all of it, at once. The hash of the stamp is kept as it was given (COMMIT-9)."""
    given = command.checkpoint
    parts = (given.tool_state, given.plugin_snapshot, given.execution_state)
    tool_state, plugin_snapshot, execution_state = (stored_part(part, state.bodies, policies) for part in parts)
    checkpoint = Checkpoint(given.turn_state, tool_state, plugin_snapshot, execution_state, given.plugin_snapshot_revision)
    revision = state.head.revision + 1  # LAW-6
    reference = CheckpointRef(command.name)
    head = Head(revision, command.config, command.agent_frames, command.current_frame, command.delta.leaf, checkpoint, reference)
    stamps = state.stamps
    if command.stamp.turn != 0:
        stamp = command.stamp
        stamps = (*stamps, Stamp(stamp.session, stamp.turn, stamp.turn_hash, revision, reference, checkpoint))
    nodes = applied(state.nodes, command.delta, policies)
    after = evolve(
        completed(state, command.completions, policies),
        bound=command.session,
        head=head,
        nodes=nodes,
        replaced=(*state.replaced, *replaced(state.nodes, command.delta)),
        bodies=(*state.bodies, *(part.body for part in parts if part.body != 0 and part.body not in state.bodies)),
        ledger=merged(state.ledger, command.usage),
        stamps=stamps,
        lanes=released(state.lanes, command.release),
        manifest=stamped(state.manifest, command.session, command.attachments),
    )
    return after, Committed("COMMIT-8", revision, reference, checkpoint)


def merged(ledger: tuple[Usage, ...], rows: tuple[Usage, ...]) -> tuple[Usage, ...]:
    """The ledger with rows added: sums by (source, model), in first-seen order (LAW-8)."""
    for row in rows:
        for index, known in enumerate(ledger):
            if known.source == row.source and known.model == row.model:
                total = Usage(
                    known.source,
                    known.model,
                    known.input + row.input,
                    known.output + row.output,
                    known.cached_input + row.cached_input,
                    known.reasoning + row.reasoning,
                )
                ledger = (*ledger[:index], total, *ledger[index + 1 :])
                break
        else:
            ledger = (*ledger, row)
    return ledger

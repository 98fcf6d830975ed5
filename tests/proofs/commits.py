"""Proofs about the commit: which check decides, what an accepted commit does, what a replay leaves alone."""

from __future__ import annotations

from attrs import evolve

from leasehold_model.commit import Committed, TurnStamp, commit, merged
from leasehold_model.graph import APPEND, Delta
from leasehold_model.ids import AttachmentId, BatchId, Body, CheckpointRef, Millis, SessionId, TurnHash, TurnId
from leasehold_model.outcome import (
    BINDING_MISMATCH,
    CLAIM_EXPIRED,
    LEASE_EXPIRED,
    REVISION_CONFLICT,
    TURN_CONFLICT,
    Refused,
)
from leasehold_model.policy import Policies
from leasehold_model.queue import Completion
from leasehold_model.state import EMPTY_CHECKPOINT, NO_HEAD, Batch, Entry, Fence, Head, Lane, Node, Stamp, State, Usage
from tests.proofs.registry import Twin, proved
from tests.proofs.states import bare_commit, holder_of, numbered

STRICT = Policies()


def leased(lane: Lane, fence: Fence, session: SessionId, now: Millis) -> bool:
    """The fence is that of the session's live lease."""
    shown = (fence.session, fence.owner, fence.token, fence.fencing) == (lane.session, lane.owner, lane.token, lane.fencing)
    return shown and lane.session == session and lane.token != 0 and now < lane.expires_at


@proved(
    "COMMIT-1",
    "COMMIT-2",
    "COMMIT-3",
    "COMMIT-4",
    "COMMIT-5",
    "COMMIT-6",
    "LAW-1",
    "LAW-6",
    over="1 lane, 1 stamp, any head, no completions",
    twins=(
        Twin("commit", "if state.bound not in (0, session):", "if state.bound != session:"),
        Twin("commit", "if stamp.session != session:", "if False:"),
        Twin("commit", "if decision == STAMP_CONFLICT:", "if False:"),
        Twin("commit", "if known.session == stamp.session and known.turn == stamp.turn:", "if known.turn == stamp.turn:"),
        Twin("commit", "if not revision_agrees(command.expected_revision, state.head.revision):", "if False:"),
        Twin("commit", "revision = state.head.revision + 1", "revision = command.expected_revision + 1"),
        Twin(
            "commit",
            "known.revision, known.checkpoint_ref, known.checkpoint)",
            "state.head.revision, known.checkpoint_ref, known.checkpoint)",
        ),
    ),
)
def the_first_check_that_fails_decides(
    lane: Lane,
    known: Stamp,
    bound: SessionId,
    revision: int,
    fence: Fence,
    session: SessionId,
    stamp: TurnStamp,
    expected: int,
    now: Millis,
) -> None:
    """
    pre: revision >= 0 and expected >= -1 and known.turn != 0
    post: True
    """
    known = Stamp(known.session, known.turn, known.turn_hash, known.revision, known.checkpoint_ref, EMPTY_CHECKPOINT)
    state = State(lanes=(lane,), stamps=(known,), bound=bound, head=evolve(NO_HEAD, revision=revision))
    command = evolve(bare_commit(session, fence), stamp=stamp, expected_revision=expected)
    after, answer = commit(state, command, now, STRICT)
    met = stamp.turn != 0 and (known.session, known.turn) == (stamp.session, stamp.turn)
    if bound not in (0, session):
        assert answer == Refused("COMMIT-1", BINDING_MISMATCH, (bound, session))
    elif stamp.turn != 0 and stamp.session != session:
        assert answer == Refused("COMMIT-2", TURN_CONFLICT)
    elif met and known.turn_hash != stamp.turn_hash:
        assert answer == Refused("COMMIT-3", TURN_CONFLICT)
    elif met:
        assert answer == Committed("COMMIT-4", known.revision, known.checkpoint_ref, EMPTY_CHECKPOINT)
    elif not leased(lane, fence, session, now):
        assert answer == Refused("COMMIT-5", LEASE_EXPIRED)
    elif expected >= 0 and expected != revision:
        assert answer == Refused("COMMIT-6", REVISION_CONFLICT, (expected, revision))
    else:
        assert isinstance(answer, Committed) and (answer.rule, answer.revision) == ("COMMIT-8", revision + 1)
        assert (after.bound, after.head.revision, after.lanes) == (session, revision + 1, (lane,))
        fresh = Stamp(stamp.session, stamp.turn, stamp.turn_hash, revision + 1, answer.checkpoint_ref, answer.checkpoint)
        assert after.stamps == ((known, fresh) if stamp.turn != 0 else (known,))
        return
    assert after == state


@proved(
    "COMMIT-5",
    "COMMIT-6",
    "COMMIT-7",
    "COMMIT-8",
    "LAW-1",
    "LAW-5",
    "LAW-11",
    over="1 lane, 2 batches, a completion of 1 id",
    twins=(
        Twin("commit", "    if flaw is not None:\n        return state, flaw\n    return accepted", "    return accepted"),
        Twin("commit", "completed(state, command.completions, policies),", "state,"),
        Twin(
            "commit",
            "after = evolve(\n        completed(",
            "after = evolve(state) if not stamps and revision > 5 else evolve(\n        completed(",
        ),
        Twin(
            "queue",
            "if batch.batch in completion.batches)\n        state",
            "if batch.session == completion.session)\n        state",
        ),
    ),
)
def a_commit_completes_what_it_names_or_does_nothing(
    a: Batch, b: Batch, lane: Lane, fence: Fence, revision: int, expected: int, named: BatchId, now: Millis
) -> None:
    """
    pre: revision >= 0 and expected >= -1 and a.hold.size == 1 and b.hold.size == 1 and a.session == b.session == lane.session
    pre: a.hold.claim == 0 or a.hold.claim != b.hold.claim
    post: True
    """
    state = State(lanes=(lane,), queue=numbered(a, b), last_seq=2, head=evolve(NO_HEAD, revision=revision))
    done = Completion(lane.session, a.hold.claim, a.hold.token, (named,))
    command = evolve(bare_commit(lane.session, fence), expected_revision=expected, completions=(done,))
    after, answer = commit(state, command, now, STRICT)
    if not leased(lane, fence, lane.session, now):
        assert (after, answer) == (state, Refused("COMMIT-5", LEASE_EXPIRED))
    elif expected not in (-1, revision):
        assert (after, answer) == (state, Refused("COMMIT-6", REVISION_CONFLICT, (expected, revision)))
    elif a.hold.claim == 0 or named != 1:
        assert (after, answer) == (state, Refused("COMMIT-7", CLAIM_EXPIRED))
    else:
        assert isinstance(answer, Committed) and answer.revision == after.head.revision == revision + 1
        assert after.queue == state.queue[1:] and after.last_seq == 2 and after.remembered == ()
        assert (after.lanes, after.stamps, after.manifest, after.nodes) == (state.lanes, (), (), ())


@proved(
    "COMMIT-3",
    "COMMIT-4",
    "LAW-6",
    "LAW-7",
    over="1 lane, 1 batch; a commit, then one of the same turn at any later time",
    twins=(
        Twin(
            "commit",
            "stamps = (*stamps, Stamp(stamp.session, stamp.turn, stamp.turn_hash, revision, reference, checkpoint))",
            "stamps = stamps",
        ),
        Twin(
            "commit",
            "Stamp(stamp.session, stamp.turn, stamp.turn_hash, revision, reference, checkpoint))",
            "Stamp(stamp.session, stamp.turn, TurnHash(0), revision, reference, checkpoint))",
        ),
        Twin(
            "commit",
            "after = evolve(state, lanes=released(state.lanes, command.release))",
            "after = evolve(state, lanes=released(state.lanes, command.release), head=evolve(state.head, config=command.config))",
        ),
        Twin(
            "commit",
            "stamp_decision(known is not None, known",
            "stamp_decision(known is not None and now < 7, known",
        ),
    ),
)
def a_turn_is_committed_once(
    batch: Batch,
    lane: Lane,
    turn: TurnId,
    first_hash: TurnHash,
    then_hash: TurnHash,
    fence: Fence,
    expected: int,
    now: Millis,
    then: Millis,
) -> None:
    """
    pre: turn != 0 and now <= then and lane.session == batch.session and batch.hold.size == 1
    post: True
    """
    session = lane.session
    state = State(lanes=(lane,), queue=numbered(batch), last_seq=1)
    done = Completion(session, batch.hold.claim, batch.hold.token, (BatchId(1),))
    begin = evolve(bare_commit(session, holder_of(lane)), stamp=TurnStamp(session, turn, first_hash), completions=(done,))
    once, first = commit(state, begin, now, STRICT)
    if not isinstance(first, Committed):
        return
    again = evolve(begin, fence=fence, stamp=TurnStamp(session, turn, then_hash), expected_revision=expected, config=Body(5))
    twice, second = commit(once, again, then, STRICT)
    assert twice == once
    if first_hash == then_hash:
        assert second == evolve(first, rule="COMMIT-4")
    else:
        assert second == Refused("COMMIT-3", TURN_CONFLICT)


@proved(
    "LAW-8",
    "COMMIT-8",
    over="2 ledger rows, 2 new rows",
    twins=(
        Twin("commit", "if known.source == row.source and known.model == row.model:", "if known.source == row.source:"),
        Twin("commit", "known.cached_input + row.cached_input,", "row.cached_input,"),
        Twin(
            "commit",
            "ledger = (*ledger[:index], total, *ledger[index + 1 :])",
            "ledger = (*ledger[:index], *ledger[index + 1 :], total)",
        ),
        Twin("commit", "            ledger = (*ledger, row)", "            ledger = (row, *ledger)"),
    ),
)
def the_ledger_is_the_sum_of_its_rows(a: Usage, b: Usage, c: Usage, d: Usage) -> None:
    """
    pre: a.source != b.source or a.model != b.model
    post: True
    """
    ledger = merged((a, b), (c, d))
    keys = [(row.source, row.model) for row in ledger]
    assert keys[:2] == [(a.source, a.model), (b.source, b.model)] and len(keys) <= 4
    assert all(keys[place] not in keys[:place] for place in range(1, len(keys)))
    for place, key in enumerate(keys):
        mine = [row for row in (a, b, c, d) if (row.source, row.model) == key]
        assert len(mine) > 0 and (place < 2 or key == (mine[0].source, mine[0].model))
        for part in ("input", "output", "cached_input", "reasoning"):
            assert getattr(ledger[place], part) == sum(getattr(row, part) for row in mine)


@proved(
    "COMMIT-8",
    "GRAPH-1",
    "LAW-11",
    over="1 lane held, 1 node stored, 1 appended, 1 usage row",
    twins=(
        Twin("commit", "ledger=merged(state.ledger, command.usage),", "ledger=state.ledger,"),
        Twin("commit", "        nodes=nodes,\n", ""),
        Twin(
            "commit",
            "command.current_frame, command.delta.leaf, checkpoint, reference)",
            "command.current_frame, state.head.leaf, checkpoint, reference)",
        ),
        Twin("commit", "reference = CheckpointRef(command.name)", "reference = state.head.checkpoint_ref"),
        Twin("commit", "manifest=stamped(state.manifest, command.session, command.attachments),", ""),
    ),
)
def an_accepted_commit_stores_every_part(
    lane: Lane, now: Millis, stored: Node, new: Node, row: Usage, config: Body, frames: Body, current: Body, turn_state: Body
) -> None:
    """
    pre: lane.token != 0 and now < lane.expires_at and stored.node != new.node and new.node != 0 and not new.tombstoned
    post: True
    """
    entry = Entry(AttachmentId(1), lane.session, Body(1), Millis(0), False)
    checkpoint = evolve(EMPTY_CHECKPOINT, turn_state=turn_state)
    state = State(lanes=(lane,), nodes=(stored,), manifest=(entry,))
    command = evolve(
        bare_commit(lane.session, holder_of(lane)),
        delta=Delta(APPEND, (new,), new.node),
        usage=(row,),
        config=config,
        agent_frames=frames,
        current_frame=current,
        checkpoint=checkpoint,
        attachments=(AttachmentId(1),),
    )
    after, answer = commit(state, command, now, STRICT)
    assert answer == Committed("COMMIT-8", 1, CheckpointRef(7), checkpoint)
    assert after == State(
        bound=lane.session,
        head=Head(1, config, frames, current, new.node, checkpoint, CheckpointRef(7)),
        lanes=(lane,),
        nodes=(stored, new),
        ledger=(row,),
        manifest=(evolve(entry, stamped=True),),
    )

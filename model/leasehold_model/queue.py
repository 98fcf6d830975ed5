"""Durable queued work: enqueue, list, cancel, and the completions that a commit names (contract section 6, COMMIT-7)."""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold_model.ids import BatchId, Body, ClaimId, FencingToken, LeaseToken, MergeKey, Millis, Name, SessionId, SourceKey
from leasehold_model.outcome import ANY_ERROR, CLAIM_EXPIRED, Absent, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.state import NO_HOLD, Batch, State, is_held, repeats, under_claim, with_batches


@frozen
class Enqueue:
    """Add work. A process wake or session command is an ordinary draft whose source key is derived from it (QUEUE-14)."""

    session: SessionId
    source: SourceKey
    after_commit: bool
    exclusive: bool
    merge: MergeKey
    available_at: Millis
    payload: Body
    name: Name


@frozen
class CancelBatch:
    """Remove a batch that nobody works on."""

    session: SessionId
    batch: BatchId


@frozen
class ListQueued:
    """List a session's batches; ``pending``: only those without a live claim."""

    session: SessionId
    pending: bool


@frozen
class Completion:
    """A claim's batches, named as done in a commit."""

    session: SessionId
    claim: ClaimId
    token: LeaseToken
    batches: tuple[BatchId, ...]


@frozen
class Queued:
    """One batch: as enqueued, or as removed."""

    rule: str
    batch: Batch


@frozen
class Listed:
    """Batches in the order of their enqueue_seq."""

    rule: str
    batches: tuple[Batch, ...]


def enqueue(state: State, command: Enqueue, now: Millis) -> tuple[State, Queued]:
    """QUEUE-1, and QUEUE-2 for a source key that is known. QUEUE-14 drafts are no different."""
    if command.source != 0:
        for batch in (*state.queue, *state.remembered):
            if batch.session == command.session and batch.source == command.source:
                return state, Queued("QUEUE-2", batch)
    seq = state.last_seq + 1
    batch = Batch(
        batch=BatchId(command.name),
        session=command.session,
        seq=seq,
        source=command.source,
        after_commit=command.after_commit,
        exclusive=command.exclusive,
        merge=command.merge,
        available_at=command.available_at,
        enqueued_at=now,
        payload=command.payload,
        hold=NO_HOLD,
        fencing=FencingToken(0),
    )
    return evolve(state, queue=(*state.queue, batch), last_seq=seq), Queued("QUEUE-1", batch)


def cancel(state: State, command: CancelBatch, now: Millis, policies: Policies) -> tuple[State, Queued | Absent]:
    """QUEUE-13."""
    for batch in state.queue:
        if batch.batch == command.batch and batch.session == command.session and not is_held(batch, now):
            return without(state, (batch,), policies), Queued("QUEUE-13", batch)
    return state, Absent("QUEUE-13")


def listed(state: State, command: ListQueued, now: Millis) -> tuple[State, Listed]:
    """QUEUE-3."""
    mine = (batch for batch in state.queue if batch.session == command.session)
    return state, Listed("QUEUE-3", tuple(batch for batch in mine if not (command.pending and is_held(batch, now))))


def completion_flaw(
    state: State, session: SessionId, completions: tuple[Completion, ...], now: Millis, policies: Policies
) -> Refused | Silent | None:
    """COMMIT-7: why these completions are refused, or None. A policy's refusal may carry any code."""
    flaws: list[Refused] = []
    for index, completion in enumerate(completions):
        flaw = _flaw(state, session, completion, now, policies)
        if isinstance(flaw, Silent):
            return flaw
        if flaw is not None:
            flaws.append(flaw)
        for earlier in completions[:index]:
            if earlier == completion and policies.complete_twice == "refuse":
                flaws.append(Refused("COMMIT-7", ANY_ERROR))
            elif earlier != completion and earlier.claim == completion.claim:
                return Silent("COMMIT-7 does not say whether one claim may be completed in pieces within a commit")
    for flaw in flaws:
        if flaw.code == ANY_ERROR:
            return flaw
    return flaws[0] if flaws else None


def _flaw(state: State, session: SessionId, completion: Completion, now: Millis, policies: Policies) -> Refused | Silent | None:
    held = tuple(
        batch for batch in state.queue if under_claim(batch, completion.claim, completion.token) and batch.session == session
    )
    if repeats(completion.batches) and policies.complete_duplicate == "refuse":
        return Refused("COMMIT-7", ANY_ERROR)  # whatever else is wrong: such input may be refused before it is looked at
    if completion.session != session:
        return (
            Refused("COMMIT-7", CLAIM_EXPIRED) if completion.batches else Silent("COMMIT-7: an empty completion of another session")
        )
    if not completion.batches:
        if not held or not is_held(held[0], now):
            return Silent("COMMIT-7 does not say what an empty completion of a claim that is gone means")
        return Refused("COMMIT-7", ANY_ERROR) if policies.complete_empty == "refuse" else None
    named = tuple(batch for batch in held if batch.batch in completion.batches)
    if any(batch not in [other.batch for other in held] for batch in completion.batches):
        return Refused("COMMIT-7", CLAIM_EXPIRED)
    if policies.complete_subset == "refuse" and len(named) < held[0].hold.size:
        return (
            Refused("COMMIT-7", ANY_ERROR) if len(named) < len(held) else Silent("COMMIT-7: the rest of a claim that lost batches")
        )
    if policies.complete_expired == "refuse" and not is_held(held[0], now):
        return Refused("COMMIT-7", ANY_ERROR)
    return None


def completed(state: State, completions: tuple[Completion, ...], policies: Policies) -> State:
    """COMMIT-8: the named batches leave the queue; what else the claims hold stays held."""
    for completion in completions:
        done = tuple(batch for batch in state.queue if batch.batch in completion.batches)
        state = without(state, done, policies)
        rest = tuple(batch for batch in state.queue if under_claim(batch, completion.claim, completion.token))
        smaller = tuple(evolve(batch, hold=evolve(batch.hold, size=batch.hold.size - len(done))) for batch in rest)
        state = evolve(state, queue=with_batches(state.queue, smaller))
    return state


def without(state: State, gone: tuple[Batch, ...], policies: Policies) -> State:
    """The state without these batches; their source keys are free again, or remembered (QUEUE-2, P-SOURCE-KEY-REUSE)."""
    kept = tuple(batch for batch in state.queue if batch not in gone)
    keyed = tuple(evolve(batch, hold=NO_HOLD) for batch in gone if batch.source != 0)
    remembered = (*state.remembered, *keyed) if policies.source_key_reuse == "remembered" else state.remembered
    return evolve(state, queue=kept, remembered=remembered)

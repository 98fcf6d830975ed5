"""The runs that become conformance vectors: those of the tour, and short ones about time, handles, reopening and limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import evolve, frozen

from leasehold.case import load
from leasehold.oracle.probe import ANN, FAR, LOAD, PATH, claim, commit, enqueue, fence, lane
from leasehold.oracle.run import BOUND, OTHER, START, Reopen, Run, Step
from leasehold.oracle.tour import every_rule
from leasehold.store import Capabilities
from leasehold_model.attachment import Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimReady, RenewClaim
from leasehold_model.commit import TurnStamp
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import LoadNode, Tombstone, Vacuum
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
    SourceKey,
    TurnHash,
    TurnId,
)
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued
from leasehold_model.state import NO_FENCE, Fence, Part
from tests.liars.liars import LIARS
from tools.corpus import of

BOB, CYD = OwnerId(2), OwnerId(3)
SECOND = Millis(1_000)
EXACT = 2**53 - 1
"""The largest integer that every language's JSON carries; few vectors have a larger one, and they say so."""

ALL, PENDING = ListQueued(BOUND, False), ListQueued(BOUND, True)

SCRIPTED = (
    ("leases", "A lane is granted, entered again, refused, renewed, released and lost to expiry"),
    ("queue", "Batches are queued, claimed, renewed, abandoned and cancelled"),
    ("commits", "What a commit is refused for, two commits, a replay, and two claims completed at once"),
    ("graph", "Branches, hidden nodes, a duplicate, a full replacement, a cycle of parents"),
    ("manifest", "Intents are recorded, stamped, listed and forgotten; session metadata is saved and loaded"),
    ("claim-runs", "Every reason for which a claim takes no further batch"),
    ("merge-groups", "A group that is called as another merge key is called is a group all the same"),
    ("gap-claimed", "A live-claimed batch stands between two that are ready"),
    ("claim-after-abandoned", "A batch that was claimed before is claimed together with others"),
    ("claim-order", "A claim by batch ids wants them in the queue's order"),
    ("renew-expired-claim", "An expired claim on several batches, which nobody took, is renewed"),
    ("renew-lost-claim", "An expired claim that lost one of its batches is not renewed"),
    ("abandon-lost-claim", "An expired claim that lost one of its batches gives back the other"),
    ("complete-lost-claim", "An expired claim that lost one of its batches is not completed"),
    ("complete-another", "A completion names a batch that its claim does not hold"),
    ("complete-one-claim", "The batch of another claim is not completed with the first claim's"),
    ("source-key-again", "A source key is used again after its batch was completed"),
    ("complete-part", "A completion names one of the two batches of its claim"),
    ("empty-body", "An empty tool state is a tool state"),
    ("replay-releases", "A replayed commit says what the first said and releases the lease it names"),
    ("duplicate-node", "An append brings one node id twice"),
)
"""The tour's runs, in its order: what each is called, and what it is about."""


REGRESSIONS = (
    *("attachments-of-refused", "binds-when-refused", "boundary-skips", "cancel-keeps-expired", "claim-by-holder-only"),
    *("close-frees-lanes", "completes-foreign-claims", "failed-renewal-extends", "fence-of-any-session", "fencing-of-a-handle"),
    *("frame-stays", "full-sorted-by-id", "gc-takes-live-parts", "lists-of-a-handle", "loads-of-a-handle"),
    *("reentry-flips", "reopen-counts-again", "reopen-forgets-claim-fencing", "reopen-forgets-results", "revision-of-a-handle"),
    *("revision-of-snapshot-lost", "shares-lane", "source-key-free-when-claimed", "sql-abandon-without-token"),
    *("sql-attachment-stolen", "sql-no-rollback", "sql-nodes-by-timestamp", "sql-order-by-availability"),
    *("sql-release-every-lane", "sql-usage-by-name", "steals-rows", "usage-in-32-bits", "usage-of-refused"),
    *("usage-through-floats", "wakes-repeat"),
)
"""Liars that keep all of the other vectors: their cases become vectors too."""


@frozen
class Told:
    """One run, and what it is about. ``manifest``: the one that the store has to declare."""

    name: str
    title: str
    run: Run
    manifest: Literal["persistent", "noop"] = "persistent"


def runs() -> Iterator[Told]:
    """All of them. A run that is new in the tour needs a name in `SCRIPTED`."""
    for (name, title), run in zip(SCRIPTED, every_rule(Capabilities(max_integer=EXACT)), strict=True):
        yield Told(name, title, run)
    yield from _about_time()
    yield from _about_more_than_one()
    yield from _about_limits()
    yield from _regressions()


def _regressions() -> Iterator[Told]:
    why = {liar.name: liar.why for liar in LIARS}
    for name in REGRESSIONS:
        (path,) = of(name)
        yield Told(f"not-{name}", f"A store got this wrong: {why[name]}", load(path).steps)


def _at(*timed: tuple[int, Command | Reopen] | tuple[int, Command | Reopen, int]) -> Run:
    """Steps at so many milliseconds after the start, on handle 0 or another."""
    return tuple(Step(START + one[0], one[2] if len(one) == 3 else 0, one[1]) for one in timed)


def _now(*commands: Command | Reopen) -> Run:
    return _at(*((0, command) for command in commands))


def _claims(owner: OwnerId, name: int, ttl: int = SECOND) -> Command:
    return TryClaimLease(BOUND, owner, Millis(ttl), Name(name))


def _of(name: int, *batches: int) -> tuple[ClaimId, LeaseToken, tuple[BatchId, ...]]:
    return ClaimId(name), LeaseToken(name), tuple(BatchId(batch) for batch in batches)


def _about_time() -> Iterator[Told]:
    second = Fence(BOUND, BOB, LeaseToken(3), FencingToken(2))
    yield Told(
        "lease-expiry",
        "A lease is live until the millisecond before its expiry, and what it granted never comes back",
        _at(
            (0, _claims(ANN, 1)),
            (999, _claims(BOB, 2)),
            (1_000, _claims(BOB, 3)),
            (1_000, RenewLease(fence(), SECOND)),
            (1_000, ReleaseLease(fence())),
            (1_001, _claims(CYD, 4)),
            (1_500, RenewLease(second, SECOND)),
            (2_499, _claims(CYD, 5)),
            (2_500, RenewLease(second, SECOND)),
            (2_500, _claims(BOB, 6)),
        ),
    )
    yield Told(
        "lease-zero",
        "A lease of no time is granted already expired",
        _now(_claims(ANN, 1, 0), _claims(BOB, 2, 0), RenewLease(fence(), SECOND), _claims(ANN, 3)),
    )
    yield Told(
        "commit-at-expiry",
        "A commit needs a lease that is live at that very millisecond",
        _at((0, _claims(ANN, 1)), (999, commit(20)), (1_000, commit(21)), (1_000, LOAD)),
    )
    yield Told(
        "work-due",
        "Work is claimed from the millisecond on at which it is due, and listed before",
        _at(
            (0, lane()),
            (0, enqueue(10, available=START + 10)),
            (0, enqueue(11, available=START + 20)),
            (9, PENDING),
            (9, claim(60)),
            (10, claim(61)),
            (19, claim(62)),
            (20, claim(63)),
        ),
    )
    both = _of(61, 10, 11)
    yield Told(
        "claim-expiry",
        "A claim holds its batches until the millisecond before its expiry; then they are for whoever claims them next",
        _at(
            (0, lane()),
            (0, enqueue(10)),
            (0, enqueue(11)),
            (0, claim(61, ttl=SECOND)),
            (999, PENDING),
            (999, claim(62)),
            (999, CancelBatch(BOUND, BatchId(10))),
            (1_000, PENDING),
            (1_000, claim(63)),
            (1_000, RenewClaim(BOUND, *both, SECOND)),
            (1_000, AbandonClaim(BOUND, *both)),
            (1_000, PENDING),
            (1_000, commit(20, completions=(Completion(BOUND, *both),))),
            (1_000, commit(21, completions=(Completion(BOUND, *_of(63, 10, 11)),))),
            (1_000, ALL),
        ),
    )
    yield Told(
        "claim-outlives-lease",
        "A claim lives until its own expiry, whatever becomes of the lease it was taken under",
        _at(
            (0, _claims(ANN, 1)),
            (0, enqueue(10)),
            (0, claim(61, ttl=60_000)),
            (10, ReleaseLease(fence())),
            (10, PENDING),
            (20, _claims(BOB, 2, 60_000)),
            (2_000, ClaimReady(BOUND, Fence(BOUND, BOB, LeaseToken(2), FencingToken(2)), BOB, True, SECOND, 10, Name(62))),
            (2_000, RenewClaim(BOUND, *_of(61, 10), Millis(60_000))),
            (2_000, PENDING),
        ),
    )


def _about_more_than_one() -> Iterator[Told]:
    stamped = evolve(commit(21, (1, 0), leaf=1, tool_state=Part(Body(5), Body(0))), stamp=TurnStamp(BOUND, TurnId(1), TurnHash(1)))
    yield Told(
        "two-handles",
        "What one handle did, another one knows at once",
        _at(
            (0, lane(), 0),
            (0, TryClaimLease(BOUND, BOB, SECOND, Name(2)), 1),
            (0, enqueue(10, source=1), 1),
            (0, enqueue(11, source=1), 0),
            (0, claim(61), 0),
            (0, PENDING, 1),
            (0, claim(62), 1),
            (0, commit(20, (1, 0), leaf=1, completions=(Completion(BOUND, *_of(61, 10)),)), 1),
            (0, LOAD, 0),
            (0, ALL, 0),
            (0, Tombstone((NodeId(1),)), 0),
            (0, LoadNode(NodeId(1)), 1),
            (0, ReleaseLease(fence()), 1),
            (0, TryClaimLease(BOUND, BOB, SECOND, Name(3)), 0),
        ),
    )
    yield Told(
        "sessions",
        "A session has its own lane, queue and source keys",
        _now(
            lane(),
            TryClaimLease(OTHER, BOB, SECOND, Name(2)),
            enqueue(10, source=1),
            Enqueue(OTHER, SourceKey(1), False, False, MergeKey(2), Millis(0), Body(11), Name(11)),
            enqueue(12),
            claim(61),
            CancelBatch(OTHER, BatchId(10)),
            CancelBatch(BOUND, BatchId(11)),
            ListQueued(OTHER, True),
            ALL,
            commit(20, completions=(Completion(OTHER, *_of(61, 10, 12)),)),
            ReleaseLease(Fence(OTHER, ANN, LeaseToken(1), FencingToken(1))),
            TryClaimLease(BOUND, BOB, SECOND, Name(3)),
        ),
    )
    yield Told(
        "reopen",
        "Closing and opening again changes nothing",
        _now(
            lane(),
            enqueue(10, source=1),
            enqueue(11),
            claim(61, 1),
            RecordIntent(AttachmentId(1), BOUND, Body(1), Millis(START)),
            SaveMeta(Body(1)),
            commit(20, (2, 0), (3, 2), leaf=3),
            stamped,
            Tombstone((NodeId(3),)),
            Reopen(),
            TryClaimLease(BOUND, BOB, SECOND, Name(2)),
            RenewLease(fence(), SECOND),
            enqueue(12, source=1),
            enqueue(13),
            ALL,
            PENDING,
            RenewClaim(BOUND, *_of(61, 10), SECOND),
            LOAD,
            LoadNode(NodeId(3)),
            Vacuum(),
            evolve(stamped, fence=NO_FENCE, name=Name(22)),
            ListUncommitted(Millis(START)),
            LoadMeta(),
            claim(62),
            ReleaseLease(fence()),
            Reopen(),
            _claims(BOB, 3),
        ),
    )
    yield Told(
        "refused-is-inert",
        "A commit that is refused leaves nothing behind: no node, usage, stamp, completion or released lease",
        _now(
            lane(),
            commit(20),
            enqueue(10),
            claim(61),
            evolve(
                commit(21, (1, 0), leaf=1, completions=(Completion(BOUND, *_of(61, 10)),)),
                expected_revision=7,
                release=fence(),
                stamp=TurnStamp(BOUND, TurnId(1), TurnHash(1)),
            ),
            LOAD,
            PATH,
            ALL,
            PENDING,
            RenewLease(fence(), SECOND),
            evolve(commit(22), stamp=TurnStamp(BOUND, TurnId(1), TurnHash(2)), expected_revision=1),
        ),
    )


def _about_limits() -> Iterator[Told]:
    yield Told(
        "wrong-fence",
        "A fence counts with owner, lease token and fencing token",
        _now(
            lane(),
            RenewLease(evolve(fence(), owner=BOB), SECOND),
            RenewLease(evolve(fence(), token=LeaseToken(-1)), SECOND),
            RenewLease(evolve(fence(), fencing=FencingToken(0)), SECOND),
            ReleaseLease(evolve(fence(), owner=BOB)),
            ReleaseLease(evolve(fence(), fencing=FencingToken(0))),
            evolve(commit(20), fence=evolve(fence(), owner=BOB)),
            evolve(commit(21), fence=evolve(fence(), fencing=FencingToken(0))),
            evolve(commit(22), fence=NO_FENCE),
            TryClaimLease(BOUND, BOB, SECOND, Name(2)),
            LOAD,
        ),
    )
    yield Told(
        "large-times",
        "Times go up to 2^63-1 and sums stay there; what lies far ahead is not past",
        _at(
            (0, _claims(ANN, 1, MAX_MS)),
            (1, _claims(BOB, 2)),
            (1, enqueue(10, available=MAX_MS)),
            (1, enqueue(11, available=FAR)),
            (1, claim(60)),
            (1, enqueue(12)),
            (1, claim(61, ttl=MAX_MS)),
            (2, PENDING),
            (2, claim(62)),
            (2, RenewLease(fence(), Millis(MAX_MS))),
        ),
    )
    yield Told(
        "noop-manifest",
        "A manifest that is declared a no-op accepts everything and lists nothing",
        _now(
            RecordIntent(AttachmentId(1), BOUND, Body(1), Millis(START)),
            ListUncommitted(Millis(START)),
            Forget(AttachmentId(1)),
            ListUncommitted(FAR),
        ),
        "noop",
    )

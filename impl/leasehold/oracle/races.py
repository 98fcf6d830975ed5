"""Races: what several clients do at once to one store, chosen so that a store that checks first and acts later is caught between.

A race is data: what happened before, one client after the other, and then a short list of commands for each client. The commands of
a client may name what its own earlier ones were granted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from leasehold.oracle.binding import operation
from leasehold.oracle.probe import ANN, FAR, LOAD, LONG, PATH, claim, commit, enqueue, fence, lane
from leasehold.oracle.run import BOUND, OTHER, START, Reopen, Run, Step
from leasehold.oracle.worlds import READS
from leasehold.store import Capabilities
from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import CommitState, TurnStamp
from leasehold_model.graph import CollectGarbage, LoadNode, Tombstone, Vacuum
from leasehold_model.ids import (
    AttachmentId,
    BatchId,
    Body,
    ClaimId,
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
from leasehold_model.state import Part, Usage

BOB = OwnerId(2)
LONGER = Millis(2 * LONG)
CLAIMED = 60
"""The name of the claim that was granted before the clients start."""

Kind: TypeAlias = Literal["opens", "apart", "reads", "together"]
"""Handles are opened meanwhile; the clients are of several sessions; they only read; all others."""

OPENS = "a handle is opened "
"""How the name of a race begins in which the clients but the first open their handles."""


@frozen
class Race:
    """``before``: one after the other. ``clients``: at once, each its own list."""

    name: str
    before: Run
    clients: tuple[tuple[Command, ...], ...]

    @property
    def sessions(self) -> int:
        """Of how many sessions the clients' commands are."""
        return len({one.session for client in self.clients for one in client if hasattr(one, "session")})

    @property
    def opens(self) -> bool:
        """The clients but the first open their handles in the race."""
        return self.name.startswith(OPENS)

    @property
    def kind(self) -> Kind:
        """In races of one kind the same lines make others wait, or do not."""
        if self.opens:
            return "opens"
        if self.sessions > 1:
            return "apart"
        return "reads" if all(isinstance(one, READS) for client in self.clients for one in client) else "together"

    @property
    def commands(self) -> Iterator[Command]:
        """Everything that is asked."""
        yield from (one.action for one in self.before if not isinstance(one.action, Reopen))
        for client in self.clients:
            yield from client

    @property
    def operations(self) -> list[str]:
        """What the clients begin with."""
        return sorted({operation(client[0]) for client in self.clients if client})


def race(name: str, before: tuple[Command, ...], clients: tuple[tuple[Command, ...], ...]) -> Race:
    """A race on a store to which this was done, all at one time."""
    return Race(name, tuple(Step(START, 0, command) for command in before), clients)


def ask(owner: OwnerId, name: int, ttl: int = LONG) -> Command:
    """Ask for the lane."""
    return TryClaimLease(BOUND, owner, Millis(ttl), Name(name))


def work(name: int, ttl: int = LONG, batches: int = 2) -> tuple[Command, ...]:
    """Ann holds the lane, and some batches are claimed."""
    return (lane(), *(enqueue(10 + number) for number in range(batches)), claim(name, 10, ttl))


def elsewhere(name: int) -> Command:
    """Work of another session."""
    return Enqueue(OTHER, SourceKey(0), False, False, MergeKey(2), Millis(0), Body(name), Name(name))


def done(name: int, *batches: int) -> Completion:
    """A completion; of all that the claim took, unless batches are named."""
    return Completion(BOUND, ClaimId(name), LeaseToken(name), tuple(BatchId(one) for one in batches))


def abandon(name: int) -> Command:
    """Give a claim back."""
    return AbandonClaim(BOUND, ClaimId(name), LeaseToken(name), ())


def renew(name: int) -> Command:
    """Extend a claim."""
    return RenewClaim(BOUND, ClaimId(name), LeaseToken(name), (), LONGER)


def expecting(revision: int, name: int, turn: int = 0, turn_hash: int = 1) -> CommitState:
    """A commit that compares and swaps; with a stamp if a turn is given."""
    one = evolve(commit(name, (name, 0), leaf=name), expected_revision=revision)
    return evolve(one, stamp=TurnStamp(BOUND, TurnId(turn), TurnHash(turn_hash))) if turn else one


def spent(name: int) -> CommitState:
    """A commit that brings nodes, usage, and a body of each kind."""
    row, part = Usage(Body(1), Body(1), 5, 7, 0, 1), Part(Body(name), Body(0))
    one = commit(name, (name, 0), (name + 100, name), leaf=name + 100, tool_state=part)
    return evolve(one, usage=(row,), checkpoint=evolve(one.checkpoint, plugin_snapshot=part, execution_state=part))


def everything(name: int) -> CommitState:
    """A commit of every part: what `spent` brings, a stamp, a completion, the lane's release."""
    stamp = TurnStamp(BOUND, TurnId(1), TurnHash(1))
    return evolve(spent(name), stamp=stamp, completions=(done(CLAIMED),), release=fence())


ALL, PENDING = ListQueued(BOUND, False), ListQueued(BOUND, True)
ROWS = ListUncommitted(FAR)
THREE_NODES = (lane(), commit(30, (1, 0), (2, 1), (3, 2), leaf=3))


def intent(name: int, session: int = BOUND) -> Command:
    """An attachment is about to be written."""
    return RecordIntent(AttachmentId(name), OTHER if session == OTHER else BOUND, Body(name), Millis(START))


def races(capabilities: Capabilities) -> Iterator[Race]:
    """Those races that a store with these capabilities can be sent."""
    kept = capabilities.manifest == "persistent"
    for one in (*_leases(), *_queue(), *_claims(), *_commits(), *_loads(), *(_manifest() if kept else ())):
        offered = {operation(command) for command in one.commands} <= capabilities.ops
        if offered and len(one.clients) <= capabilities.handles:
            yield one


def _leases() -> Iterator[Race]:
    yield race("two ask for a lane that was never claimed", (), ((ask(ANN, 101),), (ask(BOB, 201),)))
    yield race("three ask for a lane that was never claimed", (), tuple((ask(OwnerId(n), n * 100 + 1),) for n in (1, 2, 3)))
    yield race("one owner asks twice at once", (), ((ask(ANN, 101),), (ask(ANN, 201),)))
    yield race("two ask for a lane that has expired", (lane(), ReleaseLease(fence())), ((ask(ANN, 101),), (ask(BOB, 201),)))
    yield race("two ask after a lease of no time", (ask(ANN, 1, 0),), ((ask(ANN, 101),), (ask(BOB, 201),)))
    yield race("a release against a claim", (lane(),), ((ReleaseLease(fence()), ask(ANN, 101)), (ask(BOB, 201), ask(BOB, 202))))
    yield race("a renewal against a release", (lane(),), ((RenewLease(fence(), LONGER),), (ReleaseLease(fence()), ask(BOB, 201))))
    longer = ask(ANN, 101, LONGER)
    yield race("a re-entry against a release", (lane(),), ((longer,), (ReleaseLease(fence()), ask(BOB, 201))))
    yield race("a lease for long, and leases for no time", (), ((ask(ANN, 101),), (ask(BOB, 201, 0), ask(BOB, 202, 0))))
    yield race("lanes of two sessions", (), ((lane(),), (lane(OTHER, 201),)))
    twice = (ReleaseLease(fence()), ask(BOB, 201), ask(ANN, 202))
    yield race("released twice, and claimed", (lane(),), ((ReleaseLease(fence()),), twice))


def _queue() -> Iterator[Race]:
    yield race("one source key at once", (), ((enqueue(11, source=1),), (enqueue(21, source=1),)))
    yield race("one source key and the lists", (), ((enqueue(11, source=1), ALL), (enqueue(21, source=1), ALL)))
    yield race("batches at once", (), ((enqueue(11), enqueue(12)), (enqueue(21), enqueue(22))))
    yield race("batches of two sessions", (), ((enqueue(11), ALL), (elsewhere(21), ListQueued(OTHER, False))))
    yield race("lists between batches", (), ((enqueue(11),), (enqueue(21), ALL, enqueue(22), ALL)))
    yield race("a list while batches come", (enqueue(10),), ((enqueue(11), enqueue(12)), (ALL, PENDING)))
    yield race(
        "cancelled twice", (enqueue(10), enqueue(11)), ((CancelBatch(BOUND, BatchId(10)),), (CancelBatch(BOUND, BatchId(10)),))
    )
    yield race(
        "a key that becomes free", (enqueue(10, source=1),), ((CancelBatch(BOUND, BatchId(10)),), (enqueue(21, source=1), ALL))
    )


def _claims() -> Iterator[Race]:
    two = (lane(), enqueue(10), enqueue(11))
    yield race("two claim the same work", two, ((claim(101),), (claim(201),)))
    both = (*two, lane(OTHER, 2), elsewhere(20))
    other = ClaimReady(OTHER, fence(OTHER, 2), ANN, True, LONG, 10, Name(201))
    yield race("claims of two sessions", both, ((claim(101),), (other,)))
    yield race("a claim of nothing while work comes", (lane(),), ((claim(101),), (enqueue(21),)))
    yield race("two claim one batch each", two, ((claim(101, 1),), (claim(201, 1),)))
    by_ids = ClaimByIds(BOUND, fence(), ANN, True, LONG, (BatchId(10),), Name(101))
    yield race("two claim by ids", two, ((by_ids,), (evolve(by_ids, name=Name(201)),)))
    yield race("a claim against a cancellation", two, ((claim(101),), (CancelBatch(BOUND, BatchId(10)), PENDING)))
    joined = CancelBatch(BOUND, BatchId(11))
    yield race("a claim against a cancellation of what it joins", two, ((claim(101),), (joined, PENDING)))
    yield race("a claim against a release", two, ((claim(101),), (ReleaseLease(fence()), ask(BOB, 201))))
    yield race("a claim against a release, and what is pending", two, ((claim(101),), (ReleaseLease(fence()), PENDING)))
    yield race("a claim against the lists", two, ((claim(101),), (ALL, PENDING, ALL)))
    yield race("abandoned while listed", work(CLAIMED), ((abandon(CLAIMED),), (ALL, PENDING, ALL)))
    yield race("a claim while work comes", two, ((claim(101),), (enqueue(21), enqueue(22))))
    expired = work(CLAIMED, 0)
    yield race("two take over an expired claim", expired, ((claim(101),), (claim(201),)))
    yield race("an expired claim renewed and taken over", expired, ((renew(CLAIMED),), (claim(201),)))
    yield race("work comes while an expired claim is taken over", expired, ((enqueue(21),), (claim(201), PENDING)))
    yield race("an expired claim cancelled and renewed", expired, ((renew(CLAIMED),), (CancelBatch(BOUND, BatchId(10)),)))
    yield race("abandoned and claimed", work(CLAIMED), ((abandon(CLAIMED),), (claim(201), PENDING)))
    yield race("abandoned and renewed", work(CLAIMED), ((abandon(CLAIMED),), (renew(CLAIMED), PENDING)))
    yield race("an expired claim abandoned and taken over", expired, ((abandon(CLAIMED),), (claim(201), PENDING)))


def _commits() -> Iterator[Race]:
    yield race("two commits of a first revision", (lane(),), ((expecting(0, 31),), (expecting(0, 41),)))
    yield race("two commits of one revision", (lane(), commit(30)), ((expecting(1, 31),), (expecting(1, 41),)))
    yield race("two commits that expect nothing", (lane(),), ((spent(31),), (spent(41),)))
    yield race("two commits that add to what is there", (lane(), spent(30)), ((spent(31),), (spent(41),)))
    same = expecting(-1, 31, turn=1)
    yield race("one turn committed twice", (lane(),), ((same,), (evolve(same, name=Name(41)),)))
    yield race("one turn committed twice, and loaded", (lane(),), ((same,), (evolve(same, name=Name(41)), LOAD)))
    yield race("a turn repeated while a commit lands", (lane(), same), ((spent(41),), (evolve(same, name=Name(51)), LOAD)))
    yield race("two turns committed", (lane(),), ((same,), (expecting(-1, 41, turn=2),)))
    yield race("one turn committed differently", (lane(),), ((same,), (expecting(-1, 41, turn=1, turn_hash=2),)))
    claimed = work(CLAIMED)
    whole = commit(31, completions=(done(CLAIMED),))
    yield race("one claim completed twice", claimed, ((whole,), (commit(41, completions=(done(CLAIMED),)),)))
    yield race("a completion against loads and lists", claimed, ((whole,), (LOAD, ALL)))
    yield race("a completion against what is pending", claimed, ((whole,), (PENDING, ALL)))
    yield race("a completion of three batches against lists", work(CLAIMED, batches=3), ((whole,), (ALL, ALL)))
    yield race("a completion against an abandonment", claimed, ((whole,), (abandon(CLAIMED), ALL)))
    yield race("a completion against a renewal", claimed, ((whole,), (renew(CLAIMED), ALL)))
    before = (*claimed, spent(30))
    yield race("a commit of everything against loads and lists", before, ((everything(31),), (LOAD, ALL, ask(BOB, 201))))
    yield race("a commit of everything against lists and loads", before, ((everything(31),), (ask(BOB, 201), ALL, LOAD)))
    expired = work(CLAIMED, 0)
    yield race("a late completion against a takeover", expired, ((whole,), (claim(201), ALL)))
    yield race("a late completion against a cancellation", expired, ((whole,), (CancelBatch(BOUND, BatchId(10)), ALL)))
    yield race("a commit against a release", (lane(),), ((commit(31),), (ReleaseLease(fence()), ask(BOB, 201), LOAD)))
    yield race(
        "a commit that releases, against a claim", (lane(),), ((evolve(commit(31), release=fence()),), (ask(BOB, 201), LOAD))
    )
    yield race(
        "a commit that releases, against a renewal",
        (lane(),),
        ((evolve(commit(31), release=fence()),), (RenewLease(fence(), LONGER),)),
    )
    both = (LOAD, ask(BOB, 201))
    yield race("a commit that releases, against a load and a claim", (lane(),), ((evolve(commit(31), release=fence()),), both))
    yield race("a commit with its key's next batch", work(CLAIMED), ((whole,), (enqueue(21, source=1), enqueue(22, source=1))))


def _loads() -> Iterator[Race]:
    filled = (lane(), enqueue(10), spent(30))
    yield race("two loads", filled, ((LOAD,), (LOAD, ALL)))
    yield race("loads and lists at once", filled, ((ALL, PATH), (LOAD, ALL)))
    yield race("a load while commits land", (lane(), spent(30)), ((spent(31), spent(32)), (LOAD, LOAD)))
    yield race("a first commit against a load", (lane(),), ((spent(31),), (LOAD,)))
    yield race("a path while commits land", (lane(), spent(30)), ((spent(31), spent(32)), (PATH, PATH)))
    yield race(f"{OPENS}while commits land", (lane(), spent(30)), ((spent(31), spent(32)), (LOAD, ALL)))
    yield race(f"{OPENS}while work comes", (enqueue(10),), ((enqueue(11), enqueue(12)), (enqueue(21), ALL)))
    replaced = evolve(commit(31, (7, 0), (8, 7), leaf=8), delta=evolve(commit(31, (7, 0), (8, 7), leaf=8).delta, kind=2))
    yield race("a load while the graph is replaced", THREE_NODES, ((replaced,), (LOAD, PATH)))
    hide = Tombstone((NodeId(3), NodeId(2)))
    yield race("a load while nodes are hidden", THREE_NODES, ((hide,), (LOAD, LOAD)))
    yield race("nodes hidden at once", THREE_NODES, ((hide,), (Tombstone((NodeId(1),)),)))
    yield race("two loads while nodes are hidden", THREE_NODES, ((hide,), (LOAD,), (LOAD,)))
    yield race("a node while nodes are hidden", THREE_NODES, ((hide,), (LoadNode(NodeId(2)), LoadNode(NodeId(3)))))
    yield race("a commit while nodes are hidden", THREE_NODES, ((Tombstone((NodeId(3),)),), (commit(31, (4, 0), leaf=4), LOAD)))
    yield race("a load during a vacuum", (*THREE_NODES, Tombstone((NodeId(2),))), ((Vacuum(),), (LOAD, LoadNode(NodeId(2)))))
    yield race("a commit during a vacuum", (*THREE_NODES, hide), ((Vacuum(),), (commit(31, (4, 1), leaf=4), LOAD)))
    yield race("two vacuums", (*THREE_NODES, hide), ((Vacuum(),), (Vacuum(),)))
    body = commit(31, tool_state=Part(Body(77), Body(0)))
    yield race("a collection while a body comes", (lane(), spent(30)), ((body,), (CollectGarbage(), LOAD)))
    kept = commit(32, tool_state=Part(Body(0), Body(30)))
    yield race("a collection while a body is kept", (lane(), spent(30)), ((kept,), (CollectGarbage(), LOAD)))


def _manifest() -> Iterator[Race]:
    stamped = evolve(commit(31), attachments=(AttachmentId(1), AttachmentId(2)))
    refs = CommitRefs(BOUND, (AttachmentId(1), AttachmentId(2)))
    yield race("manifest: a commit against a list", (lane(), intent(1), intent(2)), ((stamped,), (ROWS, LOAD)))
    yield race("manifest: a commit against a load and a list", (lane(), intent(1), intent(2)), ((stamped,), (LOAD, ROWS)))
    before = (*work(CLAIMED), spent(30), intent(1), intent(2))
    whole = evolve(everything(31), attachments=(AttachmentId(1), AttachmentId(2)))
    yield race("manifest: a commit of everything against loads and lists", before, ((whole,), (ROWS, LOAD, ALL)))
    yield race("manifest: an intent repeated and stamped", (), ((intent(1),), (intent(1), refs, ROWS)))
    yield race("manifest: two intents of one id", (), ((intent(1),), (intent(1), ROWS)))
    three = evolve(refs, attachments=(*refs.attachments, AttachmentId(3)))
    yield race("manifest: three stamped and listed", (intent(1), intent(2), intent(3)), ((three,), (ROWS,)))
    yield race("manifest: forgotten and stamped", (intent(1), intent(2)), ((refs,), (Forget(AttachmentId(1)), ROWS)))
    yield race("metadata saved and loaded", (SaveMeta(Body(1)),), ((SaveMeta(Body(2)),), (SaveMeta(Body(3)), LoadMeta())))

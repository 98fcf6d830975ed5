"""Stores on disk that other processes open: ``python:tests.liars.crashing:NAME``, with their directory in LEASEHOLD_DATA.

They are wrong only if their process is killed: in one process, with as many handles and reopenings as one likes, nothing shows.
A few are right, and merely slow or unusual.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, evolve, field

from leasehold.records import MAX_MS, Batch, BatchDraft, Claim, Commit, CommitResult, Fence, Lease
from leasehold.store import OPERATIONS, Backend, Capabilities, Clock, HeadRevisionConflict, Refusal, VirtualClock
from leasehold.stores._common import check_commit
from leasehold.stores._durable import StoredCommit
from leasehold.stores.memory import MemoryStore, _State
from leasehold.stores.sqlite import _SQL, SqliteStore, _CommitView, _token
from tests.liars.lossy import LateLoss, Loss
from tests.liars.patching import Factory

DURABLE = Capabilities(tier="durable", handles=3, reopen=True, kill=True)
READS = frozenset(
    ("load_session", "load_node", "list_queued_work", "list_pending_queued_work", "load_session_meta", "list_uncommitted")
)


def here() -> Path:
    """The store's directory."""
    return Path(os.environ["LEASEHOLD_DATA"])


# -- SQLite: transactions that are too small ---------------------------------------------------------------------------------------


class OnDisk(SqliteStore):
    """A SQLite store that is killed."""

    capabilities = DURABLE

    def drop(self) -> None:
        """Remove its directory."""
        shutil.rmtree(Path(self._path).parent, ignore_errors=True)


def on_disk(kind: Any) -> Factory:
    """A factory of such stores. A new file is a copy of an empty one."""

    def factory(clock: Clock) -> Any:
        path, empty = here() / "store.db", here().parent / "empty.db"
        if not path.exists():
            if not empty.exists():
                SqliteStore(empty, clock=clock).close()
            shutil.copyfile(empty, path)
        return kind(path, clock=clock, synchronous="NORMAL")

    return factory


PARTS = "complete graph bodies usage attachments head stamp release"


def split(db: Any) -> None:
    """What follows is another transaction."""
    db.execute("COMMIT")
    db.execute("BEGIN IMMEDIATE")


class InParts(OnDisk):
    """A commit's parts in this order; a bar ends one transaction and begins another. Refusals come before the first."""

    order = PARTS

    def commit_runtime_state(self, commit: Commit) -> CommitResult:
        check_commit(commit)
        stored = StoredCommit(commit)
        with self._write as db:
            now = self._clock.now_ms()
            view = _CommitView(db, commit)
            if view.check_identity(commit):
                self._release(db, commit.release_session_execution_lease)
                return view.stamped_result()
            self._check_fence(commit.session_id, view.lease, commit.session_execution_lease, now)
            if commit.expected_head_revision not in (None, view.revision):
                raise HeadRevisionConflict(expected=commit.expected_head_revision, actual=view.revision)
            result = CommitResult(view.revision + 1, stored.checkpoint_ref, stored.manifest)
            parts: dict[str, Callable[[], Any]] = {
                "complete": lambda: self._complete(db, commit),
                "graph": lambda: self._apply_graph(db, commit.graph),
                "bodies": lambda: self._store_bodies(db, stored),
                "usage": lambda: self._add_usage(db, commit.usage_deltas),
                "attachments": lambda: self._stamp_attachments(db, commit.session_id, commit.committed_attachment_ids, now),
                "head": lambda: self._put_head(db, evolve(commit, turn_commit=None), stored, result.head_revision),
                "stamp": lambda: self._put_stamp(db, commit, stored, result.head_revision),
                "release": lambda: self._release(db, commit.release_session_execution_lease),
                "|": lambda: split(db),
            }
            db.execute("SAVEPOINT trial")
            for part in PARTS.split():
                parts[part]()
            db.execute("ROLLBACK TO trial")
            db.execute("RELEASE trial")
            for part in self.order.split():
                parts[part]()
            return result

    def _put_stamp(self, db: Any, commit: Commit, stored: StoredCommit, revision: int) -> None:
        turn = commit.turn_commit
        if turn is not None:
            row = (turn.session_id, turn.turn_id, turn.turn_commit_hash, revision, stored.checkpoint_ref, stored.manifest_text)
            db.execute(_SQL["stamp_put"], row)


def in_parts(order: str) -> Factory:
    """Stores whose commits are done in these parts."""
    if sorted(order.replace("|", "").split()) != sorted(PARTS.split()):
        raise ValueError(order)
    return on_disk(type("InParts", (InParts,), {"order": order}))


class ClaimsOneByOne(OnDisk):
    """Each batch of a claim is claimed in a transaction of its own."""

    def _claim(self, db: Any, session_id: str, owner_id: str, run: list[tuple[Batch, int]], ttl: int, now: int) -> Claim:
        fencing_token, ends = max(number for _, number in run) + 1, min(now + ttl, MAX_MS)
        claim = Claim(
            session_id=session_id,
            claim_id=_token(),
            owner_id=owner_id,
            lease_token=_token(),
            fencing_token=fencing_token,
            claimed_at_epoch_ms=now,
            expires_at_epoch_ms=ends,
            batches=tuple([batch for batch, _ in run]),
        )
        held = (fencing_token, claim.claim_id, owner_id, claim.lease_token, now, ends, ends)
        for number, batch in enumerate(claim.batches):
            if number:
                split(db)
            db.execute(_SQL["batch_claim"], (*held, batch.enqueue_seq))
        return claim


class TombstonesOneByOne(OnDisk):
    """Each node is hidden in a transaction of its own."""

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        for one in ids:
            super().tombstone_nodes([one])


class KeysAfterwards(OnDisk):
    """A batch is queued, and its source key written in a second transaction."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        known = [one for one in self.list_queued_work(batch.session_id) if one.source_key == batch.source_key]
        if batch.source_key is None or known:
            return super().enqueue_queued_work(batch)
        stored = super().enqueue_queued_work(evolve(batch, source_key=None))
        with self._write as db:
            db.execute("UPDATE batch SET source_key = ? WHERE enqueue_seq = ?", (batch.source_key, stored.enqueue_seq))
        return evolve(stored, source_key=batch.source_key)


class GrantsAnew(OnDisk):
    """A grant deletes the lane's row in one transaction and inserts another in the next."""

    def _grant(self, db: Any, session_id: str, owner_id: str, fencing_token: int, now: int, expires_at: int) -> Lease:
        db.execute("DELETE FROM lane WHERE session_id = ?", (session_id,))
        split(db)
        return super()._grant(db, session_id, owner_id, fencing_token, now, expires_at)


class CancelsInTwo(OnDisk):
    """A batch that is cancelled is first claimed for good, so that nobody takes it, and then deleted."""

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Batch | None:
        pending = [one for one in self.list_pending_queued_work(session_id) if one.batch_id == batch_id]
        if pending:
            with self._write as db:
                now = self._clock.now_ms()
                forever = (0, _token(), "canceller", _token(), now, 2**62, 2**62)
                fencing = "(SELECT fencing_token FROM batch WHERE enqueue_seq = ?1)"
                db.execute(
                    "UPDATE batch SET claim_id = ?3, claim_owner_id = ?4, claim_token = ?5, claimed_at = ?6, claim_expires_at = ?7,"
                    f" state = 2, wake_at = ?7, fencing_token = {fencing} WHERE enqueue_seq = ?1",
                    (pending[0].enqueue_seq, *forever[:6]),
                )
            with self._write as db:
                db.execute(_SQL["batch_delete"], (pending[0].enqueue_seq,))
            return pending[0]
        return super().cancel_queued_work_batch(session_id, batch_id)


class CountsInMemory(OnDisk):
    """The row of a lane goes with its lease; the fencing counter is kept by the process."""

    counters: ClassVar[dict[tuple[str, str], int]] = {}

    def _lane(self, db: Any, session_id: str) -> tuple[int, Lease | None]:
        stored, lease = super()._lane(db, session_id)
        return max(stored, self.counters.get((self._path, session_id), 0)), lease

    def _grant(self, db: Any, session_id: str, owner_id: str, fencing_token: int, now: int, expires_at: int) -> Lease:
        self.counters[self._path, session_id] = fencing_token
        return super()._grant(db, session_id, owner_id, fencing_token, now, expires_at)

    def _release(self, db: Any, completion: Fence | None) -> None:
        if completion is not None and self._held_lease(db, completion) is not None:
            db.execute("DELETE FROM lane WHERE session_id = ?", (completion.session_id,))


# -- a log of a store in memory ----------------------------------------------------------------------------------------------------


@define(eq=False)
class Opened:
    """A store as this process has it: what is in memory, the log, and how many handles are open."""

    state: _State
    clock: VirtualClock
    pending: list[bytes] = field(factory=list)
    lock: Any = field(factory=threading.RLock)
    handles: int = 0


class Logged(MemoryStore):
    """In memory; every call that may change something is written to a file before it is answered, and opening does all again.

    Nothing is synced: what was written survives the process, not the machine.
    """

    capabilities = evolve(DURABLE, concurrent=True)
    opened: ClassVar[dict[str, Opened]] = {}
    forgets: ClassVar[bool] = False
    """What this process has in memory is not read again when all its handles were closed."""

    def __init__(self, clock: Clock, place: Path) -> None:
        self.place = place
        self._given = clock
        known = self.opened.get(str(place))
        if known is None or not (known.handles or self.forgets):
            known = self.opened[str(place)] = Opened(_State(), VirtualClock(0))
            self._again(known)
        known.handles += 1
        self._known = known
        super().__init__(clock, shared=known.state)

    def _again(self, opened: Opened) -> None:
        """Do everything that is in the log."""
        store = MemoryStore(opened.clock, shared=opened.state)
        for now, op, args in self._entries():
            opened.clock.now = now
            self._redo(store, op, args)
        self._recovered(opened.state)

    def _redo(self, store: MemoryStore, op: str, args: tuple[Any, ...]) -> None:
        getattr(store, op)(*args)

    def _recovered(self, state: _State) -> None:
        """What comes after that."""

    def _entries(self) -> Iterator[Any]:
        path = self.place / "log"
        if path.exists():
            with path.open("rb") as file:
                while True:
                    try:
                        yield pickle.load(file)
                    except (EOFError, pickle.UnpicklingError):
                        return

    def _write(self, opened: Opened, entry: bytes) -> None:
        file = os.open(self.place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, entry)
        os.close(file)

    def _kept(self, op: str) -> bool:
        """Such calls are logged."""
        return op not in READS

    def _do(self, op: str, args: tuple[Any, ...]) -> Any:
        with self._known.lock:
            value = getattr(MemoryStore, op)(self, *args)
            if self._kept(op):
                self._write(self._known, pickle.dumps((self._clock.now_ms(), op, args)))
            return value

    def open_handle(self) -> Any:
        """Another handle, also after this one was closed."""
        return type(self)(self._given, self.place)

    def close(self) -> None:
        """Close this handle."""
        if isinstance(self._lock, type(self._state.lock)):
            self._known.handles -= 1
        super().close()

    def drop(self) -> None:
        """Remove the log."""
        self.opened.pop(str(self.place), None)
        shutil.rmtree(self.place, ignore_errors=True)

    @property
    def durability_tier(self) -> Any:
        """TIER-1."""
        return "durable"


def _logged(op: str) -> Any:
    def method(self: Any, *args: Any) -> Any:
        return self._do(op, args)

    return method


for _op in OPERATIONS:
    setattr(Logged, _op, _logged(_op))


def logged(kind: Any) -> Factory:
    """A factory of such stores."""
    return lambda clock: kind(clock, here())


class Forgetful(Logged):
    """Something is in memory only. As long as the process lives, reopening finds it there."""

    capabilities = DURABLE
    forgets = True


class _Tolerant(dict[str, Any]):
    """Deleting what is not there is fine."""

    def __delitem__(self, key: str) -> None:
        self.pop(key, None)


def _stamps(state: _State) -> None:
    state.stamps.clear()


def _tombstones(state: _State) -> None:
    state.tombstoned.clear()


def _fencing(state: _State) -> None:
    for session in set(state.lane_fencing) - set(state.leases):
        del state.lane_fencing[session]


def _minted(state: _State) -> None:
    state.minted = 0


def _keys(state: _State) -> None:
    for queue in state.queues.values():
        queue.by_source_key = _Tolerant()


def _numbers(state: _State) -> None:
    state.enqueued = max((entry.seq for queue in state.queues.values() for entry in queue.everything), default=0)


def _claims(state: _State) -> None:
    for queue in state.queues.values():
        for held in [*queue.claims.values()]:
            for entry in [*held.entries.values()]:
                queue.free(entry, 0)


def _claim_fencing(state: _State) -> None:
    for queue in state.queues.values():
        for entry in queue.unclaimed:
            entry.fencing = 0


def _leases(state: _State) -> None:
    state.leases.clear()


def _attachments(state: _State) -> None:
    for attachment, rows in state.manifest.items():
        for session, row in rows.items():
            rows[session] = state.uncommitted[attachment, session] = evolve(row, committed_at_epoch_ms=None)


def _meta(state: _State) -> None:
    state.meta = None


def _results(state: _State) -> None:
    if state.head is not None:
        now = state.head.head_revision
        state.stamps = {turn: (digest, evolve(result, head_revision=now)) for turn, (digest, result) in state.stamps.items()}


def _bodies(state: _State) -> None:
    refs = () if state.head is None else (state.head.manifest.tool_state_ref, state.head.manifest.plugin_snapshot_ref)
    state.bodies = {ref: body for ref, body in state.bodies.items() if ref in refs}


def forgetting(what: Callable[[_State], None]) -> Factory:
    """Stores that have something in memory only."""
    return logged(type("Forgetful", (Forgetful,), {"_recovered": lambda _, state: what(state)}))


class WritesBehind(Logged):
    """What a call changed is written with the next one, or when a handle is closed."""

    capabilities = DURABLE

    def _write(self, opened: Opened, entry: bytes) -> None:
        self._flush()
        opened.pending.append(entry)

    def _flush(self) -> None:
        pending, self._known.pending = self._known.pending, []
        for one in pending:
            super()._write(self._known, one)

    def close(self) -> None:
        self._flush()
        super().close()


class WritesByEights(WritesBehind):
    """Calls are written eight at a time: a group commit that does not wait."""

    def _write(self, opened: Opened, entry: bytes) -> None:
        opened.pending.append(entry)
        if len(opened.pending) == 8:
            self._flush()


class RenewsInMemory(Forgetful):
    """Renewals and re-entries are not written: they happen too often."""

    def _kept(self, op: str) -> bool:
        return super()._kept(op) and "renew" not in op


class HeartbeatsLater(Forgetful):
    """A renewal of a lease is written with the next entry: heartbeats have to be cheap."""

    def _write(self, opened: Opened, entry: bytes) -> None:
        _, op, _ = pickle.loads(entry)
        opened.pending.append(entry)
        if op != "renew_session_execution_lease":
            super()._write(opened, b"".join(opened.pending))
            opened.pending.clear()


class OverwritesHeartbeats(Logged):
    """Of two renewals of a lease within a millisecond the log keeps one: the first is cut off, and then the second written."""

    capabilities = DURABLE

    def _write(self, opened: Opened, entry: bytes) -> None:
        now, op, args = pickle.loads(entry)
        renews = op == "renew_session_execution_lease"
        if renews and opened.pending:
            then, _, known = pickle.loads(opened.pending[0])
            if (then, known[0]) == (now, args[0]):
                path = self.place / "log"
                os.truncate(path, path.stat().st_size - len(opened.pending[0]))
        super()._write(opened, entry)
        opened.pending[:] = [entry] if renews else []


class QueuesInMemory(Forgetful):
    """Abandonments are not written: the claim will expire anyway."""

    def _kept(self, op: str) -> bool:
        return super()._kept(op) and "abandon" not in op


class Rewrites(Logged):
    """The whole store is one file, written again in place by every call. One that cannot be read is taken for a new one."""

    capabilities = DURABLE

    def _entries(self) -> Iterator[Any]:
        path = self.place / "store"
        text = path.read_bytes() if path.exists() else bytes(8)
        whole = len(text) >= 8 and int.from_bytes(text[:8]) == len(text) - 8
        file = io.BytesIO(text[8:] if whole else self._torn())
        while file.tell() < len(file.getbuffer()):
            yield pickle.load(file)

    def _torn(self) -> bytes:
        return b""

    def _write(self, opened: Opened, entry: bytes) -> None:
        opened.pending.append(entry)
        text = b"".join(opened.pending)
        with (self.place / "store").open("wb", buffering=0) as file:
            file.write(len(text).to_bytes(8))
            file.write(text)

    def _again(self, opened: Opened) -> None:
        opened.pending = [pickle.dumps(entry) for entry in self._entries()]
        super()._again(opened)


class RefusesTornFiles(Rewrites):
    """The same, but a file that cannot be read is an error."""

    def _torn(self) -> bytes:
        raise Backend("the store is damaged: restore it from a backup")


class StaysLocked(Logged):
    """A file says that the store is in use. It goes when the last handle is closed; after a crash it is still there."""

    capabilities = DURABLE

    def __init__(self, clock: Clock, place: Path) -> None:
        lock = place / f"in-use-by-{os.getpid()}"
        others = [one for one in place.glob("in-use-by-*") if one != lock]
        if others:
            raise Backend(f"the store is in use: {others[0].name}")
        lock.touch()
        super().__init__(clock, place)

    def close(self) -> None:
        super().close()
        if not self._known.handles:
            (self.place / f"in-use-by-{os.getpid()}").unlink(missing_ok=True)


class AppendsAfterTornTail(Logged):
    """Entries are written in two pieces. A torn last one is ignored, but left: what is written after it is never read again."""

    capabilities = DURABLE

    def _write(self, opened: Opened, entry: bytes) -> None:
        file = os.open(self.place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, entry[:20])
        os.write(file, entry[20:])
        os.close(file)


class CompactsInPlace(Logged):
    """When it is opened, the log is written again without what changed nothing: first emptied, and then filled."""

    capabilities = DURABLE

    def _again(self, opened: Opened) -> None:
        entries = [pickle.dumps(entry) for entry in self._entries()]
        super()._again(opened)
        if entries:
            self._compact(entries)

    def _compact(self, entries: list[bytes]) -> None:
        with (self.place / "log").open("wb", buffering=0) as file:
            for entry in entries:
                file.write(entry)


class LogsFirst(Logged):
    """Calls are written before they are done: one that is refused is done again at the next start, and may be granted then."""

    def _do(self, op: str, args: tuple[Any, ...]) -> Any:
        with self._known.lock:
            if self._kept(op):
                self._write(self._known, pickle.dumps((self._clock.now_ms(), op, args)))
            return getattr(MemoryStore, op)(self, *args)

    def _redo(self, store: MemoryStore, op: str, args: tuple[Any, ...]) -> None:
        try:
            getattr(store, op)(*args)
        except Refusal:
            return


# -- right ones --------------------------------------------------------------------------------------------------------------------


class SlowToOpen(Logged):
    """To recover takes 200 ms."""

    def _recovered(self, state: _State) -> None:
        if (self.place / "log").exists():
            time.sleep(0.2)


class TruncatesTornTail(AppendsAfterTornTail):
    """Entries are written in two pieces; a torn last one is cut off."""

    def _entries(self) -> Iterator[Any]:
        path = self.place / "log"
        if path.exists():
            good = 0
            with path.open("rb") as file:
                while True:
                    try:
                        entry = pickle.load(file)
                    except (EOFError, pickle.UnpicklingError):
                        break
                    good = file.tell()
                    yield entry
            os.truncate(path, good)


class CutsOffWhatIsWritten(TruncatesTornTail):
    """Who opens a handle takes half an entry for the rest of a crash; it may be one that another handle is about to write."""

    capabilities = evolve(DURABLE, concurrent=True)

    def open_handle(self) -> Any:
        for _ in self._entries():
            pass
        return super().open_handle()


class CompactsBeside(CompactsInPlace):
    """When it is opened, the log is written again beside the old one and put in its place."""

    def _compact(self, entries: list[bytes]) -> None:
        new = self.place / "new"
        new.write_bytes(b"".join(entries))
        new.replace(self.place / "log")


class Renames(Rewrites):
    """The whole store is one file, written beside the old one and put in its place."""

    capabilities = Logged.capabilities

    def _write(self, opened: Opened, entry: bytes) -> None:
        opened.pending.append(entry)
        text, new = b"".join(opened.pending), self.place / "new"
        new.write_bytes(len(text).to_bytes(8) + text)
        new.replace(self.place / "store")


class Loses(Logged):
    """One answer in twenty is lost; the call took effect at once, some calls later, or never."""

    loss: Loss | None = None

    def _do(self, op: str, args: tuple[Any, ...]) -> Any:
        if self.loss is None:
            self.loss = LateLoss(0.05)
        with self._known.lock:
            return self.loss.call(self, op, args, lambda: super(Loses, self)._do(op, args))


def _names(stores: Iterable[tuple[str, Factory]]) -> dict[str, Factory]:
    return {name.replace("-", "_"): factory for name, factory in stores}


STORES = _names(
    (
        ("stamps-afterwards", in_parts("complete graph bodies usage attachments head release | stamp")),
        ("stamps-before", in_parts("stamp | complete graph bodies usage attachments head release")),
        ("commits-in-two", in_parts("graph bodies | complete usage attachments head stamp release")),
        ("usage-in-a-second-transaction", in_parts("complete graph bodies attachments head stamp release | usage")),
        ("completes-in-a-second-transaction", in_parts("graph bodies usage attachments head stamp release | complete")),
        ("completes-first", in_parts("complete | graph bodies usage attachments head stamp release")),
        ("releases-in-a-second-transaction", in_parts("complete graph bodies usage attachments head stamp | release")),
        ("releases-first", in_parts("release | complete graph bodies usage attachments head stamp")),
        ("attachments-in-a-second-transaction", in_parts("complete graph bodies usage head stamp release | attachments")),
        ("bodies-in-a-second-transaction", in_parts("complete graph usage attachments head stamp release | bodies")),
        ("claims-one-by-one", on_disk(ClaimsOneByOne)),
        ("hides-one-by-one", on_disk(TombstonesOneByOne)),
        ("keys-afterwards", on_disk(KeysAfterwards)),
        ("grants-anew", on_disk(GrantsAnew)),
        ("cancels-in-two", on_disk(CancelsInTwo)),
        ("counts-in-memory", on_disk(CountsInMemory)),
        ("crash-forgets-stamps", forgetting(_stamps)),
        ("crash-forgets-tombstones", forgetting(_tombstones)),
        ("crash-forgets-fencing", forgetting(_fencing)),
        ("crash-mints-again", forgetting(_minted)),
        ("crash-forgets-keys", forgetting(_keys)),
        ("crash-numbers-again", forgetting(_numbers)),
        ("crash-frees-claims", forgetting(_claims)),
        ("crash-forgets-claim-fencing", forgetting(_claim_fencing)),
        ("crash-forgets-leases", forgetting(_leases)),
        ("crash-forgets-attachment-stamps", forgetting(_attachments)),
        ("crash-answers-with-the-head", forgetting(_results)),
        ("crash-forgets-meta", forgetting(_meta)),
        ("crash-forgets-execution-state", forgetting(_bodies)),
        ("writes-behind", logged(WritesBehind)),
        ("writes-by-eights", logged(WritesByEights)),
        ("renews-in-memory", logged(RenewsInMemory)),
        ("heartbeats-later", logged(HeartbeatsLater)),
        ("overwrites-heartbeats", logged(OverwritesHeartbeats)),
        ("abandons-in-memory", logged(QueuesInMemory)),
        ("rewrites-in-place", logged(Rewrites)),
        ("refuses-torn-files", logged(RefusesTornFiles)),
        ("stays-locked", logged(StaysLocked)),
        ("appends-after-torn-tail", logged(AppendsAfterTornTail)),
        ("compacts-in-place", logged(CompactsInPlace)),
        ("cuts-off-what-is-written", logged(CutsOffWhatIsWritten)),
        ("own-log", logged(Logged)),
        ("in-parts-in-one", in_parts(PARTS)),
        ("slow-to-open", logged(SlowToOpen)),
        ("cuts-off-torn-tail", logged(TruncatesTornTail)),
        ("compacts-beside", logged(CompactsBeside)),
        ("renames-into-place", logged(Renames)),
        ("loses-answers-and-is-killed", logged(Loses)),
    )
)


def __getattr__(name: str) -> Factory:
    if name in STORES:
        return STORES[name]
    raise AttributeError(name)

"""Liars that no patch of one place makes: what a handle keeps to itself, and what is gone after a reopen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from attrs import define, evolve

from leasehold.records import Batch, BatchDraft, Commit, Lease, ReadScope
from leasehold.store import Capabilities, Clock, HeadRevisionConflict, SystemClock
from leasehold.stores.memory import MemoryStore, _State
from leasehold.stores.sqlite import SqliteStore
from tests.liars.patching import Factory, in_a_folder


class LeasesOfAHandle(MemoryStore):
    """A handle that never claimed a lane believes that it is free."""

    def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Lease | None:
        known: set[str] = vars(self).setdefault("known", set())
        if session_id not in known:
            self._state.leases.pop(session_id, None)
        known.add(session_id)
        return super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)


@define
class _Ahead:
    """A client's own clock, which is fast."""

    right: Clock
    ahead: int

    def now_ms(self) -> int:
        return self.right.now_ms() + self.ahead


class ClockOfAHandle(MemoryStore):
    """Each client decides by its own clock what has expired, and the second one's is fast."""

    ahead: ClassVar[int] = 20

    def open_handle(self) -> ClockOfAHandle:
        return type(self)(_Ahead(self._clock, self.ahead), shared=self._state)


class RealClockOfAHandle(ClockOfAHandle):
    """The same on real clocks: the second client's is three minutes fast."""

    capabilities = Capabilities(handles=8, clock="real")
    ahead: ClassVar[int] = 180_000

    def __init__(self, clock: Clock, *, shared: _State | None = None) -> None:
        super().__init__(SystemClock() if shared is None else clock, shared=shared)


class LoadsOfAHandle(MemoryStore):
    """Loads are kept until this handle itself changes something."""

    def load_session(self, scope: ReadScope) -> Any:
        loads: dict[ReadScope, Any] = vars(self).setdefault("loads", {})
        if loads.get(scope) is None:
            loads[scope] = super().load_session(scope)
        return loads[scope]

    def commit_runtime_state(self, commit: Commit) -> Any:
        vars(self)["loads"] = {}
        return super().commit_runtime_state(commit)

    def tombstone_nodes(self, ids: Sequence[str]) -> None:
        vars(self)["loads"] = {}
        super().tombstone_nodes(ids)


class _Tolerant(dict[str, Any]):
    """Deleting what is not there is fine."""

    def __delitem__(self, key: str) -> None:
        self.pop(key, None)


class KeysOfAHandle(MemoryStore):
    """A source key that this handle never enqueued is new to it."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        known: set[tuple[str, str | None]] = vars(self).setdefault("known", set())
        queue = self._state.queues.get(batch.session_id)
        if queue is not None and batch.source_key is not None and (batch.session_id, batch.source_key) not in known:
            queue.by_source_key = _Tolerant(queue.by_source_key)
            del queue.by_source_key[batch.source_key]
        known.add((batch.session_id, batch.source_key))
        return super().enqueue_queued_work(batch)


class FencingOfAHandle(MemoryStore):
    """Each handle counts the fencing tokens that it grants."""

    def _grant(self, session_id: str, owner_id: str, ttl: int, now: int) -> Lease:
        own: dict[str, int] = vars(self).setdefault("own", {})
        self._state.lane_fencing[session_id] = own.get(session_id, 0)
        lease = super()._grant(session_id, owner_id, ttl, now)
        own[session_id] = lease.fencing_token
        return lease


class ListsOfAHandle(MemoryStore):
    """A list of queued work is kept until this handle itself enqueues, cancels or commits."""

    def list_queued_work(self, session_id: str) -> Sequence[Batch]:
        lists: dict[str, Sequence[Batch]] = vars(self).setdefault("lists", {})
        if session_id not in lists:
            lists[session_id] = super().list_queued_work(session_id)
        return lists[session_id]

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        vars(self)["lists"] = {}
        return super().enqueue_queued_work(batch)

    def cancel_queued_work_batch(self, session_id: str, batch_id: str) -> Any:
        vars(self)["lists"] = {}
        return super().cancel_queued_work_batch(session_id, batch_id)

    def commit_runtime_state(self, commit: Commit) -> Any:
        vars(self)["lists"] = {}
        return super().commit_runtime_state(commit)


class RevisionOfAHandle(MemoryStore):
    """An expected revision is compared with the one this handle saw last."""

    def _check_revision(self, expected: int | None) -> None:
        seen: int = vars(self).setdefault("seen", self._revision())
        if expected is not None and expected != seen:
            raise HeadRevisionConflict(expected=expected, actual=seen)

    def commit_runtime_state(self, commit: Commit) -> Any:
        result = super().commit_runtime_state(commit)
        vars(self)["seen"] = self._revision()
        return result


class ClaimsOfAHandle(MemoryStore):
    """A handle knows the claims that it made itself."""

    def _claim(self, *args: Any) -> Any:
        claim = super()._claim(*args)
        vars(self).setdefault("known", set()).add(claim.claim_id)
        return claim

    def _held_claim(self, session_id: str, claim_id: str, lease_token: str) -> Any:
        if claim_id not in vars(self).get("known", ()):
            return None
        return super()._held_claim(session_id, claim_id, lease_token)


def _rewritten(value: Any, change: Callable[[Any], Any]) -> Any:
    """A JSON value with every leaf changed."""
    if isinstance(value, dict):
        return {key: _rewritten(member, change) for key, member in value.items()}
    return [_rewritten(member, change) for member in value] if isinstance(value, list | tuple) else change(value)


class JsonThroughDoubles(MemoryStore):
    """Tool states are parsed by a library that knows no integers."""

    def commit_runtime_state(self, commit: Commit) -> Any:
        def change(leaf: Any) -> Any:
            return int(float(leaf)) if isinstance(leaf, int) and not isinstance(leaf, bool) else leaf

        checkpoint = evolve(commit.checkpoint, tool_state=_rewritten(commit.checkpoint.tool_state, change))
        return super().commit_runtime_state(evolve(commit, checkpoint=checkpoint))


class PayloadsInLatin1(MemoryStore):
    """Payloads are kept in an encoding that not every character has."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Any:
        def change(leaf: Any) -> Any:
            return leaf.encode("latin-1", "replace").decode("latin-1") if isinstance(leaf, str) else leaf

        return super().enqueue_queued_work(evolve(batch, payloads=tuple(_rewritten(one, change) for one in batch.payloads)))


def forgetting(statement: str, *, last: bool = True) -> Factory:
    """SQLite stores that run this statement when their last handle is closed, or else when any but the last is."""

    class Forgetful(SqliteStore):
        handles: ClassVar[Counter[str]] = Counter()

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.handles[self._path] += 1

        def close(self) -> None:
            cursor = self._file.cursor
            if cursor is not None:
                self.handles[self._path] -= 1
                if last == (not self.handles[self._path]):
                    cursor.execute(statement)
            super().close()

    return in_a_folder(Forgetful)

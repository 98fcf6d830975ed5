"""Liars that no patch of one place makes: what a handle keeps to itself, and what is gone after a reopen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from leasehold.records import BatchDraft, Commit, Lease, ReadScope
from leasehold.stores.memory import MemoryStore
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


def forgetting(statement: str) -> Factory:
    """SQLite stores that run this statement when their last handle is closed."""

    class Forgetful(SqliteStore):
        handles: ClassVar[Counter[str]] = Counter()

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.handles[self._path] += 1

        def close(self) -> None:
            cursor = self._file.cursor
            if cursor is not None:
                self.handles[self._path] -= 1
                if not self.handles[self._path]:
                    cursor.execute(statement)
            super().close()

    return in_a_folder(Forgetful)

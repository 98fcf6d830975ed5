"""`SqliteStore.trace`: each statement just before it is executed, on one handle; a hook that raises undoes the operation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from leasehold.store import VirtualClock
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import META, SESSION, draft_of, lease_of, numbered_commit

KILLED = """
import os, signal, sys
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import META
store = SqliteStore(sys.argv[1])
store.trace(lambda statement: os.kill(os.getpid(), signal.SIGKILL) if statement == sys.argv[2] else None)
store.save_session_meta(META)
"""


class Stop(Exception):
    """Raised by a hook."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "store.db", clock=VirtualClock(1))) as opened:
        yield opened


def words(statements: list[str]) -> list[str]:
    """The verb of each, and for a write the table."""
    found = []
    for statement in statements:
        word = statement.split()
        found.append(f"{word[0]} {word[word.index('INTO') + 1]}" if "INTO" in word else word[0])
    return found


def test_the_statements_of_a_commit_in_order(store: SqliteStore) -> None:
    fence = lease_of(store)
    seen: list[str] = []
    store.trace(seen.append)
    with closing(store.open_handle()) as other:
        other.save_session_meta(META)  # another handle is not traced
    assert seen == []
    store.commit_runtime_state(numbered_commit(1, fence))
    assert seen[0] == "BEGIN IMMEDIATE"
    assert words(seen)[1:] == ["SELECT", "INSERT node", "INSERT body", "INSERT usage", "INSERT head", "INSERT stamp", "COMMIT"]
    seen.clear()
    store.load_session_meta()
    assert words(seen) == ["SELECT"]
    store.trace(None)
    seen.clear()
    store.commit_runtime_state(numbered_commit(2, fence))
    assert seen == []


def test_a_hook_that_raises_undoes_the_operation(store: SqliteStore) -> None:
    fence = lease_of(store)
    store.commit_runtime_state(numbered_commit(1, fence))
    seen: list[str] = []
    store.trace(seen.append)
    with closing(store.open_handle()) as other:
        before = other.load_session_meta(), other.list_queued_work(SESSION)
        store.enqueue_queued_work(draft_of("counted"))
        points = len(seen)
        assert points >= 3
        after = other.list_queued_work(SESSION)
        assert after != before[1]  # twin: without an error it is there
        for point in range(points):
            left = iter(range(point))

            def stop(statement: str, left: Iterator[int] = left) -> None:
                if next(left, None) is None:
                    raise Stop(statement)

            store.trace(stop)
            with pytest.raises(Stop):
                store.enqueue_queued_work(draft_of("never"))
            assert other.list_queued_work(SESSION) == after
            other.save_session_meta(META)  # and the write lock is free
    store.trace(lambda _: store.trace(None))  # a hook may end the trace
    store.enqueue_queued_work(draft_of("again"))
    assert len(store.list_queued_work(SESSION)) == len(after) + 1


def test_a_hook_may_wait(store: SqliteStore) -> None:
    """At BEGIN nothing is locked yet; at COMMIT everything is done, and nobody sees it."""
    reached, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def wait(statement: str) -> None:
        if statement in ("BEGIN IMMEDIATE", "COMMIT"):
            reached.release()
            assert go_on.acquire(timeout=60)

    store.trace(wait)
    thread = threading.Thread(target=store.enqueue_queued_work, args=(draft_of("first"),))
    thread.start()
    with closing(store.open_handle()) as other:
        assert reached.acquire(timeout=60)
        other.enqueue_queued_work(draft_of("second"))
        go_on.release()
        assert reached.acquire(timeout=60)
        assert [batch.items[0].payload for batch in other.list_queued_work(SESSION)] == list(draft_of("second").payloads)
        go_on.release()
        thread.join()
        assert len(other.list_queued_work(SESSION)) == 2


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN IMMEDIATE", "none of them"])
def test_a_hook_may_kill_the_process(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "store.db"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path), statement], check=False, env=os.environ)
    killed = statement != "none of them"
    assert ended.returncode == (-signal.SIGKILL if killed else 0)
    with closing(SqliteStore(path)) as store:
        assert store.load_session_meta() == (None if killed else META)

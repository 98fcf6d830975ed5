"""Writers of one SQLite file take turns: who has just written comes after who waits, whatever becomes of either."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leasehold.records import SessionMeta
from leasehold.store import Contended, VirtualClock
from leasehold.stores.sqlite import SqliteStore
from leasehold.targets import open_factory
from tests.impl.stores.samples import META, SESSION, draft_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def texts(store: SqliteStore) -> list[Any]:
    """Of the batches, in the order in which they were written."""
    return [batch.items[0].payload["text"] for batch in store.list_queued_work(SESSION)]


def order_of_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One writes twice. Another comes during the first write, and looks again only when the one waits, or is done."""
    waits, look_again = threading.Event(), threading.Event()
    one = threading.current_thread()

    def pause(_seconds: float) -> None:
        if threading.current_thread() is one:
            look_again.set()
        else:
            waits.set()
            assert look_again.wait(60)

    monkeypatch.setattr("leasehold.stores._turns.time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    with closing(SqliteStore(path)) as store, closing(store.open_handle()) as other:
        thread = threading.Thread(target=other.enqueue_queued_work, args=(draft_of("the other"),))

        def meet(statement: str) -> None:
            if statement == "COMMIT" and not waits.is_set():
                thread.start()
                assert waits.wait(60)

        store.trace(meet)
        store.enqueue_queued_work(draft_of("first"))
        store.enqueue_queued_work(draft_of("second"))
        look_again.set()
        thread.join()
        return texts(store)


def test_who_has_just_written_comes_after_who_waits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.stores._turns._PATIENCE", 0)
    assert order_of_writes(path, monkeypatch) == ["first", "the other", "second"]


def test_twin_who_never_becomes_next_comes_last(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.stores._turns._PATIENCE", 60)
    assert order_of_writes(path, monkeypatch) == ["first", "second", "the other"]


def replace_flock(monkeypatch: pytest.MonkeyPatch, flock: Callable[[int, int], None]) -> None:
    others = {name: getattr(fcntl, name) for name in ("LOCK_EX", "LOCK_NB", "LOCK_UN")}
    monkeypatch.setattr("leasehold.stores._turns.fcntl", SimpleNamespace(flock=flock, **others))


CHILD = """
import sys
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import draft_of
store = SqliteStore(sys.argv[1])
def wait(statement):
    if statement == sys.argv[2]:
        print("there", flush=True)
        sys.stdin.readline()
store.trace(wait)
store.enqueue_queued_work(draft_of())
"""


@contextmanager
def writer(path: Path, stop_at: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes, and stops before a statement."""
    command = [sys.executable, "-c", CHILD, str(path), stop_at]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert heard(process) == "there"
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


BUSY = """
import sys
from leasehold.stores import _turns
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import draft_of
_turns._PATIENCE = 0
name, other = sys.argv[2:]
store = SqliteStore(sys.argv[1], busy_timeout_ms=60_000)
cursor = store._file.cursor

def has_written(kind):
    return cursor.execute("SELECT 1 FROM batch WHERE source_key = ?", (f"{kind} {other}",)).fetchone() is not None

store.enqueue_queued_work(draft_of(source_key=f"first {name}"))
while not has_written("first"):
    pass
overtakers = []
for _ in range(100):
    (before,) = cursor.execute("SELECT max(enqueue_seq) FROM batch").fetchone()
    overtakers.append(store.enqueue_queued_work(draft_of()).enqueue_seq - before - 1)
store.enqueue_queued_work(draft_of(source_key=f"last {name}"))
while not has_written("last"):
    store.enqueue_queued_work(draft_of())
store.close()
print(*overtakers)
"""


NO_TURNS = """
from leasehold.stores import sqlite
from tests.bench.writers import NoTurns
sqlite.Turns = NoTurns
"""


def taking_turns(path: Path, program: str) -> list[int]:
    """For each of two processes, how many of its 100 writes the other came before with one or two: it waited, and was next."""
    with closing(SqliteStore(path)):
        commands = [[sys.executable, "-c", program, str(path), *names] for names in ("ab", "ba")]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        answers = [process.communicate()[0].split() for process in processes]
    assert [len(answer) for answer in answers] == [100, 100]
    return [answer.count("1") + answer.count("2") for answer in answers]


def test_two_processes_write_by_turns(path: Path) -> None:
    """A process that the system does not let run may miss its turn, but not often: those who sync sleep a lot."""
    assert min(taking_turns(path, BUSY)) >= 50


def test_twin_without_turns_each_writes_for_itself(path: Path) -> None:
    assert max(taking_turns(path, NO_TURNS + BUSY)) < 50


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN IMMEDIATE"])
def test_the_turn_of_a_killed_process_is_over(path: Path, statement: str) -> None:
    with closing(SqliteStore(path, busy_timeout_ms=0)) as store, writer(path, statement) as process:
        if statement == "COMMIT":
            with pytest.raises(Contended):  # twin: it lives, and has its turn
                store.save_session_meta(META)
        process.kill()
        process.wait()
        store.save_session_meta(META)
        assert texts(store) == []


def test_the_mark_of_a_killed_process_does_no_harm(path: Path) -> None:
    """That is, of one that waited."""
    turn = path.with_name("store.db-turn")
    turn.write_bytes(b"\1")
    with closing(SqliteStore(path, busy_timeout_ms=0)) as store:
        store.save_session_meta(META)
        assert store.load_session_meta() == META
    assert turn.read_bytes() == b"\0"


@contextmanager
def turn_taken(path: Path) -> Iterator[None]:
    """By somebody who does not write."""
    file = os.open(f"{path}-turn", os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def test_a_turn_that_never_comes_is_no_reason_not_to_write(path: Path) -> None:
    """The locks are for order only."""
    with closing(SqliteStore(path, busy_timeout_ms=20)) as store, closing(store.open_handle()) as other, turn_taken(path):
        store.save_session_meta(META)
        assert store.load_session_meta() == META
        assert store._file.cursor is not None
        assert store._file.cursor.execute("PRAGMA busy_timeout").fetchall() == [(20,)]
        store._file.cursor.execute("BEGIN IMMEDIATE")
        with pytest.raises(Contended, match=r"0\.02 s"):  # twin: now the file is locked
            other.save_session_meta(META)
        store._file.cursor.execute("ROLLBACK")
        other.save_session_meta(META)


def test_where_the_files_cannot_be_made_there_is_no_order(path: Path) -> None:
    path.with_name("store.db-turn").symlink_to(path.parent / "missing" / "file")
    with closing(SqliteStore(path, busy_timeout_ms=0)) as store:
        store.save_session_meta(META)
        assert store.load_session_meta() == META


def refuse(_file: int, _how: int) -> None:
    raise OSError("no locks on this file system")


def test_where_there_are_no_locks_there_is_no_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_flock(monkeypatch, refuse)
    with closing(SqliteStore(path, busy_timeout_ms=0)) as store:
        store.save_session_meta(META)
        assert store.load_session_meta() == META
    monkeypatch.setattr("leasehold.stores._turns.sys", SimpleNamespace(platform="win32"))
    with closing(SqliteStore(path, busy_timeout_ms=0)) as store:
        renamed = SessionMeta(session_id=SESSION, session_name="m", created_at="", model="m", cwd=None, relation={})
        store.save_session_meta(renamed)
        assert store.load_session_meta() == renamed


def test_only_a_writer_makes_the_files_and_a_check_removes_them(path: Path, tmp_path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.load_session_meta()
        assert not list(tmp_path.glob("*-turn"))
        store.save_session_meta(META)
        assert sorted(file.name for file in tmp_path.glob("*-[nt]*")) == ["store.db-next", "store.db-turn"]
    with open_factory(f"sqlite:{tmp_path / 'checked.db'}") as factory:
        temporary: Any = factory(VirtualClock(1))
        temporary.save_session_meta(META)
        (directory,) = tmp_path.glob("checked.db-*")
        assert len(list(directory.glob("*-turn"))) == 1
        temporary.close()
        temporary.drop()
        assert [file.name for file in directory.iterdir()] == ["empty.db"]

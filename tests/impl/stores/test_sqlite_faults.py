"""What the SQLite store does when the world around it fails: a typed refusal that says what, where and what to do; nothing is lost.

Each check comes with the same operation before the fault, after it is mended, or both: that shows that it was the fault.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from leasehold.records import ActivePath, Append, Fence, FullGraph, Lease, Node, Read
from leasehold.store import OPERATIONS, Backend, Contended, Indeterminate, InvalidRequest, Refusal, UnsupportedRecordSchemaVersion
from leasehold.stores import sqlite
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import (
    HOUR,
    META,
    SESSION,
    claim_of,
    commit_of,
    draft_of,
    intent_of,
    lease_of,
    numbered_commit,
)

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[SqliteStore]:
    store = SqliteStore(path, **options)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


class Filled:
    """A store with something in every table, and every operation ready to be called on it."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.fence = lease_of(store)
        store.commit_runtime_state(numbered_commit(1, self.fence))
        store.commit_runtime_state(numbered_commit(2, self.fence))
        self.claimed = store.enqueue_queued_work(draft_of("claimed"))
        self.claim = claim_of(store, self.fence)
        self.batch = store.enqueue_queued_work(draft_of("pending", source_key="k", merge_key="payload_default"))
        store.record_intent(intent_of())
        store.save_session_meta(META)

    def calls(self) -> dict[str, Callable[[], object]]:
        """Every operation, with arguments that it accepts."""
        store, fence = self.store, self.fence
        return {
            "load_session": lambda: store.load_session(FullGraph()),
            "load_node": lambda: store.load_node("n2"),
            "commit_runtime_state": lambda: store.commit_runtime_state(commit_of(fence)),
            "try_claim_session_execution_lease": lambda: store.try_claim_session_execution_lease(SESSION, "owner", HOUR),
            "renew_session_execution_lease": lambda: store.renew_session_execution_lease(fence, HOUR),
            "release_session_execution_lease": lambda: store.release_session_execution_lease(fence),
            "enqueue_queued_work": lambda: store.enqueue_queued_work(draft_of(source_key="k")),
            "claim_ready_queued_work": lambda: store.claim_ready_queued_work(SESSION, fence, "w", "idle", 0, 1),
            "claim_ready_queued_work_by_batch_ids": lambda: store.claim_ready_queued_work_by_batch_ids(
                SESSION, fence, "w", "idle", 0, [self.batch.batch_id]
            ),
            "renew_queued_work_claim": lambda: store.renew_queued_work_claim(self.claim, HOUR),
            "abandon_queued_work_claim": lambda: store.abandon_queued_work_claim(self.claim),
            "cancel_queued_work_batch": lambda: store.cancel_queued_work_batch(SESSION, self.batch.batch_id),
            "list_queued_work": lambda: store.list_queued_work(SESSION),
            "list_pending_queued_work": lambda: store.list_pending_queued_work(SESSION),
            "save_session_meta": lambda: store.save_session_meta(META),
            "load_session_meta": store.load_session_meta,
            "tombstone_nodes": lambda: store.tombstone_nodes(["n2"]),
            "vacuum": store.vacuum,
            "gc_unreachable": store.gc_unreachable,
            "record_intent": lambda: store.record_intent(intent_of("a2")),
            "commit_refs": lambda: store.commit_refs(SESSION, ["a1"]),
            "list_uncommitted": lambda: store.list_uncommitted(10),
            "forget": lambda: store.forget("a1"),
            # The same operations by another way through the code.
            "load_session of a path": lambda: store.load_session(ActivePath()),
            "commit with usage": lambda: store.commit_runtime_state(numbered_commit(3, fence)),
            "commit replayed": lambda: store.commit_runtime_state(numbered_commit(2, fence)),
        }

    def everything(self) -> list[object]:
        """What can be seen of the store."""
        reading = ("load_session", "load_session of a path", "list_queued_work", "load_session_meta", "list_uncommitted")
        calls = self.calls()
        return [calls[name]() for name in reading]


READS = {"load_session", "load_node", "list_queued_work", "list_pending_queued_work", "load_session_meta", "list_uncommitted"}
READS |= {"load_session of a path"}


def test_every_operation_is_tried(path: Path) -> None:
    with opened(path) as store:
        assert set(OPERATIONS) <= set(Filled(store).calls())


# Damaged rows.

DAMAGE = [
    ("head", "config", "'{'", "load_session"),
    ("head", "config", "x'00'", "load_session of a path"),
    ("head", "agent_frames", "'{}'", "load_session"),
    ("head", "manifest", "'[1]'", "load_session"),
    ("head", "manifest", "'{'", "gc_unreachable"),
    ("head", "manifest", """'[1, 2, null, null, null]'""", "load_session"),
    ("head", "session_id", "x'00'", "load_session"),
    ("head", "head_revision", "'two'", "load_session"),
    ("head", "head_revision", "'two'", "commit_runtime_state"),
    ("head", "checkpoint_ref", "x'00'", "gc_unreachable"),
    ("node", "content", "'nonsense'", "load_session"),
    ("node", "content", "'nonsense'", "load_session of a path"),
    ("node", "content", "'nonsense'", "load_node"),
    ("node", "content", "CAST(x'ff' AS TEXT)", "load_node"),
    ("node", "parent_node_id", "x'00'", "load_session"),
    ("node", "parent_node_id", "x'00'", "load_session of a path"),
    ("node", "timestamp", "x'00'", "load_node"),
    ("body", "body", "x'7b7d'", "load_session"),
    ("body", "body", "'text'", "load_session"),
    ("body", "ref", "'moved' || rowid", "load_session"),
    ("usage", "input_tokens", "'many'", "load_session"),
    ("usage", "input_tokens", "1.5", "commit with usage"),
    ("usage", "model", "x'00'", "load_session"),
    ("stamp", "manifest", "'?'", "commit replayed"),
    ("stamp", "head_revision", "'x'", "commit replayed"),
    ("lane", "expires_at", "'soon'", "try_claim_session_execution_lease"),
    ("lane", "expires_at", "'soon'", "renew_session_execution_lease"),
    ("lane", "expires_at", "NULL", "release_session_execution_lease"),
    ("lane", "owner_id", "NULL", "commit_runtime_state"),
    ("lane", "fencing_token", "'x'", "claim_ready_queued_work"),
    ("lane", "claimed_at", "0.5", "claim_ready_queued_work_by_batch_ids"),
    ("batch", "payloads", "'['", "list_queued_work"),
    ("batch", "payloads", "'{}'", "list_pending_queued_work"),
    ("batch", "payloads", "x'00'", "claim_ready_queued_work"),
    ("batch", "payloads", "'['", "claim_ready_queued_work_by_batch_ids"),
    ("batch", "payloads", "'['", "enqueue_queued_work"),
    ("batch", "payloads", "'['", "cancel_queued_work_batch"),
    ("batch", "delivery_policy", "'whenever'", "claim_ready_queued_work"),
    ("batch", "slot_policy", "'some'", "list_queued_work"),
    ("batch", "merge_key", "'?'", "claim_ready_queued_work"),
    ("batch", "fencing_token", "'x'", "claim_ready_queued_work"),
    ("batch", "enqueued_at", "'x'", "list_queued_work"),
    ("batch", "claim_owner_id", "x'00'", "renew_queued_work_claim"),
    ("batch", "claimed_at", "'x'", "renew_queued_work_claim"),
    ("attachment", "canonical_uri", "x'00'", "list_uncommitted"),
    ("session_meta", "relation", "'{'", "load_session_meta"),
    ("session_meta", "session_name", "x'00'", "load_session_meta"),
]


@pytest.mark.requirement("LAW-15", "LAW-1")
@pytest.mark.parametrize(("table", "column", "value", "operation"), DAMAGE)
def test_a_damaged_row_is_refused_and_nothing_is_lost(path: Path, table: str, column: str, value: str, operation: str) -> None:
    with opened(path) as store, raw(path) as connection:
        filled = Filled(store)
        call = filled.calls()[operation]
        before = filled.everything()
        connection.execute(f"CREATE TABLE sound AS SELECT * FROM {table}")
        connection.execute(f"UPDATE {table} SET {column} = {value}")
        connection.execute(f"CREATE TABLE damaged AS SELECT * FROM {table}")
        with pytest.raises(Backend, match=r"unreadable|damaged") as refused:
            call()
        assert "backup" in str(refused.value)
        assert connection.execute(f"SELECT * FROM {table} EXCEPT SELECT * FROM damaged").fetchall() == []
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} SELECT * FROM sound")
        assert filled.everything() == before
        call()  # twin: mended, the same call is answered


def test_a_lost_body_is_missed(path: Path) -> None:
    with opened(path) as store, raw(path) as connection:
        filled = Filled(store)
        filled.everything()
        connection.execute("DELETE FROM body")
        with pytest.raises(Backend, match="missing"):
            filled.everything()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("batch", "available_at"),
        ("batch", "claim_expires_at"),
        ("batch", "wake_at"),
        ("batch", "state"),
        ("attachment", "intent_at"),
        ("node", "tombstoned"),
    ],
)
def test_a_column_that_hides_rows_takes_no_other_type(path: Path, table: str, column: str) -> None:
    with opened(path) as store, raw(path) as connection:
        Filled(store)
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute(f"UPDATE {table} SET {column} = 'soon'")
        connection.execute(f"UPDATE {table} SET {column} = 1")  # twin


# Files that are no store.


@pytest.mark.parametrize("content", [b"Dear diary, today I learned that a file is not a database. " * 100, b"short", b"\0" * 5000])
def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Backend, match=r"store\.db.*path of its own"):
        SqliteStore(path)
    assert path.read_bytes() == content
    path.write_bytes(b"")
    with opened(path) as store:  # twin: an empty file becomes a store
        assert store.list_queued_work(SESSION) == ()


@pytest.mark.parametrize("foreign", ["CREATE TABLE notes (text)", "PRAGMA user_version = 9", "PRAGMA application_id = 7"])
def test_a_database_of_another_program_is_left_alone(path: Path, foreign: str) -> None:
    with raw(path) as connection:
        connection.execute(foreign)
    content = path.read_bytes()
    with pytest.raises(Backend, match="another program"):
        SqliteStore(path)
    assert path.read_bytes() == content


@pytest.mark.requirement("LAW-15")
@pytest.mark.parametrize("version", [0, 2, 99])
def test_a_schema_from_another_time_is_refused(path: Path, version: int) -> None:
    with opened(path) as store:
        before = Filled(store).everything()
    with raw(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(UnsupportedRecordSchemaVersion) as refused:
        SqliteStore(path)
    assert refused.value.details == {"record_kind": "sqlite_store", "actual": version, "expected": 1}
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 1")
    with opened(path) as store:  # twin
        assert store.load_session(FullGraph()) == before[0]


def test_a_stamp_that_contradicts_the_version_is_refused(path: Path) -> None:
    with opened(path):
        pass
    with raw(path) as connection:
        connection.execute("UPDATE leasehold_schema SET version = 3")
    with pytest.raises(Backend, match="contradicts itself"):
        SqliteStore(path)


@pytest.mark.requirement("LAW-15")
@pytest.mark.parametrize("damage", ["overwritten", "cut off"])
def test_a_damaged_file_is_never_empty(path: Path, damage: str) -> None:
    nodes = tuple(Node(node_id=f"n{number}", content={"text": "x" * 500}) for number in range(200))
    with opened(path) as store:
        store.commit_runtime_state(commit_of(lease_of(store), graph=Append(nodes, "n7")))
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + (b"\xff" * half if damage == "overwritten" else b""))
    with pytest.raises(Backend, match="backup"), opened(path) as store:
        store.load_session(FullGraph())
    path.write_bytes(content)
    with opened(path) as store:  # twin
        read = store.load_session(FullGraph())
        assert read is not None
        assert read.graph.nodes == nodes


# Places that cannot be written, and disks that are full.


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    for place in (tmp_path / "file" / "store.db", tmp_path / "missing" / "store.db", tmp_path):
        with pytest.raises(Backend, match="Check that the directory exists"):
            SqliteStore(place)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    with pytest.raises(Backend, match="WAL"):
        SqliteStore(":memory:")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write anywhere; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that every user may reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory
        directory.chmod(0o777)


@pytest.mark.requirement("LAW-15")
def test_a_read_only_directory(public_directory: Path) -> None:
    public_directory.chmod(0o555)
    with as_nobody(), pytest.raises(Backend, match="may write to it"):
        SqliteStore(public_directory / "store.db")
    assert list(public_directory.iterdir()) == []
    public_directory.chmod(0o777)
    with as_nobody(), opened(public_directory / "store.db") as store:  # twin
        Filled(store)


@pytest.mark.requirement("LAW-15")
def test_a_file_that_may_only_be_read(public_directory: Path) -> None:
    path = public_directory / "store.db"
    with as_nobody(), opened(path) as store:
        before = Filled(store).everything()
    path.chmod(0o444)
    public_directory.chmod(0o555)
    with as_nobody(), pytest.raises(Backend, match="may write to it"), opened(path) as store:
        store.enqueue_queued_work(draft_of())
    public_directory.chmod(0o777)
    path.chmod(0o666)
    with as_nobody(), opened(path) as store:  # twin
        assert store.list_queued_work(SESSION) == before[2]
        store.enqueue_queued_work(draft_of())


def large_commit(fence: Fence) -> Any:
    node = Node(node_id="large", content={"text": "x" * 300_000})
    return commit_of(fence, graph=Append((node,), "large"))


@contextmanager
def full_database(store: SqliteStore) -> Iterator[None]:
    """As if the file had no room for a page more."""
    cursor = store._file.cursor
    assert cursor is not None
    pages = cursor.execute("PRAGMA page_count").fetchone()[0]
    cursor.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    yield
    cursor.execute("PRAGMA max_page_count = 1000000").fetchall()


@contextmanager
def full_disk(store: SqliteStore) -> Iterator[None]:
    """The operating system lets no file of this process grow beyond what the log has now."""
    size = Path(f"{store._path}-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.requirement("LAW-15", "LAW-1", "LAW-11")
@pytest.mark.parametrize("full", [full_database, full_disk])
def test_a_full_disk_loses_nothing(path: Path, full: Callable[[SqliteStore], Any]) -> None:
    with opened(path) as store:
        filled = Filled(store)
        before = filled.everything()
        with full(store):
            with pytest.raises(Backend, match="space"):
                store.commit_runtime_state(large_commit(filled.fence))
            assert filled.everything() == before
        with opened(path) as another:
            assert another.list_queued_work(SESSION) == store.list_queued_work(SESSION)
        result = store.commit_runtime_state(large_commit(filled.fence))  # twin: with room the same commit is accepted
        assert result.head_revision == 3
        assert store.load_node("large") is not None


# Several handles, threads and processes.

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


class FailingCommit:
    """A cursor whose COMMIT fails with this error code."""

    def __init__(self, cursor: sqlite3.Cursor, code: int) -> None:
        self._cursor = cursor
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._cursor.execute(statement, *values)


@pytest.mark.requirement("LAW-12", "LAW-15")
@pytest.mark.parametrize(
    ("code", "answer"), [(sqlite3.SQLITE_IOERR_FSYNC, Indeterminate), (sqlite3.SQLITE_IOERR_WRITE, Backend)], ids=["fsync", "write"]
)
def test_what_could_not_be_synced_is_indeterminate(path: Path, code: int, answer: type[Exception]) -> None:
    with opened(path) as store:
        cursor = store._file.cursor
        assert cursor is not None
        store._file.cursor = FailingCommit(cursor, code)  # type: ignore[assignment]  # one that fails
        with pytest.raises(answer, match="disk I/O error"):
            store.enqueue_queued_work(draft_of())
        store._file.cursor = cursor
        assert store.list_queued_work(SESSION) == ()
        assert store.enqueue_queued_work(draft_of()) in store.list_queued_work(SESSION)


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], text: str = "") -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


@pytest.mark.requirement("LAW-15", "LAW-1")
def test_a_locked_file_is_contended_after_a_bounded_wait(path: Path) -> None:
    with opened(path, busy_timeout_ms=60) as store:
        filled = Filled(store)
        before = filled.everything()
        with child(HOLDER, path) as holder:
            assert line_of(holder) == "held"
            for name, call in filled.calls().items():
                if name in READS:
                    call()  # readers don't wait for the writer
                    continue
                start = monotonic()
                with pytest.raises(Contended, match="try again"):
                    call()
                assert 0.05 <= monotonic() - start < 5
            assert filled.everything() == before
            tell(holder)
        assert filled.everything() == before
        for call in filled.calls().values():  # twin: without the lock each of the same calls is answered
            answered(call)


def answered(call: Callable[[], object]) -> None:
    """The call is answered, if only by a refusal that earlier calls gave reason for."""
    try:
        call()
    except (Contended, Backend):
        raise
    except Refusal:
        pass


def test_a_handle_in_use_is_contended_after_a_bounded_wait(path: Path) -> None:
    with opened(path, busy_timeout_ms=20) as store:
        with store._write, pytest.raises(Contended, match="in use"):
            store.list_queued_work(SESSION)
        assert store.list_queued_work(SESSION) == ()


def test_threads_share_a_handle(path: Path) -> None:
    with opened(path, synchronous="NORMAL") as store:

        def work(name: int) -> None:
            for number in range(25):
                store.enqueue_queued_work(draft_of(source_key=f"{name}-{number}"))
                store.load_session(FullGraph())

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        batches = store.list_queued_work(SESSION)
        assert len({batch.source_key for batch in batches}) == len(batches) == 100
        assert [batch.enqueue_seq for batch in batches] == sorted({batch.enqueue_seq for batch in batches})


OPENERS = """
import sys
from leasehold.store import Refusal
from leasehold.stores.sqlite import SqliteStore
print("ready", flush=True)
for line in sys.stdin:
    path, owner = line.split()
    try:
        store = SqliteStore(path, synchronous="NORMAL")
        lease = store.try_claim_session_execution_lease("root", owner, 60000)
        store.close()
        print("granted" if lease else "none", flush=True)
    except Refusal as refusal:
        print(type(refusal).__name__, refusal, flush=True)
"""


@pytest.mark.requirement("LEASE-8", "LAW-2", "LAW-12")
def test_processes_that_open_a_new_file_at_once(tmp_path: Path) -> None:
    processes = [child(OPENERS) for _ in range(4)]
    try:
        assert [line_of(process) for process in processes] == ["ready"] * 4
        for turn in range(15):
            path = tmp_path / f"{turn}.db"
            for number, process in enumerate(processes):
                tell(process, f"{path} owner-{number}")
            assert sorted(line_of(process) for process in processes) == ["granted", "none", "none", "none"]
            with raw(path) as connection:
                assert connection.execute("SELECT * FROM leasehold_schema").fetchall() == [("sqlite_store", 1)]
    finally:
        for process in processes:
            process.communicate()


def test_a_schema_is_made_and_stamped_in_one_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sqlite._SQL["schema"]

    def tables() -> tuple[int, int]:
        with raw(path) as connection:
            made: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            return made, version

    def attempt(schema: str) -> None:
        monkeypatch.setitem(sqlite._SQL, "schema", schema)
        with pytest.raises(Backend):
            SqliteStore(path)

    attempt(f"{whole}\nCREATE TABLE broken (;\n")
    assert tables() == (0, 0)
    monkeypatch.setitem(sqlite._SQL, "schema", whole)
    with opened(path):
        assert tables()[1] == 1
    path.unlink()
    attempt(f"{whole}\nCOMMIT;\nCREATE TABLE broken (;\n")  # twin: with a commit in between, half of it would stay
    assert tables()[0] > 0


# Processes that are killed.

WRITER = """
import sys
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import draft_of, lease_of, numbered_commit
store = SqliteStore(sys.argv[1])
fence = lease_of(store)
for number in range(1, 100000):
    store.commit_runtime_state(numbered_commit(number, fence))
    store.enqueue_queued_work(draft_of(source_key=f"k{number}"))
    print(number, flush=True)
"""


def torn(read: Read | None, queued: int) -> list[str]:
    """What a store after commits 1 to n with `numbered_commit`, and the n or n - 1 batches beside them, contradicts itself in."""
    if read is None:
        return ["no head"] if queued else []
    number = read.head_revision
    checkpoint = read.checkpoint
    expected = {
        "nodes": [f"n{one}" for one in range(1, number + 1)],
        "leaf": f"n{number}",
        "usage": [number],
        "turn": {"turn_index": number},
        "tools": {"generation": number},
    }
    found = {
        "nodes": [node.node_id for node in read.graph.nodes],
        "leaf": read.graph.leaf_node_id,
        "usage": [row.input_tokens for row in read.token_ledger],
        "turn": checkpoint and checkpoint.turn_state,
        "tools": checkpoint and checkpoint.tool_state,
    }
    complaints = [f"{name}: {found[name]} at revision {number}" for name in expected if found[name] != expected[name]]
    return complaints if queued in (number, number - 1) else [*complaints, f"{queued} batches at revision {number}"]


@pytest.mark.requirement("LAW-10", "LAW-11")
@pytest.mark.parametrize("acknowledged", [1, 2, 5, 17, 40])
def test_a_killed_writer_loses_nothing_and_leaves_nothing_half_done(path: Path, acknowledged: int) -> None:
    with child(WRITER, path) as writer:
        for _ in range(acknowledged):
            line_of(writer)
        writer.kill()
        assert writer.stdout is not None
        rest = writer.stdout.read().split()  # not communicate(): that would pass over what was read ahead
    last = int(rest[-1]) if rest else acknowledged
    with opened(path) as store:
        read, queued = store.load_session(FullGraph()), store.list_queued_work(SESSION)
        assert torn(read, len(queued)) == []
        assert read is not None
        assert last <= read.head_revision <= last + 1
        assert last <= len(queued) <= last + 1
        lease = store.renew_session_execution_lease(lease_of(store), HOUR)
        store.commit_runtime_state(numbered_commit(read.head_revision + 1, lease.fence()))


STATEMENT_KILLER = """
import os, signal, sys
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import Claim, claim_of, commit_of, draft_of, lease_of, numbered_commit
from attrs import evolve
directory = sys.argv[1]

class Killer:
    '''A cursor that kills its process before statement number ``left``.'''
    def __init__(self, cursor, left):
        self.cursor, self.left = cursor, left
    def execute(self, *arguments):
        self.count()
        return self.cursor.execute(*arguments)
    def executemany(self, *arguments):
        self.count()
        return self.cursor.executemany(*arguments)
    def count(self):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
    def __getattr__(self, name):
        return getattr(self.cursor, name)

def attempt(number):
    store = SqliteStore(f"{directory}/{number}.db", synchronous="NORMAL")
    fence = lease_of(store)
    store.commit_runtime_state(numbered_commit(1, fence))
    store.enqueue_queued_work(draft_of())
    claim = claim_of(store, fence)
    store._file.cursor = Killer(store._file.cursor, number)
    commit = evolve(
        numbered_commit(2, fence), completed_queue_claims=(claim.completion(),), release_session_execution_lease=fence
    )
    store.commit_runtime_state(commit)
    os._exit(0)

number, survived = 0, False
while not survived:
    process = os.fork()
    if process == 0:
        attempt(number)
    survived = os.waitpid(process, 0)[1] == 0
    number += 1
print(number)
"""


@pytest.mark.requirement("LAW-10", "LAW-11", "COMMIT-8")
def test_a_commit_killed_before_any_of_its_statements_never_happened(tmp_path: Path) -> None:
    with child(STATEMENT_KILLER, tmp_path) as killer:
        attempts = int(killer.communicate()[0])
    assert attempts > 8  # as many statements, and one more attempt that came through
    for number in range(attempts):
        happened = number == attempts - 1
        with opened(tmp_path / f"{number}.db") as store:
            read = store.load_session(FullGraph())
            assert read is not None
            assert read.head_revision == (2 if happened else 1)
            assert torn(read, read.head_revision) == []
            assert len(store.list_queued_work(SESSION)) == (0 if happened else 1)
            other = store.try_claim_session_execution_lease(SESSION, "other", HOUR)
            assert isinstance(other, Lease) == happened


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE head SET head_revision = 4",
        "UPDATE head SET leaf_node_id = 'n2'",
        "UPDATE head SET manifest = replace(manifest, '\"turn_index\":3', '\"turn_index\":2')",
        "UPDATE usage SET input_tokens = 4",
        "DELETE FROM node WHERE node_id = 'n2'",
        "DELETE FROM batch",
    ],
)
def test_twin_a_torn_commit_would_be_noticed(path: Path, damage: str) -> None:
    with opened(path) as store, raw(path) as connection:
        fence = lease_of(store)
        for number in (1, 2, 3):
            store.commit_runtime_state(numbered_commit(number, fence))
            store.enqueue_queued_work(draft_of())
        assert torn(store.load_session(FullGraph()), len(store.list_queued_work(SESSION))) == []
        connection.execute(damage)
        assert torn(store.load_session(FullGraph()), len(store.list_queued_work(SESSION)))


# Handles that are closed.


@pytest.mark.requirement("LAW-15")
def test_a_closed_handle_says_so(path: Path) -> None:
    store = SqliteStore(path)
    filled = Filled(store)
    before = filled.everything()
    store.close()
    store.close()
    for call in filled.calls().values():
        with pytest.raises(Backend, match="closed"):
            call()
    filled.store = store.open_handle()  # twin: another handle finds everything
    assert filled.everything() == before
    filled.store.close()


def test_a_closed_handle_of_the_memory_store_says_so() -> None:
    store = MemoryStore()
    another = store.open_handle()
    batch = store.enqueue_queued_work(draft_of())
    store.close()
    store.close()
    for call in (lambda: store.list_queued_work(SESSION), store.open_handle, store.vacuum):
        with pytest.raises(Backend, match="closed"):
            call()
    assert list(another.list_queued_work(SESSION)) == [batch]


# Values that cannot be stored.


@pytest.mark.requirement("LAW-15", "LAW-1")
def test_values_that_cannot_be_stored_are_bad_input(path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with opened(path) as store:
        fence = lease_of(store)
        for bad in ("\ud800", 3.5, None):
            with pytest.raises(InvalidRequest):
                store.try_claim_session_execution_lease(bad, "owner", HOUR)  # type: ignore[arg-type]
        for payload in (circle, {1, 2}, float("nan"), b"bytes"):
            with pytest.raises(InvalidRequest):
                store.enqueue_queued_work(draft_of(payloads=(payload,)))
            with pytest.raises(InvalidRequest):
                store.commit_runtime_state(commit_of(fence, config=payload))
        with pytest.raises(InvalidRequest):
            store.commit_runtime_state(commit_of(fence, current_agent_frame_id=None))
        assert store.load_session(FullGraph()) is None
        assert store.list_queued_work(SESSION) == ()
        store.commit_runtime_state(commit_of(fence))  # twin

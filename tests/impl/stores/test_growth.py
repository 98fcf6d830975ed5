"""What an operation touches does not grow with what it does not return.

No clock is read. For SQLite the query plans are looked at, and the steps of its virtual machine are counted; for the memory store
the bytecodes that Python executes. Each operation is counted over a small and over a large store.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from attrs import frozen

from leasehold.records import ActivePath, Append, FullGraph, Node, ReplaceFull
from leasehold.store import Store, VirtualClock
from leasehold.stores import memory
from leasehold.stores._statements import load_statements
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import HOUR, SESSION, claim_of, commit_of, draft_of, intent_of, lease_of

STATEMENTS = load_statements("sqlite.sql")
RETURNS_EVERYTHING = {
    "SCAN node": "nodes_full",
    "SCAN node USING INDEX node_tombstoned": "nodes_vacuum",
    "SCAN usage": "usage_list",
    "SCAN body": "bodies_keep",
    "SCAN body USING COVERING INDEX sqlite_autoindex_body_1": "bodies_count",
    "SCAN sqlite_master": "table_count",
    "SEARCH batch USING INDEX batch_state (session_id=?)": "batch_list",
}
"""Steps that go through a whole table, or all of a session's batches, and the statements that return what they find there."""
NO_TABLE = ("SCAN path", "SCAN one_row", "SCAN CONSTANT ROW")

SMALL, LARGE = 50, 1_500


# SQLite: the plans.


def plan_of(connection: sqlite3.Connection, statement: str) -> list[str]:
    arguments = (None,) * statement.count("?")
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", arguments)
    return [row[3].replace(" TABLE ", " ") for row in plan]  # older releases of SQLite say SCAN TABLE node


def complaints(connection: sqlite3.Connection, statements: Mapping[str, str]) -> list[str]:
    """Steps of plans that go through more than they return, or through a sorted copy of it."""
    found = []
    for name, statement in statements.items():
        for step in plan_of(connection, statement):
            wide = step.startswith(("SCAN", "USE TEMP B-TREE")) or step.endswith("(session_id=?)")
            harmless = step in NO_TABLE or name in RETURNS_EVERYTHING.get(step, "").split() or step.startswith("SEARCH lane ")
            if wide and not harmless:
                found.append(f"{name}: {step}")
    return found


@pytest.fixture
def empty_file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def operations() -> dict[str, str]:
    return {name: statement for name, statement in STATEMENTS.items() if name != "schema"}


def test_no_statement_scans(empty_file: sqlite3.Connection) -> None:
    assert complaints(empty_file, operations()) == []


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("batch_candidates", ["SEARCH batch USING INDEX batch_state (session_id=? AND state=? AND wake_at=?)"]),
        ("batch_wake", ["SEARCH batch USING INDEX batch_state (session_id=? AND state=? AND wake_at<?)"]),
        ("batch_by_source_key", ["SEARCH batch USING INDEX batch_source_key (session_id=? AND source_key=?)"]),
        ("batch_by_seq", ["SEARCH batch USING INTEGER PRIMARY KEY (rowid=?)"]),
        ("claim_get", ["SEARCH batch USING INDEX batch_claim (claim_id=?)"]),
        ("node_get", ["SEARCH node USING INDEX sqlite_autoindex_node_1 (node_id=?)"]),
        ("nodes_vacuum", ["SCAN node USING INDEX node_tombstoned"]),
        ("attachment_uncommitted", ["SEARCH attachment USING INDEX attachment_uncommitted (intent_at<?)"]),
    ],
)
def test_the_index_that_is_meant_is_used(empty_file: sqlite3.Connection, name: str, steps: list[str]) -> None:
    assert plan_of(empty_file, STATEMENTS[name]) == steps


@pytest.mark.parametrize("index", ["batch_state", "batch_claim", "batch_source_key", "attachment_uncommitted"])
def test_twin_without_an_index_there_are_complaints(empty_file: sqlite3.Connection, index: str) -> None:
    empty_file.execute(f"DROP INDEX {index}")
    assert complaints(empty_file, operations())


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM batch WHERE slot_policy = ?",
        "SELECT 1 FROM node WHERE parent_node_id = ?",
        "SELECT 1 FROM batch WHERE session_id = ? AND state = 1 ORDER BY fencing_token",
    ],
)
def test_twin_a_statement_that_scans_is_noticed(empty_file: sqlite3.Connection, statement: str) -> None:
    assert complaints(empty_file, {"invented": statement})


# Both stores: the steps of operations on small and large stores.


@frozen
class Prepared:
    """A store with obstacles, and what an operation needs."""

    store: Store
    clock: VirtualClock
    size: int

    def fence(self) -> Any:
        return lease_of(self.store)


def fill_queue(prepared: Prepared) -> None:
    """``size`` batches live-claimed, ``size`` not due, with source keys, and three ready ones; among them another session's."""
    store, fence = prepared.store, prepared.fence()
    for _ in range(prepared.size):
        store.enqueue_queued_work(draft_of(slot_policy="join"))
        claim_of(store, fence)
    for number in range(prepared.size):
        store.enqueue_queued_work(draft_of(available_at_ms=HOUR, source_key=f"k{number}"))
        store.enqueue_queued_work(draft_of(session_id="other"))
    for _ in range(3):
        store.enqueue_queued_work(draft_of("ready", slot_policy="join", merge_key="payload_default"))


def fill_claims(prepared: Prepared) -> None:
    """``size`` batches, each under a live claim of its own, then three ready ones."""
    store, fence = prepared.store, prepared.fence()
    for _ in range(prepared.size):
        store.enqueue_queued_work(draft_of())
        claim_of(store, fence)
    for _ in range(3):
        store.enqueue_queued_work(draft_of("ready"))


def fill_graph(prepared: Prepared) -> None:
    """``size`` nodes in a fan below a root, and a path of three."""
    fan = [Node(node_id=f"f{number}", parent_node_id="n1") for number in range(prepared.size)]
    path = [Node(node_id="n1"), Node(node_id="n2", parent_node_id="n1"), Node(node_id="n3", parent_node_id="n2")]
    prepared.store.commit_runtime_state(commit_of(prepared.fence(), graph=ReplaceFull((*fan, *path), "n3")))


def fill_manifest(prepared: Prepared) -> None:
    for number in range(prepared.size):
        prepared.store.record_intent(intent_of(f"a{number}"))
    prepared.store.commit_refs(SESSION, [f"a{number}" for number in range(prepared.size)])
    prepared.store.record_intent(intent_of("open"))


def claim_and_abandon(prepared: Prepared) -> None:
    claim = claim_of(prepared.store, prepared.fence(), limit=10)
    assert [batch.items[0].payload["text"] for batch in claim.batches] == ["ready"] * 3
    prepared.store.abandon_queued_work_claim(claim)


def claim_and_complete(prepared: Prepared) -> None:
    claim = claim_of(prepared.store, prepared.fence(), limit=1)
    renewed = prepared.store.renew_queued_work_claim(claim, HOUR)
    prepared.store.commit_runtime_state(commit_of(prepared.fence(), completed_queue_claims=(renewed.completion(),)))


def enqueue_known_and_new(prepared: Prepared) -> None:
    known = prepared.store.enqueue_queued_work(draft_of("again", source_key="k7"))
    assert known.items[0].payload["text"] == "hello"
    new = prepared.store.enqueue_queued_work(draft_of(source_key="new"))
    assert prepared.store.cancel_queued_work_batch(SESSION, new.batch_id) == new


def list_a_little(prepared: Prepared) -> None:
    prepared.store.enqueue_queued_work(draft_of(session_id="little"))
    assert len(prepared.store.list_queued_work("little")) == 1
    assert len(prepared.store.list_pending_queued_work("little")) == 1


def list_what_is_pending(prepared: Prepared) -> None:
    claim_of(prepared.store, prepared.fence(), ttl=0)
    assert len(prepared.store.list_pending_queued_work(SESSION)) == 3


def load_one_path(prepared: Prepared) -> None:
    read = prepared.store.load_session(ActivePath())
    assert read is not None
    assert [node.node_id for node in read.graph.nodes] == ["n1", "n2", "n3"]
    assert prepared.store.load_node("f7") is not None


def append_and_tombstone(prepared: Prepared) -> None:
    node = Node(node_id="new", parent_node_id="n3")
    prepared.store.commit_runtime_state(commit_of(prepared.fence(), graph=Append((node,), "new")))
    prepared.store.tombstone_nodes(["new"])
    assert prepared.store.vacuum().removed_node_count == 1


def list_open_attachments(prepared: Prepared) -> None:
    assert [entry.attachment_id for entry in prepared.store.list_uncommitted(10)] == ["open"]


def load_everything(prepared: Prepared) -> None:
    read = prepared.store.load_session(FullGraph())
    assert read is not None
    assert len(read.graph.nodes) == prepared.size + 3


def list_everything(prepared: Prepared) -> None:
    assert len(prepared.store.list_queued_work(SESSION)) == 2 * prepared.size + 3


CASES: list[tuple[Callable[[Prepared], None], Callable[[Prepared], None]]] = [
    (fill_queue, claim_and_abandon),
    (fill_queue, claim_and_complete),
    (fill_queue, enqueue_known_and_new),
    (fill_queue, list_a_little),
    (fill_claims, list_what_is_pending),
    (fill_graph, load_one_path),
    (fill_graph, append_and_tombstone),
    (fill_manifest, list_open_attachments),
]
TWINS = [(fill_queue, list_everything), (fill_graph, load_everything)]


def sqlite_steps(path: Path, size: int, fill: Callable[[Prepared], None], operation: Callable[[Prepared], None]) -> int:
    """How many steps SQLite's virtual machine makes for the operation."""
    clock = VirtualClock(1000)
    store = SqliteStore(path, clock=clock, synchronous="NORMAL")
    try:
        prepared = Prepared(store, clock, size)
        fill(prepared)
        cursor = store._file.cursor
        assert cursor is not None
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        cursor.connection.set_progress_handler(count, 1)
        operation(prepared)
        cursor.connection.set_progress_handler(None, 1)
        return steps
    finally:
        store.close()


def python_steps(size: int, fill: Callable[[Prepared], None], operation: Callable[[Prepared], None]) -> int:
    """How many bytecodes of the memory store Python executes for the operation."""
    clock = VirtualClock(1000)
    prepared = Prepared(MemoryStore(clock), clock, size)
    fill(prepared)
    steps = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != memory.__file__:
            return None
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        operation(prepared)
    finally:
        sys.settrace(before)
    return steps


def names(case: Any) -> str:
    return getattr(case, "__name__", "")


@pytest.mark.parametrize(("fill", "operation"), CASES, ids=names)
def test_sqlite_touches_what_it_returns(
    tmp_path: Path, fill: Callable[[Prepared], None], operation: Callable[[Prepared], None]
) -> None:
    small = sqlite_steps(tmp_path / "small.db", SMALL, fill, operation)
    large = sqlite_steps(tmp_path / "large.db", LARGE, fill, operation)
    assert 0 < large <= 1.1 * small + 20


@pytest.mark.parametrize(("fill", "operation"), CASES, ids=names)
def test_memory_touches_what_it_returns(fill: Callable[[Prepared], None], operation: Callable[[Prepared], None]) -> None:
    small, large = python_steps(SMALL, fill, operation), python_steps(LARGE, fill, operation)
    assert 0 < large <= 1.3 * small + 100


@pytest.mark.parametrize(("fill", "operation"), TWINS, ids=names)
def test_twin_what_returns_everything_grows(
    tmp_path: Path, fill: Callable[[Prepared], None], operation: Callable[[Prepared], None]
) -> None:
    small = sqlite_steps(tmp_path / "small.db", SMALL, fill, operation)
    assert sqlite_steps(tmp_path / "large.db", LARGE, fill, operation) > 10 * small
    assert python_steps(LARGE, fill, operation) > 5 * python_steps(SMALL, fill, operation)

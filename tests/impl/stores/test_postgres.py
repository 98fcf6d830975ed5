"""What is particular to the PostgreSQL store: one round trip per operation, locks, lost connections, its schema, its two faces.

The seed's scenarios run on both of its faces in tests/seed. Each check here comes with a twin: the same without the fault.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from random import Random
from typing import Any

import psycopg
import pytest
from attrs import evolve

from leasehold.records import ActivePath, Append, Checkpoint, FullGraph, Node, UsageRow
from leasehold.store import (
    OPERATIONS,
    Backend,
    Contended,
    Indeterminate,
    InvalidRequest,
    Refusal,
    SessionExecutionLeaseExpired,
    Store,
    SystemClock,
    UnsupportedRecordSchemaVersion,
    VirtualClock,
)
from leasehold.stores import postgres as module
from leasehold.stores.postgres import AsyncPostgresStore, PostgresStore, async_connection_pool, connection_info, connection_pool
from leasehold.stores.postgres_server import Server, private_server
from tests.impl.stores.relay import Relay
from tests.impl.stores.samples import HOUR, SESSION, claim_of, commit_of, draft_of, intent_of, lease_of, numbered_commit
from tests.impl.stores.test_sqlite_faults import READS, Filled, answered, child, line_of, tell, torn

Make = Callable[..., PostgresStore]
_labels = count(1)


@pytest.fixture
def make(postgres: Server) -> Iterator[Make]:
    """Handles on a store of this test's own, closed at the end."""
    label = f"test-{next(_labels)}"
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(PostgresStore(postgres.conninfo, **({"store": label} | options))))


@pytest.fixture
def raw(postgres: Server) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside the store's."""
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        yield connection


def filled(store: PostgresStore) -> Filled:
    anything: Any = store
    return Filled(anything)


def number_of(store: PostgresStore) -> int:
    return int(store._at.store_id)


def backend_of(store: PostgresStore) -> int:
    assert store._connection is not None
    return store._connection.info.backend_pid


# Round trips.


@pytest.fixture
def relay(postgres: Server) -> Iterator[Relay]:
    relay = Relay(postgres.conninfo)
    yield relay
    relay.close()


def test_every_operation_is_one_round_trip(relay: Relay) -> None:
    with closing(PostgresStore(relay.conninfo, store=f"trips-{next(_labels)}")) as store:
        calls = filled(store).calls()
        assert set(OPERATIONS) <= set(calls)
        for call in calls.values():  # the first call of a statement on a connection also prepares it there
            answered(call)
        for name, call in calls.items():
            before = relay.trips
            answered(call)
            assert (name, relay.trips - before) == (name, 1)


def test_twin_the_relay_counts_a_chat(relay: Relay) -> None:
    with psycopg.connect(relay.conninfo, autocommit=True) as connection:
        before = relay.trips
        with connection.transaction():
            connection.execute("SELECT 1")
            connection.execute("SELECT 2")
        assert relay.trips - before == 4  # BEGIN, two statements, COMMIT


def test_every_operation_is_one_statement_and_the_hook_sees_it(make: Make) -> None:
    store = make()
    seen: list[str] = []
    calls = filled(store).calls()
    store.trace(seen.append)
    for name, call in calls.items():
        seen.clear()
        answered(call)
        assert len(seen) == 1, name
    store.trace(None)
    store.load_session_meta()
    assert len(seen) == 1


def test_a_hook_that_raises_ends_the_operation_before_it_began(make: Make) -> None:
    store = make()
    fence = lease_of(store)

    def raising(statement: str) -> None:
        raise RuntimeError(statement)

    store.trace(raising)
    with pytest.raises(RuntimeError, match="commit_state"):
        store.commit_runtime_state(commit_of(fence))
    store.trace(None)
    assert store.load_session(FullGraph()) is None
    assert store.commit_runtime_state(commit_of(fence)).head_revision == 1


def prepared_on(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert row is not None
    return int(row[0])


def test_statements_that_a_reset_has_dropped_are_prepared_again(make: Make) -> None:
    store = make()
    fence = lease_of(store)
    assert store._connection is not None
    for number in (1, 2):
        store._connection.execute("DISCARD ALL")
        assert prepared_on(store._connection) == 0
        assert store.commit_runtime_state(commit_of(fence)).head_revision == number
    assert prepared_on(store._connection) == 1


def test_a_statement_that_a_poolers_other_client_has_prepared_is_used(make: Make) -> None:
    store = make()
    fence = lease_of(store)
    assert store._connection is not None
    store.commit_runtime_state(commit_of(fence))
    count = prepared_on(store._connection)
    module.line_of(store._connection)._prepared.clear()
    assert store.commit_runtime_state(commit_of(fence)).head_revision == 2
    assert prepared_on(store._connection) == count


def test_a_connection_that_is_lost_while_a_store_is_opened_is_replaced_once() -> None:
    steps = module._opening(module._Sql("leasehold"), "label")
    first = next(steps)
    assert steps.throw(Indeterminate("lost")) == first
    with pytest.raises(Indeterminate, match="lost again"):
        steps.throw(Indeterminate("lost again"))


def test_handles_share_what_is_prepared_on_a_connection_of_a_pool(postgres: Server) -> None:
    label = f"prepared-{next(_labels)}"
    found = []
    with connection_pool(postgres.conninfo, max_size=1) as pool:
        for _ in range(3):
            with closing(PostgresStore(postgres.conninfo, store=label, pool=pool)) as store:
                store.load_session_meta()
            with pool.connection() as connection:
                found.append(prepared_on(connection))
    assert found == [3, 3, 3]  # the version of the schema, the number of the store, the operation


# Several stores in one database.


@pytest.mark.requirement("LAW-9")
def test_stores_in_one_database_are_isolated(make: Make) -> None:
    one, other = make(), make(store=f"other-{next(_labels)}")
    calls = filled(one)
    before = calls.everything()
    assert other.load_session(FullGraph()) is None
    assert other.load_session_meta() is None
    assert other.load_node("n1") is None
    assert [*other.list_queued_work(SESSION), *other.list_uncommitted(HOUR)] == []
    other.tombstone_nodes(["n1", "n2"])
    assert other.vacuum().removed_node_count == 0
    other.gc_unreachable()
    other.forget("a1")
    other.abandon_queued_work_claim(calls.claim)
    other.release_session_execution_lease(calls.fence)
    assert other.cancel_queued_work_batch(SESSION, calls.batch.batch_id) is None
    with pytest.raises(SessionExecutionLeaseExpired):
        other.commit_runtime_state(commit_of(calls.fence))
    assert calls.everything() == before
    fence = lease_of(other, "another")
    assert fence.fencing_token == 1
    other.commit_runtime_state(numbered_commit(1, fence))
    other.enqueue_queued_work(draft_of(source_key="k"))
    assert calls.everything() == before
    assert make().load_session(FullGraph()) == before[0]  # twin: a handle on the same label sees all of it


def test_schemas_are_isolated(make: Make, raw: psycopg.Connection[Any]) -> None:
    schema = 'odd "name". %s'
    store = make(schema=schema)
    filled(store)
    assert make().load_session(FullGraph()) is None
    assert make(schema=schema).load_session(FullGraph()) is not None
    raw.execute('DROP SCHEMA "odd ""name"". %s" CASCADE')
    with pytest.raises(Backend, match="open the store anew"):
        store.load_session(FullGraph())


# Values.


@pytest.mark.requirement("LAW-15")
def test_what_text_cannot_hold_is_refused_and_payloads_hold_everything(make: Make) -> None:
    store = make()
    fence = lease_of(store)
    for bad in ("nul \0", "half \ud800", Random(1).randbytes(5000).hex()):
        with pytest.raises(InvalidRequest, match="cannot be stored"):
            store.enqueue_queued_work(draft_of(source_key=bad))
    with pytest.raises(InvalidRequest):
        store.commit_runtime_state(commit_of(fence, current_agent_frame_id=7))
    with pytest.raises(InvalidRequest):
        store.commit_runtime_state(commit_of(fence, expected_head_revision="one"))
    payload = {"z": 1, "a": ["\0", "\ud800", 2**70, -0.5, {"": None}], "\\": '"{,}"', "long": "x" * 9000}
    batch = store.enqueue_queued_work(draft_of(payloads=(payload,)))
    checkpoint = Checkpoint(turn_state=payload, tool_state=payload, execution_state=bytes(range(256)) * 40)
    node = Node(node_id='n"\\', parent_node_id="NULL", content=payload, timestamp="")
    store.commit_runtime_state(commit_of(fence, config=payload, checkpoint=checkpoint, graph=Append((node,), 'n"\\')))
    assert store.list_queued_work(SESSION) == (batch,)
    assert list(batch.items[0].payload) == list(payload)
    read = store.load_session(FullGraph())
    assert read is not None
    assert (read.config, read.graph.nodes) == (payload, (node,))
    assert read.checkpoint is not None
    assert (read.checkpoint.tool_state, read.checkpoint.execution_state) == (payload, checkpoint.execution_state)


@pytest.mark.requirement("LAW-8")
def test_totals_beyond_64_bits(make: Make) -> None:
    store = make()
    fence = lease_of(store)
    row = UsageRow(source="s", model="m", input_tokens=2**63 - 1, output_tokens=-(2**63))
    for _ in range(2):
        store.commit_runtime_state(commit_of(fence, usage_deltas=(row, row)))
    read = store.load_session(FullGraph())
    assert read is not None
    assert read.token_ledger == (evolve(row, input_tokens=4 * (2**63 - 1), output_tokens=-4 * 2**63),)


@pytest.mark.requirement("LAW-15")
@pytest.mark.parametrize(
    ("damage", "operation"),
    [
        ("UPDATE leasehold.head SET config = '{'", "load_session"),
        ("UPDATE leasehold.head SET agent_frames = '{}'", "load_session of a path"),
        ("UPDATE leasehold.head SET manifest = '[1, 2, null, null, null]'", "load_session"),
        ("UPDATE leasehold.node SET content = '['", "load_node"),
        ("UPDATE leasehold.body SET body = 'x'", "load_session"),
        ("DELETE FROM leasehold.body", "load_session"),
        ("UPDATE leasehold.stamp SET manifest = '?'", "commit replayed"),
        ("UPDATE leasehold.batch SET payloads = '{}'", "list_queued_work"),
        ("UPDATE leasehold.batch SET merge_key = '?'", "list_pending_queued_work"),
        ("UPDATE leasehold.batch SET slot_policy = '?'", "list_queued_work"),
        ("UPDATE leasehold.session_meta SET relation = '{'", "load_session_meta"),
    ],
)
def test_a_damaged_row_is_refused(make: Make, raw: psycopg.Connection[Any], damage: str, operation: str) -> None:
    store = make()
    call = filled(store).calls()[operation]
    call()  # twin
    statement: Any = f"{damage} {'WHERE' if 'WHERE' not in damage else 'AND'} store_id = {number_of(store)}"
    raw.execute(statement)
    with pytest.raises(Backend, match=r"unreadable.*backup"):
        call()


# Waiting for others.


@contextmanager
def locked(raw: psycopg.Connection[Any], store: PostgresStore, table: str) -> Iterator[None]:
    """Another transaction holds the store's rows of a table."""
    with raw.transaction():
        statement: Any = f"SELECT 1 FROM leasehold.{table} WHERE store_id = %s FOR UPDATE"
        raw.execute(statement, (number_of(store),))
        yield


LOCKS = {
    "lane": {
        "commit_runtime_state",
        "try_claim_session_execution_lease",
        "renew_session_execution_lease",
        "release_session_execution_lease",
        "enqueue_queued_work",
        "claim_ready_queued_work",
        "claim_ready_queued_work_by_batch_ids",
        "renew_queued_work_claim",
        "abandon_queued_work_claim",
        "cancel_queued_work_batch",
        "list_pending_queued_work",
        "commit with usage",
        "commit replayed",
    },
    "head": {
        "commit_runtime_state",
        "commit with usage",
        "commit replayed",
        "tombstone_nodes",
        "vacuum",
        "gc_unreachable",
        "commit_refs",
        "forget",
    },
}


@pytest.mark.requirement("LAW-15", "LAW-1")
@pytest.mark.parametrize("table", sorted(LOCKS))
def test_a_wait_for_a_lock_is_bounded_and_contended(make: Make, raw: psycopg.Connection[Any], table: str) -> None:
    store, looking = make(lock_timeout_ms=20), make()
    calls = filled(store)
    before = calls.everything()
    with locked(raw, store, table):
        for name, call in calls.calls().items():
            if name in LOCKS[table]:
                with pytest.raises(Contended, match="try again"):
                    call()
            elif name in READS:
                call()  # readers wait for nobody
        assert looking.load_session(FullGraph()) == before[0]
    assert calls.everything() == before
    for call in calls.calls().values():  # twin: without the lock each of the same calls is answered
        answered(call)


def test_a_statement_that_takes_too_long_is_contended(make: Make, raw: psycopg.Connection[Any]) -> None:
    store = make(lock_timeout_ms=0, statement_timeout_ms=30)
    with locked(raw, make(), "lane"):
        store.load_session_meta()  # twin
    lease_of(store)
    with locked(raw, store, "lane"), pytest.raises(Contended, match="timeout"):
        lease_of(store)
    lease_of(store)


def test_a_deadlock_is_contended(postgres: Server, raw: psycopg.Connection[Any]) -> None:
    impatient = f"{postgres.conninfo} options='-c deadlock_timeout=20ms'"
    with closing(PostgresStore(impatient, store=f"deadlock-{next(_labels)}")) as store:
        fence = lease_of(store)
        caught: list[Exception] = []

        def commit() -> None:
            try:
                store.commit_runtime_state(commit_of(fence))
            except Contended as refusal:
                caught.append(refusal)

        with locked(raw, store, "head"):  # the wrong order: head, then lane
            thread = threading.Thread(target=commit)
            thread.start()
            await_lock(raw, backend_of(store))
            raw.execute("SELECT 1 FROM leasehold.lane WHERE store_id = %s FOR UPDATE", (number_of(store),))
        thread.join()
        assert "deadlock" in str(caught[0])
        assert store.commit_runtime_state(commit_of(fence)).head_revision == 1


def await_lock(raw: psycopg.Connection[Any], pid: int) -> None:
    """Until a backend waits for a lock."""
    deadline = time.monotonic() + 10
    while raw.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", (pid,)).fetchone() == (0,):
        assert time.monotonic() < deadline, "it does not wait"


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", Contended),
        ("40P01", Contended),
        ("55P03", Contended),
        ("57014", Contended),
        ("57P01", Indeterminate),
        ("57P02", Indeterminate),
        ("08006", Indeterminate),
        ("40003", Indeterminate),
        ("53100", Backend),
        ("42501", Backend),
        ("XX001", Backend),
        ("22003", InvalidRequest),
        ("54000", InvalidRequest),
    ],
)
def test_what_the_states_of_the_database_mean(state: str, kind: type[Exception]) -> None:
    error = psycopg.errors.lookup(state)("message")
    assert type(module._refusal(error)) is kind


def test_a_lost_connection_without_a_state_is_indeterminate_and_a_fault_of_ours_is_none() -> None:
    assert type(module._refusal(psycopg.OperationalError("server closed the connection unexpectedly"))) is Indeterminate
    assert module._refusal(ZeroDivisionError()) is None


def test_isolation_that_the_functions_are_not_made_for_is_refused(postgres: Server) -> None:
    with pytest.raises(Backend, match="read committed"):
        PostgresStore(f"{postgres.conninfo} options='-c default_transaction_isolation=serializable'")
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:  # a default of the server's is overruled
        connection.execute("ALTER ROLE leasehold SET default_transaction_isolation = serializable")
        try:
            PostgresStore(postgres.conninfo).close()
        finally:
            connection.execute("ALTER ROLE leasehold RESET default_transaction_isolation")


def test_a_handle_in_use_is_contended_and_a_closed_one_is_refused(make: Make) -> None:
    store = make(lock_timeout_ms=10)
    with store._lock, pytest.raises(Contended, match="in use"):
        store.load_session_meta()
    store.load_session_meta()
    store.close()
    with pytest.raises(Backend, match="closed"):
        store.load_session_meta()
    with closing(store.open_handle()) as another:
        another.load_session_meta()


# Time and order.


@pytest.mark.requirement("LEASE-1")
def test_leases_are_decided_on_the_clock_of_the_database(
    make: Make, raw: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    ((before,),) = raw.execute("SELECT leasehold.now_ms()").fetchall()
    lease = store.try_claim_session_execution_lease(SESSION, "owner", HOUR)
    ((after,),) = raw.execute("SELECT leasehold.now_ms()").fetchall()
    assert lease is not None
    assert before <= lease.claimed_at_epoch_ms <= after
    behind = make(store="behind", clock=SystemClock())  # twin: an injected clock decides
    late = behind.try_claim_session_execution_lease(SESSION, "owner", HOUR)
    assert late is not None
    assert late.claimed_at_epoch_ms == 0


@pytest.mark.requirement("LAW-12", "QUEUE-1")
def test_the_time_is_read_after_the_lock(make: Make, raw: psycopg.Connection[Any]) -> None:
    store = make()
    lease_of(store)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(store.enqueue_queued_work(draft_of()).enqueued_at_ms))
    with locked(raw, store, "lane"):
        thread.start()
        await_lock(raw, backend_of(store))
        ((start,),) = raw.execute("SELECT leasehold.now_ms()").fetchall()
        while raw.execute("SELECT leasehold.now_ms() - %s::bigint", (start,)).fetchone() == (0,):
            pass
        ((released,),) = raw.execute("SELECT leasehold.now_ms()").fetchall()
    thread.join()
    assert found[0] >= released > start  # twin: what began to wait at `start` has no time from then


@pytest.mark.requirement("LAW-14")
def test_times_saturate(make: Make) -> None:
    clock = VirtualClock(2**63 - 10)
    store = make(clock=clock)
    lease = store.try_claim_session_execution_lease(SESSION, "owner", 2**63 - 1)
    assert lease is not None
    assert lease.expires_at_epoch_ms == 2**63 - 1
    clock.now = -5
    lease = store.try_claim_session_execution_lease("other", "owner", 2**63 - 1)
    assert lease is not None
    assert lease.expires_at_epoch_ms == 2**63 - 6


@pytest.mark.requirement("QUEUE-1", "LAW-6", "LAW-11", "LAW-12")
def test_handles_at_once(make: Make) -> None:
    store = make()
    fence = lease_of(store)
    seen: list[list[int]] = [[] for _ in range(3)]
    complaints: list[str] = []
    done = threading.Event()

    def enqueue(number: int, handle: Store) -> None:
        for _ in range(25):
            batch = handle.enqueue_queued_work(draft_of(session_id=f"session-{number % 2}"))
            newest = max(one.enqueue_seq for one in handle.list_queued_work(batch.session_id))
            assert newest >= batch.enqueue_seq
            seen[number].append(batch.enqueue_seq)

    def commit(handle: Store) -> None:
        for number in range(1, 60):
            handle.commit_runtime_state(numbered_commit(number, fence))
        done.set()

    def load(handle: Store) -> None:
        while not done.is_set():
            read = handle.load_session(FullGraph())
            complaints.extend(torn(read, read.head_revision if read else 0))

    threads = [threading.Thread(target=enqueue, args=(number, make())) for number in range(3)]
    threads += [threading.Thread(target=commit, args=(make(),)), threading.Thread(target=load, args=(make(),))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert complaints == []
    assert all(numbers == sorted(numbers) and len(numbers) == 25 for numbers in seen)
    assert len(set().union(*seen)) == 75
    read = store.load_session(FullGraph())
    assert read is not None
    assert read.head_revision == 59


@pytest.mark.requirement("QUEUE-1", "LAW-12")
def test_numbers_rise_in_the_order_of_commits(make: Make, raw: psycopg.Connection[Any]) -> None:
    """An enqueue of one session that has its number, but is not committed, makes one of another session wait."""
    store = make()
    store.enqueue_queued_work(draft_of(session_id="one"))
    call = "SELECT r_enqueue_seq FROM leasehold.enqueue(%s, 'one', NULL, 'earliest_safe_boundary', 'join', 'never', 0, '[]', NULL)"
    numbers: list[int] = []
    thread = threading.Thread(target=lambda: numbers.append(store.enqueue_queued_work(draft_of(session_id="two")).enqueue_seq))
    with raw.transaction():
        ((first,),) = raw.execute(call, (number_of(store),)).fetchall()
        thread.start()
        await_lock(raw, backend_of(store))
    thread.join()
    assert numbers[0] > first
    claimed = store.try_claim_session_execution_lease("two", "o", 1)
    with raw.transaction():  # twin: what needs no number does not wait
        raw.execute(call, (number_of(store),))
        assert store.try_claim_session_execution_lease("three", "o", 1) is not None
    assert claimed is not None


@pytest.mark.requirement("QUEUE-5", "QUEUE-9", "LAW-14")
def test_a_clock_that_steps_back_makes_work_wait_again(make: Make) -> None:
    clock = VirtualClock(100)
    store = make(clock=clock)
    fence = lease_of(store)
    store.enqueue_queued_work(draft_of("later", available_at_ms=50))
    store.enqueue_queued_work(draft_of("first"))
    held = claim_of(store, fence, ttl=10)
    clock.now = 110
    assert store.list_pending_queued_work(SESSION)[0] == held.batches[0]
    clock.now = 109
    assert held.batches[0] not in store.list_pending_queued_work(SESSION)
    clock.now = 40
    assert claim_of(store, fence).batches[0].items[0].payload["text"] == "first"
    assert store.claim_ready_queued_work(SESSION, fence, "w", "idle", HOUR, 5) is None
    clock.now = 110
    assert claim_of(store, fence).batches == held.batches


def rows_read(store: PostgresStore, call: Callable[[], object]) -> int:
    """How many batches a call has found by an index: not what only a transaction beside it, as an ANALYZE, may still see."""
    connection: Any = store._connection

    def total() -> int:
        connection.execute("SELECT pg_stat_force_next_flush()")
        found = connection.execute("SELECT sum(idx_tup_fetch) FROM pg_stat_user_indexes WHERE relname = 'batch'").fetchone()
        return int(found[0])

    before = total()
    call()
    return total() - before


@pytest.mark.requirement("LAW-9")
def test_a_claim_looks_at_what_it_returns_and_no_more(make: Make) -> None:
    def looked_at(size: int) -> list[int]:
        clock = VirtualClock(0)
        store = make(clock=clock, store=f"growth-{next(_labels)}")
        fence = lease_of(store)
        for _ in range(size):
            store.enqueue_queued_work(draft_of(slot_policy="join"))
        claim_of(store, fence, limit=size)
        for _ in range(size):
            store.enqueue_queued_work(draft_of(available_at_ms=HOUR))
            store.enqueue_queued_work(draft_of(session_id="other"))
        for _ in range(4):
            store.enqueue_queued_work(draft_of("ready", slot_policy="join"))
        held = claim_of(store, fence)
        calls: list[Callable[[], object]] = [
            lambda: claim_of(store, fence),
            lambda: claim_of(store, fence, limit=2),
            lambda: store.claim_ready_queued_work(SESSION, fence, "w", "idle", HOUR, 1),
            lambda: store.renew_queued_work_claim(held, HOUR),
            lambda: store.commit_runtime_state(commit_of(fence, completed_queue_claims=(held.completion(),))),
            lambda: store.list_queued_work("nobody's"),
        ]
        return [rows_read(store, call) for call in calls]

    small, large = looked_at(20), looked_at(200)
    assert max(large) < 60
    assert all(more - less < 10 for less, more in zip(small, large, strict=True))
    store = make(store=f"growth-{next(_labels)}")  # twin: what returns all looks at all
    for _ in range(100):
        store.enqueue_queued_work(draft_of())
    assert rows_read(store, lambda: store.list_queued_work(SESSION)) >= 100


# Lost connections.


@pytest.mark.requirement("LAW-12")
def test_a_backend_that_is_ended_in_an_operation_is_indeterminate(make: Make, raw: psycopg.Connection[Any]) -> None:
    store = make()
    fence = lease_of(store)
    caught: list[Exception] = []

    def commit() -> None:
        try:
            store.commit_runtime_state(commit_of(fence))
        except Indeterminate as lost:
            caught.append(lost)

    thread = threading.Thread(target=commit)
    with locked(raw, store, "lane"):
        thread.start()
        await_lock(raw, backend_of(store))
        raw.execute("SELECT pg_terminate_backend(%s)", (backend_of(store),))
        thread.join()
    assert "once or never" in str(caught[0])
    assert store.load_session(FullGraph()) is None  # by a new connection
    assert store.commit_runtime_state(commit_of(fence)).head_revision == 1


@pytest.mark.requirement("LAW-12")
def test_a_connection_that_ends_as_the_statement_is_sent(make: Make, raw: psycopg.Connection[Any]) -> None:
    store = make()
    fence = lease_of(store)
    ended: list[str] = []

    def end(statement: str) -> None:
        raw.execute("SELECT pg_terminate_backend(%s, 5000)", (backend_of(store),))
        ended.append(statement)

    store.trace(end)
    with pytest.raises(Indeterminate):
        store.commit_runtime_state(commit_of(fence))
    store.trace(None)
    assert len(ended) == 1
    assert store.load_session(FullGraph()) is None


def test_twin_a_connection_that_ended_before_is_replaced_without_a_word(make: Make, raw: psycopg.Connection[Any]) -> None:
    store = make()
    pid = backend_of(store)
    raw.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert store.load_session(FullGraph()) is None
    assert backend_of(store) != pid


def test_a_call_that_is_interrupted_leaves_a_handle_that_works(make: Make) -> None:
    class Interrupted(BaseException):
        pass

    store = make()
    fence = lease_of(store)
    connection: Any = store._connection

    def interrupted(generator: Any, *_: Any) -> None:
        next(generator)  # it is sent
        raise Interrupted

    connection.wait = interrupted
    with pytest.raises(Interrupted):
        store.load_session_meta()
    assert connection.closed
    store.renew_session_execution_lease(fence, HOUR)


@pytest.mark.requirement("LAW-10", "LAW-11", "LAW-12")
def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged() -> None:
    with private_server() as server, closing(PostgresStore(server.conninfo)) as store:
        fence = lease_of(store)
        done: list[int] = []
        enough = threading.Event()
        caught: list[Exception] = []

        def work() -> None:
            try:
                for number in range(1, 100_000):
                    store.commit_runtime_state(numbered_commit(number, fence))
                    done.append(number)
                    if number == 40:
                        enough.set()
            except (Indeterminate, Backend) as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        enough.wait()
        server.kill()
        thread.join()
        assert len(caught) == 1
        with pytest.raises(Backend, match="no connection"):
            store.load_session(FullGraph())
        server.restart()
        read = store.load_session(FullGraph())
        assert read is not None
        assert torn(read, read.head_revision) == []
        assert len(done) <= read.head_revision <= len(done) + isinstance(caught[0], Indeterminate)
        assert store.renew_session_execution_lease(fence, HOUR).fencing_token == 1


# The schema.


@pytest.fixture
def schema(raw: psycopg.Connection[Any]) -> Iterator[str]:
    name = f"schema_{next(_labels)}"
    yield name
    drop: Any = f"DROP SCHEMA IF EXISTS {name} CASCADE"
    raw.execute(drop)


def run(raw: psycopg.Connection[Any], statement: Any) -> list[tuple[Any, ...]]:
    cursor = raw.execute(statement)
    return cursor.fetchall() if cursor.description else []


@pytest.mark.requirement("LAW-15")
@pytest.mark.parametrize("version", [0, 2, 99])
def test_a_schema_from_another_time_is_refused(make: Make, raw: psycopg.Connection[Any], schema: str, version: int) -> None:
    before = filled(make(schema=schema)).everything()
    run(raw, f"UPDATE {schema}.leasehold_schema SET version = {version}")
    with pytest.raises(UnsupportedRecordSchemaVersion) as refused:
        make(schema=schema)
    assert refused.value.details == {"record_kind": "postgres_store", "actual": version, "expected": 1}
    run(raw, f"UPDATE {schema}.leasehold_schema SET version = 1")
    assert make(schema=schema).load_session(FullGraph()) == before[0]  # twin


def test_a_schema_of_another_program_is_left_alone(make: Make, raw: psycopg.Connection[Any], schema: str) -> None:
    run(raw, f"CREATE SCHEMA {schema}")
    run(raw, f"CREATE TABLE {schema}.batch (theirs int)")
    with pytest.raises(Backend, match="already exists"):
        make(schema=schema)
    assert run(raw, f"SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace") == [("batch",)]
    run(raw, f"DROP TABLE {schema}.batch")
    filled(make(schema=schema))  # twin: an empty schema becomes ours


def test_a_schema_is_made_in_one_step(
    make: Make, raw: psycopg.Connection[Any], schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = module._sql_of(schema)
    whole = sql.creation
    monkeypatch.setattr(sql, "creation", f"{whole}; SELECT 1 / 0")
    with pytest.raises(InvalidRequest, match="division"):
        make(schema=schema)
    assert run(raw, f"SELECT to_regnamespace('{schema}')") == [(None,)]
    monkeypatch.setattr(sql, "creation", f"{whole}; COMMIT; SELECT 1 / 0")  # twin: with a commit in between, it would stay
    with pytest.raises(InvalidRequest, match="division"):
        make(schema=schema)
    assert run(raw, f"SELECT to_regnamespace('{schema}') IS NULL") == [(False,)]


def test_who_may_not_is_told_so(raw: psycopg.Connection[Any], postgres: Server, schema: str) -> None:
    run(raw, "CREATE ROLE guest LOGIN")
    info = f"{postgres.conninfo} user=guest"
    try:
        with pytest.raises(Backend, match="ask the owner"):
            PostgresStore(info, schema=schema)
        run(raw, "GRANT CREATE ON DATABASE postgres TO guest")
        PostgresStore(info, schema=schema).close()  # twin
    finally:
        run(raw, "DROP OWNED BY guest CASCADE")
        run(raw, "DROP ROLE guest")


def test_a_server_that_is_too_old_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr(module, "OLDEST_SERVER", 1000)
    with pytest.raises(Backend, match="needs 1000 or newer"):
        make()


def test_a_server_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(Backend, match="Nothing happened: check the server"):
        PostgresStore(f"host={tmp_path}")
    with pytest.raises(InvalidRequest, match="conninfo"):
        PostgresStore("nonsense")


OPENERS = """
import sys
from leasehold.store import Refusal
from leasehold.stores.postgres import PostgresStore
print("ready", flush=True)
for line in sys.stdin:
    schema, owner = line.split()
    try:
        store = PostgresStore(sys.argv[1], schema=schema)
        lease = store.try_claim_session_execution_lease("root", owner, 60000)
        store.close()
        print("granted" if lease else "none", flush=True)
    except Refusal as refusal:
        print(type(refusal).__name__, refusal, flush=True)
"""


@pytest.mark.requirement("LEASE-8", "LAW-2", "LAW-12")
def test_processes_that_open_a_new_schema_at_once(postgres: Server, raw: psycopg.Connection[Any]) -> None:
    processes = [child(OPENERS, postgres.conninfo) for _ in range(4)]
    try:
        assert [line_of(process) for process in processes] == ["ready"] * 4
        for turn in range(3):
            for number, process in enumerate(processes):
                tell(process, f"race_{turn} owner-{number}")
            assert sorted(line_of(process) for process in processes) == ["granted", "none", "none", "none"]
            assert run(raw, f"SELECT * FROM race_{turn}.leasehold_schema") == [("postgres_store", 1)]
            assert run(raw, f"SELECT count(*) FROM race_{turn}.store") == [(1,)]
    finally:
        for process in processes:
            process.communicate()


PARTITIONED = ("lane", "head", "node", "body", "usage", "stamp", "batch", "attachment", "session_meta")


def test_tables_may_be_partitioned_by_store(make: Make, raw: psycopg.Connection[Any], schema: str) -> None:
    """docs/postgres.md says how; every key begins with the store."""
    make(schema=schema)
    for table in PARTITIONED:
        run(raw, f"ALTER TABLE {schema}.{table} RENAME TO old_{table}")
        like = f"LIKE {schema}.old_{table} INCLUDING DEFAULTS"
        run(raw, f"CREATE TABLE {schema}.{table} ({like}) PARTITION BY HASH (store_id)")
        for part in range(3):
            run(
                raw,
                f"CREATE TABLE {schema}.{table}_{part} PARTITION OF {schema}.{table} FOR VALUES WITH (MODULUS 3, REMAINDER {part})",
            )
        definitions = run(
            raw, f"SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = '{schema}' AND tablename = 'old_{table}'"
        )
        for name, definition in definitions:
            run(raw, definition.replace(f" {name} ", f" new_{name} ").replace(f".old_{table} ", f".{table} "))
        run(raw, f"INSERT INTO {schema}.{table} SELECT * FROM {schema}.old_{table}")
        run(raw, f"DROP TABLE {schema}.old_{table}")
    seen = set()
    for number in range(6):
        store = make(schema=schema, store=f"part-{number}")
        calls = filled(store)
        for call in calls.calls().values():
            answered(call)
        seen |= {
            one for (one,) in run(raw, f"SELECT tableoid::regclass::text FROM {schema}.node WHERE store_id = {number_of(store)}")
        }
    assert len(seen) > 1


# Pools and asyncio.


def test_handles_take_their_connections_from_a_pool(make: Make, postgres: Server, raw: psycopg.Connection[Any]) -> None:
    with connection_pool(postgres.conninfo, max_size=1) as pool:
        store = make(pool=pool, lock_timeout_ms=50)
        pid = backend_of(store)
        with pytest.raises(Contended, match="the pool gave no connection"):
            store.open_handle()
        store.close()
        with closing(store.open_handle()) as another:
            assert backend_of(another) == pid
        raw.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with closing(store.open_handle()) as third:  # what ended in the pool is replaced
            assert backend_of(third) != pid
            lease_of(third)


def test_asyncio_runs_other_tasks_while_one_waits(postgres: Server, raw: psycopg.Connection[Any]) -> None:
    async def scenario() -> None:
        async with async_connection_pool(postgres.conninfo, max_size=4) as pool:
            label = f"async-{next(_labels)}"
            store = await AsyncPostgresStore.open(postgres.conninfo, store=label, pool=pool)
            other = await store.open_handle()
            lease = await store.try_claim_session_execution_lease(SESSION, "owner", HOUR)
            assert lease is not None
            await store.renew_session_execution_lease(lease.fence(), HOUR)  # prepared, so the cancel finds it in its wait
            with raw.transaction():
                raw.execute("SELECT 1 FROM leasehold.lane WHERE store_id = %s FOR UPDATE", (int(store._at.store_id),))
                waiting = asyncio.create_task(store.renew_session_execution_lease(lease.fence(), HOUR))
                assert await other.load_session(ActivePath()) is None
                assert not waiting.done()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert (await store.renew_session_execution_lease(lease.fence(), 2 * HOUR)).fencing_token == 1
            many = await asyncio.gather(*(handle.enqueue_queued_work(draft_of()) for handle in (store, other) * 5))
            assert len({batch.enqueue_seq for batch in many}) == 10
            await other.close()
            with pytest.raises(Backend, match="closed"):
                await other.load_session_meta()
            await store.close()

    asyncio.run(scenario())


def test_asyncio_errors_mean_the_same(postgres: Server, raw: psycopg.Connection[Any]) -> None:
    async def scenario() -> None:
        with pytest.raises(Backend, match="no connection"):
            await AsyncPostgresStore.open("host=/nowhere")
        store = await AsyncPostgresStore.open(postgres.conninfo, store=f"async-{next(_labels)}", lock_timeout_ms=20)
        with pytest.raises(InvalidRequest):
            await store.try_claim_session_execution_lease("", "owner", 1)
        await store.record_intent(intent_of())
        lease = await store.try_claim_session_execution_lease(SESSION, "owner", HOUR)
        assert lease is not None
        with raw.transaction():
            raw.execute("SELECT 1 FROM leasehold.lane WHERE store_id = %s FOR UPDATE", (int(store._at.store_id),))
            with pytest.raises(Contended):
                await store.renew_session_execution_lease(lease.fence(), HOUR)
        async with store._lock:
            with pytest.raises(Contended, match="in use"):
                await store.load_session_meta()
        assert store._connection is not None
        pid = store._connection.info.backend_pid

        def end(statement: str) -> None:
            raw.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert statement

        store.trace(end)
        with pytest.raises(Indeterminate):
            await store.load_session_meta()
        store.trace(None)
        assert await store.load_session_meta() is None
        await store.close()

    asyncio.run(scenario())


def test_both_faces_have_every_operation(make: Make) -> None:
    store = make()
    for name in OPERATIONS:
        assert callable(getattr(store, name))
        assert asyncio.iscoroutinefunction(getattr(AsyncPostgresStore, name))
    assert isinstance(store, Store)
    assert AsyncPostgresStore.capabilities == store.capabilities
    assert issubclass(Contended, Refusal)


def test_settings_of_the_user_win() -> None:
    info = connection_info("host=h options='-c lock_timeout=7'", lock_timeout_ms=5)
    assert info.index("lock_timeout=5") < info.index("lock_timeout=7")
    with pytest.raises(InvalidRequest, match="lock_timeout_ms"):
        connection_info("", lock_timeout_ms=-1)

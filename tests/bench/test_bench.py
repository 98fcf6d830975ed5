"""The benchmarks run, at a tiny size. What they measure is not asserted: a test that depends on the time is no test."""

from __future__ import annotations

import io
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import psycopg
import pytest
from rich.console import Console

from leasehold.records import FullGraph
from leasehold.store import VirtualClock
from leasehold.stores.postgres import PostgresStore, connection_info
from leasehold.stores.postgres_server import Server
from tests.bench import drivers, growth, histories, sqlite, wire, writers
from tests.bench import postgres as postgres_bench
from tests.bench.measure import Aim, Spread, interleaved, ratios, show_rates, spread
from tests.impl.stores.relay import Relay
from tests.impl.stores.samples import lease_of, numbered_commit


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=150)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_contenders_take_turns_at_beginning() -> None:
    order: list[tuple[str, int]] = []

    def work(name: str, number: int) -> int:
        order.append((name, number))
        return 1

    rates = interleaved({"a": lambda number: work("a", number), "b": lambda number: work("b", number)}, 3)
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert {name: len(found) for name, found in rates.items()} == {"a": 3, "b": 3}


def test_ratios_are_taken_round_by_round(console: Console) -> None:
    rates = {"a": [10.0, 30.0, 20.0], "b": [5.0, 10.0, 40.0]}
    assert ratios(rates, "a", "b") == spread([2.0, 3.0, 0.5]) == Spread(2.0, 1.25, 2.5)
    assert spread([4.0]) == Spread(4.0, 4.0, 4.0)
    show_rates(console, "Title", "steps", rates, "b", [Aim("a", "b", 2.0), Aim("a", "b", 2.5)])
    assert "found 2.00: holds" in printed(console)
    assert "found 2.00: missed" in printed(console)


def test_drivers(console: Console) -> None:
    drivers.report(console, rounds=1, runs=3)
    for name in (drivers.NO_OP, drivers.SEEDED, drivers.STEPWISE, drivers.BYTES, drivers.MODEL):
        assert name in printed(console)


def test_the_wire(console: Console) -> None:
    wire.report(console, rounds=1, runs=2)
    for name in (wire.INSIDE, wire.CODEC, wire.WIRE, wire.UNCHECKED, wire.ECHO):
        assert name in printed(console)


def test_the_bare_loop_ends_with_the_same_rows(tmp_path: Path) -> None:
    """Or else it would not be the same work."""
    import sqlite3

    sqlite.rates(tmp_path, sqlite.one_cycle, "NORMAL", rounds=2, count=3)
    sqlite_rows = []
    for name in ("store", "bare"):
        connection = sqlite3.connect(tmp_path / f"{name}.db")
        revision = connection.execute("SELECT head_revision FROM head").fetchall()
        left = connection.execute("SELECT count(*) FROM batch").fetchall()
        given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").fetchall()
        sqlite_rows.append((revision, left, given))
        connection.close()
    assert sqlite_rows == [([(6,)], [(0,)], [(6,)])] * 2


def test_sqlite(console: Console, tmp_path: Path) -> None:
    sqlite.report(console, tmp_path, rounds=1, share=0.01)
    assert printed(console).count("aim: ") == 4
    assert sqlite.PEER in printed(console)


def test_syncs(console: Console, tmp_path: Path) -> None:
    sqlite.report_syncs(console, tmp_path)
    assert "1 a commit, with FULL; found 1, at most 1: holds" in printed(console)


def test_writers(console: Console, tmp_path: Path) -> None:
    writers.report(console, tmp_path, rounds=1, seconds=0.1)
    assert printed(console).count("aim: ") == 3
    assert writers.STOCK in printed(console)


def test_growth(console: Console, tmp_path: Path) -> None:
    growth.report(console, tmp_path, sizes=(20, 40), rounds=1, calls=2)
    for name in growth.OPERATIONS:
        assert f"memory: {name}" in printed(console)
        assert f"sqlite: {name}" in printed(console)


def test_what_is_measured_for_growth_is_as_large_as_said(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for filled in growth.filled_stores(stack, tmp_path, (20, 40)):
            assert len(filled.store.list_queued_work("root")) == filled.size
            assert filled.store.load_node(f"f{filled.size - growth.PATH - 1}") is not None


def test_postgres_round_trips(console: Console, postgres: Server) -> None:
    postgres_bench.report_trips(console, postgres)
    assert "calls; found 1: holds" in printed(console)


def test_postgres(console: Console, postgres: Server) -> None:
    postgres_bench.report(console, postgres, rounds=2, share=0.01)
    assert printed(console).count("aim: ") == 5 - len(postgres_bench.missing_peers())
    assert printed(console).count("NOT MEASURED: pip install") == len(postgres_bench.missing_peers())


def test_commits_by_hand_leave_the_same_rows_in_as_many_round_trips_as_said(postgres: Server) -> None:
    tables = ("lane", "head", "node", "body", "usage", "stamp")
    relay = Relay(postgres.conninfo)
    found, trips = [], []
    with ExitStack() as stack:
        stack.callback(relay.close)
        connection = stack.enter_context(psycopg.connect(connection_info(relay.conninfo), autocommit=True))
        for write in (None, postgres_bench.by_one, postgres_bench.by_five):
            store = stack.enter_context(closing(PostgresStore(postgres.conninfo, store=f"by hand {write}", clock=VirtualClock(1))))
            fence = lease_of(store)
            for number in range(1, 4):
                commit = numbered_commit(number, fence)
                before = relay.trips
                if write is None:
                    store.commit_runtime_state(commit)
                else:
                    write(connection, postgres_bench.values_of(commit, store._at.store_id, number))
            trips.append(relay.trips - before)
            assert store.load_session(FullGraph()) is not None
            rows = []
            for table in tables:
                columns = f"SELECT to_jsonb(t) - 'store_id' - 'lease_token' FROM leasehold.{table} AS t"
                cursor = connection.execute(f"{columns} WHERE store_id = {store._at.store_id}")
                rows.append(sorted(map(str, cursor.fetchall())))
            found.append(rows)
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert trips == [0, 1, 5]


def test_growth_of_postgres(console: Console, postgres: Server) -> None:
    postgres_bench.report_growth(console, postgres, sizes=(20, 120), rounds=1, calls=2)
    for name in growth.OPERATIONS:
        assert f"postgres: {name}" in printed(console)
    with ExitStack() as stack:
        filled = postgres_bench.filled_store(stack, postgres, 130)
        assert [batch.source_key for batch in filled.store.list_queued_work("root")] == [f"k{number}" for number in range(130)]


def test_histories(console: Console) -> None:
    histories.report(console, rounds=1, size=12)
    for name in (histories.OURS, histories.PLAIN):
        assert printed(console).count(name) >= len(histories.SHARES)
    assert histories.PORCUPINE in printed(console) or "PORCUPINE NOT MEASURED" in printed(console)


def test_drawn_histories_are_right_and_spoiled_ones_not_all() -> None:
    random = Random(1)
    right = [histories.drawn(random, 10) for _ in range(30)]
    assert all(histories.plain(one, histories.LIMIT) for one in right)
    wrong = [histories.plain(histories.spoiled(random, one), histories.LIMIT) for one in right]
    assert 5 < wrong.count(False) < 30
    assert histories.plain(right[0], 3) is None

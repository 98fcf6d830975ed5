"""The benchmarks run, at a tiny size. What they measure is not asserted: a test that depends on the time is no test."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import drivers, growth, sqlite, wire
from tests.bench.measure import Aim, Spread, interleaved, ratios, show_rates, spread


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

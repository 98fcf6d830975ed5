"""The SQLite store against a bare loop that executes the same statements, and its queue against persist-queue.

What the store executes is recorded once: every statement with its values. The bare loop executes that record on a copy of the same
file, with the same durability, and does nothing else: what it takes is SQLite's and the disk's share.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import subprocess
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeAlias

from persistqueue import SQLiteAckQueue
from rich.console import Console

from leasehold.records import Fence
from leasehold.store import VirtualClock
from leasehold.stores.sqlite import SqliteStore, Synchronous
from tests.bench.measure import Aim, Rates, Work, interleaved, show_aim, show_rates
from tests.impl.stores.samples import HOUR, claim_of, commit_of, draft_of, lease_of, numbered_commit
from tests.impl.stores.test_fsync import COUNTER, counts

STORE = "SQLite store"
BARE = "bare loop"
PEER = "persist-queue"

Statements: TypeAlias = list[tuple[str, str, Any]]
"""Method, statement, values."""

Unit: TypeAlias = Callable[[SqliteStore, Fence, int], None]
"""One unit of work, by its number from 1."""


def one_commit(store: SqliteStore, fence: Fence, number: int) -> None:
    """A commit with a node, a checkpoint, usage and a stamp."""
    store.commit_runtime_state(numbered_commit(number, fence))


def one_cycle(store: SqliteStore, fence: Fence, number: int) -> None:
    """Enqueue, claim, complete by a commit: three transactions."""
    store.enqueue_queued_work(draft_of(f"work {number}"))
    claim = claim_of(store, fence)
    store.commit_runtime_state(commit_of(fence, completed_queue_claims=(claim.completion(),)))


class _Recording(sqlite3.Cursor):
    """Keeps what it executes."""

    kept: Statements

    def execute(self, statement: str, values: Any = (), /) -> _Recording:
        """Keep and execute."""
        self.kept.append(("execute", statement, values))
        super().execute(statement, values)
        return self

    def executemany(self, statement: str, values: Iterable[Any], /) -> _Recording:
        """Keep and execute."""
        rows = list(values)
        self.kept.append(("executemany", statement, rows))
        super().executemany(statement, rows)
        return self


def record(path: Path, fence: Fence, unit: Unit, rounds: int, count: int) -> list[Statements]:
    """What the store executes for ``count`` units, round by round."""
    store = SqliteStore(path, clock=VirtualClock(1), synchronous="NORMAL")
    assert store._file.cursor is not None
    cursor = store._file.cursor.connection.cursor(_Recording)
    store._file.cursor = cursor
    recorded: list[Statements] = []
    for number in range(rounds):
        cursor.kept = []
        recorded.append(cursor.kept)
        for one in range(number * count + 1, (number + 1) * count + 1):
            unit(store, fence, one)
    store.close()
    return recorded


def replay(cursor: sqlite3.Cursor, statements: Statements) -> None:
    """Execute the record, and fetch what there is."""
    for method, statement, values in statements:
        if method == "execute":
            cursor.execute(statement, values).fetchall()
        else:
            cursor.executemany(statement, values)


def rates(directory: Path, unit: Unit, synchronous: Synchronous, rounds: int, count: int, peer: bool = False) -> Rates:
    """Units per second; ``count`` units a round. ``peer``: persist-queue takes part."""
    clock = VirtualClock(1)
    paths = [directory / f"{name}.db" for name in ("base", "record", "store", "bare")]
    with closing(SqliteStore(paths[0], clock=clock)) as base:
        fence = lease_of(base)
        base.renew_session_execution_lease(fence, 1000 * HOUR)
    for path in paths[1:]:
        shutil.copyfile(paths[0], path)
    recorded = record(paths[1], fence, unit, rounds, count)
    with ExitStack() as stack:
        store = stack.enter_context(closing(SqliteStore(paths[2], clock=clock, synchronous=synchronous)))
        bare = stack.enter_context(closing(sqlite3.connect(paths[3], isolation_level=None)))
        cursor = bare.cursor()
        cursor.execute(f"PRAGMA synchronous = {synchronous}")

        def by_store(number: int) -> int:
            for one in range(number * count + 1, (number + 1) * count + 1):
                unit(store, fence, one)
            return count

        def by_bare(number: int) -> int:
            replay(cursor, recorded[number])
            return count

        contenders: dict[str, Work] = {STORE: by_store, BARE: by_bare}
        if peer:
            queue = stack.enter_context(closing(SQLiteAckQueue(str(directory / "peer"), auto_commit=True)))

            def by_peer(number: int) -> int:
                for one in range(number * count, (number + 1) * count):
                    queue.put(draft_of(f"work {one}").payloads)
                    queue.ack(queue.get(block=False))
                return count

            contenders[PEER] = by_peer
        return interleaved(contenders, rounds)


SECTIONS: tuple[tuple[str, Unit, Synchronous, int, tuple[Aim, ...]], ...] = (
    ("SQLite commits, synchronous FULL", one_commit, "FULL", 40, (Aim(STORE, BARE, 0.80),)),
    ("SQLite commits, synchronous NORMAL", one_commit, "NORMAL", 120, (Aim(STORE, BARE, 0.50),)),
    (
        "SQLite queue cycles (enqueue, claim, complete by a commit), synchronous FULL",
        one_cycle,
        "FULL",
        20,
        (Aim(STORE, BARE, 0.75), Aim(STORE, PEER, 0.90)),
    ),
    ("SQLite queue cycles, synchronous NORMAL", one_cycle, "NORMAL", 60, ()),
)


def report(console: Console, directory: Path, rounds: int = 31, share: float = 1.0) -> None:
    """Print the sections; ``share`` of the usual number of units."""
    for number, (title, unit, synchronous, count, aims) in enumerate(SECTIONS):
        place = directory / f"section-{number}"
        place.mkdir()
        peer = any(aim.to == PEER for aim in aims)
        found = rates(place, unit, synchronous, rounds, max(1, int(count * share)), peer)
        show_rates(console, title, "units" if unit is one_cycle else "commits", found, BARE, aims)


# -- syncs -------------------------------------------------------------------------------------------------------------------------


def syncs(directory: Path) -> dict[str, dict[str, int]]:
    """Calls of fsync and fdatasync by operation, for FULL and NORMAL."""
    source, library = directory / "counter.c", directory / "counter.so"
    source.write_text(COUNTER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return {synchronous: counts(library, directory / f"{synchronous}.db", synchronous) for synchronous in ("FULL", "NORMAL")}


def report_syncs(console: Console, directory: Path) -> None:
    """Print the section."""
    console.print("Calls of fsync and fdatasync", style="bold")
    for synchronous, by_operation in syncs(directory).items():
        commits = [count for name, count in by_operation.items() if name.startswith("commit")]
        quiet = sum(count for name, count in by_operation.items() if name.startswith("quiet"))
        median, most = statistics.median(commits), max(commits)
        console.print(
            f"  {synchronous}: {median:g} a commit (median of {len(commits)}; at most {most}), {quiet} for reads and refusals"
        )
        if synchronous == "FULL":
            show_aim(console, "1 a commit, with FULL", f"{median:g}, at most {most}", median == 1 and most == 1)
    console.print()

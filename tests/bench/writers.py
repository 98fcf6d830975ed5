"""Two processes that write to one SQLite store: how evenly, how long a lease renewal waits, and what both reach together.

One round runs, by turns, one process that commits all the time, two of them, and one that commits while another renews a lease. The
same without turns, as SQLite alone has it, stands beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from attrs import frozen
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from leasehold.records import Fence
from leasehold.store import Contended
from leasehold.stores import sqlite
from leasehold.stores.sqlite import SqliteStore
from tests.bench.measure import Spread, show_aim, spread
from tests.impl.stores.samples import HOUR, SESSION, commit_of, lease_of

TURNS, STOCK = "in turns", "without turns"


class NoTurns:
    """Twin: SQLite's own waiting."""

    def __init__(self, path: str) -> None:
        """As `leasehold.stores._turns.Turns`."""

    def enter(self, _wait_seconds: float) -> bool:
        """At once."""
        return True

    def leave(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def work(path: str, mode: str, kind: str, token: str, fencing_token: str) -> None:
    """A writing process: tell that it is ready, begin when told to, and print how many it wrote and how long the slowest took."""
    if mode == STOCK:
        sqlite.Turns = NoTurns  # type: ignore[assignment,attr-defined]
    store = SqliteStore(path)
    lease = Fence(SESSION, "owner", token, int(fencing_token))
    other = store.try_claim_session_execution_lease(f"session {os.getpid()}", "other", HOUR)
    assert other is not None
    print("ready", flush=True)
    seconds = float(sys.stdin.readline())
    count, slowest, now = 0, 0.0, time.perf_counter()
    end = now + seconds
    while now < end:
        began = now
        try:
            if kind == "commit":
                store.commit_runtime_state(commit_of(lease))
            else:
                store.renew_session_execution_lease(other.fence(), HOUR)
            count += 1
        except Contended:
            pass
        now = time.perf_counter()
        slowest = max(slowest, now - began)
        if kind == "renew":
            time.sleep(0.005)  # as one does who has other things to do
            now = time.perf_counter()
    store.close()
    print(count, slowest, flush=True)


@frozen
class Wrote:
    """What a process wrote."""

    count: int
    slowest_seconds: float


def run(path: Path, mode: str, kinds: Sequence[str], seconds: float) -> list[Wrote]:
    """These processes at once."""
    with closing(SqliteStore(path)) as store:
        fence = lease_of(store)
    command = [sys.executable, "-m", "tests.bench.writers", str(path), mode]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, kind, fence.lease_token, str(fence.fencing_token)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for kind in kinds
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        answers = [process.communicate()[0].split() for process in processes]
    return [Wrote(int(count), float(slowest)) for count, slowest in answers]


@frozen
class Found:
    """Round by round."""

    fairness: list[float]
    total: list[float]
    longest_wait: list[float]

    def spreads(self) -> tuple[Spread, Spread, Spread]:
        """Of the three figures."""
        return spread(self.fairness), spread(self.total), spread(self.longest_wait)


def measured(directory: Path, rounds: int, seconds: float) -> dict[str, Found]:
    """Both modes, interleaved."""
    found = {mode: Found([], [], []) for mode in (TURNS, STOCK)}
    for number in range(rounds):
        for mode, figures in found.items():
            path = directory / f"{mode} {number}.db"
            (alone,) = run(path, mode, ["commit"], seconds)
            two = [wrote.count for wrote in run(path, mode, ["commit", "commit"], seconds)]
            _, renewing = run(path, mode, ["commit", "renew"], seconds)
            figures.fairness.append(min(two) / max(two))
            figures.total.append(sum(two) / alone.count)
            figures.longest_wait.append(renewing.slowest_seconds)
    return found


def report(console: Console, directory: Path, rounds: int = 5, seconds: float = 0.8) -> None:
    """Print the section."""
    found = measured(directory, rounds, seconds)
    table = Table(
        box=SIMPLE_HEAD, title="SQLite, two writing processes, synchronous FULL", title_justify="left", title_style="bold"
    )
    for heading in (
        "",
        "slower / faster, median",
        "quartiles",
        "both / one alone, median",
        "quartiles",
        "longest wait of a renewal",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    for mode, figures in found.items():
        fairness, total, _ = figures.spreads()
        cells = [text for one in (fairness, total) for text in (f"{one.median:.2f}", f"{one.low:.2f} .. {one.high:.2f}")]
        table.add_row(mode, *cells, f"{1000 * max(figures.longest_wait):.0f} ms")
    console.print(table)
    fairness, total, _ = found[TURNS].spreads()
    longest = 1000 * max(found[TURNS].longest_wait)
    show_aim(console, "slower at least 0.5 x faster", f"{fairness.median:.2f}", fairness.median >= 0.5)
    show_aim(console, "both at least 0.6 x one alone", f"{total.median:.2f}", total.median >= 0.6)
    show_aim(console, "no lease renewal waits more than 250 ms", f"{longest:.0f} ms", longest <= 250)
    console.print()


if __name__ == "__main__":
    work(*sys.argv[1:])

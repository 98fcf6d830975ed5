"""How the time of an operation grows with what is stored: it should hardly, for what it does not return."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeAlias

from attrs import define
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from leasehold.records import ActivePath, Append, CommitResult, Fence, Node, ReplaceFull
from leasehold.store import Store, VirtualClock
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from tests.bench.measure import show_aim, spread
from tests.impl.stores.samples import HOUR, SESSION, claim_of, commit_of, draft_of, lease_of

SIZES = (100, 1_000, 10_000, 100_000)
MOST = 3.0
"""How much longer a call may take on the largest store than on the smallest."""

PATH = 10
"""Nodes of the active path, and batches of the list."""


@define
class Filled:
    """A store with ``size`` batches of one session, as many nodes, and ten batches of another session."""

    kind: str
    size: int
    store: Store
    fence: Fence
    keys: int = 0

    def key(self) -> str:
        """A source key or node id never used."""
        self.keys += 1
        return f"new-{self.keys}"

    def commit(self) -> CommitResult:
        """Append a node. The path stays as it is."""
        graph = Append((Node(node_id=self.key(), parent_node_id="p0"),), f"p{PATH - 1}")
        return self.store.commit_runtime_state(commit_of(self.fence, graph=graph))


def fill(kind: str, store: Store, size: int, enqueued: int | None = None) -> Filled:
    """Fill an empty store; ``enqueued`` of the batches, if the rest comes by another way."""
    fence = lease_of(store)
    store.renew_session_execution_lease(fence, 1000 * HOUR)
    for number in range(size if enqueued is None else enqueued):
        store.enqueue_queued_work(draft_of(source_key=f"k{number}"))
    for _ in range(PATH):
        store.enqueue_queued_work(draft_of(session_id="little"))
    path = [Node(node_id=f"p{n}", parent_node_id=f"p{n - 1}" if n else None) for n in range(PATH)]
    fan = [Node(node_id=f"f{n}", parent_node_id="p0") for n in range(size - PATH)]
    store.commit_runtime_state(commit_of(fence, graph=ReplaceFull((*path, *fan), f"p{PATH - 1}")))
    return Filled(kind, size, store, fence)


Operation: TypeAlias = tuple[Callable[[Filled], Any], Callable[[Filled, Any], object]]
"""What is timed, and what then undoes it."""


def _nothing(_: Filled, result: Any) -> None:
    assert result


def _path_is_whole(_: Filled, result: Any) -> None:
    assert len(result.graph.nodes) == PATH


OPERATIONS: dict[str, Operation] = {
    "commit": (Filled.commit, _nothing),
    "claim": (
        lambda filled: claim_of(filled.store, filled.fence),
        lambda filled, claim: filled.store.abandon_queued_work_claim(claim),
    ),
    "list of 10": (lambda filled: filled.store.list_queued_work("little"), _nothing),
    "load active path of 10": (lambda filled: filled.store.load_session(ActivePath()), _path_is_whole),
    "load_node": (lambda filled: filled.store.load_node("p5"), _nothing),
    "enqueue with a source key": (
        lambda filled: filled.store.enqueue_queued_work(draft_of(source_key=filled.key())),
        lambda filled, batch: filled.store.cancel_queued_work_batch(SESSION, batch.batch_id),
    ),
}


def times(stores: Sequence[Filled], rounds: int, calls: int) -> dict[tuple[str, str, int], list[float]]:
    """Seconds per call, by kind, operation and size: the median of ``calls`` calls in each round; sizes take turns."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for number in range(rounds):
        turn = number % len(stores)
        for filled in (*stores[turn:], *stores[:turn]):
            for name, (operation, undo) in OPERATIONS.items():
                taken = []
                for _ in range(calls):
                    began = time.perf_counter()
                    result = operation(filled)
                    taken.append(time.perf_counter() - began)
                    undo(filled, result)
                found.setdefault((filled.kind, name, filled.size), []).append(statistics.median(taken))
    return found


def filled_stores(stack: ExitStack, directory: Path, sizes: Sequence[int]) -> list[Filled]:
    """Both stores in all sizes."""
    clock = VirtualClock(1_000)
    stores = []
    for size in sizes:
        path = directory / f"{size}.db"
        sqlite = stack.enter_context(closing(SqliteStore(path, clock=clock, synchronous="NORMAL")))
        stores += [fill("memory", MemoryStore(clock), size), fill("sqlite", sqlite, size)]
    return stores


def report(console: Console, directory: Path, sizes: Sequence[int] = SIZES, rounds: int = 5, calls: int = 40) -> None:
    """Print the section."""
    with ExitStack() as stack:
        show(console, filled_stores(stack, directory, sizes), rounds, calls)


def show(console: Console, stores: Sequence[Filled], rounds: int, calls: int) -> None:
    """Measure these stores and print the table."""
    found = times(stores, rounds, calls)
    sizes, kinds = (list(dict.fromkeys(values)) for values in zip(*((one.size, one.kind) for one in stores), strict=True))
    title = f"Growth of {' and '.join(kinds)}: microseconds per call by rows stored"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    table.add_column(f"{sizes[-1]:,} to {sizes[0]:,}, median, quartiles", justify="right")
    worst = 0.0
    for kind in kinds:
        for name in OPERATIONS:
            rows = [found[kind, name, size] for size in sizes]
            growth = [large / small for large, small in zip(rows[-1], rows[0], strict=True)]
            found_growth = spread(growth)
            worst = max(worst, found_growth.median)
            cells = [f"{statistics.median(row) * 1e6:,.1f}" for row in rows]
            ratio = f"{found_growth.median:.2f}   {found_growth.low:.2f} .. {found_growth.high:.2f}"
            table.add_row(f"{kind}: {name}", *cells, ratio)
    console.print(table)
    show_aim(console, f"no call takes more than {MOST:g} x as long on {sizes[-1]:,} rows", f"{worst:.2f}", worst <= MOST)
    console.print()

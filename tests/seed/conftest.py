"""The stores that the seed's scenarios run on, with the real clock, as in the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from leasehold.records import Tier
from leasehold.store import SystemClock
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from tests.seed.scenarios import MakeReopenable, Reopenable

TIERS: dict[str, Tier] = {"memory": "inline", "sqlite": "durable"}


@pytest.fixture(params=sorted(TIERS))
def kind(request: pytest.FixtureRequest) -> str:
    """Which store: its name on the command line."""
    return str(request.param)


@pytest.fixture
def tier(kind: str) -> Tier:
    """What that store is declared to be."""
    return TIERS[kind]


@pytest.fixture
def make_store(kind: str, tmp_path: Path) -> Iterator[MakeReopenable]:
    """Fresh, empty stores of that kind, closed at the end."""
    yield from opening(make_memory if kind == "memory" else lambda: make_sqlite(tmp_path))


@pytest.fixture
def make_durable_store(tmp_path: Path) -> Iterator[MakeReopenable]:
    """Fresh, empty stores that outlive their handles, closed at the end."""
    yield from opening(lambda: make_sqlite(tmp_path))


def opening(make: Callable[[], Reopenable]) -> Iterator[MakeReopenable]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(make()))


def make_memory() -> MemoryStore:
    return MemoryStore(SystemClock())


def make_sqlite(folder: Path) -> SqliteStore:
    number = len(list(folder.glob("*.db")))
    return SqliteStore(folder / f"store-{number}.db", clock=SystemClock())

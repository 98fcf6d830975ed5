"""The stores that the seed's scenarios run on, with the real clock, as in the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest

from leasehold.records import Tier
from leasehold.store import SystemClock
from leasehold.stores.memory import MemoryStore
from leasehold.stores.postgres import PostgresStore
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.faces import Awaited
from tests.seed.scenarios import MakeReopenable, Reopenable

TIERS: dict[str, Tier] = {"memory": "inline", "sqlite": "durable", "postgres": "durable", "postgres by asyncio": "durable"}

_labels = count(1)


@pytest.fixture(params=sorted(TIERS))
def kind(request: pytest.FixtureRequest) -> str:
    """Which store: its name on the command line."""
    return str(request.param)


@pytest.fixture
def tier(kind: str) -> Tier:
    """What that store is declared to be."""
    return TIERS[kind]


@pytest.fixture
def make_store(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeReopenable]:
    """Fresh, empty stores of that kind, closed at the end."""
    yield from opening(maker(kind, tmp_path, request))


@pytest.fixture(params=sorted(kind for kind, tier in TIERS.items() if tier == "durable"))
def make_durable_store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeReopenable]:
    """Fresh, empty stores that outlive their handles, closed at the end."""
    yield from opening(maker(str(request.param), tmp_path, request))


def maker(kind: str, folder: Path, request: pytest.FixtureRequest) -> MakeReopenable:
    if kind == "memory":
        return make_memory
    if kind == "sqlite":
        return lambda: make_sqlite(folder)
    conninfo = request.getfixturevalue("postgres").conninfo
    face = PostgresStore if kind == "postgres" else Awaited
    return lambda: face(conninfo, store=f"seed-{next(_labels)}")  # and no clock: the database's own


def opening(make: Callable[[], Reopenable]) -> Iterator[MakeReopenable]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(make()))


def make_memory() -> MemoryStore:
    return MemoryStore(SystemClock())


def make_sqlite(folder: Path) -> SqliteStore:
    number = len(list(folder.glob("*.db")))
    return SqliteStore(folder / f"store-{number}.db", clock=SystemClock())

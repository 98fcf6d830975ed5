"""What tests in several folders share: a PostgreSQL server of this process's own, started by the first test that wants it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leasehold.stores.postgres_server import Server, private_server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Of the tests that were chosen, only a part."""
    parser.addoption("--part", metavar="I/N", help="of the chosen tests, every N-th from the I-th on")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the part that was asked for."""
    part = config.getoption("--part")
    if part is None:
        return
    first, _, every = part.partition("/")
    if not (first.isdecimal() and every.isdecimal() and 1 <= int(first) <= int(every)):
        raise pytest.UsageError(f"--part {part}: it is written I/N, as in 1/8")
    items[:] = items[int(first) - 1 :: int(every)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A private server. If there is no PostgreSQL to be had, the tests that want it fail, and say what to install."""
    with private_server() as server:
        yield server

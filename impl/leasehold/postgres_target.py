"""The target ``postgres``: our PostgreSQL store, on a private server or on one that the user names; each run has its own store."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from leasehold.oracle.answers import CONNECTION, SERVER, BrokenTarget
from leasehold.oracle.python_door import Factory
from leasehold.store import Clock, InvalidRequest, Refusal
from leasehold.stores.postgres import PostgresStore, connection_info, connection_pool, line_of
from leasehold.stores.postgres_server import NoServer, Server, private_server

logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # that connections end is what is wanted here

MOST_CONNECTIONS = 24
"""To the server at once: as many as one store has handles, and room for those of the next."""


class BadName(Exception):
    """What stands for the server cannot be read."""


class _Temporary(PostgresStore):
    """A store whose rows go when the oracle is done with it."""

    def drop(self) -> None:
        """Remove the rows. The handle may be closed already. Where the server is gone just now, they go with the schema."""
        assert self._pool is not None  # noqa: S101 - `stores` sees to it
        with contextlib.suppress(psycopg.OperationalError), self._pool.connection() as connection:
            connection.wait(line_of(connection).send(self._sql.text("drop_store", 1), (self._at.store_id,)))


def stores(dsn: str, stack: contextlib.ExitStack) -> Factory:
    """A factory of stores in a new schema, which goes when the stack unwinds. Raises `BadName` or `BrokenTarget`."""
    server: Server | None = None
    try:
        if not dsn:
            server = stack.enter_context(private_server())
        conninfo = server.conninfo if server is not None else dsn
    except NoServer as error:
        raise BrokenTarget(f"postgres: {error}") from error
    schema = f"leasehold_check_{os.urandom(6).hex()}"
    try:
        PostgresStore(conninfo, schema=schema).close()
    except InvalidRequest as error:
        raise BadName(f"{error}. It is written as postgresql://user@host/database, or as host=HOST dbname=DATABASE") from error
    except Refusal as error:
        raise BrokenTarget(f"postgres: no store can be made in a new schema {schema} of that database: {error}") from error
    stack.callback(_drop, conninfo, schema)
    pool = stack.enter_context(connection_pool(conninfo, max_size=MOST_CONNECTIONS))
    numbers = itertools.count(1)

    def fresh(clock: Clock) -> Any:
        """A new label, not a new schema: that costs one commit."""
        return _Temporary(conninfo, store=f"run-{next(numbers)}", clock=clock, schema=schema, pool=pool)

    fresh.elsewhere = (f"postgres:{schema}:{conninfo}", _faults(conninfo, schema, server, pool))  # type: ignore[attr-defined]  # for `KillDoor`
    return fresh


def at_label(schema_and_conninfo: str, label: str) -> Factory:
    """A factory of the store of a label in such a schema, for another process."""
    schema, _, conninfo = schema_and_conninfo.partition(":")
    named = make_conninfo(conninfo, application_name=schema)
    return lambda clock: PostgresStore(named, store=label, clock=clock, schema=schema)


def _faults(conninfo: str, schema: str, server: Server | None, pool: ConnectionPool[Any]) -> dict[int, Callable[[], None]]:
    """What can be made to fail: the connections of the other processes, and a private server."""

    def end_connections() -> None:
        with psycopg.connect(connection_info(conninfo), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (schema,))

    if server is None:
        return {CONNECTION: end_connections}

    def kill_server() -> None:
        server.kill()
        server.start()
        pool.check()  # its connections are of the server that was

    return {CONNECTION: end_connections, SERVER: kill_server}


def _drop(conninfo: str, schema: str) -> None:
    try:
        with psycopg.connect(connection_info(conninfo), autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    except psycopg.Error as error:
        print(f"the schema {schema} is left over, for it could not be dropped: {error}", file=sys.stderr)

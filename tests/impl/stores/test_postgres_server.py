"""The private server: real, alone, and gone without a trace, however its owner ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg
import pytest

from leasehold.stores import postgres_server
from leasehold.stores.postgres_server import NoServer, installations, private_server
from tests.impl.stores.test_sqlite_faults import child, line_of


def is_running(pid: int) -> bool:
    return postgres_server._is_running(pid)


def test_it_survives_a_kill_and_leaves_nothing() -> None:
    with private_server(settings=["max_connections=7"]) as server:
        first = server.pid
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            settings = "SELECT current_setting('fsync'), current_setting('max_connections'), current_setting('listen_addresses')"
            assert connection.execute(settings).fetchone() == ("on", "7", "")
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
            server.kill()
            assert not is_running(first)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        with pytest.raises(NoServer, match="does not run"):
            _ = server.pid
        server.restart()
        assert server.pid != first
        assert "automatic recovery" in server.log()
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        second, directory = server.pid, server.directory
        assert is_running(second)
        assert directory.exists()
    assert not is_running(second)
    assert not directory.exists()


OWNER = """
import sys
from leasehold.stores.postgres_server import private_server
with private_server() as server:
    print(server.pid, server.directory, flush=True)
    sys.stdin.readline()
"""


def test_it_goes_with_an_owner_that_is_killed() -> None:
    with child(OWNER) as owner:
        pid, directory = line_of(owner).split()
        assert is_running(int(pid))
        owner.kill()
    deadline = time.monotonic() + 20
    while is_running(int(pid)) or Path(directory).exists():
        assert time.monotonic() < deadline, "it is left over"


def test_without_programs_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert installations()
    monkeypatch.setattr(postgres_server, "installations", list)
    with pytest.raises(NoServer, match="apt-get install"), private_server():
        pass
    with pytest.raises((NoServer, OSError)), private_server(tmp_path):
        pass


def test_a_setting_that_it_does_not_take_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match="no_such_setting"), private_server(settings=["no_such_setting=1"]):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="ONLY ROOT HAS TO RUN THE SERVER AS ANOTHER USER")
def test_programs_that_nobody_may_reach_are_copied(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "pg").symlink_to(installations()[0].parent)
    with private_server(closed / "pg" / "bin") as server:
        assert server.binaries.is_relative_to(server.directory)

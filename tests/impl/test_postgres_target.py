"""The target ``postgres``: it conforms, on a private server and on one that is named, and leaves nothing there."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from leasehold import postgres_target
from leasehold.cli import main
from leasehold.oracle.answers import BrokenTarget
from leasehold.records import FullGraph
from leasehold.store import VirtualClock
from leasehold.stores import postgres_server
from leasehold.stores.postgres_server import Server
from leasehold.targets import open_factory
from tests.impl.stores.samples import draft_of, lease_of, numbered_commit


def schemas(server: Server) -> set[str]:
    with psycopg.connect(server.conninfo) as connection:
        return {one for (one,) in connection.execute("SELECT nspname FROM pg_namespace")}


def test_it_conforms_on_a_server_that_is_named_and_nothing_is_left_there(postgres: Server, tmp_path: Any) -> None:
    before = schemas(postgres)
    words = ["check", f"postgres:{postgres.conninfo}", "--budget", "4s", "--seed", "4", "--cases", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code in {0, 2}, done.output  # 2: the time was too short for some rule
    assert "CONFORMS" in done.output or "INCONCLUSIVE" in done.output
    assert schemas(postgres) == before


def test_each_run_has_a_store_of_its_own_whose_rows_go(postgres: Server) -> None:
    before = schemas(postgres)
    with open_factory(f"postgres:{postgres.conninfo}") as fresh:
        one, other = fresh(VirtualClock(5)), fresh(VirtualClock(5))
        one.commit_runtime_state(numbered_commit(1, lease_of(one)))
        one.enqueue_queued_work(draft_of())
        assert other.load_session(FullGraph()) is None
        (schema,) = schemas(postgres) - before
        with psycopg.connect(postgres.conninfo, autocommit=True) as connection:

            def rows() -> list[int]:
                tables = ("store", "head", "lane", "node", "body", "usage", "stamp", "batch")
                counts: list[Any] = [f"SELECT count(*) FROM {schema}.{table}" for table in tables]
                return [found[0] for count in counts if (found := connection.execute(count).fetchone())]

            assert rows() == [3, 3, 1, 1, 1, 1, 1, 1]  # with the store by which the schema was tried
            one.close()
            one.drop()
            assert rows() == [2, 2, 0, 0, 0, 0, 0, 0]
        other.close()
    assert schemas(postgres) == before


def test_a_schema_that_cannot_be_dropped_is_told(postgres: Server, capsys: pytest.CaptureFixture[str]) -> None:
    postgres_target._drop("host=/nowhere", "left_over")
    assert "left_over is left over" in capsys.readouterr().err
    postgres_target._drop(postgres.conninfo, "never_was")
    assert capsys.readouterr().err == ""


def test_a_server_that_cannot_be_had_is_a_broken_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokenTarget, match="check the server"), ExitStack() as stack:
        postgres_target.stores("host=/nowhere", stack)
    monkeypatch.setattr(postgres_server, "installations", list)
    with pytest.raises(BrokenTarget, match="no PostgreSQL was found"), ExitStack() as stack:
        postgres_target.stores("", stack)


WITHOUT = "import sys; sys.modules['psycopg'] = None; from leasehold.cli import main; main(sys.argv[1:])"


def test_without_psycopg_it_says_what_to_install_and_the_rest_works(tmp_path: Any) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, cwd=tmp_path, check=False)

    missing = run("probe", "postgres")
    assert missing.returncode == 64
    assert "pip install 'leasehold[postgres]'" in missing.stderr
    assert run("probe", "memory").returncode == 0  # twin

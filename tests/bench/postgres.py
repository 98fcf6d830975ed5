"""The PostgreSQL store against statements written by hand, and its queue against pgqueuer and procrastinate.

All on one private server, which syncs at every commit. What is written by hand writes the same rows into the same tables, from the
same records: it turns them to JSON and hashes them, too. It checks the lease's token and nothing more.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from leasehold.records import Append, Commit
from leasehold.store import VirtualClock
from leasehold.stores.postgres import PostgresStore, connection_info
from leasehold.stores.postgres_server import Server
from tests.bench import growth
from tests.bench.measure import Aim, Rates, Work, interleaved, show_aim, show_rates
from tests.impl.stores.relay import Relay
from tests.impl.stores.samples import HOUR, SESSION, claim_of, commit_of, draft_of, lease_of, numbered_commit
from tests.impl.stores.test_sqlite_faults import Filled, answered

STORE = "PostgreSQL store"
ONE = "by hand, one statement"
FIVE = "by hand, five round trips"
LOOP = "by hand, SKIP LOCKED"
PGQUEUER = "pgqueuer, batch 1"
PROCRASTINATE = "procrastinate"

COMMIT_AIMS = (Aim(STORE, ONE, 0.80), Aim(STORE, FIVE, 1.3))
QUEUE_AIMS = (Aim(STORE, LOOP, 0.75), Aim(STORE, PGQUEUER, 1.2), Aim(STORE, PROCRASTINATE, 1.5))

Cycle: TypeAlias = Callable[[int], None]
"""So many jobs: enqueue, take, done."""


def report_trips(console: Console, server: Server) -> None:
    """Print the section."""
    trips = round_trips(server)
    console.print("Round trips per operation of the PostgreSQL store, its statements prepared", style="bold")
    most = max(trips.values())
    more = ", ".join(f"{name}: {count}" for name, count in trips.items() if count != 1)
    show_aim(console, f"1 for each of {len(trips)} calls", more or "1", most == 1 and not more)
    console.print()


def round_trips(server: Server) -> dict[str, int]:
    """By operation, counted at a relay."""
    trips = {}
    relay = Relay(server.conninfo)
    try:
        with closing(PostgresStore(relay.conninfo, store=uuid.uuid4().hex)) as store:
            anything: Any = store
            calls = Filled(anything).calls()
            for call in calls.values():
                answered(call)
            for name, call in calls.items():
                before = relay.trips
                answered(call)
                trips[name] = relay.trips - before
    finally:
        relay.close()
    return trips


# Commits.

_WRITES = """
node AS (
    INSERT INTO leasehold.node (store_id, node_id, node_seq, parent_node_id, agent_frame_id, "timestamp", content)
    SELECT %(store)s, %(node)s, %(number)s, %(parent)s, %(frame)s, %(timestamp)s, %(content)s FROM {held}
), body AS (
    INSERT INTO leasehold.body (store_id, ref, body) SELECT %(store)s, %(ref)s, %(body)s::bytea FROM {held}
    ON CONFLICT DO NOTHING
), usage AS (
    INSERT INTO leasehold.usage AS u (
        store_id, source, model, usage_seq, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens
    ) SELECT %(store)s, %(source)s, %(model)s, 1, %(input)s::bigint, %(output)s::bigint, 0, 0 FROM {held}
    ON CONFLICT (store_id, source, model) DO UPDATE SET
        input_tokens = u.input_tokens + excluded.input_tokens, output_tokens = u.output_tokens + excluded.output_tokens
), stamp AS (
    INSERT INTO leasehold.stamp (store_id, session_id, turn_id, turn_commit_hash, head_revision, checkpoint_ref, manifest)
    SELECT %(store)s, %(session)s, %(turn)s, %(hash)s, %(number)s, %(checkpoint)s, %(manifest)s FROM {held}
)
"""
_HEAD = """
UPDATE leasehold.head SET
    session_id = %(session)s, head_revision = head_revision + 1, config = %(config)s, agent_frames = %(frames)s,
    current_agent_frame_id = %(current)s, checkpoint_ref = %(checkpoint)s, manifest = %(manifest)s, leaf_node_id = %(node)s,
    tool_state_ref = %(ref)s, node_seq = node_seq + 1, usage_seq = usage_seq + 1
"""
BY_ONE = f"""
WITH lane AS (
    SELECT FROM leasehold.lane WHERE store_id = %(store)s AND session_id = %(session)s AND lease_token = %(token)s
    FOR NO KEY UPDATE
), {_WRITES.format(held="lane")} {_HEAD} FROM lane WHERE store_id = %(store)s
"""
BY_FIVE = (  # with BEGIN and COMMIT
    """
    SELECT h.head_revision FROM leasehold.lane AS l, leasehold.head AS h
    WHERE l.store_id = %(store)s AND l.session_id = %(session)s AND l.lease_token = %(token)s AND h.store_id = %(store)s
    FOR NO KEY UPDATE
    """,
    f"{_HEAD} WHERE store_id = %(store)s",
    f"WITH {_WRITES.format(held='(VALUES (1)) AS held')} SELECT 1",
)


_dumps = partial(json.dumps, separators=(",", ":"))


def values_of(commit: Commit, store: str, number: int) -> dict[str, Any]:
    """The values of `numbered_commit`, for the statements by hand."""
    assert isinstance(commit.graph, Append)
    assert commit.turn_commit is not None
    assert commit.session_execution_lease is not None
    (node,), (usage,) = commit.graph.nodes, commit.usage_deltas
    body = _dumps(commit.checkpoint.tool_state).encode()
    ref = f"tool_state:{hashlib.sha256(body).hexdigest()}"
    manifest = _dumps([commit.checkpoint.turn_state, ref, None, None, None])
    return {
        "store": store,
        "session": commit.session_id,
        "token": commit.session_execution_lease.lease_token,
        "number": number,
        "config": _dumps(commit.config),
        "frames": _dumps(commit.agent_frames),
        "current": commit.current_agent_frame_id,
        "node": node.node_id,
        "parent": node.parent_node_id,
        "frame": node.agent_frame_id,
        "timestamp": node.timestamp,
        "content": _dumps(node.content),
        "ref": ref,
        "body": body,
        "manifest": manifest,
        "checkpoint": f"checkpoint:{hashlib.sha256(manifest.encode()).hexdigest()}",
        "source": usage.source,
        "model": usage.model,
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "turn": commit.turn_commit.turn_id,
        "hash": commit.turn_commit.turn_commit_hash,
    }


def by_one(connection: psycopg.Connection[Any], values: dict[str, Any]) -> None:
    """A commit in one statement."""
    assert connection.execute(BY_ONE, values, prepare=True).rowcount == 1


def by_five(connection: psycopg.Connection[Any], values: dict[str, Any]) -> None:
    """A commit in five round trips."""
    select, update, insert = BY_FIVE
    with connection.transaction():
        assert connection.execute(select, values, prepare=True).rowcount == 1
        connection.execute(update, values, prepare=True)
        connection.execute(insert, values, prepare=True)


def commit_rates(server: Server, rounds: int, count: int) -> Rates:
    """Commits per second, ``count`` a round."""
    with ExitStack() as stack:
        stores = {
            name: stack.enter_context(closing(PostgresStore(server.conninfo, store=f"commits {name}")))
            for name in (STORE, ONE, FIVE)
        }
        connection = stack.enter_context(psycopg.connect(connection_info(server.conninfo), autocommit=True))
        commits = {}
        for name, store in stores.items():
            fence = lease_of(store)
            commits[name] = [numbered_commit(number, fence) for number in range(1, rounds * count + 1)]

        def by_store(number: int) -> int:
            for one in range(number * count, (number + 1) * count):
                stores[STORE].commit_runtime_state(commits[STORE][one])
            return count

        def by_hand(name: str, write: Callable[[psycopg.Connection[Any], dict[str, Any]], None]) -> Work:
            store_id = stores[name]._at.store_id

            def work(number: int) -> int:
                for one in range(number * count, (number + 1) * count):
                    write(connection, values_of(commits[name][one], store_id, one + 1))
                return count

            return work

        return interleaved({STORE: by_store, ONE: by_hand(ONE, by_one), FIVE: by_hand(FIVE, by_five)}, rounds)


# Queue cycles.


@contextmanager
def by_store_cycle(server: Server) -> Iterator[Cycle]:
    """Enqueue, claim, complete by a commit."""
    with closing(PostgresStore(server.conninfo, store="cycles")) as store:
        fence = lease_of(store)

        def cycle(count: int) -> None:
            for _ in range(count):
                store.enqueue_queued_work(draft_of())
                claim = claim_of(store, fence)
                store.commit_runtime_state(commit_of(fence, completed_queue_claims=(claim.completion(),)))

        yield cycle


_QUEUE = """
CREATE TABLE by_hand (
    id bigserial PRIMARY KEY, session text NOT NULL, payload text NOT NULL, taken boolean NOT NULL DEFAULT false,
    owner text, token text, expires bigint
);
CREATE INDEX by_hand_ready ON by_hand (session, id) WHERE NOT taken;
"""
_TAKE = """
UPDATE by_hand SET taken = true, owner = %s, token = %s, expires = %s
WHERE id = (SELECT id FROM by_hand WHERE session = %s AND NOT taken ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, payload
"""


@contextmanager
def by_hand_cycle(server: Server) -> Iterator[Cycle]:
    """Insert, update what is found first, delete: a statement each."""
    with psycopg.connect(connection_info(server.conninfo), autocommit=True) as connection:
        connection.execute(_QUEUE)

        def cycle(count: int) -> None:
            for _ in range(count):
                payload = json.dumps(draft_of().payloads)
                connection.execute("INSERT INTO by_hand (session, payload) VALUES (%s, %s)", (SESSION, payload), prepare=True)
                token = uuid.uuid4().hex
                row = connection.execute(_TAKE, ("worker", token, HOUR, SESSION), prepare=True).fetchone()
                assert row is not None
                json.loads(row[1])
                done = connection.execute("DELETE FROM by_hand WHERE id = %s AND token = %s", (row[0], token), prepare=True)
                assert done.rowcount == 1

        yield cycle


@contextmanager
def by_pgqueuer_cycle(server: Server) -> Iterator[Cycle]:
    """Its calls as its queue manager makes them, without waiting for notifications. What is done goes to its log."""
    asyncpg, queries = importlib.import_module("asyncpg"), importlib.import_module("pgqueuer.queries")
    given = conninfo_to_dict(server.conninfo)
    worker, timeout = uuid.uuid4(), timedelta(seconds=30)
    entry = {"work": queries.EntrypointExecutionParameter(0)}
    with asyncio.Runner() as runner:

        async def connect() -> Any:
            return await asyncpg.connect(
                host=given["host"], port=int(str(given["port"])), user=given["user"], database=given["dbname"]
            )

        connection = runner.run(connect())
        queue = queries.Queries.from_asyncpg_connection(connection)
        runner.run(queue.install())

        async def work(count: int) -> None:
            for _ in range(count):
                await queue.enqueue("work", json.dumps(draft_of().payloads).encode())
                (job,) = await queue.dequeue(1, entry, worker, None, timeout)
                json.loads(job.payload)
                await queue.log_jobs([(job, "successful", None)])

        yield lambda count: runner.run(work(count))
        runner.run(connection.close())


@contextmanager
def by_procrastinate_cycle(server: Server) -> Iterator[Cycle]:
    """Its calls as its worker makes them. What is done is deleted."""
    procrastinate = importlib.import_module("procrastinate")
    jobs = importlib.import_module("procrastinate.jobs")
    with asyncio.Runner() as runner:
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=server.conninfo))

        @app.task(name="work")  # type: ignore[untyped-decorator]
        def task(payloads: Any) -> None:
            """Nothing is done with it."""

        async def start() -> Any:
            await app.open_async()
            await app.schema_manager.apply_schema_async()
            return await app.job_manager.register_worker()

        worker = runner.run(start())

        async def work(count: int) -> None:
            for _ in range(count):
                await task.defer_async(payloads=draft_of().payloads)
                job = await app.job_manager.fetch_job(None, worker)
                assert job is not None
                await app.job_manager.finish_job(job, jobs.Status.SUCCEEDED, True)

        yield lambda count: runner.run(work(count))
        runner.run(app.close_async())


PEERS = {
    PGQUEUER: (("asyncpg", "pgqueuer"), by_pgqueuer_cycle),
    PROCRASTINATE: (("procrastinate",), by_procrastinate_cycle),
}


def missing_peers() -> dict[str, str]:
    """What is not installed, and what to install."""
    return {
        name: " ".join(packages)
        for name, (packages, _) in PEERS.items()
        if not all(importlib.util.find_spec(one) for one in packages)
    }


def _units(cycle: Cycle, count: int, _: int) -> int:
    cycle(count)
    return count


def cycle_rates(server: Server, rounds: int, count: int) -> Rates:
    """Queue cycles per second, ``count`` a round."""
    missing = missing_peers()
    with ExitStack() as stack:
        cycles = {STORE: by_store_cycle, LOOP: by_hand_cycle}
        cycles |= {name: cycle for name, (_, cycle) in PEERS.items() if name not in missing}
        contenders: dict[str, Work] = {}
        for name, open_cycle in cycles.items():
            cycle = stack.enter_context(open_cycle(server))
            cycle(1)  # prepares what it will send
            contenders[name] = partial(_units, cycle, count)
        return interleaved(contenders, rounds)


def report(console: Console, server: Server, rounds: int = 41, share: float = 1.0) -> None:
    """Print the sections; ``share`` of the usual number of units."""
    rates = commit_rates(server, rounds, max(1, int(15 * share)))
    show_rates(console, "PostgreSQL commits, each on the disk", "commits", rates, ONE, COMMIT_AIMS)
    rates = cycle_rates(server, rounds, max(1, int(8 * share)))
    aims = [aim for aim in QUEUE_AIMS if aim.to in rates]
    title = "PostgreSQL queue cycles (enqueue, claim, complete by a commit), each step on the disk"
    show_rates(console, title, "cycles", rates, LOOP, aims)
    for name, packages in missing_peers().items():
        console.print(f"  {name} NOT MEASURED: pip install {packages}\n")


# Growth.

SIZES = (100, 100_000)


def filled_store(stack: ExitStack, server: Server, size: int) -> growth.Filled:
    """A store of that size. Its batches are copies of the first ones: 100,000 transactions would take minutes."""
    store = stack.enter_context(closing(PostgresStore(server.conninfo, store=f"growth {size}", clock=VirtualClock(1_000))))
    enqueued = min(size, SIZES[0])
    filled = growth.fill("postgres", store, size, enqueued)
    columns = """delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads, ready, wake_at"""
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute(
            f"""
            INSERT INTO leasehold.batch (store_id, session_id, enqueue_seq, source_key, {columns})
            SELECT store_id, session_id, nextval('leasehold.enqueue_seq'), 'k' || number, {columns}
            FROM leasehold.batch, generate_series(%s::bigint, %s) AS number
            WHERE store_id = %s AND session_id = %s AND source_key = 'k0'
            """,
            (enqueued, size - 1, store._at.store_id, SESSION),
        )
        connection.execute("VACUUM (ANALYZE) leasehold.batch")
    return filled


def report_growth(console: Console, server: Server, sizes: tuple[int, ...] = SIZES, rounds: int = 5, calls: int = 40) -> None:
    """Print the section."""
    with ExitStack() as stack:
        growth.show(console, [filled_store(stack, server, size) for size in sizes], rounds, calls)

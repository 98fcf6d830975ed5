"""Power loss: FULL keeps every acknowledged operation, NORMAL a consistent prefix, and no cut leaves a file that cannot be opened.

A workload runs once while everything that SQLite does to the disk is recorded. Then the power goes, at any point of that record,
and the disk holds what was synced and any part of the rest.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from attrs import frozen

from leasehold.crash import power
from leasehold.crash.power import (
    EXTREMES,
    Choice,
    Delete,
    Event,
    Made,
    Recorder,
    Sync,
    Truncate,
    Write,
    all_of_it,
    cuts,
    early,
    every_other,
    image,
    images,
    late,
    none,
    seeded,
)
from leasehold.records import Append, Claim, Fence, FullGraph, Node
from leasehold.store import Backend, VirtualClock
from leasehold.stores.sqlite import SqliteStore, Synchronous
from tests.impl.stores.samples import HOUR, META, SESSION, claim_of, commit_of, draft_of, intent_of, lease_of, numbered_commit

State = tuple[object, ...]
CHECKPOINT_PAGES = 30
"""So that the workload has several checkpoints."""


def state_of(store: SqliteStore) -> State:
    """All that can be read from it, and the rows that no operation shows."""
    assert store._file.cursor is not None
    hidden = [
        store._file.cursor.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
        for table in ("lane", "stamp", "batch", "attachment")
    ]
    return (
        store.load_session(FullGraph()),
        store.list_queued_work(SESSION),
        store.list_pending_queued_work(SESSION),
        store.load_session_meta(),
        sorted(store.list_uncommitted(10), key=lambda entry: entry.attachment_id),
        hidden,
    )


def operations(store: SqliteStore, rounds: int = 6) -> Iterator[Callable[[], object]]:
    """A workload: every kind of write."""
    fences: list[Fence] = []
    claims: list[Claim] = []
    yield lambda: fences.append(lease_of(store))
    (fence,) = fences
    for number in range(1, rounds + 1):
        yield partial(store.commit_runtime_state, numbered_commit(2 * number - 1, fence))
        yield partial(store.enqueue_queued_work, draft_of(f"work {number}" + "x" * 3000, source_key=f"k{number}"))
        yield partial(store.renew_session_execution_lease, fence, HOUR)
        yield lambda: claims.append(claim_of(store, fence))
        claim = claims.pop()
        yield partial(store.renew_queued_work_claim, claim, 2 * HOUR)
        yield partial(store.record_intent, intent_of(f"a{number}"))
        yield partial(store.commit_runtime_state, numbered_commit(2 * number, fence))
        big = Append((Node(node_id=f"big{number}", content={"text": "y" * 9000}),), f"n{2 * number}")
        completions, attachments = (claim.completion(),), (f"a{number}",)
        last = commit_of(fence, graph=big, completed_queue_claims=completions, committed_attachment_ids=attachments)
        yield partial(store.commit_runtime_state, last)
        yield partial(store.tombstone_nodes, [f"big{number}"])
        yield store.vacuum
        yield store.gc_unreachable
        yield partial(store.save_session_meta, META)
    yield partial(store.release_session_execution_lease, fence)


@frozen
class Run:
    """A recorded run: states[k] is the store after k operations, of which operation k wrote events begun[k - 1] to ended[k - 1]."""

    journal: list[Event]
    states: list[State]
    begun: list[int]
    ended: list[int]

    def allowed(self, cut: int, keeps: bool) -> range:
        """After how many operations the store may be found, if the power goes at this cut.

        Of those that ended it keeps all, or else those that ended before the last sync, which a checkpoint makes.
        """
        certain = cut
        while not keeps and certain > 0 and not isinstance(self.journal[certain - 1], Sync):
            certain -= 1
        first = sum(end <= certain for end in self.ended)
        return range(first, max(first, sum(begin < cut for begin in self.begun)) + 1)


def recorded(directory: Path, synchronous: Synchronous, liar: str | None = None) -> Run:
    """The workload, recorded from the first operation on; ``liar`` is a PRAGMA that the store does not know of."""
    directory.mkdir()
    with (
        Recorder(directory) as recorder,
        closing(SqliteStore(directory / "store.db", clock=VirtualClock(1), synchronous=synchronous)) as store,
    ):
        assert store._file.cursor is not None
        store._file.cursor.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if liar is not None:
            store._file.cursor.execute(liar)
        states, begun, ended = [state_of(store)], [], []
        for operation in operations(store):
            begun.append(recorder.length)
            operation()
            ended.append(recorder.length)
            states.append(state_of(store))
    return Run(recorder.journal, states, begun, ended)


def losses(run: Run, count: int, since: int) -> list[tuple[int, Choice]]:
    """The extremes at some cuts, chance at the others."""
    places = cuts(run.journal, count, since)
    return [(cut, EXTREMES[number % 10] if number % 10 < len(EXTREMES) else seeded(number)) for number, cut in enumerate(places)]


class Places:
    """A new empty directory for each image, and the last one removed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "image"

    def __call__(self) -> Path:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        return self.directory


def read_back(directory: Path) -> State:
    """Open what is left, as a program would after a power loss."""
    with closing(SqliteStore(directory / "store.db", clock=VirtualClock(1))) as store:
        assert store._file.cursor is not None
        assert store._file.cursor.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        store._file.cursor.execute("PRAGMA synchronous = OFF")  # nothing is written from here on that has to last
        return state_of(store)


def found_after(run: Run, lost: Sequence[tuple[int, Choice]], directory: Path, keeps: bool) -> list[int]:
    """By how many acknowledged operations each image falls short. Any other difference is an error."""
    short = []
    for cut, place in images(run.journal, lost, Places(directory)):
        state = read_back(place)
        allowed = run.allowed(cut, keeps)
        matching = [number for number in allowed if run.states[number] == state]
        assert matching, f"cut {cut}: the store is not as it was after any of the operations {list(allowed)}"
        short.append(max(0, sum(end <= cut for end in run.ended) - matching[-1]))
    return short


FOUND = (AssertionError, Backend, sqlite3.DatabaseError)
"""How a loss shows: another state, or a file that cannot be read."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    reason = power.unavailable()
    assert reason is None, reason
    return tmp_path


@pytest.mark.slow
@pytest.mark.requirement("LAW-10", "LAW-1")
def test_full_keeps_what_was_acknowledged(directory: Path) -> None:
    run = recorded(directory / "disk", "FULL")
    names = {event.file: event.name for event in run.journal if isinstance(event, Made)}
    checkpoints = [event for event in run.journal[run.begun[0] :] if isinstance(event, Sync) and names[event.file] == "store.db"]
    assert len(checkpoints) > 3
    assert len({repr(state) for state in run.states}) > 40
    lost = losses(run, 400, run.begun[0])
    assert found_after(run, lost, directory, keeps=True) == [0] * len(lost)


@pytest.mark.slow
@pytest.mark.requirement("LAW-1")
def test_normal_keeps_a_prefix(directory: Path) -> None:
    run = recorded(directory / "disk", "NORMAL")
    lost = losses(run, 300, run.begun[0])
    short = found_after(run, lost, directory, keeps=False)
    assert max(short) >= 1, "no acknowledged operation was lost: then nothing was shown"
    # What a killed process leaves behind is all there (LAW-10): only the power can take it.
    killed = [(cut, all_of_it) for cut in cuts(run.journal, 60, run.begun[0])]
    assert found_after(run, killed, directory, keeps=True) == [0] * len(killed)


@pytest.mark.parametrize("liar", ["PRAGMA synchronous = OFF", "PRAGMA synchronous = NORMAL"])
def test_a_store_that_does_not_sync_is_found(directory: Path, liar: str) -> None:
    run = recorded(directory / "disk", "FULL", liar)
    with pytest.raises(FOUND):
        found_after(run, losses(run, 100, run.begun[0]), directory, keeps=True)


def test_without_the_syncs_full_would_lose(directory: Path) -> None:
    run = recorded(directory / "disk", "FULL")
    first = run.begun[0]
    blind = Run(
        run.journal[:first] + [Write(one.file, 0, b"") if isinstance(one, Sync) else one for one in run.journal[first:]],
        run.states,
        run.begun,
        run.ended,
    )
    with pytest.raises(FOUND):
        found_after(blind, losses(blind, 100, first), directory, keeps=True)


def test_the_power_may_go_while_the_store_is_made(directory: Path) -> None:
    """Then it is opened as a new one, or as the empty one that it had become."""
    disk = directory / "disk"
    disk.mkdir()
    with Recorder(disk) as recorder, closing(SqliteStore(disk / "store.db", clock=VirtualClock(1))) as store:
        made, empty = recorder.length, state_of(store)
    assert made > 20
    left = set()
    lost = [(cut, choice) for cut in range(made + 1) for choice in (*EXTREMES, seeded(cut))]
    for _, place in images(recorder.journal, lost, Places(directory)):
        left.add(frozenset(file.name for file in place.iterdir()))
        assert read_back(place) == empty
    assert len(left) > 3  # twin: among them no file, the file alone, the file with its journal, the file with its log


def test_the_power_may_go_again_during_recovery(directory: Path) -> None:
    run = recorded(directory / "disk", "FULL")
    cut = next(place for place in range(run.ended[20], 0, -1) if isinstance(run.journal[place - 1], Sync))
    first = directory / "first"
    first.mkdir()
    image(run.journal, cut, none, first)
    with Recorder(first) as recorder, closing(SqliteStore(first / "store.db", clock=VirtualClock(1))) as store:
        expected = state_of(store)
    assert expected in run.states
    assert any(isinstance(event, Sync) for event in recorder.journal)  # the last to close moves the log into the file
    lost = [(place, choice) for place in cuts(recorder.journal) for choice in (*EXTREMES, seeded(place))]
    assert all(read_back(place) == expected for _, place in images(recorder.journal, lost, Places(directory)))


# What the disk may hold.

OLD, NEW, NEWER = b"o" * 1024, b"n" * 1024, b"r" * 1024


def left_of(events: list[Event], choice: Choice, directory: Path) -> dict[str, bytes]:
    place = Places(directory)()
    image(events, len(events), choice, place)
    return {file.name: file.read_bytes() for file in place.iterdir()}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (none, OLD),
        (all_of_it, NEWER),
        (early, NEWER[:512] + OLD[512:]),
        (late, OLD[:512] + NEWER[512:]),
        (every_other, OLD[:512] + NEWER[512:]),
        (lambda place, _count, _versions: 1 - place, NEW[:512] + OLD[512:]),
    ],
)
def test_a_sector_is_as_it_was_at_some_time_since_the_sync(tmp_path: Path, choice: Choice, expected: bytes) -> None:
    events: list[Event] = [Made(0, "f", None), Write(0, 0, OLD), Sync(0, directory=True), Write(0, 0, NEW), Write(0, 0, NEWER)]
    assert left_of(events, choice, tmp_path) == {"f": expected}
    assert left_of([*events, Sync(0, directory=False)], choice, tmp_path) == {"f": NEWER}  # twin: synced, it is certain


def test_a_part_of_a_sector_is_written_with_what_stood_beside_it(tmp_path: Path) -> None:
    events: list[Event] = [Made(0, "f", OLD), Write(0, 500, b"abc"), Write(0, 503, b"d" * 20)]
    expected = OLD[:500] + b"abc" + b"d" * 20 + OLD[523:]
    assert left_of(events, all_of_it, tmp_path) == {"f": expected}
    assert left_of(events, late, tmp_path) == {"f": OLD[:512] + expected[512:]}


def test_a_size_and_its_data_are_apart(tmp_path: Path) -> None:
    grown: list[Event] = [Made(0, "f", b""), Write(0, 0, NEW)]
    assert left_of(grown, none, tmp_path) == {"f": b""}
    assert left_of(grown, lambda place, _count, versions: (versions - 1) * (place > 0), tmp_path) == {
        "f": b"\0" * 512 + NEW[512:]
    }  # the first sector never came
    cut: list[Event] = [Made(0, "f", OLD), Truncate(0, 100), Write(0, 600, b"x")]
    assert left_of(cut[:2], all_of_it, tmp_path) == {"f": OLD[:100]}
    assert left_of(cut[:2], none, tmp_path) == {"f": OLD}
    assert left_of(cut, all_of_it, tmp_path) == {"f": OLD[:100] + b"\0" * 500 + b"x"}


def test_a_file_is_there_once_it_or_its_directory_was_synced(tmp_path: Path) -> None:
    made: list[Event] = [Made(0, "f", None), Write(0, 0, OLD)]
    assert left_of(made, none, tmp_path) == {}
    assert left_of([*made, Sync(0, directory=False)], none, tmp_path) == {"f": OLD}
    assert left_of([*made, Made(2, "g", None), Sync(2, directory=True)], none, tmp_path) == {"f": b"", "g": b""}
    deleted: list[Event] = [Made(0, "f", OLD), Delete("f", directory=False)]
    assert left_of(deleted, none, tmp_path) == {"f": OLD}
    assert left_of(deleted, all_of_it, tmp_path) == {}
    assert left_of([Made(0, "f", OLD), Delete("f", directory=True)], none, tmp_path) == {}
    again: list[Event] = [*deleted, Made(3, "f", None), Write(3, 0, NEW), Sync(3, directory=False)]
    assert left_of(again, none, tmp_path) == {"f": NEW}


def test_cuts() -> None:
    journal: list[Event] = [Made(0, "f", None)] * 10
    assert cuts(journal) == list(range(11))
    assert cuts(journal, since=4) == [4, 5, 6, 7, 8, 9, 10]
    assert cuts(journal, 3) == [0, 5, 10]
    with pytest.raises(ValueError, match="ascend"):
        list(images(journal, [(3, none), (2, none)], Path))


def test_chance_is_the_same_for_the_same_seed() -> None:
    def chosen(seed: int) -> list[int]:
        choice = seeded(seed)
        return [choice(place, 50, 3) for place in range(50)]

    assert chosen(1) == chosen(1)
    assert len({tuple(chosen(seed)) for seed in range(20)}) > 10


# The recorder.


def rows_of(path: Path) -> list[tuple[int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT x FROM t").fetchall()


def fill(path: Path, value: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
        connection.execute("INSERT INTO t VALUES (?)", (value,))


def test_only_its_directory_is_recorded_and_only_while_it_is_open(directory: Path) -> None:
    here, there = directory / "here", directory / "there"
    here.mkdir()
    there.mkdir()
    fill(here / "a.db", 1)
    before = (here / "a.db").read_bytes()
    with Recorder(here) as recorder:
        fill(there / "b.db", 1)
        assert recorder.length == 0
        fill(here / "a.db", 2)
        length = recorder.length
        assert recorder.journal[0] == Made(0, "a.db", before)
        with pytest.raises(RuntimeError, match="one at a time"):
            Recorder(here).__enter__()
        kept = sqlite3.connect(here / "a.db", isolation_level=None)
        kept.execute("INSERT INTO t VALUES (3)")
        assert recorder.length > length
        length = recorder.length
    kept.execute("INSERT INTO t VALUES (4)")  # what is still open goes on, unrecorded
    kept.close()
    fill(here / "a.db", 5)
    assert recorder.length == length
    image(recorder.journal, recorder.length, all_of_it, place := Places(directory)())
    assert rows_of(place / "a.db") == [(1,), (2,), (3,)]
    assert rows_of(here / "a.db") == [(1,), (2,), (3,), (4,), (5,)]


def test_an_error_in_the_recorder_is_raised(directory: Path) -> None:
    class Full(list[Event]):
        def append(self, event: Event) -> None:
            raise MemoryError("no room for " + type(event).__name__)

    recorder = Recorder(directory)
    recorder.journal = Full()

    def work() -> None:
        with recorder:
            fill(directory / "a.db", 1)

    with pytest.raises(MemoryError, match="no room for Made") as raised:
        work()
    assert isinstance(raised.value.__cause__, sqlite3.OperationalError)  # what the failed call came to
    assert not list(directory.glob("*-journal"))
    fill(directory / "a.db", 1)  # twin


UNREACHABLE = """
import ctypes, sys
from leasehold.crash import power
class Other:
    def __init__(self, name):
        raise OSError("no such library")
ctypes.CDLL = Other
print(power.unavailable())
try:
    power.Recorder(".")
except RuntimeError as error:
    print(error)
"""


def test_where_the_library_cannot_be_reached_it_says_so() -> None:
    ended = subprocess.run([sys.executable, "-c", UNREACHABLE], check=True, capture_output=True, text=True)
    reason, refusal = ended.stdout.splitlines()
    assert reason == "the SQLite library that Python's sqlite3 is linked with cannot be reached through ctypes (no such library)"
    assert refusal == f"power losses cannot be recorded: {reason}"

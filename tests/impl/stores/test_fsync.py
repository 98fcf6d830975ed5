"""How often SQLite asks the disk to be sure: once per accepted write with synchronous FULL, never with NORMAL.

The calls are counted by a library that stands before libc's. A child process runs with it, and reports
the count around each operation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
static long calls;
long sync_calls(void) { return calls; }
int fsync(int fd) { calls++; return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { calls++; return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""

CHILD = """
import ctypes, json, os, sys
from attrs import evolve
from leasehold.records import FullGraph, TurnStamp
from leasehold.store import Refusal
from leasehold.stores.sqlite import SqliteStore
from tests.impl.stores.samples import HOUR, META, SESSION, claim_of, commit_of, draft_of, intent_of, lease_of

calls = ctypes.CDLL(None).sync_calls
calls.restype = ctypes.c_long
path, synchronous, journal_mode = sys.argv[1:]
store = SqliteStore(path, synchronous=synchronous)
store._file.cursor.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall()
counts = {}

def count(name, action):
    before = calls()
    try:
        result = action()
    except Refusal as refusal:
        result = refusal
    counts[name] = calls() - before
    return result

fence = lease_of(store)  # the first write to a log also syncs its header
count("try_claim", lambda: store.try_claim_session_execution_lease(SESSION, "owner", 2 * HOUR))
stamped = commit_of(fence, turn_commit=TurnStamp(SESSION, "t", "hash"))
for number in range(20):
    count(f"commit {number}", lambda: store.commit_runtime_state(commit_of(fence)))
count("commit stamped", lambda: store.commit_runtime_state(stamped))
count("enqueue", lambda: store.enqueue_queued_work(draft_of(source_key="k")))
claim = count("claim", lambda: claim_of(store, fence))
count("renew claim", lambda: store.renew_queued_work_claim(claim, 2 * HOUR))
count("commit completing", lambda: store.commit_runtime_state(commit_of(fence, completed_queue_claims=(claim.completion(),))))
count("record intent", lambda: store.record_intent(intent_of()))
count("save meta", lambda: store.save_session_meta(META))
kept = store.enqueue_queued_work(draft_of(source_key="kept"))

count("quiet: load", lambda: store.load_session(FullGraph()))
count("quiet: list", lambda: store.list_queued_work(SESSION))
count("quiet: lease of another", lambda: store.try_claim_session_execution_lease(SESSION, "other", 1))
count("quiet: replayed commit", lambda: store.commit_runtime_state(stamped))
count("quiet: replayed enqueue", lambda: store.enqueue_queued_work(draft_of(source_key="kept")))
count("quiet: refused commit", lambda: store.commit_runtime_state(commit_of(fence, expected_head_revision=0)))
count("quiet: unknown batch", lambda: store.cancel_queued_work_batch(SESSION, "batch-999"))
store.close()

descriptor = os.open(path, os.O_RDONLY)
count("twin: a sync more", lambda: (os.fdatasync(descriptor), os.fsync(descriptor)))
print(json.dumps(counts))
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("counter")
    source, library = directory / "counter.c", directory / "counter.so"
    source.write_text(COUNTER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def counts(counter: Path, path: Path, synchronous: str, journal_mode: str = "WAL") -> dict[str, int]:
    environment = os.environ | {"LD_PRELOAD": str(counter), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(path), synchronous, journal_mode]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("twin: a sync more") == 2, "the counter does not count"
    return found


def expected(found: dict[str, int], of_a_write: int) -> dict[str, int]:
    return {name: 0 if name.startswith("quiet") else of_a_write for name in found}


@pytest.mark.requirement("LAW-10", "TIER-1")
def test_full_syncs_once_per_accepted_write(counter: Path, tmp_path: Path) -> None:
    found = counts(counter, tmp_path / "store.db", "FULL")
    assert found == expected(found, 1)


def test_normal_never_syncs_between_checkpoints(counter: Path, tmp_path: Path) -> None:
    found = counts(counter, tmp_path / "store.db", "NORMAL")
    assert found == expected(found, 0)


def test_twin_a_rollback_journal_syncs_more_than_once(counter: Path, tmp_path: Path) -> None:
    found = counts(counter, tmp_path / "store.db", "FULL", "DELETE")
    assert found != expected(found, 1)
    assert found["commit 7"] > 1

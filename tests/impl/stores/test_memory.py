"""What is particular to the memory store: its sorted shelves, handles that share data, and threads."""

from __future__ import annotations

import threading
from random import Random

import pytest

from leasehold.records import FullGraph
from leasehold.store import VirtualClock
from leasehold.stores.memory import MemoryStore, _Sorted
from tests.impl.stores.samples import HOUR, SESSION, claim_of, commit_of, draft_of, lease_of


@pytest.mark.parametrize("seed", range(3))
def test_shelves_keep_their_order_through_splits_and_gaps(seed: int) -> None:
    random = Random(seed)
    shelves: _Sorted[int] = _Sorted(lambda number: number)
    present: set[int] = set()
    for step in range(6_000):
        if present and random.random() < (0.2 if step < 4_000 else 0.9):
            number = random.choice((min(present), max(present), next(iter(present))))
            shelves.remove(number)
            present.remove(number)
        else:
            number = random.choice((step, 10_000 - step, 20_000 + random.randrange(10**9)))
            if number not in present:
                shelves.add(number)
                present.add(number)
        if step % 500 == 0:
            assert list(shelves) == sorted(present)
    assert shelves.take_while(lambda number: number < 10_000) == sorted(number for number in present if number < 10_000)
    for number in sorted(present, key=lambda _: random.random()):
        shelves.remove(number)
    assert list(shelves) == []


@pytest.mark.requirement("QUEUE-5", "QUEUE-9", "LAW-14")
def test_a_clock_that_steps_back_makes_work_wait_again() -> None:
    clock = VirtualClock(100)
    store = MemoryStore(clock)
    fence = lease_of(store)
    store.enqueue_queued_work(draft_of("later", available_at_ms=50))
    store.enqueue_queued_work(draft_of("first"))
    held = claim_of(store, fence, ttl=10)
    clock.now = 110
    assert store.list_pending_queued_work(SESSION)[0] == held.batches[0]
    clock.now = 109
    assert held.batches[0] not in store.list_pending_queued_work(SESSION)
    clock.now = 40
    assert claim_of(store, fence).batches[0].items[0].payload["text"] == "first"
    assert store.claim_ready_queued_work(SESSION, fence, "w", "idle", HOUR, 5) is None
    clock.now = 110
    assert claim_of(store, fence).batches == held.batches


def test_handles_and_threads_share_one_store() -> None:
    store = MemoryStore()
    fence = lease_of(store)

    def work(handle: MemoryStore) -> None:
        for _ in range(200):
            handle.enqueue_queued_work(draft_of())
            handle.commit_runtime_state(commit_of(fence))

    threads = [threading.Thread(target=work, args=(store.open_handle(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = store.load_session(FullGraph())
    assert read is not None
    assert read.head_revision == 800
    assert [batch.enqueue_seq for batch in store.list_queued_work(SESSION)] == list(range(1, 801))


def test_what_a_list_returned_does_not_change() -> None:
    store = MemoryStore()
    batch = store.enqueue_queued_work(draft_of())
    listed, pending = store.list_queued_work(SESSION), store.list_pending_queued_work(SESSION)
    store.cancel_queued_work_batch(SESSION, batch.batch_id)
    assert list(listed) == list(pending) == [batch]
    assert list(store.list_queued_work(SESSION)) == []

"""Durable queued work, example by example from contract section 6: enqueue, lists, cancellation."""

from __future__ import annotations

from typing import Literal

import pytest

from leasehold_model.ids import NEVER
from leasehold_model.outcome import Absent
from leasehold_model.queue import Queued
from tests.model.story import Story, done


@pytest.mark.requirement("QUEUE-1", "LAW-5")
def test_work_is_appended_without_a_lease() -> None:
    story = Story()
    first, second = story.enqueue(now=7, payload=5, at=9), story.enqueue(now=3, session=2)
    assert isinstance(first, Queued) and isinstance(second, Queued)
    assert (first.rule, first.batch.enqueued_at, first.batch.payload, first.batch.available_at) == ("QUEUE-1", 7, 5, 9)
    assert second.batch.seq > first.batch.seq >= 1 and second.batch.enqueued_at == 3
    assert first.batch.hold.claim == 0 and first.batch.fencing == 0


@pytest.mark.requirement("QUEUE-1", "LAW-5")
def test_sequence_numbers_are_not_used_again() -> None:
    story = Story()
    last = story.enqueue()
    assert isinstance(last, Queued)
    story.cancel(last.batch.batch)
    new = story.enqueue()
    assert isinstance(new, Queued) and new.batch.seq > last.batch.seq


@pytest.mark.requirement("QUEUE-2")
def test_a_source_key_returns_the_first_batch_whatever_the_new_payload() -> None:
    story = Story()
    first = story.batch(now=1, source=5, payload=1)
    again = story.enqueue(now=2, source=5, payload=2, exclusive=True)
    assert isinstance(again, Queued) and again.rule == "QUEUE-2"
    assert (again.batch.batch, again.batch.payload, again.batch.exclusive, again.batch.enqueued_at) == (first, 1, False, 1)
    assert story.queued() == [first]


@pytest.mark.requirement("QUEUE-2")
def test_a_source_key_is_known_while_its_batch_is_claimed() -> None:
    story = Story()
    first = story.batch(source=5)
    claim = story.claimed(story.lane())
    again = story.enqueue(source=5, payload=9)
    assert isinstance(again, Queued) and (again.rule, again.batch.batch) == ("QUEUE-2", first)
    assert again.batch.hold == claim.hold


@pytest.mark.requirement("QUEUE-2", "LAW-9")
def test_source_keys_are_per_session_and_none_is_no_key() -> None:
    story = Story()
    batches = [story.batch(source=5), story.batch(source=5, session=2), story.batch(), story.batch()]
    assert len(set(batches)) == 4


@pytest.mark.requirement("QUEUE-2", "P-SOURCE-KEY-REUSE")
@pytest.mark.parametrize("ended", ["cancelled", "completed"])
@pytest.mark.parametrize(("reuse", "rule"), [("new-batch", "QUEUE-1"), ("remembered", "QUEUE-2")])
def test_a_source_key_after_its_batch_is_gone(reuse: Literal["new-batch", "remembered"], rule: str, ended: str) -> None:
    story = Story(source_key_reuse=reuse)
    first = story.batch(source=5, payload=1)
    if ended == "cancelled":
        story.cancel(first)
    else:
        fence = story.lane()
        story.commit(fence, completions=(done(story.claimed(fence)),))
    assert story.queued() == []
    again = story.enqueue(source=5, payload=2)
    assert isinstance(again, Queued) and again.rule == rule
    if reuse == "remembered":
        assert (again.batch.batch, again.batch.payload) == (first, 1) and story.queued() == []
    else:
        assert again.batch.batch != first and again.batch.payload == 2 and story.queued() == [again.batch.batch]


@pytest.mark.requirement("QUEUE-3", "LAW-9")
@pytest.mark.parametrize(("now", "pending"), [(109, [2, 4]), (110, [1, 2, 4]), (111, [1, 2, 4])])
def test_lists(now: int, pending: list[int]) -> None:
    story = Story()
    story.batch(exclusive=True)
    story.batch(at=10**6)
    story.batch(session=2)
    story.batch()
    story.claimed(story.lane(now=100), now=100, ttl=10)
    assert story.queued(now) == [1, 2, 4]
    assert story.queued(now, pending=True) == pending
    assert story.queued(now, session=2, pending=True) == [3]
    assert story.queued(now, session=3) == []


@pytest.mark.requirement("QUEUE-13")
@pytest.mark.parametrize(("now", "cancelled"), [(109, False), (110, True), (111, True)])
def test_cancel_needs_a_batch_without_a_live_claim(now: int, cancelled: bool) -> None:
    story = Story()
    batch = story.batch(payload=4)
    story.claimed(story.lane(now=100), now=100, ttl=10)
    got = story.cancel(batch, now)
    if cancelled:
        assert isinstance(got, Queued) and (got.batch.batch, got.batch.payload) == (batch, 4) and story.queued() == []
        assert story.cancel(batch, now) == Absent("QUEUE-13")
    else:
        assert got == Absent("QUEUE-13")


@pytest.mark.requirement("QUEUE-13", "LAW-9", "LAW-5")
def test_cancel_removes_its_own_sessions_batch_and_no_other() -> None:
    story = Story()
    batches = [story.batch(), story.batch(), story.batch()]
    assert story.cancel(batches[1], session=2) == Absent("QUEUE-13")
    assert story.cancel(99) == Absent("QUEUE-13")
    story.cancel(batches[1])
    assert story.queued() == [batches[0], batches[2]]


@pytest.mark.requirement("QUEUE-14", "QUEUE-2", "QUEUE-7")
def test_a_wake_is_an_ordinary_draft() -> None:
    story = Story()
    wake = story.wake(source=77)
    again = story.enqueue(source=77, exclusive=True, merge=NEVER)
    assert isinstance(again, Queued) and again.batch.batch == wake
    story.batch()
    fence = story.lane()
    claim = story.claimed(fence, idle=False)
    assert [batch.batch for batch in claim.batches] == [wake]

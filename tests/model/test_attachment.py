"""The attachment manifest and the session metadata, example by example from contract section 7."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold_model.attachment import FoundMeta, LoadMeta, SaveMeta
from leasehold_model.ids import AttachmentId, Body
from leasehold_model.outcome import Absent, Done, Refused, Silent
from tests.model.story import Story, is_error


@pytest.mark.requirement("ATTACH-1", "ATTACH-3")
@pytest.mark.parametrize(("older_than", "rows"), [(49, []), (50, [(1, 7, 3)]), (51, [(1, 7, 3)])])
def test_an_intent_is_listed_from_its_time_on(older_than: int, rows: list[tuple[int, int, int]]) -> None:
    story = Story()
    assert story.intend(7, uri=3, at=50) == Done("ATTACH-1")
    assert story.uncommitted(older_than) == rows


@pytest.mark.requirement("ATTACH-1", "P-INTENT-REPEAT")
@pytest.mark.parametrize(("option", "rows"), [("first-wins", [(1, 7, 1)]), ("last-wins", [(1, 7, 2)]), ("refuse", [(1, 7, 1)])])
def test_an_id_is_recorded_again(option: str, rows: list[tuple[int, int, int]]) -> None:
    story = Story(intent_repeat=option)
    story.intend(7, uri=1)
    got = story.intend(7, uri=2)
    assert is_error(got, "ATTACH-1", "") if option == "refuse" else got == Done("ATTACH-1")
    assert story.uncommitted() == rows


@pytest.mark.requirement("ATTACH-1", "P-MANIFEST-KEY", "P-INTENT-REPEAT")
@pytest.mark.parametrize(
    ("policies", "rows"),
    [
        ({}, [(1, 7, 1), (2, 7, 2)]),
        ({"manifest_key": "id"}, [(1, 7, 1)]),
        ({"manifest_key": "id", "intent_repeat": "last-wins"}, [(2, 7, 2)]),
    ],
)
def test_two_sessions_record_one_id(policies: dict[str, Any], rows: list[tuple[int, int, int]]) -> None:
    story = Story(**policies)
    story.intend(7, session=1, uri=1)
    story.intend(7, session=2, uri=2)
    assert story.uncommitted() == rows


@pytest.mark.requirement("ATTACH-2")
def test_references_stamp_rows_of_their_session() -> None:
    story = Story()
    for attachment, session in ((7, 1), (8, 1), (7, 2)):
        story.intend(attachment, session=session)
    assert story.refer(7, 99, session=1) == Done("ATTACH-2")
    assert story.uncommitted() == [(1, 8, 1), (2, 7, 1)]
    assert story.refer(7, session=1) == Done("ATTACH-2")
    assert story.intend(7, uri=5) == Done("ATTACH-1")
    assert story.uncommitted() == [(1, 8, 1), (2, 7, 1)]


@pytest.mark.requirement("ATTACH-2", "COMMIT-8")
def test_a_commit_stamps_and_a_refused_one_does_not() -> None:
    story = Story()
    story.intend(7)
    fence = story.lane()
    assert isinstance(story.commit(fence, expected_revision=3, attachments=(AttachmentId(7),)), Refused)
    assert story.uncommitted() == [(1, 7, 1)]
    story.commit(fence, attachments=(AttachmentId(7), AttachmentId(99)))
    assert story.uncommitted() == []


@pytest.mark.requirement("ATTACH-1", "P-INTENT-REPEAT")
def test_whether_the_stamp_stays_when_the_last_intent_wins_is_open() -> None:
    story = Story(intent_repeat="last-wins")
    story.intend(7)
    story.refer(7)
    assert isinstance(story.intend(7), Silent)


@pytest.mark.requirement("ATTACH-4")
def test_a_row_is_forgotten() -> None:
    story = Story()
    story.intend(7)
    story.intend(8)
    assert story.forget(7) == story.forget(99) == Done("ATTACH-4")
    assert story.uncommitted() == [(1, 8, 1)]
    story.intend(8, session=2)
    assert isinstance(story.forget(8), Silent)


@pytest.mark.requirement("ATTACH-5")
def test_a_no_op_manifest_keeps_nothing() -> None:
    story = Story(persistent_manifest=False)
    assert story.intend(7) == Done("ATTACH-5")
    assert isinstance(story.refer(7), Done)
    assert isinstance(story.forget(7), Done)
    assert story.uncommitted() == []


@pytest.mark.requirement("META-1")
def test_the_metadata_saved_last() -> None:
    story = Story()
    assert story.do(LoadMeta()) == Absent("META-1")
    for meta in (3, 4):
        story.do(SaveMeta(Body(meta)))
        assert story.do(LoadMeta()) == FoundMeta("META-1", Body(meta))

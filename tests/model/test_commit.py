"""The atomic commit, example by example from contract section 4."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from attrs import evolve

from leasehold_model.claim import Claimed
from leasehold_model.commit import Committed
from leasehold_model.graph import Loaded
from leasehold_model.ids import AttachmentId, Body, LeaseToken, OwnerId, SessionId
from leasehold_model.lease import Leased
from leasehold_model.outcome import Absent, Refused, Silent
from tests.model.story import NOBODY, Story, append, checkpoint, done, is_error, node, stamp, usage

LEASE_EXPIRED = "session_execution_lease_expired"
CLAIM_EXPIRED = "queued_work_claim_expired"
TURN_CONFLICT = "runtime_turn_commit_conflict"


def accepted(response: object, revision: int) -> bool:
    return isinstance(response, Committed) and (response.rule, response.revision) == ("COMMIT-8", revision)


@pytest.mark.requirement("COMMIT-1", "P-BINDING", "LAW-1")
def test_a_store_binds_at_its_first_accepted_commit() -> None:
    story = Story()
    two = story.lane(session=2)
    assert is_error(story.commit(NOBODY), "COMMIT-5", LEASE_EXPIRED)
    assert accepted(story.commit(two, session=SessionId(2)), 1)
    got = story.commit(story.lane(session=1))
    assert got == Refused("COMMIT-1", "session_binding_mismatch", (2, 1))


@pytest.mark.requirement("COMMIT-1", "P-BINDING")
def test_a_store_may_be_bound_when_it_is_made() -> None:
    story = Story(binding="at-create")
    assert story.commit(story.lane(session=2), session=SessionId(2)) == Refused("COMMIT-1", "session_binding_mismatch", (1, 2))
    assert accepted(story.commit(story.lane(session=1)), 1)


@pytest.mark.requirement("COMMIT-2", "COMMIT-3", "COMMIT-4", "LAW-6", "LAW-7")
def test_the_stamp_decides_before_lease_and_revision() -> None:
    story = Story()
    fence = story.lane(ttl=10)
    assert is_error(story.commit(fence, stamp=stamp(1, 5, session=2)), "COMMIT-2", TURN_CONFLICT)
    first = story.commit(fence, stamp=stamp(1, 5), checkpoint=checkpoint(3))
    assert accepted(first, 1) and accepted(story.commit(fence), 2)
    for shown, now, expected in ((fence, 5, -1), (NOBODY, 500, 0), (fence, 500, 77)):
        before = story.state
        again = story.commit(shown, now, stamp=stamp(1, 5), expected_revision=expected, config=Body(9))
        assert isinstance(first, Committed) and again == evolve(first, rule="COMMIT-4")
        assert story.state == before
        assert is_error(story.commit(shown, now, stamp=stamp(1, 6), expected_revision=expected), "COMMIT-3", TURN_CONFLICT)


@pytest.mark.requirement("COMMIT-4", "LEASE-6", "LEASE-7", "LAW-7")
def test_a_replay_releases_the_lease_it_names_if_that_matches() -> None:
    story = Story()
    fence = story.lane()
    story.commit(fence, stamp=stamp(1, 5))
    wrong = evolve(fence, token=LeaseToken(99))
    story.commit(fence, stamp=stamp(1, 5), release=wrong)
    assert story.ask_lane(owner=2, now=1) == Absent("LEASE-3")
    story.commit(NOBODY, stamp=stamp(1, 5), release=fence)
    got = story.ask_lane(owner=2, now=1)
    assert isinstance(got, Leased) and got.lane.fencing == 2


@pytest.mark.requirement("COMMIT-5", "LAW-3")
@pytest.mark.parametrize(("now", "taken"), [(109, True), (110, False), (111, False)])
def test_a_commit_needs_a_live_lease(now: int, taken: bool) -> None:
    story = Story()
    got = story.commit(story.lane(now=100, ttl=10), now=now)
    assert accepted(got, 1) if taken else is_error(got, "COMMIT-5", LEASE_EXPIRED)


@pytest.mark.requirement("COMMIT-5", "LAW-1")
def test_a_commit_needs_this_sessions_own_lease() -> None:
    story = Story()
    fence, other = story.lane(), story.lane(session=2)
    for wrong in (other, NOBODY, evolve(fence, owner=OwnerId(2)), evolve(fence, session=SessionId(2))):
        assert is_error(story.commit(wrong), "COMMIT-5", LEASE_EXPIRED)
    story.release(fence)
    assert is_error(story.commit(fence), "COMMIT-5", LEASE_EXPIRED)
    assert story.load() == Absent("GRAPH-2")


@pytest.mark.requirement("COMMIT-6", "LAW-6")
def test_the_expected_revision() -> None:
    story = Story()
    fence = story.lane()
    assert story.commit(fence, expected_revision=1) == Refused("COMMIT-6", "head_revision_conflict", (1, 0))
    assert accepted(story.commit(fence, expected_revision=0), 1)
    assert story.commit(fence, expected_revision=0) == Refused("COMMIT-6", "head_revision_conflict", (0, 1))
    assert story.commit(fence, expected_revision=2) == Refused("COMMIT-6", "head_revision_conflict", (2, 1))
    assert accepted(story.commit(fence, expected_revision=1), 2)
    assert accepted(story.commit(fence), 3)


@pytest.mark.requirement("COMMIT-5", "COMMIT-6", "COMMIT-7")
def test_lease_before_revision_before_completions() -> None:
    story = Story()
    fence = story.lane(ttl=10)
    story.batch()
    bad = done(story.claimed(fence), token=99)
    assert is_error(story.commit(fence, now=10, expected_revision=4, completions=(bad,)), "COMMIT-5", LEASE_EXPIRED)
    assert is_error(story.commit(fence, now=9, expected_revision=4, completions=(bad,)), "COMMIT-6", "head_revision_conflict")
    assert is_error(story.commit(fence, now=9, expected_revision=0, completions=(bad,)), "COMMIT-7", CLAIM_EXPIRED)


@pytest.mark.requirement("COMMIT-7", "LAW-5", "LAW-11", "LAW-1")
@pytest.mark.parametrize("wrong", [{"session": 2}, {"claim_id": 99}, {"token": 99}, {"ids": (1, 9)}, {"ids": (3,)}])
def test_a_bad_completion_takes_the_good_one_down_with_it(wrong: dict[str, Any]) -> None:
    story = Story()
    for draft in ({}, {}, {"exclusive": True}):
        story.batch(**draft)
    fence = story.lane()
    first, second = story.claimed(fence), story.claimed(fence)
    ids = wrong.pop("ids", ())
    bad = done(first, *ids, **wrong)
    assert is_error(story.commit(fence, completions=(done(second), bad)), "COMMIT-7", CLAIM_EXPIRED)
    assert story.queued() == [1, 2, 3]
    assert accepted(story.commit(fence, completions=(done(second), done(first))), 1)
    assert story.queued() == []


@pytest.mark.requirement("COMMIT-7", "QUEUE-9", "LAW-5")
def test_a_claim_that_was_reclaimed_completes_nothing() -> None:
    story = Story()
    story.batch()
    fence = story.lane()
    old = story.claimed(fence, ttl=10)
    new = story.claimed(fence, now=10)
    assert is_error(story.commit(fence, 11, completions=(done(old),)), "COMMIT-7", CLAIM_EXPIRED)
    assert accepted(story.commit(fence, 11, completions=(done(new),)), 1)
    assert is_error(story.commit(fence, 11, completions=(done(new),)), "COMMIT-7", CLAIM_EXPIRED)


def completing(story: Story, how: str) -> tuple[object, list[int]]:
    """A commit that completes a claim of batches 1 and 2 in an unusual way, and the batches left."""
    story.batch()
    story.batch()
    fence = story.lane()
    claim = story.claimed(fence, ttl=10)
    now = {"expired at": 10, "expired before": 9, "expired after": 11}.get(how, 1)
    completions = {
        "subset": (done(claim, 2),),
        "duplicate": (done(claim, 1, 2, 1),),
        "empty": (evolve(done(claim), batches=()),),
        "twice": (done(claim), done(claim)),
    }.get(how, (done(claim),))
    return story.commit(fence, now, completions=completions), story.queued()


@pytest.mark.requirement(
    "COMMIT-7", "P-COMPLETE-SUBSET", "P-COMPLETE-DUPLICATE", "P-COMPLETE-EMPTY", "P-COMPLETE-TWICE", "P-COMPLETE-EXPIRED"
)
@pytest.mark.parametrize(
    ("field", "how", "left"),
    [
        ("complete_subset", "subset", [1]),
        ("complete_duplicate", "duplicate", []),
        ("complete_empty", "empty", [1, 2]),
        ("complete_twice", "twice", []),
        ("complete_expired", "expired at", []),
        ("complete_expired", "expired after", []),
    ],
)
@pytest.mark.parametrize("option", ["refuse", "accept"])
def test_unusual_completions(field: str, how: str, left: list[int], option: Any) -> None:
    got, queued = completing(Story(**{field: option}), how)
    if option == "accept":
        assert accepted(got, 1) and queued == left
    else:
        assert isinstance(got, Refused) and got.rule == "COMMIT-7" and queued == [1, 2]


@pytest.mark.requirement("COMMIT-7", "P-COMPLETE-EXPIRED")
def test_just_before_its_expiry_a_claim_completes_under_either_option() -> None:
    assert accepted(completing(Story(complete_expired="refuse"), "expired before")[0], 1)


@pytest.mark.requirement("COMMIT-7", "P-COMPLETE-SUBSET")
def test_the_rest_of_a_claim_completes_later() -> None:
    story = Story(complete_subset="accept")
    story.batch()
    story.batch()
    fence = story.lane()
    claim = story.claimed(fence)
    story.commit(fence, completions=(done(claim, 2),))
    assert story.queued(pending=True) == []
    assert accepted(story.commit(fence, completions=(done(claim, 1),)), 2)
    assert story.queued() == []


@pytest.mark.requirement("COMMIT-8", "LAW-11", "LAW-8", "GRAPH-1", "GRAPH-2")
def test_an_accepted_commit_does_everything() -> None:
    story = Story()
    fence = story.lane()
    story.batch()
    story.intend(1)
    claim = story.claimed(fence)
    parts = {"config": Body(4), "agent_frames": Body(5), "current_frame": Body(6), "delta": append(node(1), node(2, 1))}
    got = story.commit(
        fence,
        now=3,
        release=fence,
        expected_revision=0,
        stamp=stamp(1, 5),
        checkpoint=checkpoint(8),
        usage=(usage(1, 1, 10, 20),),
        completions=(done(claim),),
        attachments=(AttachmentId(1),),
        **parts,
    )
    assert accepted(got, 1)
    loaded = story.load()
    assert isinstance(got, Committed) and isinstance(loaded, Loaded)
    assert (loaded.session, loaded.revision, loaded.config, loaded.agent_frames, loaded.current_frame) == (1, 1, 4, 5, 6)
    assert (loaded.leaf, loaded.checkpoint_ref, loaded.checkpoint.turn_state) == (2, got.checkpoint_ref, 8)
    assert story.shown() == ([1, 2], 2) and loaded.ledger == (usage(1, 1, 10, 20),)
    assert story.queued() == [] and story.uncommitted() == []
    assert isinstance(story.ask_lane(owner=2, now=4), Leased)
    assert isinstance(story.commit(NOBODY, stamp=stamp(1, 5)), Committed)


@pytest.mark.requirement("COMMIT-8", "LEASE-7")
def test_a_release_that_does_not_match_is_ignored() -> None:
    story = Story()
    fence = story.lane()
    assert accepted(story.commit(fence, release=evolve(fence, token=LeaseToken(99))), 1)
    assert accepted(story.commit(fence), 2)
    assert isinstance(story.commit(fence, release=story.lane(session=2)), Silent)


@pytest.mark.requirement("LAW-8")
def test_the_ledger_is_summed_in_first_seen_order() -> None:
    story = Story()
    fence = story.lane()
    story.commit(fence, usage=(usage(1, 1, 1, 2, 3, 4), usage(2, 1, 5), usage(1, 1, 10, 20, 30, 40)))
    story.commit(fence, usage=(usage(1, 2, 7), usage(2, 1, 0, 6)))
    assert is_error(story.commit(NOBODY, usage=(usage(1, 1, 100),)), "COMMIT-5", LEASE_EXPIRED)
    loaded = story.load()
    assert isinstance(loaded, Loaded)
    assert loaded.ledger == (usage(1, 1, 11, 22, 33, 44), usage(2, 1, 5, 6), usage(1, 2, 7))


@pytest.mark.requirement("COMMIT-10", "P-CHECKPOINT-REF")
def test_a_reference_keeps_a_body() -> None:
    story = Story()
    fence = story.lane()
    first = story.commit(fence, checkpoint=checkpoint(1, tool=(7, 0)))
    assert isinstance(first, Committed) and first.checkpoint.tool_state.ref != 0
    reference = first.checkpoint.tool_state.ref
    assert accepted(story.commit(fence, checkpoint=checkpoint(2, tool=(0, reference))), 2)
    loaded = story.load()
    assert isinstance(loaded, Loaded) and (loaded.checkpoint.turn_state, loaded.checkpoint.tool_state.body) == (2, 7)
    assert accepted(story.commit(fence, checkpoint=checkpoint(3)), 3)
    loaded = story.load()
    assert isinstance(loaded, Loaded) and loaded.checkpoint.tool_state.body == 0


@pytest.mark.requirement("COMMIT-10", "P-CHECKPOINT-REF", "P-DANGLING-REF")
def test_references_may_be_echoed() -> None:
    story = Story(checkpoint_ref="echo", dangling_ref="accept")
    fence = story.lane()
    got = story.commit(fence, checkpoint=checkpoint(1, tool=(7, 0)))
    assert isinstance(got, Committed) and (got.checkpoint.tool_state.body, got.checkpoint.tool_state.ref) == (7, 0)
    got = story.commit(fence, checkpoint=checkpoint(2, tool=(0, 9)))
    assert isinstance(got, Committed) and (got.checkpoint.tool_state.body, got.checkpoint.tool_state.ref) == (0, 9)


@pytest.mark.requirement("COMMIT-10", "P-DANGLING-REF", "LAW-1")
@pytest.mark.parametrize("option", ["refuse", "accept"])
def test_a_reference_that_names_nothing(option: Literal["refuse", "accept"]) -> None:
    story = Story(dangling_ref=option)
    got = story.commit(story.lane(), checkpoint=checkpoint(1, tool=(0, 99)))
    assert accepted(got, 1) if option == "accept" else is_error(got, "COMMIT-10", "")


@pytest.mark.requirement("COMMIT-9")
def test_the_store_takes_the_hash_as_it_is_given() -> None:
    story = Story()
    fence = story.lane()
    assert accepted(story.commit(fence, stamp=stamp(1, 5), config=Body(1)), 1)
    assert isinstance(story.commit(fence, stamp=stamp(1, 5), config=Body(2)), Committed)
    assert accepted(story.commit(fence, stamp=stamp(2, 5), config=Body(1)), 2)


@pytest.mark.requirement("LAW-9", "COMMIT-8")
def test_a_commit_leaves_other_sessions_work_alone() -> None:
    story = Story()
    fence, other = story.lane(), story.lane(owner=2, session=2)
    story.batch(session=2)
    claim = story.claim(other, session=2)
    assert isinstance(claim, Claimed)
    assert is_error(story.commit(fence, completions=(done(claim),)), "COMMIT-7", CLAIM_EXPIRED)
    assert accepted(story.commit(fence), 1)
    assert story.queued(session=2) == [1] and isinstance(story.renew(other, now=1), Leased)

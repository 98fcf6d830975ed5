"""COMMIT-9: what the identity of a turn's commit depends on, and what it does not."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold_model.turn_hash import canonical_text, turn_commit_hash

COMMIT: dict[str, Any] = {
    "session_id": "root",
    "expected_head_revision": 7,
    "session_execution_lease": {"session_id": "root", "owner_id": "a", "lease_token": "t", "fencing_token": 1},
    "release_session_execution_lease": {"session_id": "root", "owner_id": "a", "lease_token": "t", "fencing_token": 1},
    "config": {"provider_id": "p", "model": {"id": "größe"}},
    "agent_frames": [],
    "current_agent_frame_id": "f",
    "graph": {"Unchanged": {"leaf_node_id": "n1"}},
    "checkpoint": {"turn_state": {"turn_index": 0}},
    "usage_deltas": [],
    "turn_commit": {"session_id": "root", "turn_id": "t1", "turn_commit_hash": "abc"},
    "completed_queue_claims": [],
    "committed_attachment_ids": [],
}
TEXT = (
    '{"agent_frames":[],"checkpoint":{"turn_state":{"turn_index":0}},"committed_attachment_ids":[],"completed_queue_claims":[],'
    '"config":{"model":{"id":"größe"},"provider_id":"p"},"current_agent_frame_id":"f","expected_head_revision":null,'
    '"graph":{"Unchanged":{}},"session_id":"root","turn_commit":null,"usage_deltas":[]}'
)
HASH = "cdf6b14faf3b315fb73cf9779568f801840dc69ef701dcafe609eaba37f0b824"  # of TEXT, by sha256sum

MESSAGE = {"role": "user", "parts": [{"kind": "text", "content": "hi", "prune_state": "keep", "id": "part-1"}], "id": "message-1"}


def with_event(event: Any) -> dict[str, Any]:
    node = {"node_id": "n1", "timestamp": "t0", "kind": "event", "event": event}
    return {**COMMIT, "graph": {"ReplaceFull": {"nodes": [node], "leaf_node_id": "n1"}}}


@pytest.mark.requirement("COMMIT-9")
def test_the_text_written_by_hand() -> None:
    assert canonical_text(COMMIT) == TEXT
    assert turn_commit_hash(COMMIT) == HASH
    assert hashlib.sha256(TEXT.encode()).hexdigest() == HASH


@pytest.mark.requirement("COMMIT-9")
def test_the_emptiest_commit_has_a_null_revision_and_stamp() -> None:
    assert turn_commit_hash({}) == "5a20210eb59f7041b9d6826f036b7a9cc7554f816cb0ce946b405e17bf7e9613"  # by sha256sum


@pytest.mark.requirement("COMMIT-9")
def test_characters_are_escaped_as_json_requires_and_no_further() -> None:
    text = canonical_text({"config": 'ü€😀 "\\/ \n\t\x07\x7f'})
    assert text == '{"config":"ü€😀 \\"\\\\/ \\n\\t\\u0007\x7f","expected_head_revision":null,"turn_commit":null}'


@pytest.mark.requirement("COMMIT-9")
@pytest.mark.parametrize("revision", [None, 0, 8])
def test_the_revision_does_not_matter(revision: int | None) -> None:
    assert turn_commit_hash({**COMMIT, "expected_head_revision": revision}) == HASH


@pytest.mark.requirement("COMMIT-9")
@pytest.mark.parametrize("name", ["session_execution_lease", "release_session_execution_lease"])
@pytest.mark.parametrize("lease", [None, {}, {"session_id": "root", "owner_id": "b", "lease_token": "u", "fencing_token": 2}])
def test_the_leases_do_not_matter(name: str, lease: Any) -> None:
    assert turn_commit_hash({**COMMIT, name: lease}) == HASH


@pytest.mark.requirement("COMMIT-9")
@pytest.mark.parametrize(
    "name", ["expected_head_revision", "turn_commit", "session_execution_lease", "release_session_execution_lease"]
)
def test_absent_is_as_good_as_null_for_what_is_set_to_null_or_dropped(name: str) -> None:
    assert turn_commit_hash({other: member for other, member in COMMIT.items() if other != name}) == HASH


@pytest.mark.requirement("COMMIT-9")
def test_absent_is_not_null_elsewhere() -> None:
    given_null = {**COMMIT, "checkpoint": {"turn_state": {"turn_index": 0}, "tool_state": None}}
    assert turn_commit_hash(given_null) != HASH


@pytest.mark.requirement("COMMIT-9")
def test_ids_and_times_of_nodes_do_not_matter_but_their_content_does() -> None:
    def of(**changes: Any) -> str:
        return turn_commit_hash({**COMMIT, "graph": {"Append": {"nodes": [{**node, **changes}], "leaf_node_id": "n9"}}})

    node = {"node_id": "n1", "parent_node_id": "n0", "agent_frame_id": "f1", "timestamp": "t0", "kind": "event", "event": 1}
    assert of(node_id="n2") == of(parent_node_id="n5") == of(timestamp="t1") == of()
    assert of(agent_frame_id="f2") != of()
    assert of(event=2) != of()


@pytest.mark.requirement("COMMIT-9")
def test_ids_of_messages_and_their_parts_do_not_matter() -> None:
    other: dict[str, Any] = copy.deepcopy(MESSAGE)
    other["id"] = "message-2"
    other["parts"][0]["id"] = "part-2"
    assert turn_commit_hash(with_event(other)) == turn_commit_hash(with_event(MESSAGE))
    other["parts"][0]["content"] = "ho"
    assert turn_commit_hash(with_event(other)) != turn_commit_hash(with_event(MESSAGE))


@pytest.mark.requirement("COMMIT-9")
@pytest.mark.parametrize("missing", ["role", "parts"])
def test_an_id_counts_where_there_is_no_message(missing: str) -> None:
    thing = {name: member for name, member in MESSAGE.items() if name != missing}
    assert turn_commit_hash(with_event(thing)) != turn_commit_hash(with_event({**thing, "id": "other"}))


@pytest.mark.requirement("COMMIT-9")
@pytest.mark.parametrize("missing", ["kind", "content", "prune_state"])
def test_an_id_counts_where_there_is_no_message_part(missing: str) -> None:
    part = {"kind": "text", "content": "hi", "prune_state": "keep", "id": "part-1"}
    thing = {name: member for name, member in part.items() if name != missing}
    assert turn_commit_hash(with_event(thing)) != turn_commit_hash(with_event({**thing, "id": "other"}))


@pytest.mark.requirement("COMMIT-9")
@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("session_id", "other"),
        ("config", {"provider_id": "q"}),
        ("agent_frames", [{"frame_id": "f"}]),
        ("current_agent_frame_id", "g"),
        ("graph", {"Append": {"nodes": [], "leaf_node_id": "n1"}}),
        ("checkpoint", {"turn_state": {"turn_index": 1}}),
        ("usage_deltas", [{"source": "turn", "model": "m", "usage": {}}]),
        ("completed_queue_claims", [{"session_id": "root", "claim_id": "c", "lease_token": "t", "batch_ids": []}]),
        ("committed_attachment_ids", ["att-1"]),
    ],
)
def test_every_other_member_matters(name: str, member: Any) -> None:
    assert turn_commit_hash({**COMMIT, name: member}) != HASH


def test_the_commit_is_left_as_it_was() -> None:
    before = copy.deepcopy(COMMIT)
    turn_commit_hash(COMMIT)
    assert before == COMMIT


# ---- over any JSON ----------------------------------------------------------------------------------------------------------

VOLATILE = ["node_id", "parent_node_id", "leaf_node_id", "timestamp"]
NAMES = st.sampled_from(["a", "b", "é", "id", "kind", "content", "prune_state", "role", "parts", *VOLATILE])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
SET_ASIDE = ("expected_head_revision", "turn_commit", "session_execution_lease", "release_session_execution_lease")
COMMITS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"session_id": st.text(max_size=3), "config": VALUES, "graph": VALUES, "agent_frames": st.lists(VALUES, max_size=2)},
    optional=dict.fromkeys(SET_ASIDE, VALUES),
)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


@pytest.mark.requirement("COMMIT-9")
@given(COMMITS, VALUES, VALUES, VALUES, VALUES)
def test_revision_stamp_and_leases_never_matter(
    commit: dict[str, Any], revision: Any, stamp: Any, held: Any, released: Any
) -> None:
    other = {
        **commit,
        "expected_head_revision": revision,
        "turn_commit": stamp,
        "session_execution_lease": held,
        "release_session_execution_lease": released,
    }
    assert turn_commit_hash(other) == turn_commit_hash(commit)


@pytest.mark.requirement("COMMIT-9")
@given(COMMITS, st.data(), st.sampled_from(VOLATILE), VALUES)
def test_volatile_members_never_matter(commit: dict[str, Any], data: st.DataObject, name: str, value: Any) -> None:
    other = copy.deepcopy(commit)
    data.draw(st.sampled_from(list(objects(other))))[name] = value
    assert turn_commit_hash(other) == turn_commit_hash(commit)


@pytest.mark.requirement("COMMIT-9")
@given(COMMITS)
def test_the_order_of_members_never_matters(commit: dict[str, Any]) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(member) for name, member in reversed(value.items())}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert turn_commit_hash(turned(commit)) == turn_commit_hash(commit)


@pytest.mark.requirement("COMMIT-9")
@given(COMMITS, st.data(), LEAVES)
def test_a_new_member_anywhere_else_always_matters(commit: dict[str, Any], data: st.DataObject, value: Any) -> None:
    other = copy.deepcopy(commit)
    kept = [thing for name in ("config", "graph", "agent_frames") for thing in kept_objects(other[name])]
    data.draw(st.sampled_from([other, *kept]))["new member"] = value
    assert turn_commit_hash(other) != turn_commit_hash(commit)


def kept_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object that is not inside a volatile member, or inside an id, which may be one."""
    if isinstance(value, dict):
        yield value
        for name, member in value.items():
            if name not in VOLATILE and name != "id":
                yield from kept_objects(member)
    elif isinstance(value, list):
        for item in value:
            yield from kept_objects(item)


@pytest.mark.requirement("COMMIT-9")
@given(COMMITS)
def test_the_hash_is_64_lower_case_hex_digits(commit: dict[str, Any]) -> None:
    digest = turn_commit_hash(commit)
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")

"""The graph and its loads, example by example from contract section 5."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from leasehold_model.commit import Committed
from leasehold_model.graph import (
    APPEND,
    REPLACE_FULL,
    UNCHANGED,
    CollectGarbage,
    Delta,
    FoundNode,
    Loaded,
    LoadNode,
    Tombstone,
    Vacuum,
    Vacuumed,
    delta_flaw,
)
from leasehold_model.ids import Body, NodeId
from leasehold_model.outcome import Absent, Done, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.state import Node, State
from tests.model.story import Story, append, checkpoint, is_error, node


def tree(**policies: Any) -> Story:
    """1 is the root; 2 and 3 its children; 4 a child of 3. The head's leaf is 4."""
    story = Story(**policies)
    got = story.commit(story.lane(), delta=append(node(1), node(2, 1), node(3, 1), node(4, 3)))
    assert isinstance(got, Committed)
    return story


def add(story: Story, *nodes: Node, leaf: int | None = None) -> object:
    return story.commit(story.lane(), delta=append(*nodes, leaf=leaf))


def hide(story: Story, *nodes: int) -> None:
    assert story.do(Tombstone(tuple(NodeId(name) for name in nodes))) == Done("GRAPH-6")


@pytest.mark.requirement("GRAPH-1")
def test_the_three_deltas() -> None:
    story = tree()
    assert isinstance(story.commit(story.lane(), delta=Delta(UNCHANGED, (), NodeId(2))), Committed)
    assert story.shown() == ([1, 2, 3, 4], 2)
    add(story, node(5, 2))
    assert story.shown() == ([1, 2, 3, 4, 5], 5)
    assert isinstance(story.commit(story.lane(), delta=Delta(REPLACE_FULL, (node(6), node(7, 6)), NodeId(6))), Committed)
    assert story.shown() == ([6, 7], 6)


@pytest.mark.requirement("GRAPH-2")
def test_there_is_nothing_before_the_first_commit() -> None:
    story = Story()
    assert story.load(full=True) == story.load(full=False, leaf=1) == Absent("GRAPH-2")


@pytest.mark.requirement("GRAPH-3", "GRAPH-6")
def test_a_full_load_shows_what_is_not_hidden_in_storage_order() -> None:
    story = tree()
    hide(story, 3, 99)
    assert story.shown() == ([1, 2, 4], 4)


@pytest.mark.requirement("GRAPH-3", "P-LEAF-TOMBSTONED")
@pytest.mark.parametrize(("option", "leaf"), [("keep", 4), ("none", 0)])
def test_a_hidden_leaf_in_a_full_load(option: str, leaf: int) -> None:
    story = tree(leaf_tombstoned=option)
    assert story.shown() == ([1, 2, 3, 4], 4)
    hide(story, 4)
    assert story.shown() == ([1, 2, 3], leaf)


@pytest.mark.requirement("GRAPH-4")
@pytest.mark.parametrize(
    ("leaf", "path", "used"), [(0, [1, 3, 4], 4), (4, [1, 3, 4], 4), (2, [1, 2], 2), (1, [1], 1), (99, [], 99)]
)
def test_a_path_runs_from_the_root_to_the_leaf(leaf: int, path: list[int], used: int) -> None:
    assert tree().shown(full=False, leaf=leaf) == (path, used)


@pytest.mark.requirement("GRAPH-4", "LAW-13")
def test_a_missing_parent_ends_a_path_and_a_cycle_ends_too() -> None:
    story = tree()
    add(story, node(5, 77), node(6, 5))
    assert story.shown(full=False, leaf=6) == ([5, 6], 6)
    add(story, node(7, 8), node(8, 7), node(9, 9))
    for leaf in (7, 8, 9):
        got = story.load(full=False, leaf=leaf)
        assert isinstance(got, Loaded) and got.path_open


@pytest.mark.requirement("GRAPH-4", "P-PATH-NO-LEAF")
@pytest.mark.parametrize(("option", "path"), [("empty", []), ("all", [1, 2])])
def test_a_path_without_a_leaf(option: str, path: list[int]) -> None:
    story = Story(path_no_leaf=option)
    add(story, node(1), node(2, 1), leaf=0)
    assert story.shown(full=False) == (path, 0)


@pytest.mark.requirement("GRAPH-4", "P-PATH-TOMBSTONED")
@pytest.mark.parametrize(("option", "path"), [("stop", [4]), ("skip", [1, 4])])
def test_a_hidden_node_on_a_path(option: str, path: list[int]) -> None:
    story = tree(path_tombstoned=option)
    hide(story, 3)
    assert story.shown(full=False, leaf=4) == (path, 4)


@pytest.mark.requirement("GRAPH-5", "GRAPH-6")
def test_one_node() -> None:
    story = tree()
    assert story.do(LoadNode(NodeId(3))) == FoundNode("GRAPH-5", node(3, 1))
    hide(story, 3)
    assert story.do(LoadNode(NodeId(3))) == story.do(LoadNode(NodeId(99))) == Absent("GRAPH-5")


@pytest.mark.requirement("GRAPH-6", "LAW-6")
def test_hiding_needs_no_lease_and_raises_no_revision() -> None:
    story = Story()
    hide(story, 1)
    assert story.state.lanes == () and story.load() == Absent("GRAPH-2")
    story = tree()
    hide(story, 1, 2)
    assert story.state.head.revision == 1


@pytest.mark.requirement("GRAPH-7")
def test_a_vacuum_removes_what_is_hidden() -> None:
    story = tree()
    hide(story, 2, 3)
    assert story.do(Vacuum()) == Vacuumed("GRAPH-7", 2)
    assert story.do(Vacuum()) == Vacuumed("GRAPH-7", 0)
    assert story.shown() == ([1, 4], 4)
    assert isinstance(add(story, node(3, 1)), Committed)


@pytest.mark.requirement("GRAPH-8", "P-NODE-DUPLICATE", "P-REPLACE-ORDER")
@pytest.mark.parametrize(
    ("policies", "order"),
    [
        ({"node_duplicate": "refuse"}, None),
        ({"node_duplicate": "replace"}, [1, 2, 3, 4, 5]),
        ({"node_duplicate": "replace", "replace_order": "at-end"}, [1, 3, 4, 5, 2]),
        ({"node_duplicate": "keep-both"}, [1, 2, 3, 4, 5, 2]),
    ],
)
def test_a_visible_node_is_brought_again(policies: dict[str, str], order: list[int] | None) -> None:
    story = tree(**policies)
    got = add(story, node(5, 4), node(2, 1, record=22), leaf=5)
    if order is None:
        assert isinstance(got, Refused) and is_error(got, "GRAPH-8", "")
        return
    assert isinstance(got, Committed) and story.shown()[0] == order
    one = story.do(LoadNode(NodeId(2)))
    assert isinstance(one, Silent) if len(order) == 6 else one == FoundNode("GRAPH-5", node(2, 1, record=22))


@pytest.mark.requirement("GRAPH-8", "P-NODE-DUPLICATE")
@pytest.mark.parametrize(("option", "shown"), [("refuse", None), ("replace", [1]), ("keep-both", [1, 1])])
def test_an_id_stands_twice_in_one_append(option: str, shown: list[int] | None) -> None:
    story = Story(node_duplicate=option)
    got = add(story, node(1), node(1, record=9))
    assert isinstance(got, Refused) if shown is None else story.shown()[0] == shown


@pytest.mark.requirement("GRAPH-8", "P-NODE-REVIVE", "P-REVIVE-ORDER")
@pytest.mark.parametrize(
    ("policies", "order"),
    [
        ({"node_revive": "refuse"}, None),
        ({"node_revive": "revive"}, [1, 2, 3, 4]),
        ({"node_revive": "revive", "revive_order": "at-end"}, [1, 3, 4, 2]),
    ],
)
def test_a_hidden_node_is_brought_again(policies: dict[str, str], order: list[int] | None) -> None:
    story = tree(**policies)
    hide(story, 2)
    got = add(story, node(2, 1))
    if order is None:
        assert isinstance(got, Refused) and is_error(got, "GRAPH-8", "") and story.shown()[0] == [1, 3, 4]
    else:
        assert isinstance(got, Committed) and story.shown()[0] == order


@pytest.mark.requirement("GRAPH-8", "P-LEAF-UNKNOWN")
@pytest.mark.parametrize("option", ["refuse", "accept"])
def test_an_unknown_leaf(option: str) -> None:
    story = tree(leaf_unknown=option)
    got = add(story, node(5, 4), leaf=99)
    assert isinstance(got, Committed) if option == "accept" else isinstance(got, Refused) and is_error(got, "GRAPH-8", "")


@pytest.mark.requirement("GRAPH-1", "P-PARENT-DANGLING")
@pytest.mark.parametrize("option", ["accept", "refuse"])
def test_a_parent_that_does_not_exist(option: str) -> None:
    story = tree(parent_dangling=option)
    assert isinstance(add(story, node(5, 99)), Committed if option == "accept" else Refused)
    assert isinstance(add(story, node(6, 4), node(7, 6)), Committed)


@pytest.mark.requirement("GRAPH-1", "P-PARENT-CYCLE", "LAW-13")
@pytest.mark.parametrize("option", ["accept", "refuse"])
def test_parents_in_a_circle(option: str) -> None:
    story = tree(parent_cycle=option)
    assert isinstance(add(story, node(5, 6), node(6, 5)), Committed if option == "accept" else Refused)
    assert isinstance(add(story, node(7, 7)), Committed if option == "accept" else Refused)
    assert isinstance(add(story, node(8, 4)), Committed)


@pytest.mark.requirement("GRAPH-9", "COMMIT-10")
def test_collecting_garbage_leaves_the_checkpoint_whole() -> None:
    story = Story()
    fence = story.lane()
    story.commit(fence, checkpoint=checkpoint(1, tool=(7, 0)))
    story.commit(fence, checkpoint=checkpoint(2, tool=(8, 0)))
    before = story.load()
    assert story.do(CollectGarbage()) == Done("GRAPH-9") and story.load() == before
    assert isinstance(before, Loaded)
    assert isinstance(story.commit(fence, checkpoint=checkpoint(3, tool=(0, before.checkpoint.tool_state.ref))), Committed)
    after = story.load()
    assert isinstance(after, Loaded) and after.checkpoint == evolve(before.checkpoint, turn_state=after.checkpoint.turn_state)


def test_a_cycle_over_hidden_nodes_is_left_open() -> None:
    policies = Policies(parent_cycle="refuse")
    nodes = tuple(Node(NodeId(one), NodeId(one - 1), Body(one), one > 1) for one in (2, 3))
    closing = Delta(APPEND, (Node(NodeId(1), NodeId(3), Body(9), False),), NodeId(1))
    assert isinstance(delta_flaw(State(nodes=nodes), closing, policies), Silent)
    shown = tuple(Node(one.node, one.parent, one.record, False) for one in nodes)
    assert isinstance(delta_flaw(State(nodes=shown), closing, policies), Refused)

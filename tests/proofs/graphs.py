"""Proofs about the graph and the manifest: three nodes with any parents, two rows."""

from __future__ import annotations

from itertools import pairwise

from attrs import evolve

from leasehold_model.attachment import (
    CommitRefs,
    Forget,
    ListUncommitted,
    RecordIntent,
    commit_refs,
    forget,
    list_uncommitted,
    record_intent,
)
from leasehold_model.graph import (
    APPEND,
    Delta,
    FoundNode,
    Loaded,
    LoadNode,
    LoadSession,
    Tombstone,
    Vacuumed,
    applied,
    delta_flaw,
    load_node,
    load_session,
    tombstone,
    vacuum,
)
from leasehold_model.ids import NodeId, SessionId
from leasehold_model.outcome import ANY_ERROR, Absent, Done, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.state import NO_HEAD, Entry, Node, State
from tests.proofs.registry import Twin, proved

STRICT = Policies()
THREE = "3 nodes, any parents"


def named(*nodes: Node) -> tuple[Node, ...]:
    """The nodes, with ids 1, 2, ..."""
    return tuple(Node(NodeId(number), node.parent, node.record, node.tombstoned) for number, node in enumerate(nodes, start=1))


GONE = tuple(NodeId(number) for number in range(11, 16))
"""Five nodes that went by replacement."""


@proved(
    "GRAPH-4",
    "LAW-13",
    "P-PATH-TOMBSTONED",
    over=THREE,
    twins=(
        Twin("graph", 'if node is None or (node.tombstoned and policies.path_tombstoned == "stop"):', "if node is None:"),
        Twin("graph", "            path = (node, *path)", "            path = (*path, node)"),
        Twin(
            "graph",
            "leaf = command.leaf if command.leaf != 0 else state.head.leaf\n    if leaf == 0:",
            "leaf = state.head.leaf\n    if leaf == 0:",
        ),
    ),
)
def a_path_ends_and_runs_from_root_to_leaf(a: Node, b: Node, c: Node, leaf: NodeId) -> None:
    """
    pre: 1 <= leaf <= 4
    post: True
    """
    nodes = named(a, b, c)
    state = State(nodes=nodes, head=evolve(NO_HEAD, revision=1))
    after, answer = load_session(state, LoadSession(False, leaf), STRICT)
    assert after == state and isinstance(answer, Loaded) and answer.rule == "GRAPH-4" and answer.leaf == leaf
    path = answer.nodes
    assert len(path) <= 3 and not any(node.tombstoned for node in path)
    if not path:
        assert leaf == 4 or nodes[int(leaf) - 1].tombstoned
        return
    assert path[-1].node == leaf
    for upper, lower in pairwise(path):
        assert upper.node == lower.parent and upper is not lower
    above = path[0].parent
    beyond = [node for node in nodes if node.node == above]
    assert answer.path_open == any(node in path for node in beyond)
    assert answer.path_open or not beyond or beyond[0].tombstoned


@proved(
    "GRAPH-3",
    "GRAPH-5",
    "GRAPH-6",
    "GRAPH-7",
    over="3 nodes, 1 hidden, a vacuum after",
    twins=(
        Twin(
            "graph",
            "kept = tuple(node for node in state.nodes if not node.tombstoned)",
            "kept = tuple(node for node in state.nodes if node.tombstoned)",
        ),
        Twin(
            "graph",
            "found = tuple(node for node in state.nodes if node.node == command.node and not node.tombstoned)",
            "found = tuple(node for node in state.nodes if node.node == command.node)",
        ),
        Twin("graph", "n.record, True) if n.node in command.nodes else n for", "n.record, n.node in command.nodes) for"),
        Twin(
            "graph",
            "        shown = tuple(node for node in state.nodes if not node.tombstoned)\n        hidden",
            "        shown = state.nodes\n        hidden",
        ),
    ),
)
def what_is_hidden_is_hidden_from_every_load(a: Node, b: Node, c: Node, gone: NodeId, asked: NodeId) -> None:
    """
    pre: 1 <= asked <= 3
    post: True
    """
    nodes = named(a, b, c)
    state = State(nodes=nodes, head=evolve(NO_HEAD, revision=1), replaced=GONE)
    hidden, answer = tombstone(state, Tombstone((gone,)))
    left = tuple(node for node in nodes if not node.tombstoned and node.node != gone)
    assert answer == Done("GRAPH-6") and len(hidden.nodes) == 3 and hidden == evolve(state, nodes=hidden.nodes)
    swept, count = vacuum(hidden)
    assert count == Vacuumed("GRAPH-7", 8 - len(left)) and swept == evolve(state, nodes=left, replaced=())
    assert vacuum(swept) == (swept, Vacuumed("GRAPH-7", 0))
    for now in (hidden, swept):
        _, full = load_session(now, LoadSession(True, NodeId(0)), STRICT)
        assert isinstance(full, Loaded) and full.rule == "GRAPH-3" and full.nodes == left
        _, found = load_node(now, LoadNode(asked))
        mine = [node for node in left if node.node == asked]
        assert found == (FoundNode("GRAPH-5", mine[0]) if mine else Absent("GRAPH-5"))


@proved(
    "GRAPH-1",
    "GRAPH-8",
    "P-NODE-DUPLICATE",
    "P-NODE-REVIVE",
    "P-LEAF-UNKNOWN",
    over="2 nodes stored, 1 appended, recommended policies",
    twins=(
        Twin(
            "graph",
            "taken = policies.node_revive if known.tombstoned else policies.node_duplicate",
            "taken = policies.node_duplicate if known.tombstoned else 'keep-both'",
        ),
        Twin(
            "graph",
            "if delta.leaf != 0 and not visible(after, delta.leaf):",
            "if delta.leaf != 0 and not visible(nodes, delta.leaf):",
        ),
        Twin("graph", "            nodes = (*nodes, node)", "            nodes = (node, *nodes)"),
    ),
)
def an_append_is_accepted_iff_its_id_is_new_and_its_leaf_is_there(a: Node, b: Node, new: Node, leaf: NodeId) -> None:
    """
    pre: new.node != 0 and not new.tombstoned
    post: True
    """
    nodes = named(a, b)
    delta = Delta(APPEND, (new,), leaf)
    flaw = delta_flaw(State(nodes=nodes), delta, STRICT)
    seen = [node.node for node in (*nodes, new) if not node.tombstoned]
    if new.node in (1, 2):
        assert flaw == Refused("GRAPH-8", ANY_ERROR)
        return
    assert applied(nodes, delta, STRICT) == (*nodes, new)
    if leaf == 0 or leaf in seen:
        assert flaw is None
    elif leaf in (1, 2):
        assert isinstance(flaw, Silent)
    else:
        assert flaw == Refused("GRAPH-8", ANY_ERROR)


@proved(
    "ATTACH-1",
    "ATTACH-2",
    "ATTACH-3",
    "ATTACH-4",
    "P-INTENT-REPEAT",
    "P-MANIFEST-KEY",
    over="1 row stored, 1 recorded, 1 stamped, 1 forgotten",
    twins=(
        Twin("attachment", 'policies.manifest_key == "id" or known.session == command.session', "True"),
        Twin("attachment", "if entry.session == session and entry.attachment in attachments", "if entry.attachment in attachments"),
        Twin("attachment", "entry.intent_at <= command.older_than", "entry.intent_at < command.older_than"),
        Twin(
            "attachment",
            "kept = tuple(entry for entry in state.manifest if entry.attachment != command.attachment)",
            "kept = state.manifest[1:]",
        ),
    ),
)
def rows_are_recorded_stamped_listed_and_forgotten(
    row: Entry, new: RecordIntent, session: SessionId, older: ListUncommitted
) -> None:
    """
    pre: new.attachment == 2
    post: True
    """
    state, answer = record_intent(State(manifest=(row,)), new, STRICT, True)
    same = (row.attachment, row.session) == (new.attachment, new.session)
    added = () if same else (Entry(new.attachment, new.session, new.uri, new.intent_at, False),)
    assert (state, answer) == (State(manifest=(row, *added)), Done("ATTACH-1"))
    after, answer = commit_refs(state, CommitRefs(session, (new.attachment,)))
    assert answer == Done("ATTACH-2") and len(after.manifest) == len(state.manifest)
    for old, entry in zip(state.manifest, after.manifest, strict=True):
        mine = old.session == session and old.attachment == new.attachment
        assert entry == (evolve(old, stamped=True) if mine else old)
    same_state, rows = list_uncommitted(after, older)
    assert same_state == after and rows.rule == "ATTACH-3"
    for entry in after.manifest:
        assert (entry in rows.entries) == (not entry.stamped and not entry.intent_at > older.older_than)
    gone, answered = forget(after, Forget(new.attachment))
    if row.attachment == 2 and not same:
        assert isinstance(answered, Silent) and gone == after
    else:
        assert answered == Done("ATTACH-4")
        assert gone == State(manifest=tuple(entry for entry in after.manifest if entry.attachment != 2))

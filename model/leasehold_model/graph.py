"""The session graph: deltas, loads, tombstones (contract section 5)."""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold_model.ids import Body, CheckpointRef, NodeId, SessionId
from leasehold_model.outcome import ANY_ERROR, Absent, Done, Refused, Silent
from leasehold_model.policy import Policies
from leasehold_model.state import Checkpoint, Node, State, Usage

UNCHANGED, APPEND, REPLACE_FULL = 0, 1, 2
"""The kinds of graph delta (GRAPH-1)."""


@frozen
class Delta:
    """How a commit changes the graph. The leaf becomes the head's leaf; 0: none."""

    kind: int
    nodes: tuple[Node, ...]
    leaf: NodeId


@frozen
class LoadSession:
    """Load the session: ``full`` graph, or the active path to ``leaf`` (0: to the head's leaf)."""

    full: bool
    leaf: NodeId


@frozen
class LoadNode:
    """Load one node."""

    node: NodeId


@frozen
class Tombstone:
    """Hide nodes."""

    nodes: tuple[NodeId, ...]


@frozen
class Vacuum:
    """Remove what is hidden."""


@frozen
class CollectGarbage:
    """Remove bodies that nothing refers to."""


@frozen
class Loaded:
    """A loaded session. ``leaf_open``: whether the leaf is reported or left out is open. ``path_open``: the parents are malformed
    (a cycle), so the nodes are open and an error is right too; only that the call ends is required (LAW-13)."""

    rule: str
    session: SessionId
    revision: int
    config: Body
    agent_frames: Body
    current_frame: Body
    nodes: tuple[Node, ...]
    leaf: NodeId
    checkpoint_ref: CheckpointRef
    checkpoint: Checkpoint
    ledger: tuple[Usage, ...]
    leaf_open: bool
    path_open: bool


@frozen
class FoundNode:
    """One node."""

    rule: str
    node: Node


@frozen
class Vacuumed:
    """A vacuum removed at most this many nodes: a store may have removed some before, or keep replaced ones until now."""

    rule: str
    at_most: int


def node_named(nodes: tuple[Node, ...], name: NodeId) -> Node | None:
    """The node of this id, the visible one if there are several, tombstoned or not."""
    found = None
    for node in nodes:
        if node.node == name and (found is None or not node.tombstoned):
            found = node
            if not node.tombstoned:
                return node
    return found


def visible(nodes: tuple[Node, ...], name: NodeId) -> bool:
    """A node of this id can be loaded (GRAPH-5)."""
    return any(node.node == name and not node.tombstoned for node in nodes)


def delta_flaw(state: State, delta: Delta, policies: Policies) -> Refused | Silent | None:
    """Why a graph delta is refused, or None (GRAPH-8). Any error will do."""
    nodes = state.nodes
    after = applied(nodes, delta, policies)
    for node in delta.nodes:
        if node.node in state.replaced and not visible(nodes, node.node):
            return Silent("GRAPH-1 does not say whether what was replaced is gone at once or hidden until the vacuum")
    if delta.kind == REPLACE_FULL:
        for index, node in enumerate(delta.nodes):
            if visible(delta.nodes[:index], node.node):
                return Silent("GRAPH-8 speaks of duplicate ids within an append only")
            if any(old.node == node.node and old.tombstoned for old in nodes):
                return Silent("GRAPH-8 speaks of reviving by an append only")
    if delta.kind == APPEND:
        for index, node in enumerate(delta.nodes):
            known = node_named((*nodes, *delta.nodes[:index]), node.node)
            if known is None:
                continue
            taken = policies.node_revive if known.tombstoned else policies.node_duplicate
            if taken == "refuse":
                return Refused("GRAPH-8", ANY_ERROR)
    if delta.leaf != 0 and not visible(after, delta.leaf):
        if node_named(after, delta.leaf) is not None:
            return Silent("P-LEAF-UNKNOWN does not say whether a tombstoned leaf is unknown")
        if policies.leaf_unknown == "refuse":
            return Refused("GRAPH-8", ANY_ERROR)
    short, long = (Policies(path_tombstoned=how) for how in ("stop", "skip"))
    if policies.parent_cycle == "refuse" and _cyclic(after, short) != _cyclic(after, long):
        return Silent("whether a cycle that closes over tombstoned nodes is one")
    if policies.parent_cycle == "refuse" and not _cyclic(after, policies) and _cyclic_midway(nodes, delta, policies):
        return Silent("whether a cycle is one that a later node of the same append breaks")
    return _parent_flaw(after, delta, policies)


def _parent_flaw(after: tuple[Node, ...], delta: Delta, policies: Policies) -> Refused | Silent | None:
    for index, node in enumerate(delta.nodes):
        parent = node_named(after, node.parent)
        if node.parent != 0 and policies.parent_dangling == "refuse":
            if parent is None:
                return Refused("GRAPH-1", ANY_ERROR)
            if parent.tombstoned or visible(delta.nodes[index:], node.parent):
                return Silent("whether a parent must come first and be visible, where parents must exist")
    if "refuse" in (policies.parent_cycle, policies.parent_dangling) and _cyclic(after, policies):
        if policies.parent_dangling == "refuse":
            return Silent("whether parents in a circle exist, where parents must exist")
        return Refused("GRAPH-1", ANY_ERROR)
    return None


def _cyclic(nodes: tuple[Node, ...], policies: Policies) -> bool:
    """Some parents form a cycle: then one of its nodes has a parent that does not stand before it. Only such nodes are walked."""
    for index, node in enumerate(nodes):
        if node.parent != 0 and node_named(nodes[:index], node.parent) is None and _walk(nodes, node.node, policies)[1]:
            return True
    return False


def _cyclic_midway(nodes: tuple[Node, ...], delta: Delta, policies: Policies) -> bool:
    """Some parents form a cycle while the delta's nodes are appended one by one."""
    return delta.kind == APPEND and any(
        _cyclic(applied(nodes, Delta(APPEND, delta.nodes[:count], delta.leaf), policies), policies)
        for count in range(1, len(delta.nodes))
    )


def replaced(nodes: tuple[Node, ...], delta: Delta) -> tuple[NodeId, ...]:
    """The nodes that a delta puts others in the place of."""
    if delta.kind == REPLACE_FULL:
        return tuple(node.node for node in nodes)
    known = (node_named((*nodes, *delta.nodes[:index]), node.node) for index, node in enumerate(delta.nodes))
    return tuple(node.node for node in known if node is not None)


def applied(nodes: tuple[Node, ...], delta: Delta, policies: Policies) -> tuple[Node, ...]:
    """The nodes after an accepted delta (GRAPH-1, GRAPH-8)."""
    if delta.kind == UNCHANGED:
        return nodes
    if delta.kind == REPLACE_FULL:
        return delta.nodes
    for node in delta.nodes:
        known = node_named(nodes, node.node)
        if known is None or (not known.tombstoned and policies.node_duplicate == "keep-both"):
            nodes = (*nodes, node)
        elif (policies.revive_order if known.tombstoned else policies.replace_order) == "at-end":
            nodes = (*(other for other in nodes if other.node != node.node), node)
        else:
            nodes = tuple(node if other.node == node.node else other for other in nodes)
    return nodes


def load_session(state: State, command: LoadSession, policies: Policies) -> tuple[State, Loaded | Absent | Silent]:
    """GRAPH-2 to GRAPH-4: nothing before any commit; then the head, the graph in scope, the checkpoint and the ledger."""
    if state.head.revision == 0:
        return state, Absent("GRAPH-2")
    head_leaf_known = node_named(state.nodes, state.head.leaf) is not None
    if command.full:
        shown = tuple(node for node in state.nodes if not node.tombstoned)
        hidden = state.head.leaf != 0 and not visible(state.nodes, state.head.leaf)
        leaf = NodeId(0) if hidden and head_leaf_known and policies.leaf_tombstoned == "none" else state.head.leaf
        return state, _loaded("GRAPH-3", state, shown, leaf, hidden and not head_leaf_known, False)
    why = _path_silent(state, command, policies)
    if why:
        return state, Silent(why)
    leaf = command.leaf if command.leaf != 0 else state.head.leaf
    if leaf == 0:
        shown = tuple(node for node in state.nodes if not node.tombstoned) if policies.path_no_leaf == "all" else ()
        return state, _loaded("GRAPH-4", state, shown, leaf, False, False)
    shown, cyclic = _walk(state.nodes, leaf, policies)
    return state, _loaded("GRAPH-4", state, shown, leaf, not shown, cyclic)


def _path_silent(state: State, command: LoadSession, policies: Policies) -> str:
    """Where GRAPH-4 does not decide what the active path is."""
    if policies.node_duplicate == "keep-both" and repeats_visible(state.nodes):
        return "GRAPH-4 does not say which of two nodes of one id is on the path"
    leaf = command.leaf if command.leaf != 0 else state.head.leaf
    named = node_named(state.nodes, leaf)
    hidden = command.leaf == 0 and leaf != 0 and (named is None or named.tombstoned)
    if hidden and (policies.leaf_tombstoned == "none" or policies.path_tombstoned == "skip" or policies.path_no_leaf == "all"):
        return "GRAPH-4 does not say whether a hidden leaf of the head counts as a leaf"
    if named is not None and named.tombstoned and policies.path_tombstoned == "skip":
        return "P-PATH-TOMBSTONED does not say whether a tombstoned leaf is unknown"
    return ""


def repeats_visible(nodes: tuple[Node, ...]) -> bool:
    """Two visible nodes have one id (P-NODE-DUPLICATE keep-both)."""
    return any(visible(nodes[:index], node.node) for index, node in enumerate(nodes) if not node.tombstoned)


def _walk(nodes: tuple[Node, ...], leaf: NodeId, policies: Policies) -> tuple[tuple[Node, ...], bool]:
    """From the leaf to its root along parents, returned root first, and whether the parents form a cycle (GRAPH-4, LAW-13)."""
    path: tuple[Node, ...] = ()
    met: tuple[NodeId, ...] = ()
    at = leaf
    while at != 0 and at not in met:
        met = (*met, at)
        node = node_named(nodes, at)
        if node is None or (node.tombstoned and policies.path_tombstoned == "stop"):
            return path, False
        if not node.tombstoned:
            path = (node, *path)
        at = node.parent
    return path, at != 0


def _loaded(rule: str, state: State, nodes: tuple[Node, ...], leaf: NodeId, leaf_open: bool, path_open: bool) -> Loaded:
    head = state.head
    return Loaded(
        rule,
        state.bound,
        head.revision,
        head.config,
        head.agent_frames,
        head.current_frame,
        nodes,
        leaf,
        head.checkpoint_ref,
        head.checkpoint,
        state.ledger,
        leaf_open,
        path_open,
    )


def load_node(state: State, command: LoadNode) -> tuple[State, FoundNode | Absent | Silent]:
    """GRAPH-5: hidden and unknown nodes are not there."""
    found = tuple(node for node in state.nodes if node.node == command.node and not node.tombstoned)
    if len(found) > 1:
        return state, Silent("GRAPH-5 does not say which of two nodes of one id is loaded")
    return state, FoundNode("GRAPH-5", found[0]) if found else Absent("GRAPH-5")


def tombstone(state: State, command: Tombstone) -> tuple[State, Done]:
    """GRAPH-6: hidden from every load at once; unknown ids are ignored; no lease, no revision."""
    nodes = tuple(Node(n.node, n.parent, n.record, True) if n.node in command.nodes else n for n in state.nodes)
    return evolve(state, nodes=nodes), Done("GRAPH-6")


def vacuum(state: State) -> tuple[State, Vacuumed]:
    """GRAPH-7: an immediate second vacuum removes nothing."""
    kept = tuple(node for node in state.nodes if not node.tombstoned)
    return evolve(state, nodes=kept, replaced=()), Vacuumed("GRAPH-7", len(state.nodes) - len(kept) + len(state.replaced))


def collect_garbage(state: State) -> tuple[State, Done]:
    """GRAPH-9: the current checkpoint keeps its bodies; what else may go, is gone."""
    checkpoint = state.head.checkpoint
    current = (checkpoint.tool_state.body, checkpoint.plugin_snapshot.body, checkpoint.execution_state.body)
    return evolve(state, bodies=tuple(body for body in state.bodies if body in current)), Done("GRAPH-9")

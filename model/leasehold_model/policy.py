"""Policy points: where the seed is silent and real stores differ legitimately. The first option is the recommended one.

Points marked ``ours`` are not in the contract: it is silent there too, and real stores differ (docs/decisions.md).
"""

from __future__ import annotations

from typing import Literal

from attrs import evolve, frozen

RefuseAccept = Literal["refuse", "accept"]
AcceptRefuse = Literal["accept", "refuse"]


@frozen(kw_only=True)
class Policies:
    """The option a store takes at every policy point. The defaults are the recommended ones."""

    reentry: Literal["extend-only", "reset"] = "extend-only"
    binding: Literal["at-first-commit", "at-create"] = "at-first-commit"
    complete_subset: RefuseAccept = "refuse"
    complete_duplicate: RefuseAccept = "refuse"
    complete_empty: RefuseAccept = "refuse"
    complete_twice: RefuseAccept = "refuse"
    complete_expired: AcceptRefuse = "accept"
    checkpoint_ref: Literal["content", "echo"] = "content"
    dangling_ref: RefuseAccept = "refuse"
    leaf_tombstoned: Literal["keep", "none"] = "keep"
    path_no_leaf: Literal["empty", "all"] = "empty"
    path_tombstoned: Literal["stop", "skip"] = "stop"
    node_duplicate: Literal["refuse", "replace", "keep-both"] = "refuse"
    node_revive: Literal["refuse", "revive"] = "refuse"
    leaf_unknown: RefuseAccept = "refuse"
    source_key_reuse: Literal["new-batch", "remembered"] = "new-batch"
    zero_before_lease: Literal["none-first", "lease-first"] = "none-first"
    join_gap: Literal["skip", "break"] = "skip"
    claim_fence: Literal["max", "head"] = "max"
    renew_expired: AcceptRefuse = "accept"
    intent_repeat: Literal["first-wins", "last-wins", "refuse"] = "first-wins"
    manifest_key: Literal["session+id", "id"] = "session+id"
    replace_order: Literal["in-place", "at-end"] = "in-place"
    revive_order: Literal["in-place", "at-end"] = "in-place"
    parent_dangling: AcceptRefuse = "accept"
    parent_cycle: AcceptRefuse = "accept"


@frozen
class Point:
    """One policy point: its identifier, its field in `Policies`, the requirement it refines, and what it asks."""

    id: str
    field: str
    options: tuple[str, ...]
    refines: str
    question: str
    ours: bool = False


POINTS: tuple[Point, ...] = (
    Point("P-REENTRY", "reentry", ("extend-only", "reset"), "LEASE-2", "When a holder re-enters, may its lease get shorter?"),
    Point("P-BINDING", "binding", ("at-first-commit", "at-create"), "COMMIT-1", "When is a store bound to its session?"),
    Point(
        "P-COMPLETE-SUBSET",
        "complete_subset",
        ("refuse", "accept"),
        "COMMIT-7",
        "A completion names fewer batches than the claim holds.",
    ),
    Point("P-COMPLETE-DUPLICATE", "complete_duplicate", ("refuse", "accept"), "COMMIT-7", "A completion names one batch twice."),
    Point("P-COMPLETE-EMPTY", "complete_empty", ("refuse", "accept"), "COMMIT-7", "A completion names no batches."),
    Point("P-COMPLETE-TWICE", "complete_twice", ("refuse", "accept"), "COMMIT-7", "One completion stands twice in a commit."),
    Point(
        "P-COMPLETE-EXPIRED",
        "complete_expired",
        ("accept", "refuse"),
        "COMMIT-7",
        "The claim is past its expiry, but nobody reclaimed it.",
    ),
    Point(
        "P-CHECKPOINT-REF",
        "checkpoint_ref",
        ("content", "echo"),
        "COMMIT-10",
        "Does the store resolve content references, or echo the caller's?",
    ),
    Point(
        "P-DANGLING-REF",
        "dangling_ref",
        ("refuse", "accept"),
        "COMMIT-10",
        "A commit passes a content reference that names nothing.",
    ),
    Point(
        "P-LEAF-TOMBSTONED",
        "leaf_tombstoned",
        ("keep", "none"),
        "GRAPH-3",
        "The leaf of a full load when the head's leaf is hidden.",
    ),
    Point("P-PATH-NO-LEAF", "path_no_leaf", ("empty", "all"), "GRAPH-4", "The active path when there is no leaf."),
    Point("P-PATH-TOMBSTONED", "path_tombstoned", ("stop", "skip"), "GRAPH-4", "The active path meets a tombstoned node."),
    Point(
        "P-NODE-DUPLICATE",
        "node_duplicate",
        ("refuse", "replace", "keep-both"),
        "GRAPH-8",
        "An append brings the id of a visible node.",
    ),
    Point("P-NODE-REVIVE", "node_revive", ("refuse", "revive"), "GRAPH-8", "An append brings the id of a tombstoned node."),
    Point("P-LEAF-UNKNOWN", "leaf_unknown", ("refuse", "accept"), "GRAPH-8", "A commit's leaf names no visible node."),
    Point(
        "P-SOURCE-KEY-REUSE",
        "source_key_reuse",
        ("new-batch", "remembered"),
        "QUEUE-2",
        "A source key after completion or cancellation.",
    ),
    Point(
        "P-ZERO-BEFORE-LEASE",
        "zero_before_lease",
        ("none-first", "lease-first"),
        "QUEUE-4",
        "A claim of at most 0 batches under a dead lease.",
    ),
    Point("P-JOIN-GAP", "join_gap", ("skip", "break"), "QUEUE-7", "Does a batch that is no candidate end a joined run?"),
    Point("P-CLAIM-FENCE", "claim_fence", ("max", "head"), "QUEUE-8", "Above which counters is a claim's fencing token?"),
    Point(
        "P-RENEW-EXPIRED",
        "renew_expired",
        ("accept", "refuse"),
        "QUEUE-11",
        "A claim is renewed past its expiry, but nobody reclaimed it.",
    ),
    Point(
        "P-INTENT-REPEAT", "intent_repeat", ("first-wins", "last-wins", "refuse"), "ATTACH-1", "An attachment id is recorded again."
    ),
    Point("P-MANIFEST-KEY", "manifest_key", ("session+id", "id"), "ATTACH-1", "What is the key of a manifest row?"),
    Point(
        "P-REPLACE-ORDER",
        "replace_order",
        ("in-place", "at-end"),
        "GRAPH-8",
        "Where a replaced node stands in storage order.",
        ours=True,
    ),
    Point(
        "P-REVIVE-ORDER",
        "revive_order",
        ("in-place", "at-end"),
        "GRAPH-8",
        "Where a revived node stands in storage order.",
        ours=True,
    ),
    Point(
        "P-PARENT-DANGLING",
        "parent_dangling",
        ("accept", "refuse"),
        "GRAPH-1",
        "A node names a parent that does not exist.",
        ours=True,
    ),
    Point("P-PARENT-CYCLE", "parent_cycle", ("accept", "refuse"), "GRAPH-1", "An append closes a cycle of parents.", ours=True),
)


@frozen
class Edition:
    """An edition of the contract: a name and the policies it recommends. Later editions are further values (section 10)."""

    name: str
    recommended: Policies


SEED = Edition("seed", Policies())


def option(policies: Policies, point: Point) -> str:
    """The option these policies take at the point."""
    taken: str = getattr(policies, point.field)
    return taken


def choose(policies: Policies, point: Point, taken: str) -> Policies:
    """The same policies, with another option at one point."""
    return evolve(policies, **{point.field: taken})  # type: ignore[arg-type]  # the field is named by the point

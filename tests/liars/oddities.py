"""Stores that are right, each in a way of its own. The check must never accuse one."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from leasehold.records import Checkpoint, CheckpointManifest, CommitResult, Intent, ManifestEntry, Read, ReadScope
from leasehold.store import OPERATIONS, Capabilities, Clock, Contended, SystemClock
from leasehold.stores.memory import MemoryStore
from leasehold.wire.codec import encode_result
from leasehold_model.policy import Policies
from tests.liars.lossy import LateLoss, lossy, lossy_sqlite
from tests.liars.plain import PlainStore


@frozen
class Oddity:
    """A right store. ``slow``: so slow that a short check says nothing. ``target``: its name, if another process has to open it."""

    name: str
    why: str
    factory: Callable[..., Any]
    slow: bool = False
    target: str = ""


OTHERWISE = Policies(
    reentry="reset",
    binding="at-create",
    complete_subset="accept",
    complete_duplicate="accept",
    complete_empty="accept",
    complete_twice="accept",
    complete_expired="refuse",
    checkpoint_ref="echo",
    dangling_ref="accept",
    leaf_tombstoned="none",
    path_no_leaf="all",
    path_tombstoned="skip",
    node_duplicate="replace",
    node_revive="revive",
    leaf_unknown="accept",
    source_key_reuse="remembered",
    zero_before_lease="lease-first",
    join_gap="break",
    claim_fence="head",
    renew_expired="refuse",
    intent_repeat="last-wins",
    manifest_key="id",
    replace_order="at-end",
    revive_order="at-end",
    parent_dangling="refuse",
    parent_cycle="refuse",
)
"""No recommended option at any point."""


def plain(policies: Policies | None = None, **more: Any) -> Callable[[Clock], Any]:
    """A plain store with these policies."""
    return lambda clock: PlainStore(clock, policies, **more)


def otherwise(clock: Clock, session_id: str) -> Any:
    return PlainStore(clock, OTHERWISE, session_id=session_id)


def leaping(seed: int = 7) -> Iterator[int]:
    """Numbers that start late and leave gaps."""
    rng = random.Random(seed)
    number = 10**12
    while True:
        number += rng.randrange(1, 10**9)
        yield number


def opaque(clock: Clock) -> Any:
    rng = random.Random(11)
    return PlainStore(clock, numbers=leaping(), mint=lambda _: str(uuid.UUID(int=rng.getrandbits(128))))


class Around:
    """A store around a right one."""

    capabilities = Capabilities()
    durability_tier = "inline"

    def __init__(self, clock: Clock) -> None:
        self.inside: Any = MemoryStore(clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside, name)


class Every(Around):
    """Handles every operation in one place."""

    def __getattr__(self, name: str) -> Any:
        if name not in OPERATIONS:
            raise AttributeError(name)
        return lambda *args: self.call(name, args)

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        return getattr(self.inside, op)(*args)


class NoRefsInLoads(Around):
    """Loads show bodies only."""

    def load_session(self, scope: ReadScope) -> Any:
        read: Read | None = self.inside.load_session(scope)
        if read is None or read.checkpoint is None:
            return read
        bare = evolve(read.checkpoint, tool_state_ref=None, plugin_snapshot_ref=None, execution_state_ref=None)
        return evolve(read, checkpoint=bare, checkpoint_ref=None)


class NoopManifest(Around):
    """A declared no-op manifest."""

    capabilities = Capabilities(manifest="noop")

    def record_intent(self, intent: Intent) -> None:
        pass

    def list_uncommitted(self, older_than_epoch_ms: int) -> list[ManifestEntry]:
        return []


class QueueOnly:
    """Leases and a queue, and nothing else."""

    def __init__(self, clock: Clock) -> None:
        store = MemoryStore(clock)
        for op in OPERATIONS:
            if "queue" in op or "lease" in op:
                setattr(self, op, getattr(store, op))


class SessionOnly:
    """Leases, commits and loads: no queue, no manifest, no metadata, no maintenance."""

    def __init__(self, clock: Clock) -> None:
        store = MemoryStore(clock)
        for op in OPERATIONS:
            if ("session" in op and "meta" not in op) or "commit_runtime" in op:
                setattr(self, op, getattr(store, op))


class Slow(Every):
    """Takes its time."""

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        time.sleep(0.005)
        return super().call(op, args)


class RealClock(Around):
    """Looks at the wall, whatever clock it is given."""

    capabilities = Capabilities(clock="real")

    def __init__(self, clock: Clock) -> None:
        super().__init__(SystemClock())


class Wire(Every):
    """Answers with plain JSON."""

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        return encode_result(op, super().call(op, args))


class Sparse(Wire):
    """Leaves out what is null, and says more than it was asked."""

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        return _sparse(super().call(op, args))


def _sparse(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sparse(member) for name, member in value.items() if member is not None}
    return [_sparse(member) for member in value] if isinstance(value, list) else value


class Wordy(Wire):
    """Adds members that nobody asked for to each record, and nulls to each opaque value."""

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        value = super().call(op, args)
        if isinstance(value, dict) and op != "load_node":  # what a node has more is its content
            value = {**value, "served_by": "node-7"}
            if op == "load_session":
                value["config"] = {**value["config"], "nickname": None}
        return value


class Busy(Every):
    """Now and then a lock is taken: the call does nothing and says so."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.calls = 0

    def call(self, op: str, args: tuple[Any, ...]) -> Any:
        self.calls += 1
        if self.calls % 23 == 0:
            raise Contended("another writer is at work")
        return super().call(op, args)


class NewRefsAlways(Around):
    """Each commit gives each part another reference, kept bodies included: the old ones stay good."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.aliases: dict[str, str] = {}

    def commit_runtime_state(self, commit: Any) -> Any:
        given: Checkpoint = commit.checkpoint
        names = ("tool_state_ref", "plugin_snapshot_ref", "execution_state_ref")
        known = {name: self.aliases.get(getattr(given, name) or "", getattr(given, name)) for name in names}
        result: CommitResult = self.inside.commit_runtime_state(evolve(commit, checkpoint=evolve(given, **known)))
        if commit.turn_commit is not None:
            return result
        return evolve(result, manifest=self.renamed(result.manifest))

    def renamed(self, manifest: CheckpointManifest) -> CheckpointManifest:
        fresh: dict[str, str | None] = {}
        for name in ("tool_state_ref", "plugin_snapshot_ref", "execution_state_ref"):
            ref = getattr(manifest, name)
            fresh[name] = None if ref is None else f"ref-{len(self.aliases) + 1}"
            if ref is not None:
                self.aliases[f"ref-{len(self.aliases) + 1}"] = ref
        return evolve(manifest, **fresh)  # type: ignore[arg-type]  # the three names are its members


LOST = (
    Oddity("loses-answers", "one answer in twenty is lost; the call took effect at once or never", lossy()),
    Oddity("loses-answers-late", "one answer in twenty is lost; the call may also take effect some calls later", lossy(LateLoss)),
    Oddity("loses-many-answers", "three answers in ten are lost", lossy(LateLoss, 0.3)),
    Oddity("loses-answers-on-disk", "one answer in twenty is lost, on SQLite, with several handles and reopening", lossy_sqlite()),
)

ODDITIES: tuple[Oddity, ...] = (
    *LOST,
    Oddity("every-other-policy", "takes no recommended option at any policy point, consistently", otherwise),
    Oddity(
        "keeps-both",
        "P-NODE-DUPLICATE keep-both with P-NODE-REVIVE refuse; P-INTENT-REPEAT refuse per session; nothing else differs",
        plain(Policies(node_duplicate="keep-both", intent_repeat="refuse", complete_subset="accept", leaf_unknown="accept")),
    ),
    Oddity(
        "replaces-in-place",
        "P-NODE-DUPLICATE replace and P-NODE-REVIVE revive, both where the node stood; intents refused by id alone",
        plain(
            Policies(
                node_duplicate="replace",
                node_revive="revive",
                intent_repeat="refuse",
                manifest_key="id",
                path_tombstoned="skip",
                path_no_leaf="all",
                dangling_ref="accept",
            )
        ),
    ),
    Oddity(
        "lenient",
        "accepts everything a policy lets it accept, with content references",
        plain(
            Policies(
                complete_subset="accept",
                complete_duplicate="accept",
                complete_empty="accept",
                complete_twice="accept",
                dangling_ref="accept",
                leaf_unknown="accept",
                node_duplicate="replace",
                node_revive="revive",
                reentry="reset",
                intent_repeat="last-wins",
            )
        ),
    ),
    Oddity(
        "strict",
        "refuses everything a policy lets it refuse",
        plain(
            Policies(
                complete_expired="refuse",
                renew_expired="refuse",
                intent_repeat="refuse",
                parent_dangling="refuse",
                parent_cycle="refuse",
                source_key_reuse="remembered",
                join_gap="break",
            )
        ),
    ),
    Oddity(
        "opaque",
        "ids are random; one counter with gaps from 10^12 on serves every lane, claim and batch: only order and identity count",
        opaque,
    ),
    Oddity("fresh-refs", "the same body gets another reference in each commit: a reference names one body", plain(fresh_refs=True)),
    Oddity("renames-refs", "kept bodies are given another name too, and the old names stay good", NewRefsAlways),
    Oddity("no-refs-in-loads", "GRAPH-2 asks loads for bodies: references are optional members of a read", NoRefsInLoads),
    Oddity("noop-manifest", "ATTACH-5: declares a no-op manifest", NoopManifest),
    Oddity("queue-only", "offers leases and a queue, and is held to no more", QueueOnly),
    Oddity("session-only", "offers leases, commits and loads, and is held to no more", SessionOnly),
    Oddity("slow", "5 ms an operation: no requirement is about speed", Slow, slow=True),
    Oddity("real-clock", "declares that it uses the real clock", RealClock),
    Oddity("wire", "answers with the wire's JSON, which stands for the same records", Wire),
    Oddity("sparse", "leaves out null members: null and absent are the same on the wire", Sparse),
    Oddity("wordy", "adds members that the protocol does not name, which are ignored, and nulls", Wordy),
    Oddity("eager", "a tombstone deletes at once, which hides, and a vacuum finds nothing left", plain(eager=True)),
    Oddity(
        "no-loose-ends",
        "refuses dangling parents and cycles: LAW-13 asks that operations end, not that such graphs are stored",
        plain(Policies(parent_dangling="refuse", parent_cycle="refuse")),
    ),
    Oddity("busy", "every 23rd call is refused as contended, changes nothing, and succeeds when repeated", Busy),
)

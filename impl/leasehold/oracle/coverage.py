"""What was exercised: requirements, operations by outcome, what must sometimes happen. A count of zero is never green."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import frozen

from leasehold.oracle.moment import Moment
from leasehold.store import OPERATIONS, Capabilities
from leasehold_model.claim import ClaimByIds, Claimed, ClaimReady
from leasehold_model.commit import CommitState, Committed
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import APPEND, CollectGarbage, Loaded, node_named
from leasehold_model.laws import SOMETIMES, Transition
from leasehold_model.lease import Leased
from leasehold_model.outcome import Absent, Refused
from leasehold_model.queue import Enqueue, Listed, Queued
from leasehold_model.requirements import REQUIREMENTS
from leasehold_model.state import NO_PART, State, lane_of

LEASE_OPS = ("try_claim_session_execution_lease", "renew_session_execution_lease", "release_session_execution_lease")
CLAIM_OPS = (LEASE_OPS[0], "enqueue_queued_work", "claim_ready_queued_work")
COMMIT_OPS = (LEASE_OPS[0], "commit_runtime_state")
QUEUE_LISTS = ("enqueue_queued_work", "list_queued_work", "list_pending_queued_work")

NEEDS: dict[str, tuple[str, ...]] = {
    "LEASE-1": LEASE_OPS[:1],
    "LEASE-2": LEASE_OPS[:1],
    "LEASE-3": LEASE_OPS[:1],
    "LEASE-4": LEASE_OPS[:2],
    "LEASE-5": LEASE_OPS[:2],
    "LEASE-6": (LEASE_OPS[0], LEASE_OPS[2]),
    "LEASE-7": (LEASE_OPS[0], LEASE_OPS[2]),
    "LEASE-8": LEASE_OPS[:1],
    "COMMIT-2": ("commit_runtime_state",),
    "COMMIT-5": ("commit_runtime_state",),
    "COMMIT-7": ("commit_runtime_state", *CLAIM_OPS),
    "GRAPH-2": ("load_session",),
    "GRAPH-3": (*COMMIT_OPS, "load_session"),
    "GRAPH-4": (*COMMIT_OPS, "load_session"),
    "GRAPH-5": ("load_node",),
    "GRAPH-6": (*COMMIT_OPS, "tombstone_nodes"),
    "GRAPH-7": (*COMMIT_OPS, "tombstone_nodes", "vacuum"),
    "GRAPH-9": (*COMMIT_OPS, "gc_unreachable", "load_session"),
    "QUEUE-1": ("enqueue_queued_work",),
    "QUEUE-2": ("enqueue_queued_work",),
    "QUEUE-3": QUEUE_LISTS,
    "QUEUE-10": (*CLAIM_OPS, "claim_ready_queued_work_by_batch_ids"),
    "QUEUE-11": (*CLAIM_OPS, "renew_queued_work_claim"),
    "QUEUE-12": (*CLAIM_OPS, "abandon_queued_work_claim"),
    "QUEUE-13": ("enqueue_queued_work", "cancel_queued_work_batch"),
    "QUEUE-14": ("enqueue_queued_work",),
    "ATTACH-1": ("record_intent", "list_uncommitted"),
    "ATTACH-2": ("record_intent", "commit_refs", "list_uncommitted"),
    "ATTACH-3": ("record_intent", "list_uncommitted"),
    "ATTACH-4": ("record_intent", "forget", "list_uncommitted"),
    "ATTACH-5": ("record_intent", "list_uncommitted"),
    "META-1": ("save_session_meta", "load_session_meta"),
    "TIER-1": (),
    "LAW-1": LEASE_OPS[:1],
    "LAW-2": LEASE_OPS[:1],
    "LAW-3": LEASE_OPS[:1],
    "LAW-4": CLAIM_OPS,
    "LAW-5": QUEUE_LISTS,
    "LAW-8": (*COMMIT_OPS, "load_session"),
    "LAW-9": QUEUE_LISTS,
    "LAW-11": (*COMMIT_OPS, "load_session"),
    "LAW-10": (),
    "LAW-12": (),
    "LAW-13": (*COMMIT_OPS, "load_session"),
    "LAW-14": LEASE_OPS[:1],
    "LAW-15": LEASE_OPS[:2],
}
"""The operations without which a requirement cannot be exercised. Not listed: those of its group, below."""

_GROUP_NEEDS = {
    "QUEUE": CLAIM_OPS,
    "COMMIT": COMMIT_OPS,
    "GRAPH": COMMIT_OPS,
    "LAW": COMMIT_OPS,
}


@frozen
class NotChecked:
    """What this run said nothing about, and why."""

    what: str
    why: str


class Coverage:
    """Counts over all runs of one check."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str], int] = {}
        self.further: Counter[str] = Counter()
        self.seen_after: Counter[str] = Counter()
        self.sometimes: set[str] = set()
        self.skips: dict[str, str] = {}
        self.operations = 0
        self.runs = 0
        self.lost = 0
        self._open_sometimes = dict(SOMETIMES)
        self._refused = self._reopened = self._collected = False

    def start_run(self) -> None:
        """A fresh store."""
        self.runs += 1
        self._refused = self._reopened = self._collected = False

    def reopened(self) -> None:
        """The store was closed and opened again."""
        self._reopened = True
        self.further["LAW-10"] += 1

    def skipped(self, op: str, reason: str) -> None:
        """The store does not offer an operation."""
        self.skips[op] = reason

    def met(self, requirement: str) -> None:
        """Something beside a run exercised and asserted a requirement."""
        self.further[requirement] += 1

    def judged(self, moment: Moment) -> None:
        """One answer was found right."""
        self.operations += 1
        response = moment.response
        key = (moment.op, getattr(response, "rule", "LAW-15"))
        self.outcomes[key] = self.outcomes.get(key, 0) + 1
        kind = type(response)
        if kind in _FURTHER:
            for further in _FURTHER[kind](moment, response):
                self.further[further] += 1
        if kind is Refused or kind is Absent:
            self.further["LAW-1"] += 1
            self._refused = True
        elif kind is Loaded or kind is Listed:
            self.seen_after["LAW-1"] += self._refused
            self.seen_after["LAW-10"] += self._reopened
            self.seen_after["GRAPH-9"] += self._collected and kind is Loaded
        if isinstance(moment.command, CommitState) and _meets_known(moment.before, moment.command):
            self.further["GRAPH-8"] += 1
        elif isinstance(moment.command, CollectGarbage):
            self._collected = True
        if self._open_sometimes:
            self._sometimes(moment)

    @property
    def exercised(self) -> Counter[str]:
        """How often each requirement came to bear."""
        counts = Counter(self.further)
        for (_, rule), count in self.outcomes.items():
            counts[rule] += count
        return counts

    @property
    def asserted(self) -> Counter[str]:
        """How often an answer could have shown it broken: for what only later reads show, those reads."""
        counts = self.exercised
        for requirement in ("LAW-1", "LAW-10", "GRAPH-9"):
            counts[requirement] = self.seen_after[requirement]
        return counts

    def _sometimes(self, moment: Moment) -> None:
        transition = Transition(moment.before, moment.command, moment.now, moment.after, moment.response)
        for what, happened in list(self._open_sometimes.items()):
            if happened(transition):
                self.sometimes.add(what)
                del self._open_sometimes[what]

    def thin(self, offered: list[str]) -> str:
        """The requirement that was exercised least."""
        counts = self.exercised
        return min(offered, key=lambda one: counts[one])


def _meets_known(before: State, command: CommitState) -> bool:
    return command.delta.kind == APPEND and any(node_named(before.nodes, node.node) is not None for node in command.delta.nodes)


def _of_lease(moment: Moment, response: Leased) -> list[str]:
    more = ["LAW-3"] if lane_of(moment.before, response.lane.session).fencing > 0 else []
    return [*more, "LAW-14"] if response.lane.expires_at == MAX_MS else more


def _of_load(moment: Moment, response: Loaded) -> list[str]:
    more = ["GRAPH-2", "LAW-11"]
    if response.ledger:
        more.append("LAW-8")
    if response.path_open:
        more.append("LAW-13")
    if any(node.tombstoned for node in moment.before.nodes):
        more.append("GRAPH-6")
    return more


def _of_refusal(moment: Moment, response: Refused) -> list[str]:
    return ["LAW-15", "LAW-13"] if response.rule == "GRAPH-1" else ["LAW-15"]


def _of_absence(moment: Moment, response: Absent) -> list[str]:
    return ["LAW-2"] if response.rule == "LEASE-3" else []


def _of_list(moment: Moment, response: Listed) -> list[str]:
    return ["LAW-5", "LAW-9"] if len({batch.session for batch in moment.before.queue}) > 1 else ["LAW-5"]


def _of_batch(moment: Moment, response: Queued) -> list[str]:
    return ["QUEUE-14"] if isinstance(moment.command, Enqueue) and moment.command.source >= 100 else []


def _of_claim(moment: Moment, response: Claimed) -> list[str]:
    more = []
    taken = {batch.batch for batch in response.batches}
    if isinstance(moment.command, ClaimReady | ClaimByIds):
        if any(batch.fencing > 0 for batch in moment.before.queue if batch.batch in taken):
            more.append("LAW-4")
        if any(batch.hold.claim != 0 for batch in moment.before.queue if batch.batch in taken):
            more.append("QUEUE-9")
        if any(batch.session == response.batches[0].session and batch.batch not in taken for batch in moment.before.queue):
            more += ["QUEUE-5", "QUEUE-7"]
        if len(taken) > 1:
            more.append("QUEUE-7")
    if response.hold.expires_at == MAX_MS:
        more.append("LAW-14")
    return more


def _of_commit(moment: Moment, response: Committed) -> list[str]:
    command = moment.command
    if response.rule == "COMMIT-4":
        return ["LAW-7"]
    more = ["LAW-6", "LAW-11", "GRAPH-1"]
    if isinstance(command, CommitState):
        checkpoint = command.checkpoint
        if any(part != NO_PART for part in (checkpoint.tool_state, checkpoint.plugin_snapshot, checkpoint.execution_state)):
            more.append("COMMIT-10")
        if command.stamp.turn:
            more.append("COMMIT-9")
        if command.completions:
            more.append("COMMIT-7")
        if command.attachments:
            more.append("ATTACH-2")
        if command.usage:
            more.append("LAW-8")
    return more


_FURTHER: dict[type, Callable[[Moment, Any], list[str]]] = {
    Leased: _of_lease,
    Claimed: _of_claim,
    Committed: _of_commit,
    Loaded: _of_load,
    Refused: _of_refusal,
    Absent: _of_absence,
    Listed: _of_list,
    Queued: _of_batch,
}
"""What else a right answer of each kind has exercised, beside the rule that decided it."""


def offered(capabilities: Capabilities) -> tuple[list[str], list[NotChecked]]:
    """The requirements that this store can be held to, and what is left out and why."""
    yes, no = [], []
    for requirement in REQUIREMENTS:
        why = _why_not(requirement.id, capabilities)
        if why:
            no.append(NotChecked(requirement.id, why))
        else:
            yes.append(requirement.id)
    return yes, no


def _why_not(identifier: str, capabilities: Capabilities) -> str:
    group = identifier.split("-", maxsplit=1)[0]
    missing = [op for op in NEEDS.get(identifier, _GROUP_NEEDS.get(group, ())) if op not in capabilities.ops]
    if missing:
        return f"the store does not offer {', '.join(missing)}"
    if identifier == "LAW-10" and not capabilities.reopen:
        return "the store does not declare reopen" if capabilities.tier == "inline" else "the store declares durable, but no reopen"
    if identifier == "LAW-14" and capabilities.max_integer < MAX_MS:
        return f"integers above {capabilities.max_integer} are not carried exactly; times up to there were"
    if identifier in {"LAW-12", "LEASE-8"} and (capabilities.handles < 2 or not capabilities.concurrent):
        return "the store declares one handle" if capabilities.handles < 2 else "the store does not declare concurrent calls"
    if identifier in {"ATTACH-1", "ATTACH-2", "ATTACH-3", "ATTACH-4"} and capabilities.manifest == "noop":
        return "the manifest is a declared no-op"
    if identifier == "ATTACH-5" and capabilities.manifest == "persistent":
        return "the manifest is persistent"
    return ""


def limits(capabilities: Capabilities) -> list[NotChecked]:
    """What else the declared capabilities keep from being checked."""
    if capabilities.clock == "virtual":
        return []
    return [
        NotChecked(
            "expiry and availability to the millisecond", "the store's clock is real: only ttls of 0 and over an hour were used"
        )
    ]


def missing_operations(capabilities: Capabilities) -> list[NotChecked]:
    """Operations that are not offered."""
    return [NotChecked(op, "the store does not offer it") for op in OPERATIONS if op not in capabilities.ops]

"""Which rule a wrong answer breaks, where the model's response alone does not say: the most specific one.

Judging has found that the answer is wrong; here it only gets its number. Every function takes the `Moment`, returns an identifier.
"""

from __future__ import annotations

from typing import Any

from leasehold import records
from leasehold.oracle.moment import Moment
from leasehold_model.claim import ClaimByIds, Claimed, ClaimReady, RenewClaim
from leasehold_model.commit import CommitState, Committed
from leasehold_model.decisions import due, live
from leasehold_model.graph import FoundNode, Loaded, LoadNode
from leasehold_model.ids import Millis
from leasehold_model.lease import Leased, RenewLease
from leasehold_model.outcome import Absent, Refused
from leasehold_model.queue import Enqueue, Listed, ListQueued
from leasehold_model.state import NO_HOLD, Batch, Hold, State, is_held

LARGE = 2**53
"""Times from here on are called large: they overflow where integers are not carried exactly (LAW-14)."""


def time_rule(rule: str, expected: int) -> str:
    """A wrong time breaks the rule that sets it; a large one LAW-14."""
    return "LAW-14" if expected >= LARGE else rule


def not_refused(moment: Moment) -> str:
    """The model refuses, the store does not."""
    assert isinstance(moment.response, Refused)  # noqa: S101 - the caller's case
    return moment.response.rule


_BY_CODE = {
    "session_binding_mismatch": "COMMIT-1",
    "runtime_turn_commit_conflict": "COMMIT-3",
    "session_execution_lease_expired": "COMMIT-5",
    "head_revision_conflict": "COMMIT-6",
    "queued_work_claim_expired": "COMMIT-7",
}


def refused(moment: Moment, code: str) -> str:
    """The store refuses, the model does not: the rule that its refusal claims to enforce, or the one that grants."""
    response, command = moment.response, moment.command
    if isinstance(command, CommitState):
        if isinstance(response, Committed) and response.rule == "COMMIT-4":
            return "COMMIT-4"
        return _BY_CODE.get(code) or ("GRAPH-8" if _odd_nodes(moment.before, command) else "COMMIT-8")
    if isinstance(command, ClaimReady | ClaimByIds) and code == "session_execution_lease_expired":
        return "QUEUE-4"
    if isinstance(command, RenewLease | RenewClaim) or isinstance(response, Claimed | Leased):
        return absent(moment)
    rule: str = getattr(response, "rule", "LAW-15")
    return rule


def _odd_nodes(before: State, command: CommitState) -> bool:
    """The delta has what GRAPH-8 is about: an id twice, or one that is stored, or a leaf that is not there."""
    stored, given = {node.node for node in before.nodes}, [node.node for node in command.delta.nodes]
    leaf = command.delta.leaf
    return len(set(given)) < len(given) or bool(stored & set(given)) or (leaf != 0 and leaf not in stored.union(given))


def wrong_code(moment: Moment, code: str) -> str:
    """Both refuse, by another check: the earlier one of the two was not as it should be, since the first failure decides."""
    response = moment.response
    assert isinstance(response, Refused)  # noqa: S101 - the caller's case
    claimed = _BY_CODE.get(code, response.rule)
    ordered = isinstance(moment.command, CommitState) and response.rule in _ORDER and claimed in _ORDER
    return min(claimed, response.rule, key=_ORDER.index) if ordered else response.rule


_ORDER = ("COMMIT-1", "COMMIT-2", "COMMIT-3", "COMMIT-5", "COMMIT-6", "COMMIT-7")


def absent(moment: Moment) -> str:
    """The model grants or finds, the store says no or nothing."""
    response, command = moment.response, moment.command
    if isinstance(response, Leased):
        if response.rule != "LEASE-1":
            return time_rule(response.rule, _lane_expiry(moment))
        return response.rule
    if isinstance(response, Claimed):
        if isinstance(command, RenewClaim):
            return time_rule("QUEUE-11", max(_hold(moment.before, b.batch).expires_at for b in response.batches))
        return _not_claimed(moment, response)
    if isinstance(response, FoundNode):
        return "GRAPH-5"
    rule: str = getattr(response, "rule", "LAW-15")
    return rule


def _lane_expiry(moment: Moment) -> int:
    assert isinstance(moment.response, Leased)  # noqa: S101 - the caller's case
    return max((lane.expires_at for lane in moment.before.lanes if lane.session == moment.response.lane.session), default=0)


def _not_claimed(moment: Moment, response: Claimed) -> str:
    """A claim that should have been granted was not."""
    command = moment.command
    first = response.batches[0]
    if isinstance(command, ClaimByIds):
        return "QUEUE-10"
    if any(_hold(moment.before, batch.batch).claim != 0 for batch in response.batches):
        return "QUEUE-9"
    if isinstance(command, ClaimReady) and not command.idle and not first.after_commit:
        return "QUEUE-6"
    if any(batch.session == first.session and batch.seq < first.seq for batch in moment.before.queue):
        return "QUEUE-5"
    return "QUEUE-8"


def not_absent(moment: Moment, value: Any, batch_of: dict[str, int]) -> str:
    """The model says *not granted* or *not there*, the store gave something."""
    response, command = moment.response, moment.command
    assert isinstance(response, Absent)  # noqa: S101 - the caller's case
    if isinstance(command, LoadNode) and any(node.node == command.node and node.tombstoned for node in moment.before.nodes):
        return "GRAPH-6"
    if response.rule == "QUEUE-5" and isinstance(value, records.Claim):
        return wrong_batches(moment, [], [batch_of.get(batch.batch_id, 0) for batch in value.batches])
    return response.rule


def not_fresh(moment: Moment, stored: bool) -> str:
    """An enqueue that should have added a batch returned a known one, as it is ``stored``, or only its id."""
    command = moment.command
    assert isinstance(command, Enqueue)  # noqa: S101 - the caller's case
    return "QUEUE-2" if command.source != 0 and stored else "QUEUE-1"


def wrong_batches(moment: Moment, expected: list[int], given: list[int]) -> str:
    """A claim on other batches than the model's."""
    command = moment.command
    session = getattr(command, "session", 0)
    if isinstance(command, RenewClaim):
        return "QUEUE-11"
    for name in given:
        if name in expected:
            continue
        batch = _find(moment.before, name)
        if batch is None:
            return "LAW-5"
        if batch.session != session:
            return "LAW-9"
        if not due(batch.available_at, moment.now):
            return time_rule("QUEUE-5", batch.available_at)
        if live(batch.hold.claim, batch.hold.expires_at, moment.now):
            return time_rule("QUEUE-5", batch.hold.expires_at)
    if expected and given and expected[0] != given[0]:
        return "QUEUE-5"
    if sorted(expected) == sorted(given):
        return "QUEUE-8"
    return "QUEUE-10" if isinstance(command, ClaimByIds) else "QUEUE-7"


def wrong_list(moment: Moment, expected: list[int], given: list[int]) -> str:
    """A list of other batches than the model's."""
    command, response = moment.command, moment.response
    assert isinstance(command, ListQueued) and isinstance(response, Listed)  # noqa: S101, PT018 - the caller's case
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    for name in extra:
        batch = _find(moment.before, name)
        if batch is None:
            return "LAW-5"
        if batch.session != command.session:
            return "LAW-9"
        if command.pending and is_held(batch, Millis(moment.now)):
            return time_rule("QUEUE-3", batch.hold.expires_at)
    if missing and command.pending and any(_hold(moment.before, name).claim != 0 for name in missing):
        return "QUEUE-9"
    if missing and not command.pending:
        return "LAW-5"
    return "QUEUE-3"


def wrong_nodes(moment: Moment, expected: list[str], given: list[str]) -> str:
    """A load of other nodes than the model's."""
    response = moment.response
    assert isinstance(response, Loaded)  # noqa: S101 - the caller's case
    hidden = {f"node-{node.node}" for node in moment.before.nodes if node.tombstoned}
    if hidden & set(given) - set(expected):
        return "GRAPH-6"
    if response.rule == "GRAPH-4" or sorted(expected) == sorted(given):
        return response.rule
    return "GRAPH-1"


def leaf(moment: Moment) -> str:
    """A wrong leaf."""
    response = moment.response
    rule: str = getattr(response, "rule", "GRAPH-3")
    return rule


def wrong_entries(moment: Moment, expected: list[Any], given: list[Any]) -> str:
    """A list of other uncommitted intents than the model's."""
    if not moment.contract.persistent_manifest:
        return "ATTACH-5"
    missing = [entry for entry in expected if entry not in given]
    extra = [entry for entry in given if entry not in expected]
    listed = {(f"attachment-{e.attachment}", e.stamped) for e in moment.before.manifest}
    if any((entry[0], True) in listed for entry in extra):
        return "ATTACH-2"
    if any((entry[0], False) in listed for entry in extra):
        return "ATTACH-3"
    if extra and not missing:
        return "ATTACH-4"
    return "ATTACH-1" if extra or len(given) != len(set(map(tuple, given))) else "ATTACH-3"


def _find(state: State, name: int) -> Batch | None:
    return next((batch for batch in state.queue if batch.batch == name), None)


def _hold(state: State, name: int) -> Hold:
    batch = _find(state, name)
    return batch.hold if batch is not None else NO_HOLD

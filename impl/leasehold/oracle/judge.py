"""Judging: is the store's answer the one that the model's response allows? Decides nothing itself; `step` did.

A `Mismatch` cites the rule that the answer breaks. Where the model's response alone does not say which rule that is, `blame` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from attrs import fields

from leasehold import records
from leasehold.oracle import blame
from leasehold.oracle import vocabulary as word
from leasehold.oracle.answers import Answer, BrokenTarget, Err, Hung, Misshapen, Ok
from leasehold.oracle.binding import Binding, parts
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.wire.codec import ShapeError, decode_result
from leasehold_model.attachment import FoundMeta, Uncommitted
from leasehold_model.claim import Claimed, RenewClaim
from leasehold_model.commit import Committed
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import FoundNode, Loaded, Vacuumed
from leasehold_model.lease import Leased
from leasehold_model.machine import Response
from leasehold_model.outcome import ANY_ERROR, Absent, Done, Refused
from leasehold_model.queue import Listed, Queued
from leasehold_model.state import Batch, Checkpoint, Lane, Node


class _Broken(Exception):
    """Raised inside a comparison, where it fails."""

    def __init__(self, rule: str, where: str, allowed: Any, given: Any, also: tuple[str, ...] = ()) -> None:
        super().__init__(rule)
        self.mismatch = Mismatch(rule, where, _text(allowed), _text(given), also)


def judge(binding: Binding, moment: Moment, answer: Answer) -> Mismatch | None:
    """None if the answer is allowed; ids and numbers it shows are then bound. Raises `BrokenTarget` for an answer out of shape."""
    response = moment.response
    if isinstance(answer, Ok):
        if isinstance(response, Refused):
            return Mismatch(blame.not_refused(moment), moment.op, _refusal(response), _text(answer.value))
        try:
            _COMPARE[type(response)](binding, moment, response, _shaped(moment.op, answer.value, response))
        except _Broken as broken:
            return broken.mismatch
        return None
    if isinstance(answer, Misshapen):
        if not isinstance(response, Refused):
            raise BrokenTarget(answer.why)
        return Mismatch(blame.not_refused(moment), moment.op, _refusal(response), _text(answer.value))
    if isinstance(answer, Hung):
        return Mismatch("LAW-13", moment.op, "an answer", f"none within {answer.seconds:g} s")
    if not isinstance(answer, Err):
        raise TypeError(f"{answer!r} cannot be judged")
    if isinstance(response, Refused) and not answer.untyped:
        return _refused_rightly(moment, response, answer)
    if isinstance(response, Loaded) and response.path_open:
        return None
    rule = "LAW-15" if answer.untyped else blame.refused(moment, answer.code)
    return Mismatch(rule, moment.op, _allowed(response), f"{answer.code}: {answer.message}")


def _refused_rightly(moment: Moment, response: Refused, answer: Err) -> Mismatch | None:
    if response.code not in (ANY_ERROR, answer.code):
        return Mismatch(blame.wrong_code(moment, answer.code), "err.code", response.code, answer.code)
    names = {"COMMIT-1": ("bound_session_id", "attempted_session_id"), "COMMIT-6": ("expected", "actual")}.get(response.rule, ())
    for name, number in zip(names, response.details, strict=False):
        expected: Any = word.session(number) if response.rule == "COMMIT-1" else number
        if answer.details.get(name, expected) != expected:
            return Mismatch(response.rule, f"err.{name}", _text(expected), _text(answer.details[name]))
    return None


# -- shapes ----------------------------------------------------------------------------------------------------------------

_RECORDS: dict[type, type | tuple[type, ...]] = {
    Leased: records.Lease,
    Queued: records.Batch,
    Claimed: records.Claim,
    Committed: records.CommitResult,
    Loaded: records.Read,
    FoundNode: records.Node,
    FoundMeta: records.SessionMeta,
}
_NULLABLE = frozenset(
    (
        "load_session",
        "load_node",
        "try_claim_session_execution_lease",
        "claim_ready_queued_work",
        "claim_ready_queued_work_by_batch_ids",
        "cancel_queued_work_batch",
        "load_session_meta",
    )
)


def _shaped(op: str, value: Any, response: Response) -> Any:
    """The value as the record it should be. JSON of the wire's shape is taken too."""
    expected = _RECORDS.get(type(response))
    if expected is not None and isinstance(value, expected):
        return _plain(value, expected)
    if value is None:
        if expected is not None and op not in _NULLABLE:
            raise BrokenTarget(f"{op} answered nothing where {_article(expected)} is due: return it, or raise a refusal")
        return value
    if isinstance(value, dict):
        try:
            return decode_result(op, value)
        except ShapeError as error:
            raise BrokenTarget(f"{op} answered out of shape: {error}") from error
    if expected is None or op in _NULLABLE:
        return value
    raise BrokenTarget(f"{op} answered {_text(value)} where {_article(expected)} is due")


def _plain(value: Any, expected: Any) -> Any:
    """A record of a store's own subclass as the record that it is."""
    return value if type(value) is expected else expected(**{one.name: getattr(value, one.name) for one in fields(expected)})


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _article(expected: Any) -> str:
    return f"a {expected.__name__} (leasehold.records)"


def _sequence(op: str, value: Any, member: type) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise BrokenTarget(f"{op} answered {_text(value)} where a list of {member.__name__} (leasehold.records) is due")
    if not all(isinstance(one, member) for one in value):
        try:
            return list(decode_result(op, list(value)))
        except (ShapeError, AttributeError, TypeError) as error:
            raise BrokenTarget(f"{op} answered a list with something else than {member.__name__} in it: {error}") from error
    return [_plain(one, member) for one in value]


# -- comparisons -------------------------------------------------------------------------------------------------------------


def _done(binding: Binding, moment: Moment, response: Done, value: Any) -> None:
    """Whatever a store returns where nothing is asked of it, is fine."""


def _absent(binding: Binding, moment: Moment, response: Absent, value: Any) -> None:
    if value is not None:
        raise _Broken(blame.not_absent(moment, value, binding.batch_of), moment.op, "null", value)


def _leased(binding: Binding, moment: Moment, response: Leased, value: records.Lease | None) -> None:
    rule, lane = response.rule, response.lane
    if value is None:
        raise _Broken(blame.absent(moment), moment.op, _lane(lane), "null")
    if not isinstance(value, records.Lease):
        raise BrokenTarget(f"{moment.op} answered {_text(value)} where {_article(records.Lease)} is due")
    _same(rule, "session_id", word.session(lane.session), value.session_id)
    _same(rule, "owner_id", word.owner(lane.owner), value.owner_id)
    fresh = lane.token not in binding.tokens
    if not binding.show_token(lane.session, lane.token, value.lease_token):
        allowed = "a token never seen on this lane" if fresh else binding.tokens[lane.token]
        raise _Broken(rule, "lease_token", allowed, value.lease_token, ("LAW-4",) if fresh else ())
    seen = binding.fences.get(lane.session, {})
    if not _is_int(value.fencing_token) or not binding.show_fencing(lane.session, lane.fencing, value.fencing_token):
        allowed = str(seen[lane.fencing]) if lane.fencing in seen else f"more than {max(seen.values(), default=0)}"
        raise _Broken("LAW-3" if lane.fencing not in seen else rule, "fencing_token", allowed, value.fencing_token)
    _time(binding, moment, rule, "claimed_at_epoch_ms", lane.claimed_at, value.claimed_at_epoch_ms)
    _time(binding, moment, rule, "expires_at_epoch_ms", lane.expires_at, value.expires_at_epoch_ms)


def _queued(binding: Binding, moment: Moment, response: Queued, value: records.Batch | None) -> None:
    if value is None:
        raise _Broken(blame.absent(moment), moment.op, _batch(binding, response.batch), "null")
    if not isinstance(value, records.Batch):
        raise BrokenTarget(f"{moment.op} answered {_text(value)} where {_article(records.Batch)} is due")
    rule = response.rule
    if rule == "QUEUE-1" and value.batch_id in binding.batch_of:
        stored = value == binding.batches[binding.batch_of[value.batch_id]]
        raise _Broken(blame.not_fresh(moment, stored), "batch_id", "an id never seen", value.batch_id)
    _same_batch(binding, moment, rule, "", response.batch, value)
    if rule == "QUEUE-1" and not binding.show_seq(value.enqueue_seq):
        raise _Broken(rule, "enqueue_seq", f"more than {binding.last_seq}", value.enqueue_seq)


def _same_batch(binding: Binding, moment: Moment, rule: str, where: str, batch: Batch, value: records.Batch) -> None:
    known = binding.batches.get(batch.batch)
    if known is value or known == value:
        return
    if known is not None:
        for name in _BATCH_FIELDS:
            _same(rule, where + name, getattr(known, name), getattr(value, name))
        _same_items(rule, where, [(i.item_id, i.payload) for i in known.items], [(i.item_id, i.payload) for i in value.items])
        return
    _same(rule, where + "session_id", word.session(batch.session), value.session_id)
    _same(rule, where + "source_key", word.source_key(batch.source), value.source_key)
    _same(rule, where + "delivery_policy", _delivery(batch), value.delivery_policy)
    _same(rule, where + "slot_policy", "exclusive" if batch.exclusive else "join", value.slot_policy)
    _same(rule, where + "merge_key", word.merge_key(batch.merge), value.merge_key)
    _same(blame.time_rule(rule, batch.available_at), where + "available_at_ms", batch.available_at, value.available_at_ms)
    _time(binding, moment, rule, where + "enqueued_at_ms", batch.enqueued_at, value.enqueued_at_ms)
    payloads = word.payloads(batch.payload, batch.source)
    ids = [item.item_id for item in value.items]
    _same_items("QUEUE-14" if batch.source >= 100 else rule, where, payloads, [item.payload for item in value.items])
    if len(set(ids)) != len(ids):
        raise _Broken(rule, where + "items", "an id of its own for each item", ids)
    if value.batch_id in binding.batch_of:
        raise _Broken(rule, where + "batch_id", "an id never seen", value.batch_id)
    if rule != "QUEUE-1":  # first seen elsewhere than in the answer to its enqueue, which was lost
        _in_order(binding, moment, batch, value, where)
    binding.batches[batch.batch] = value
    binding.batch_of[value.batch_id] = batch.batch


def _in_order(binding: Binding, moment: Moment, batch: Batch, value: records.Batch, where: str) -> None:
    """Its enqueue_seq lies between those of its neighbours in the queue, so far as they were seen."""
    seen = [(int(one.seq), binding.batches[one.batch].enqueue_seq) for one in moment.after.queue if one.batch in binding.batches]
    after = max((shown for seq, shown in seen if seq < batch.seq), default=None)
    before = min((shown for seq, shown in seen if seq > batch.seq), default=None)
    if (after is not None and value.enqueue_seq <= after) or (before is not None and value.enqueue_seq >= before):
        raise _Broken("QUEUE-1", where + "enqueue_seq", f"between {after} and {before}", value.enqueue_seq)
    if binding.last_seq is None or value.enqueue_seq > binding.last_seq:
        binding.last_seq = value.enqueue_seq


_BATCH_FIELDS = (
    "batch_id",
    "session_id",
    "enqueue_seq",
    "source_key",
    "delivery_policy",
    "slot_policy",
    "merge_key",
    "available_at_ms",
    "enqueued_at_ms",
)


def _same_items(rule: str, where: str, expected: Any, given: Any) -> None:
    if list(expected) != given and word.canonical(expected) != word.canonical(given):
        raise _Broken(rule, where + "items", expected, given)


def _claimed(binding: Binding, moment: Moment, response: Claimed, value: records.Claim | None) -> None:
    if value is None:
        raise _Broken(blame.absent(moment), moment.op, _claim(binding, response), "null")
    if not isinstance(value, records.Claim):
        raise BrokenTarget(f"{moment.op} answered {_text(value)} where {_article(records.Claim)} is due")
    rule, hold = response.rule, response.hold
    _same_names(binding, moment, response.batches, value.batches)
    for index, (batch, shown) in enumerate(zip(response.batches, value.batches, strict=True)):
        _same_batch(binding, moment, rule, f"batches[{index}].", batch, shown)
    _same(rule, "session_id", word.session(response.batches[0].session), value.session_id)
    _same(rule, "owner_id", word.owner(hold.owner), value.owner_id)
    name = int(hold.claim)
    if name in binding.claims:
        known = binding.claims[name]
        _same(rule, "claim_id", known.claim_id, value.claim_id)
        _same(rule, "lease_token", known.lease_token, value.lease_token)
        _same(rule, "fencing_token", known.fencing_token, value.fencing_token)
    else:
        if value.claim_id in binding.claim_of:
            raise _Broken("LAW-4", "claim_id", "an id never seen", value.claim_id)
        _fenced(binding, moment, response, value)
    _time(binding, moment, rule, "claimed_at_epoch_ms", hold.claimed_at, value.claimed_at_epoch_ms)
    _time(binding, moment, rule, "expires_at_epoch_ms", hold.expires_at, value.expires_at_epoch_ms)
    if isinstance(moment.command, RenewClaim) or name not in binding.claims:
        binding.claims[name] = value
        binding.claim_of[value.claim_id] = name
        for batch in response.batches:
            binding.claim_fences[batch.batch] = value.fencing_token


def _fenced(binding: Binding, moment: Moment, response: Claimed, value: records.Claim) -> None:
    """A fresh claim's token is above those of earlier claims on its batches (LAW-4); under P-CLAIM-FENCE head, on the first."""
    fenced = response.batches[:1] if moment.contract.policies.claim_fence == "head" else response.batches
    floor = max((binding.claim_fences.get(batch.batch, 0) for batch in fenced), default=0)
    if not _is_int(value.fencing_token) or value.fencing_token <= floor:
        raise _Broken("LAW-4", "fencing_token", f"more than {floor}", value.fencing_token)


def _same_names(binding: Binding, moment: Moment, expected: tuple[Batch, ...], given: Any) -> None:
    names = [int(batch.batch) for batch in expected]
    shown = binding.named(expected, given)
    if names != shown:
        allowed = [binding.batches[name].batch_id if name in binding.batches else "?" for name in names]
        raise _Broken(blame.wrong_batches(moment, names, shown), "batches", allowed, [batch.batch_id for batch in given])


def _listed(binding: Binding, moment: Moment, response: Listed, value: Any) -> None:
    given = _sequence(moment.op, value, records.Batch)
    names = [int(batch.batch) for batch in response.batches]
    shown = binding.named(response.batches, given)
    if names != shown:
        allowed = [binding.batches[name].batch_id if name in binding.batches else "?" for name in names]
        raise _Broken(blame.wrong_list(moment, names, shown), "batches", allowed, [batch.batch_id for batch in given])
    for index, (batch, one) in enumerate(zip(response.batches, given, strict=True)):
        _same_batch(binding, moment, "QUEUE-3", f"[{index}].", batch, one)


def _committed(binding: Binding, moment: Moment, response: Committed, value: records.CommitResult | None) -> None:
    if not isinstance(value, records.CommitResult):
        raise BrokenTarget(f"{moment.op} answered {_text(value)} where {_article(records.CommitResult)} is due")
    replay = response.rule == "COMMIT-4"
    _same("COMMIT-4" if replay else "LAW-6", "head_revision", response.revision, value.head_revision)
    if not binding.show_checkpoint_ref(response.checkpoint_ref, response.checkpoint, value.checkpoint_ref):
        known = binding.checkpoint_refs.get(response.checkpoint_ref, "a reference that names no other checkpoint")
        raise _Broken(response.rule, "checkpoint_ref", known, value.checkpoint_ref)
    rule = "COMMIT-4" if replay else "COMMIT-10"
    manifest = value.manifest
    _same_json(rule, "manifest.turn_state", word.turn_state(response.checkpoint.turn_state), manifest.turn_state)
    _same_revision(rule, "manifest.", response.checkpoint, manifest.plugin_snapshot_revision)
    for kind, part in parts(response.checkpoint):
        shown = getattr(manifest, kind + "_ref")
        _same_ref(
            binding, moment, rule, f"manifest.{kind}_ref", kind, part.body, part.ref, shown, required=True, current=not replay
        )


def _same_revision(rule: str, where: str, checkpoint: Checkpoint, shown: int | None) -> None:
    expected = None if checkpoint.plugin_snapshot_revision < 0 else checkpoint.plugin_snapshot_revision
    _same(rule, where + "plugin_snapshot_revision", expected, shown)


def _same_ref(
    binding: Binding,
    moment: Moment,
    rule: str,
    where: str,
    kind: str,
    body: int,
    ref: int,
    shown: Any,
    *,
    required: bool,
    current: bool,
) -> None:
    """References are compared by what they name. An echoing store gives back what it was given."""
    if moment.contract.policies.checkpoint_ref == "echo":
        expected = binding.ref(kind, ref) if ref <= 0 else binding.ref_of.get((kind, ref))
        if shown is not None or (required and expected is not None and body != 0):
            _same(rule, where, expected, shown)
        return
    if body == 0:
        if shown is not None and ref == 0:
            raise _Broken(rule, where, "null", shown)
        return
    if shown is None:
        if required:
            raise _Broken(rule, where, f"a reference to the {kind} given", "null")
        return
    if not binding.show_ref(kind, body, shown, current=current):
        raise _Broken(rule, where, f"a reference that names no other body than this {kind}", shown)


def _loaded(binding: Binding, moment: Moment, response: Loaded, value: records.Read | None) -> None:
    if value is None:
        raise _Broken("GRAPH-2", moment.op, f"the session at revision {response.revision}", "null")
    if not isinstance(value, records.Read):
        raise BrokenTarget(f"{moment.op} answered {_text(value)} where {_article(records.Read)} is due")
    _same("LAW-6", "head_revision", response.revision, value.head_revision)
    _same("GRAPH-2", "session_id", word.session(response.session), value.session_id)
    _same_json("GRAPH-2", "config", word.config(response.config), value.config)
    _same_json("GRAPH-2", "agent_frames", list(word.agent_frames(response.agent_frames)), list(value.agent_frames))
    _same("GRAPH-2", "current_agent_frame_id", word.current_frame(response.current_frame), value.current_agent_frame_id)
    if not response.path_open:
        _same_nodes(moment, response, value.graph.nodes)
        leaf = word.node_id(response.leaf) if response.leaf else None
        if not (response.leaf_open and value.graph.leaf_node_id is None):
            _same(blame.leaf(moment), "graph.leaf_node_id", leaf, value.graph.leaf_node_id)
    _same_ledger(response, value.token_ledger)
    if value.checkpoint_ref is not None and not binding.show_checkpoint_ref(
        response.checkpoint_ref, response.checkpoint, value.checkpoint_ref
    ):
        raise _Broken("GRAPH-2", "checkpoint_ref", binding.checkpoint_refs.get(response.checkpoint_ref, "?"), value.checkpoint_ref)
    _same_checkpoint(binding, moment, response.checkpoint, value.checkpoint)


def _same_nodes(moment: Moment, response: Loaded, given: tuple[records.Node, ...]) -> None:
    expected = [word.node(Node(node.node, node.parent, node.record, False)) for node in response.nodes]
    if len(expected) == len(given) and all(one is two or one == two for one, two in zip(expected, given, strict=True)):
        return
    names = [node.node_id for node in expected]
    shown = [node.node_id for node in given]
    if names != shown:
        raise _Broken(blame.wrong_nodes(moment, names, shown), "graph.nodes", names, shown)
    for index, (one, two) in enumerate(zip(expected, given, strict=True)):
        _same_node(response.rule, f"graph.nodes[{index}].", one, two)


def _same_node(rule: str, where: str, expected: records.Node, given: records.Node) -> None:
    for name in ("node_id", "parent_node_id", "agent_frame_id", "timestamp"):
        _same(rule, where + name, getattr(expected, name), getattr(given, name))
    _same_json(rule, where + "content", expected.content, given.content)


def _same_ledger(response: Loaded, given: tuple[records.UsageRow, ...]) -> None:
    expected = [row for row in map(word.usage, response.ledger) if _tokens(row) != (0, 0, 0, 0)]
    shown = [row for row in given if _tokens(row) != (0, 0, 0, 0)]
    if expected != shown:
        raise _Broken("LAW-8", "token_ledger", expected, shown)


def _tokens(row: records.UsageRow) -> tuple[int, int, int, int]:
    return row.input_tokens, row.output_tokens, row.cached_input_tokens, row.reasoning_tokens


def _same_checkpoint(binding: Binding, moment: Moment, expected: Checkpoint, given: records.Checkpoint | None) -> None:
    if given is None:
        raise _Broken("GRAPH-2", "checkpoint", "the checkpoint committed last", "null")
    _same_json("GRAPH-2", "checkpoint.turn_state", word.turn_state(expected.turn_state), given.turn_state)
    _same_revision("GRAPH-2", "checkpoint.", expected, given.plugin_snapshot_revision)
    bodies = (
        (word.tool_state(expected.tool_state.body), given.tool_state),
        (word.plugin_snapshot(expected.plugin_snapshot.body), given.plugin_snapshot),
        (word.execution_state(expected.execution_state.body), given.execution_state),
    )
    for (kind, part), (body, shown) in zip(parts(expected), bodies, strict=True):
        if body is not shown:
            _same_json("COMMIT-10" if part.ref else "GRAPH-2", f"checkpoint.{kind}", body, shown)
        ref = getattr(given, kind + "_ref")
        _same_ref(
            binding, moment, "GRAPH-2", f"checkpoint.{kind}_ref", kind, part.body, part.ref, ref, required=False, current=True
        )


def _found_node(binding: Binding, moment: Moment, response: FoundNode, value: records.Node | None) -> None:
    node = response.node
    if value is None:
        raise _Broken(blame.absent(moment), moment.op, word.node_id(node.node), "null")
    if not isinstance(value, records.Node):
        raise BrokenTarget(f"{moment.op} answered {_text(value)} where {_article(records.Node)} is due")
    _same_node(response.rule, "", word.node(Node(node.node, node.parent, node.record, False)), value)


def _vacuumed(binding: Binding, moment: Moment, response: Vacuumed, value: Any) -> None:
    removed = getattr(value, "removed_node_count", None)
    if not _is_int(removed):
        raise BrokenTarget(f"vacuum answered {_text(value)} where {_article(records.VacuumReport)} is due")
    if not 0 <= removed <= response.at_most:
        raise _Broken("GRAPH-7", "removed_node_count", f"at most {response.at_most}", removed)


def _uncommitted(binding: Binding, moment: Moment, response: Uncommitted, value: Any) -> None:
    given = _sequence(moment.op, value, records.ManifestEntry)
    expected = sorted(
        (word.attachment(e.attachment), word.session(e.session), word.uri(e.uri), int(e.intent_at)) for e in response.entries
    )
    shown = sorted((e.attachment_id, e.session_id, e.canonical_uri, e.intent_at_epoch_ms) for e in given)
    if expected != shown:
        raise _Broken(blame.wrong_entries(moment, expected, shown), "entries", expected, shown)
    for entry in given:
        _same("ATTACH-3", "committed_at_epoch_ms", None, entry.committed_at_epoch_ms)


def _found_meta(binding: Binding, moment: Moment, response: FoundMeta, value: records.SessionMeta | None) -> None:
    expected = word.meta(response.meta)
    if not isinstance(value, records.SessionMeta):
        raise _Broken("META-1", moment.op, expected, "null" if value is None else value)
    for name in ("session_id", "session_name", "created_at", "model", "cwd"):
        _same("META-1", name, getattr(expected, name), getattr(value, name))
    _same_json("META-1", "relation", expected.relation, value.relation)


_COMPARE: dict[type, Any] = {
    Done: _done,
    Absent: _absent,
    Leased: _leased,
    Queued: _queued,
    Claimed: _claimed,
    Listed: _listed,
    Committed: _committed,
    Loaded: _loaded,
    FoundNode: _found_node,
    Vacuumed: _vacuumed,
    Uncommitted: _uncommitted,
    FoundMeta: _found_meta,
}


# -- leaves --------------------------------------------------------------------------------------------------------------------


def _same(rule: str, where: str, expected: Any, given: Any) -> None:
    if expected != given or isinstance(expected, bool) is not isinstance(given, bool):
        raise _Broken(rule, where, expected, given)


def _same_json(rule: str, where: str, expected: Any, given: Any) -> None:
    if expected is not given and expected != given and word.canonical(expected) != word.canonical(given):
        raise _Broken(rule, where, expected, given)


def _time(binding: Binding, moment: Moment, rule: str, where: str, expected: int, given: int) -> None:
    """With a real clock a new time lies between the call's start and its end; from then on it is the time it was."""
    if moment.span is None:
        if expected != given:
            raise _Broken(blame.time_rule(rule, expected), where, expected, given)
        return
    if expected in binding.times and not binding.lost:
        _same(rule, where, binding.times[expected], given)
        return
    first, last = (MAX_MS if expected == MAX_MS else min(bound + expected - moment.now, MAX_MS) for bound in moment.span)
    for now, began in binding.lost:  # the time of a call whose answer was lost: any since then
        first, last = min(first, began + expected - now), max(last, min(moment.span[1] + expected - now, MAX_MS))
    if not _is_int(given) or not first <= given <= last:
        raise _Broken(blame.time_rule(rule, expected), where, f"{first} to {last}", given)
    binding.times.setdefault(expected, given)


# -- words for people ------------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 400 else text[:397] + "..."


def _refusal(response: Refused) -> str:
    return f"refused: {response.code or 'any definite error'}"


def _allowed(response: Response) -> str:
    if isinstance(response, Leased):
        return _lane(response.lane)
    names = {
        Done: "success",
        Absent: "null",
        Committed: "an accepted commit",
        Claimed: "a claim",
        Listed: "a list",
        Queued: "a batch",
    }
    return names.get(type(response), "an answer")


def _lane(lane: Lane) -> str:
    return f"a lease for {word.owner(lane.owner)}"


def _batch(binding: Binding, batch: Batch) -> str:
    return binding.batches[batch.batch].batch_id if batch.batch in binding.batches else "a batch"


def _claim(binding: Binding, response: Claimed) -> str:
    return "a claim on " + ", ".join(_batch(binding, batch) for batch in response.batches)


def _delivery(batch: Batch) -> str:
    return "after_current_turn_commit" if batch.after_commit else "earliest_safe_boundary"

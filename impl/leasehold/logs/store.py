"""A history of a store of this contract: operations, arguments and answers as the adapter protocol writes them.

A log has texts and payloads of its own. They are renamed, the same everywhere, to the words that the oracle's runs use; from then
on the history is judged as one of a concurrent run is. The ids that the store minted stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any

from attrs import evolve

from leasehold import records
from leasehold.logs.lines import Line, Log
from leasehold.logs.objects import AnyCall, LineError, Model
from leasehold.oracle import vocabulary as word
from leasehold.oracle.answers import Answer, Err, Ok
from leasehold.oracle.binding import Binding
from leasehold.oracle.concurrent import inert
from leasehold.oracle.explain import EVER as ANY_TIME
from leasehold.oracle.explain import Asked, Possible, Silence, StoreSpecification, shown_time
from leasehold.oracle.view import UNNAMED
from leasehold.store import OPERATIONS
from leasehold.wire.codec import ShapeError, decode_args, decode_result
from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, LoadMeta, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.graph import APPEND, REPLACE_FULL, UNCHANGED, CollectGarbage, Delta, LoadNode, LoadSession, Tombstone, Vacuum
from leasehold_model.ids import (
    NEVER,
    PAYLOAD_DEFAULT,
    AttachmentId,
    BatchId,
    Body,
    ClaimId,
    FencingToken,
    LeaseToken,
    MergeKey,
    Millis,
    Name,
    NodeId,
    OwnerId,
    SessionId,
    SourceKey,
    TurnHash,
    TurnId,
)
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract, initial
from leasehold_model.queue import CancelBatch, Completion, Enqueue, ListQueued
from leasehold_model.state import NO_FENCE, Checkpoint, Fence, Node, Part, Usage

FIRST_BODY, FIRST_SOURCE = 20_002, 300
"""Numbers whose words are plain: one item for a payload, a session command's source key."""


class Renaming:
    """The numbers that stand for a log's texts and payloads, and names for what was minted: the call's that showed it."""

    def __init__(self) -> None:
        self.view = Binding()
        self._numbers: dict[str, dict[str, int]] = {}
        self._tokens: dict[tuple[int, str], int] = {}
        self._refs: dict[tuple[str, str], int] = {}
        self._unnamed = UNNAMED
        self.forgeries = 0

    def number(self, kind: str, value: Any, first: int = 1, each: int = 1) -> int:
        """The number of a value of a kind; 0 for none."""
        if value is None:
            return 0
        known = self._numbers.setdefault(kind, {})
        return known.setdefault(json.dumps(value, sort_keys=True, default=_plain), first + each * len(known))

    def body(self, kind: str, value: Any) -> Body:
        """The number of a payload."""
        return Body(self.number(kind, value, FIRST_BODY, 3))

    def session(self, text: str | None) -> SessionId:
        """The number of a session."""
        return SessionId(self.number("session", text))

    def node(self, text: str | None) -> NodeId:
        """The number of a node id."""
        return NodeId(self.number("node", text))

    def source(self, text: str | None) -> SourceKey:
        """The number of a source key."""
        return SourceKey(self.number("source", text, FIRST_SOURCE))

    def merge(self, key: records.MergeKey) -> MergeKey:
        """The number of a merge key."""
        if isinstance(key, records.Group):
            return MergeKey(self.number("group", key.group, 10))
        return NEVER if key == "never" else PAYLOAD_DEFAULT

    # -- what was minted ---------------------------------------------------------------------------------------------------

    def show(self, name: int, op: str, value: Any) -> None:
        """Learn the ids of an answer, as the log has it, under the name of its call."""
        if isinstance(value, records.Lease):
            session = int(self.session(value.session_id))
            if op == "try_claim_session_execution_lease":
                token = self._tokens.setdefault((session, value.lease_token), name)
                self.view.tokens[token] = value.lease_token
            self.view.fences.setdefault(session, {})[value.fencing_token] = value.fencing_token
        elif isinstance(value, records.Batch) and op == "enqueue_queued_work":
            self.batch(value, name)
        elif isinstance(value, records.Claim):
            for batch in value.batches:
                self.batch(batch, 0)
            if value.claim_id not in self.view.claim_of and op != "renew_queued_work_claim":
                self.view.claim_of[value.claim_id] = name
                self.view.claims[name] = value
        elif op in {"list_queued_work", "list_pending_queued_work"}:
            for batch in value or ():
                self.batch(batch, 0)
        elif isinstance(value, records.Batch):
            self.batch(value, 0)

    def batch(self, batch: records.Batch, name: int) -> None:
        """A batch that was shown: named after its enqueue, or by a number of its own."""
        known = self.view.batch_of.get(batch.batch_id, 0)
        if not known or (name and known > UNNAMED):
            if not name:
                self._unnamed += 1
            self.view.batches[name or self._unnamed] = batch
            self.view.batch_of[batch.batch_id] = name or self._unnamed

    def show_refs(self, commit: records.Commit, result: records.CommitResult) -> None:
        """Which body a content reference names."""
        for kind in ("tool_state", "plugin_snapshot", "execution_state"):
            body, ref = getattr(commit.checkpoint, kind), getattr(result.manifest, kind + "_ref")
            if body is not None and ref is not None:
                self._refs[kind, ref] = int(self.body(kind, body))
                self.view.show_ref(kind, self._refs[kind, ref], ref, current=True)

    def forged(self) -> int:
        """The number of an id that the log never showed."""
        self.forgeries += 1
        return -self.forgeries

    def batch_name(self, text: str) -> BatchId:
        """The name of a batch."""
        return BatchId(self.view.batch_of.get(text) or self.forged())

    def fence(self, fence: records.Fence | None) -> Fence:
        """A fence."""
        if fence is None:
            return NO_FENCE
        session = self.session(fence.session_id)
        token = self._tokens.get((int(session), fence.lease_token)) or self.forged()
        return Fence(session, OwnerId(self.number("owner", fence.owner_id)), LeaseToken(token), FencingToken(fence.fencing_token))

    def claim(self, claim_id: str, token: str) -> tuple[ClaimId, LeaseToken]:
        """The names of a claim and of its token."""
        name = self.view.claim_of.get(claim_id) or self.forged()
        known = self.view.claims.get(name)
        return ClaimId(name), LeaseToken(name if known is not None and known.lease_token == token else self.forged())

    def part(self, kind: str, checkpoint: records.Checkpoint) -> Part:
        """A part of a checkpoint."""
        body, ref = getattr(checkpoint, kind), getattr(checkpoint, kind + "_ref")
        named = 0 if ref is None else self._refs.get((kind, ref)) or self.forged()
        return Part(self.body(kind, body), Body(named))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, bytes) else repr(value)


# -- commands --------------------------------------------------------------------------------------------------------------------


def _command(names: Renaming, op: str, args: tuple[Any, ...], name: int) -> Command:
    """What a call asked, in the model's numbers."""
    match op, args:
        case "try_claim_session_execution_lease", (session, owner, ttl):
            return TryClaimLease(names.session(session), _owner(names, owner), Millis(ttl), Name(name))
        case "renew_session_execution_lease", (fence, ttl):
            return RenewLease(names.fence(fence), Millis(ttl))
        case "release_session_execution_lease", (completion,):
            return ReleaseLease(names.fence(completion))
        case "commit_runtime_state", (commit,):
            return _commit(names, commit, name)
        case "load_session", (scope,):
            path = isinstance(scope, records.ActivePath)
            return LoadSession(not path, names.node(scope.leaf_node_id) if path else NodeId(0))
        case "load_node", (node,):
            return LoadNode(names.node(node))
        case "tombstone_nodes", (ids,):
            return Tombstone(tuple(map(names.node, ids)))
        case "enqueue_queued_work", (draft,):
            return _enqueue(names, draft, name)
        case "claim_ready_queued_work", (session, fence, owner, boundary, ttl, most):
            asked = (names.session(session), names.fence(fence), _owner(names, owner), boundary == "idle", Millis(ttl))
            return ClaimReady(*asked, most, Name(name))
        case "claim_ready_queued_work_by_batch_ids", (session, fence, owner, boundary, ttl, ids):
            asked = (names.session(session), names.fence(fence), _owner(names, owner), boundary == "idle", Millis(ttl))
            return ClaimByIds(*asked, tuple(map(names.batch_name, ids)), Name(name))
        case "renew_queued_work_claim", (claim, ttl):
            return RenewClaim(names.session(claim.session_id), *_held(names, claim), Millis(ttl))
        case "abandon_queued_work_claim", (claim,):
            return AbandonClaim(names.session(claim.session_id), *_held(names, claim))
        case "cancel_queued_work_batch", (session, batch):
            return CancelBatch(names.session(session), names.batch_name(batch))
        case "list_queued_work" | "list_pending_queued_work", (session,):
            return ListQueued(names.session(session), op == "list_pending_queued_work")
        case "record_intent", (one,):
            number = AttachmentId(names.number("attachment", one.attachment_id))
            return RecordIntent(
                number, names.session(one.session_id), names.body("uri", one.canonical_uri), Millis(one.intent_at_epoch_ms)
            )
        case "commit_refs", (session, ids):
            return CommitRefs(names.session(session), tuple(AttachmentId(names.number("attachment", one)) for one in ids))
        case "list_uncommitted", (older_than,):
            return ListUncommitted(Millis(older_than))
        case "forget", (attachment,):
            return Forget(AttachmentId(names.number("attachment", attachment)))
        case "save_session_meta", (meta,):
            return SaveMeta(names.body("meta", _meta(meta)))
        case "load_session_meta", ():
            return LoadMeta()
        case "vacuum", ():
            return Vacuum()
        case _:
            return CollectGarbage()


def _owner(names: Renaming, text: str) -> OwnerId:
    return OwnerId(names.number("owner", text))


def _held(names: Renaming, claim: records.Claim) -> tuple[ClaimId, LeaseToken, tuple[BatchId, ...]]:
    return *names.claim(claim.claim_id, claim.lease_token), tuple(names.batch_name(one.batch_id) for one in claim.batches)


def _enqueue(names: Renaming, draft: records.BatchDraft, name: int) -> Enqueue:
    return Enqueue(
        names.session(draft.session_id),
        names.source(draft.source_key),
        draft.delivery_policy == "after_current_turn_commit",
        draft.slot_policy == "exclusive",
        names.merge(draft.merge_key),
        Millis(draft.available_at_ms),
        names.body("payloads", list(draft.payloads)),
        Name(name),
    )


def _commit(names: Renaming, commit: records.Commit, name: int) -> CommitState:
    delta, stamp, checkpoint = commit.graph, commit.turn_commit, commit.checkpoint
    kind = UNCHANGED if isinstance(delta, records.Unchanged) else APPEND if isinstance(delta, records.Append) else REPLACE_FULL
    nodes = () if isinstance(delta, records.Unchanged) else delta.nodes
    revision = checkpoint.plugin_snapshot_revision
    return CommitState(
        session=names.session(commit.session_id),
        fence=names.fence(commit.session_execution_lease),
        release=names.fence(commit.release_session_execution_lease),
        expected_revision=EXPECT_NOTHING if commit.expected_head_revision is None else commit.expected_head_revision,
        stamp=TurnStamp(SessionId(0), TurnId(0), TurnHash(0))
        if stamp is None
        else TurnStamp(
            names.session(stamp.session_id),
            TurnId(names.number("turn", stamp.turn_id)),
            TurnHash(names.number("hash", stamp.turn_commit_hash)),
        ),
        config=names.body("config", commit.config),
        agent_frames=names.body("frames", list(commit.agent_frames)),
        current_frame=names.body("frame", commit.current_agent_frame_id),
        delta=Delta(
            kind,
            tuple(Node(names.node(one.node_id), names.node(one.parent_node_id), _record(names, one), False) for one in nodes),
            names.node(delta.leaf_node_id),
        ),
        checkpoint=Checkpoint(
            names.body("turn_state", checkpoint.turn_state),
            names.part("tool_state", checkpoint),
            names.part("plugin_snapshot", checkpoint),
            names.part("execution_state", checkpoint),
            -1 if revision is None else revision,
        ),
        usage=tuple(
            Usage(
                names.body("source", row.source),
                names.body("model", row.model),
                row.input_tokens,
                row.output_tokens,
                row.cached_input_tokens,
                row.reasoning_tokens,
            )
            for row in commit.usage_deltas
        ),
        completions=tuple(
            Completion(
                names.session(one.session_id),
                *names.claim(one.claim_id, one.lease_token),
                tuple(map(names.batch_name, one.batch_ids)),
            )
            for one in commit.completed_queue_claims
        ),
        attachments=tuple(AttachmentId(names.number("attachment", one)) for one in commit.committed_attachment_ids),
        name=Name(name),
    )


def _record(names: Renaming, node: records.Node) -> Body:
    return names.body("record", [node.agent_frame_id, node.timestamp, node.content])


def _meta(meta: records.SessionMeta) -> list[Any]:
    return [meta.session_id, meta.session_name, meta.created_at, meta.model, meta.cwd, meta.relation]


# -- answers ---------------------------------------------------------------------------------------------------------------------


def _renamed(names: Renaming, value: Any) -> Any:
    """An answer in the words of the oracle's runs."""
    match value:
        case records.Lease() | records.Fence():
            return evolve(value, session_id=_session(names, value.session_id), owner_id=word.owner(_owner(names, value.owner_id)))
        case records.Batch():
            return _batch(names, value)
        case records.Claim():
            return evolve(
                value,
                session_id=_session(names, value.session_id),
                owner_id=word.owner(_owner(names, value.owner_id)),
                batches=tuple(_batch(names, one) for one in value.batches),
            )
        case records.CommitResult():
            turn_state = word.turn_state(names.body("turn_state", value.manifest.turn_state))
            return evolve(value, manifest=evolve(value.manifest, turn_state=turn_state))
        case records.Read():
            return _read(names, value)
        case records.Node():
            return _node(names, value)
        case records.SessionMeta():
            return word.meta(names.body("meta", _meta(value)))
        case records.ManifestEntry():
            return evolve(
                value,
                attachment_id=word.attachment(names.number("attachment", value.attachment_id)),
                session_id=_session(names, value.session_id),
                canonical_uri=word.uri(names.body("uri", value.canonical_uri)),
            )
        case list() | tuple():
            return tuple(_renamed(names, one) for one in value)
        case _:
            return value


def _session(names: Renaming, text: str) -> str:
    return word.session(names.session(text))


def _batch(names: Renaming, batch: records.Batch) -> records.Batch:
    body, source = names.body("payloads", [one.payload for one in batch.items]), names.source(batch.source_key)
    ids = [one.item_id for one in batch.items]
    items = tuple(records.Item(f"{batch.batch_id}/{index}", one) for index, one in enumerate(word.payloads(body, source)))
    merge = names.merge(batch.merge_key)
    return evolve(
        batch,
        session_id=_session(names, batch.session_id),
        source_key=word.source_key(source),
        merge_key=word.merge_key(merge),
        items=items if len(set(ids)) == len(ids) else items * 2,
    )


def _node(names: Renaming, node: records.Node) -> records.Node:
    return word.node(Node(names.node(node.node_id), names.node(node.parent_node_id), _record(names, node), False))


def _read(names: Renaming, read: records.Read) -> records.Read:
    checkpoint = read.checkpoint
    if checkpoint is not None:
        checkpoint = evolve(
            checkpoint,
            turn_state=word.turn_state(names.body("turn_state", checkpoint.turn_state)),
            tool_state=word.tool_state(names.body("tool_state", checkpoint.tool_state)),
            plugin_snapshot=word.plugin_snapshot(names.body("plugin_snapshot", checkpoint.plugin_snapshot)),
            execution_state=word.execution_state(names.body("execution_state", checkpoint.execution_state)),
        )
    leaf = read.graph.leaf_node_id
    return evolve(
        read,
        session_id=_session(names, read.session_id),
        config=word.config(names.body("config", read.config)),
        agent_frames=word.agent_frames(names.body("frames", list(read.agent_frames))),
        current_agent_frame_id=word.current_frame(names.body("frame", read.current_agent_frame_id)),
        graph=records.Graph(
            tuple(_node(names, one) for one in read.graph.nodes), None if leaf is None else word.node_id(names.node(leaf))
        ),
        checkpoint=checkpoint,
        token_ledger=tuple(
            evolve(
                row,
                source=f"source-{names.body('source', row.source)}",
                model=f"model-{names.body('model', row.model)}",
            )
            for row in read.token_ledger
        ),
    )


# -- the model of a log ------------------------------------------------------------------------------------------------------------


def offered(log: Log) -> bool:
    """Every operation of the log is one of a store."""
    return bool(log.lines) and all(line.op in OPERATIONS for line in log.lines)


def model(log: Log) -> Model:
    """The model of this log. Raises `LineError` for a line that has not the protocol's shape."""
    names, told = Renaming(), dict[int, tuple[str, tuple[Any, ...], Any]]()
    for line in sorted(log.lines, key=lambda one: (one.end is None, one.end, one.start)):
        told[line.number] = op, args, value = _decoded(line)
        names.show(line.number, op, value)
        if op == "commit_runtime_state" and value is not None:
            names.show_refs(args[0], value)
    times = sorted((line.end, at) for line in log.lines if line.end is not None and (at := _known(names, line, told)) is not None)
    calls = {}
    for line in log.lines:
        op, args, value = told[line.number]
        forged = names.forgeries
        asked = Asked(op, _command(names, op, args, line.number), *_window(line, times))
        if names.forgeries > forged and (value is not None or line.outcome == "unknown"):
            raise _wrong(line, "it names an id that no answer of this log shows. A log begins with an empty store")
        calls[line.number] = asked, _answer(names, line, value)
    loose = any(line.outcome == "unknown" and (line.now is None or line.now[0] != line.now[1]) for line in log.lines)
    for number, batch in names.view.batches.items():
        names.view.batches[number] = _batch(names, batch)
    contract = Contract()

    def specification(state: Possible) -> StoreSpecification:
        return StoreSpecification(contract, state.state, state.binding, names.view, loose)

    def why_not(state: Possible, call: AnyCall) -> str:
        try:
            wrong = specification(state).why_not(state, call)
        except Silence as silence:
            return f"the contract is silent on it: {silence}"
        return f"{wrong.rule}: {wrong.where}: {wrong.allowed} is allowed, not {wrong.given}" if wrong else "it could be"

    return evolve(STORE, specification=specification, call=lambda line: calls[line.number], why_not=why_not, of=None)


def _known(names: Renaming, line: Line, told: dict[int, tuple[str, tuple[Any, ...], Any]]) -> int | None:
    """What the store's clock showed at a call, so far as the log says it."""
    if line.now is not None:
        return line.now[1]
    op, args, value = told[line.number]
    return shown_time(_command(names, op, args, line.number), Ok(value)) if line.outcome == "ok" else None


def _window(line: Line, times: Sequence[tuple[int, int]]) -> tuple[int, int, tuple[int, ...]]:
    """Between which times a call took effect: as the line has it, or not before what was over when it began."""
    if line.now is not None:
        return (*line.now, ())
    first = max((at for end, at in times if end < line.start), default=ANY_TIME[0])
    likely = tuple(sorted({at for _, at in times if at > first})) if line.outcome == "unknown" else ()
    return first, ANY_TIME[1], likely


def _decoded(line: Line) -> tuple[str, tuple[Any, ...], Any]:
    """A line's operation, its arguments and its value as records."""
    try:
        if line.op not in OPERATIONS:
            raise ShapeError("", "is no operation of a store")
        args = decode_args(line.op, line.args or {})
        return line.op, args, decode_result(line.op, line.value) if line.outcome == "ok" else None
    except ShapeError as error:
        raise _wrong(line, f"{error}. Write it as the adapter protocol does") from None


def _wrong(line: Line, why: str) -> LineError:
    error = LineError(f"{line.op}: {why}.")
    error.number = line.number
    return error


def _answer(names: Renaming, line: Line, value: Any) -> Answer | None:
    if line.outcome == "ok":
        return Ok(_renamed(names, value))
    if line.outcome == "unknown":
        return None
    details = dict(line.value) if isinstance(line.value, dict) else {"code": str(line.value)}
    code, message = str(details.pop("code", "backend")), str(details.pop("message", ""))
    for name in ("bound_session_id", "attempted_session_id"):
        if isinstance(details.get(name), str):
            details[name] = _session(names, details[name])
    return Err(code, message, details)


def _footprint(call: AnyCall) -> Sequence[Hashable]:
    command = call.action.command
    if isinstance(command, CommitState):
        return ["head", ("session", int(command.session)), *(["manifest"] if command.attachments else [])]
    if isinstance(command, LoadSession | LoadNode | Tombstone | Vacuum | CollectGarbage):
        return ["head"]
    if isinstance(command, SaveMeta | LoadMeta):
        return ["metadata"]
    if isinstance(command, RecordIntent | CommitRefs | ListUncommitted | Forget):
        return ["manifest"]
    fence = getattr(command, "fence", None) or getattr(command, "completion", None)
    sessions = {int(one) for one in (getattr(command, "session", None), getattr(fence, "session", None)) if one}
    return [("session", one) for one in sorted(sessions)]


def _told(call: AnyCall) -> str:
    answer = call.answer
    text = "answer lost" if not call.definite else answer.code if isinstance(answer, Err) else _brief(answer.value)
    return f"{call.action.op}: {text}"


def _brief(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case records.Lease():
            return f"lease of {value.owner_id}, fencing token {value.fencing_token}"
        case records.Claim():
            return f"claim on {', '.join(one.batch_id for one in value.batches)}"
        case records.Batch():
            return value.batch_id
        case records.CommitResult() | records.Read():
            return f"revision {value.head_revision}"
        case tuple():
            return f"{len(value)} entries"
        case _:
            return type(value).__name__


def _state(possible: Possible) -> str:
    state = possible.state
    lanes = [f"{word.session(lane.session)} is leased" for lane in state.lanes if lane.token]
    return ", ".join([f"revision {state.head.revision}", f"{len(state.queue)} batches queued", *lanes])


def _not_of_a_log(*_: Any) -> Any:
    raise TypeError("the model of a store is made for one log: use `model`")


STORE = Model(
    about="a store of this contract: operations, arguments and answers as the adapter protocol writes them",
    specification=_not_of_a_log,
    call=_not_of_a_log,
    initial=lambda _: Possible(initial(Contract(), SessionId(1)), Binding()),
    unknown=None,
    footprint=_footprint,
    alike=None,
    effectless=inert,
    why_not=_not_of_a_log,
    told=_told,
    state=_state,
    of=model,
)
"""Before it is made for a log."""

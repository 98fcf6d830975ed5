"""Calls, answers and what the model allows in few words: short names for long ids, times counted from the start of the run."""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable
from copy import copy
from typing import Any

from attrs import frozen

from leasehold import records
from leasehold.oracle import vocabulary as word
from leasehold.oracle.answers import Answer, Err, Hung, Misshapen, Ok, Skip, Unknown
from leasehold.report.story import Line, Story
from leasehold_model import attachment, claim, commit, graph, lease, outcome, queue
from leasehold_model.decisions import MAX_MS
from leasehold_model.machine import Response
from leasehold_model.state import Batch, Lane

LONG = 12
"""An id of more characters than this gets a short name."""

WHOLE = 160
"""How much of a value that no rule knows is shown."""

SHORT = {
    "load_session": "load",
    "load_node": "load_node",
    "commit_runtime_state": "commit",
    "try_claim_session_execution_lease": "try_claim",
    "renew_session_execution_lease": "renew",
    "release_session_execution_lease": "release",
    "enqueue_queued_work": "enqueue",
    "claim_ready_queued_work": "claim_ready",
    "claim_ready_queued_work_by_batch_ids": "claim_by_ids",
    "renew_queued_work_claim": "renew_claim",
    "abandon_queued_work_claim": "abandon_claim",
    "cancel_queued_work_batch": "cancel",
    "list_queued_work": "list",
    "list_pending_queued_work": "list_pending",
    "save_session_meta": "save_meta",
    "load_session_meta": "load_meta",
    "tombstone_nodes": "tombstone",
    "gc_unreachable": "gc",
}
"""Operations by the short names that the contract uses."""

_EPOCH = re.compile(r"(?<![\w.-])\d{13,19}(?![\w.])")
_NEAR = 10**11


def short_op(op: str) -> str:
    """The operation's short name."""
    return SHORT.get(op, op)


LISTS = ("batches", "graph.nodes", "entries", "token_ledger")
"""Parts of an answer that are lists of things with names."""

FORGED = "a forged token"
"""What a token is called that no store gave."""

LITERAL = ("session_id", "owner_id", "source_key", "delivery_policy", "slot_policy", "canonical_uri")
"""Parts of an answer that are the caller's own text, which could be taken for ours."""

PARTS = {
    "code": "code of the refusal",
    "enqueue_seq": "enqueue_seq",
    "expires_at_epoch_ms": "expiry",
    "claimed_at_epoch_ms": "time of the grant",
    "enqueued_at_ms": "time of enqueueing",
    "available_at_ms": "due time",
}
"""Parts of an answer that have other names for people than their own without underscores."""

SHOWN = ("batches", "graph.nodes", "graph.leaf_node_id", "token_ledger", "head_revision", "entries")
"""Parts of an answer that stand in its few words anyway."""


@frozen
class Mistake:
    """What is wrong with an answer, and with nothing of it that is right.

    ``part``: of what; empty: the whole answer, or which ``members`` a list has. ``fact``: all of it as a clause.
    """

    part: str
    allowed: str
    given: str
    fact: str
    members: bool = False

    @property
    def whole(self) -> bool:
        """Nothing of the answer is right."""
        return not self.part and not self.members

    def should(self) -> str:
        """What is allowed."""
        return f"{self.part}: {self.allowed}" if self.part else self.allowed

    def did(self) -> str:
        """What was answered."""
        return f"{self.part}: {self.given}" if self.part else self.given


class Words:
    """The words for one story. ``whole``: no short names."""

    def __init__(self, story: Story, *, whole: bool = False) -> None:
        self.story = story
        self._long = sys.maxsize if whole else LONG
        self.legend: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._own: set[str] = set()
        self._fences: set[tuple[Any, Any]] = set()
        self._tokens: set[tuple[Any, Any]] = set()
        for line in story.lines:
            if isinstance(line.answer, Ok):
                self._learn(line.answer.value)

    def _learn(self, value: Any) -> None:
        """Give short names in the order of appearance."""
        for member in value if isinstance(value, list | tuple) else (value,):
            for field, kind in (("batch_id", "batch"), ("claim_id", "claim"), ("checkpoint_ref", "checkpoint")):
                self.id(kind, getattr(member, field, None))
            if isinstance(member, records.Lease):
                self.id("lease", member.lease_token)
                self._fences.add((brief(member.lease_token), brief(member.fencing_token)))
            if isinstance(member, records.Claim):
                self.id("token", member.lease_token)
                self._tokens.add((brief(member.claim_id), brief(member.lease_token)))
                self._learn(member.batches)
            if isinstance(member, records.CommitResult):
                for part in ("tool_state", "plugin_snapshot", "execution_state"):
                    self.id("reference", getattr(member.manifest, part + "_ref", None))

    def about(self, story: Story) -> Words:
        """The same names, for another story of the same store."""
        other = copy(self)
        other.story = story
        return other

    # -- ids and times ---------------------------------------------------------------------------------------------------

    def id(self, kind: str, text: Any) -> str:
        """An id, by a short name if it is long: its kind (batch, claim, lease, token, checkpoint, reference) and a number."""
        if not isinstance(text, str):
            return "none" if text is None else brief(text)
        if len(text) <= self._long or text.startswith("forged-"):
            self._own.add(text)
            return text
        if text not in self._names:
            taken = self._own | set(self.legend)
            name = next(name for number in itertools.count(1) if (name := f"{kind}-{number}") not in taken)
            self._names[text] = name
            self.legend[name] = middle(text)
        return self._names[text]

    def _named(self, kind: str, text: Any) -> str:
        """An id that says what it is of."""
        name = self.id(kind, text)
        return name if name.startswith((kind, "forged-", "none")) else f"{kind} {name}"

    def time(self, at: Any) -> str:
        """A time, counted in milliseconds from the start of the run."""
        if type(at) is not int:
            return brief(at)
        if at == MAX_MS:
            return "2^63-1"
        return f"{at - self.story.start:+d}" if abs(at - self.story.start) < _NEAR else str(at)

    def text(self, text: str) -> str:
        """Text with the same short names and times in it."""
        for long in sorted(self._names, key=len, reverse=True):
            text = text.replace(f"'{long}'", self._names[long]).replace(long, self._names[long])
        return _EPOCH.sub(lambda match: self.time(int(match[0])), text)

    def wrong(self) -> tuple[str, str, str]:
        """What is wrong with the last step: where, what the contract allows there, what the store answered."""
        wrong, last = self.story.mismatch, self.story.lines[-1]
        place = "" if wrong.where == last.op else f" at {wrong.where}"
        if not place or wrong.where in SHOWN:
            return f"Step {last.number}, {last.op}{place}", self.allowed(last.response), self.answer(last)
        return f"Step {last.number}, {last.op}{place}", self._literal(wrong.allowed), self._literal(first_line(wrong.given))

    def both(self, line: Line) -> tuple[tuple[str, str], tuple[str, str]]:
        """What the contract allows and what was answered in a step: each in plain, and what of it is the mistake."""
        allowed, answer = self.allowed(line.response), self.answer(line)
        if isinstance(line.answer, Unknown):
            allowed = "it may have taken effect or not"
        if not line.broken:
            return (allowed, ""), (answer, "")
        wrong = self.mistake()
        if wrong.whole:
            return ("", allowed), ("", answer)
        return (allowed, wrong.should()), (answer, wrong.did())

    def wrong_whole(self) -> tuple[str, str]:
        """What the contract allows, and what the store answered: the whole answers, or the part that is wrong by its name."""
        _, allowed, given = self.wrong()
        part = "" if self.story.mismatch.where in SHOWN else self.mistake().part
        return (f"{part} {allowed}", f"{part} {given}") if part else (answered(allowed), answered(given))

    def _literal(self, text: str) -> str:
        """A part of an answer; in quotes where it is the store's own text."""
        name = self.story.mismatch.where.rpartition(".")[2]
        return quoted(text) if name in LITERAL and text != "None" else self.text(text)

    def mistake(self) -> Mistake:
        """What exactly is wrong with the last answer."""
        wrong, last = self.story.mismatch, self.story.lines[-1]
        _, allowed, given = self.wrong()
        if wrong.where == last.op:
            return Mistake("", allowed, given, f"the answer is {answered(given)}, not {answered(allowed)}")
        if wrong.where in LISTS:
            with contextlib.suppress(AttributeError, TypeError, ValueError):  # a record with something odd in it
                return self._members(wrong.where, *self._lists(last))
        if wrong.where in SHOWN:
            allowed, given = self.text(wrong.allowed), self.text(first_line(wrong.given))
        part, whose = wrong.where.rpartition(".")[2], ""
        part = PARTS.get(part, part.replace("_", " "))
        index = re.match(r"(?:batches)?\[(\d+)\]\.", wrong.where)
        if index:
            value = last.answer.value if isinstance(last.answer, Ok) else ()
            with contextlib.suppress(AttributeError, TypeError, LookupError):
                whose = f" of {self.id('batch', getattr(value, 'batches', value)[int(index[1])].batch_id)}"
        return Mistake(part + whose, allowed, given, f"the {part}{whose} is {given}, not {allowed}")

    def _lists(self, last: Line) -> tuple[list[str], list[str]]:
        """The members that the contract allows, and those that were answered."""
        value: Any = last.answer.value if isinstance(last.answer, Ok) else None
        match last.response:
            case queue.Listed(_, batches) | claim.Claimed(_, _, _, batches):
                given = [self.id("batch", one.batch_id) for one in getattr(value, "batches", value)]
                return [self._batch(one) for one in batches], given
            case graph.Loaded() as loaded if self.story.mismatch.where == "token_ledger":
                rows = [row for row in value.token_ledger if set(_counts(row)) != {0}]
                return [_usage(word.usage(row)) for row in loaded.ledger], [_usage(row) for row in rows]
            case graph.Loaded() as loaded:
                return [word.node_id(one.node) for one in loaded.nodes], [one.node_id for one in value.graph.nodes]
            case attachment.Uncommitted(_, entries):
                rows = [f"{word.attachment(one.attachment)} of {word.session(one.session)}" for one in entries]
                return rows, [f"{one.attachment_id} of {one.session_id}" for one in value]
            case _:
                return [], []

    def _members(self, where: str, allowed: list[str], given: list[str]) -> Mistake:
        """What a list lacks, and what it has too much; else its order, or what its members are, is wrong."""
        missing, extra = list((Counter(allowed) - Counter(given)).elements()), list((Counter(given) - Counter(allowed)).elements())
        lack, more = ", ".join(missing), ", ".join(extra)
        facts = [f"{lack} {_is(missing)} missing"] if missing else []
        facts += [f"{more} {_is(extra)} there and should not be"] if extra else []
        should = [f"with {lack}"] if missing else []
        should += [f"without {more}"] if extra else []
        did = [f"missing: {lack}"] if missing else []
        did += [f"extra: {more}"] if extra else []
        if facts:
            return Mistake("", ", ".join(should), "; ".join(did), " and ".join(facts), members=True)
        if allowed != given:
            right, wrong = ", ".join(allowed), ", ".join(given)
            return Mistake("order", right, wrong, f"the order is {wrong}, not {right}", members=True)
        allows, gave = self.text(self.story.mismatch.allowed), self.text(first_line(self.story.mismatch.given))
        return Mistake(where, allows, gave, f"{where} is {gave}, not {allows}")  # the same names, out of shape

    # -- calls -------------------------------------------------------------------------------------------------------------

    def call(self, line: Line) -> str:
        """The call with its arguments; what is plain is left out."""
        if not line.op:
            return "close every handle, reopen"
        if line.args is None:
            return f"{line.op} (names what was never shown)"
        return f"{short_op(line.op)}({', '.join(self._args(line.op, line.args))})"

    def _args(self, op: str, args: tuple[Any, ...]) -> Iterable[str]:
        match op, args:
            case "commit_runtime_state", (records.Commit() as given,):
                return self._commit(given)
            case "enqueue_queued_work", (records.BatchDraft() as draft,):
                return self._draft(draft)
            case "try_claim_session_execution_lease", (session, owner, ttl):
                return session, owner, _ttl(ttl)
            case "claim_ready_queued_work", (session, fence, owner, boundary, ttl, limit):
                return session, self._fence(fence), f"for {owner}", boundary, _ttl(ttl), f"max {limit}"
            case "claim_ready_queued_work_by_batch_ids", (session, fence, owner, boundary, ttl, ids):
                return session, self._fence(fence), f"for {owner}", boundary, _ttl(ttl), self._ids("batch", ids)
            case "load_session", (scope,):
                if isinstance(scope, records.FullGraph):
                    return ("full graph",)
                return (f"path to {scope.leaf_node_id}" if scope.leaf_node_id else "active path",)
            case "cancel_queued_work_batch", (session, batch):
                return session, self.id("batch", batch)
            case "list_uncommitted", (older_than,):
                return (f"up to {self.time(older_than)}",)
            case "renew_queued_work_claim" | "renew_session_execution_lease", (held, ttl):
                return self._value(held), _ttl(ttl)
            case _:
                return tuple(self._value(argument) for argument in args)

    def _draft(self, draft: records.BatchDraft) -> Iterable[str]:
        yield draft.session_id
        if draft.slot_policy != "join":
            yield draft.slot_policy
        if draft.delivery_policy != "earliest_safe_boundary":
            yield draft.delivery_policy
        if draft.merge_key != "never":
            yield f"merge {_merge(draft.merge_key)}"
        if draft.available_at_ms:
            yield f"due {self.time(draft.available_at_ms)}"
        if draft.source_key is not None:
            yield f"source key {quoted(draft.source_key)}"

    def _commit(self, given: records.Commit) -> Iterable[str]:
        yield given.session_id
        yield self._fence(given.session_execution_lease)
        if given.expected_head_revision is not None:
            yield f"expects revision {given.expected_head_revision}"
        delta = given.graph
        if not isinstance(delta, records.Unchanged):
            kind = "append" if isinstance(delta, records.Append) else "replace by"
            yield f"{kind} {'; '.join(map(_node, delta.nodes)) or 'nothing'}"
        if delta.leaf_node_id or not isinstance(delta, records.Unchanged):
            yield f"leaf {delta.leaf_node_id or 'none'}"
        yield from self._parts(given.checkpoint)
        yield from self._in_question(given)
        for row in given.usage_deltas:
            yield _usage(row)
        for done in given.completed_queue_claims:
            whose = "" if done.session_id == given.session_id else f" of {done.session_id}"
            claim = self._named("claim", done.claim_id) + self._token(done.claim_id, done.lease_token)
            yield f"completes {self._ids('batch', done.batch_ids)} of {claim}{whose}"
        if given.committed_attachment_ids:
            yield f"stamps {', '.join(given.committed_attachment_ids)}"
        if given.turn_commit is not None:
            turn = given.turn_commit
            whose = "" if turn.session_id == given.session_id else f" of {turn.session_id}"
            yield f"{turn.turn_id}{whose} hash {turn.turn_commit_hash.lstrip('0') or '0'}"
        if given.release_session_execution_lease is not None:
            yield f"releases {self._fence(given.release_session_execution_lease)}"

    def _in_question(self, given: records.Commit) -> Iterable[str]:
        """What is left out of a commit as it is opaque, unless it is what the wrong answer is about."""
        where = self.story.mismatch.where
        if "agent_frame" in where:
            yield f"{len(given.agent_frames)} frames, current {given.current_agent_frame_id}"
        if where.startswith("config"):
            yield f"config {middle(brief(given.config), 60)}"
        for name in ("turn_state", "tool_state", "plugin_snapshot", "execution_state"):
            if where.endswith(f".{name}"):
                yield f"{name} {middle(brief(getattr(given.checkpoint, name)), 60)}"

    def _parts(self, checkpoint: records.Checkpoint) -> Iterable[str]:
        for name in ("tool_state", "plugin_snapshot", "execution_state"):
            body, ref = getattr(checkpoint, name), getattr(checkpoint, name + "_ref")
            if body is not None or ref is not None:
                known = [] if ref is None else [self._named("reference", ref)]
                yield f"{name}: {' and '.join([*(['a body'] if body is not None else []), *known])}"

    # -- answers -----------------------------------------------------------------------------------------------------------

    def answer(self, line: Line) -> str:
        """What the store answered, in the end."""
        told = self._answer(line, line.answer)
        if line.repeats:
            told = f"refused: contended ({line.repeats} x); then {told}"
        return f"{told}; {line.fault}" if line.kill else told

    def _answer(self, line: Line, answer: Answer | None) -> str:
        match answer:
            case None:
                return "not opened to the end" if line.kill > 0 else "reopened"
            case Ok(value):
                return self._ok(line, value)
            case Err(code, message, _, untyped):
                return message.partition(", which is no ")[0].partition("\n")[0] if untyped else f"refused: {code}"
            case Misshapen(value):
                return self._value(value)
            case Hung(seconds):
                return f"nothing within {seconds:g} s"
            case Skip(reason):
                return f"not offered: {reason}"
            case Unknown():
                return "? no answer"

    def _ok(self, line: Line, value: Any) -> str:
        if value is None:
            return "ok" if isinstance(line.response, outcome.Done) else "null"
        if isinstance(line.response, outcome.Done) and not isinstance(value, _RECORDS):
            return "ok"
        return self._value(value)

    def _value(self, value: Any) -> str:
        """Any record in few words; anything else as Python writes it."""
        try:
            return self._record(value)
        except (AttributeError, TypeError, ValueError):  # a record with something odd in it
            return self.text(brief(value))

    def _record(self, value: Any) -> str:
        match value:
            case records.Fence():
                return self._fence(value)
            case records.Lease():
                whose = f"{self._named('lease', value.lease_token)} of {_whose(value.session_id)}{value.owner_id}"
                return f"{whose}, fencing token {brief(value.fencing_token)}, until {self.time(value.expires_at_epoch_ms)}"
            case records.Claim():
                held = self._named("claim", value.claim_id) + self._token(value.claim_id, value.lease_token)
                batches = self._ids("batch", [batch.batch_id for batch in value.batches])
                until = self.time(value.expires_at_epoch_ms)
                return f"{held} on {batches}, fencing token {brief(value.fencing_token)}, until {until}"
            case records.Batch():
                key = f", source key {quoted(value.source_key)}" if value.source_key is not None else ""
                return f"{self._named('batch', value.batch_id)}, seq {value.enqueue_seq}{key}"
            case records.CommitResult():
                return f"revision {value.head_revision}, {self._named('checkpoint', value.checkpoint_ref)}"
            case records.Read():
                return self._read(value)
            case records.Node():
                return _node(value)
            case records.SessionMeta():
                return f"meta of {value.session_name!r}"
            case records.VacuumReport():
                return f"removed {value.removed_node_count}"
            case records.GcReport():
                return f"kept {value.retained_blob_count}, deleted {value.deleted_blob_count}"
            case records.Intent():
                what = f"{value.attachment_id}, {value.session_id}, {_uri(value.canonical_uri)}"
                return f"{what}, at {self.time(value.intent_at_epoch_ms)}"
            case records.ManifestEntry():
                return f"{value.attachment_id} of {value.session_id} {_uri(value.canonical_uri)}"
            case list() | tuple():
                if value and isinstance(value[0], records.Batch):
                    return self._ids("batch", [batch.batch_id for batch in value])
                return f"[{', '.join(map(self._value, value))}]"
            case str():
                return self.text(value)
            case _:
                return self.text(brief(value))

    def _read(self, value: records.Read) -> str:
        nodes = ", ".join(node.node_id for node in value.graph.nodes)
        rows = "".join(f"; {_usage(row)}" for row in value.token_ledger)
        return f"revision {value.head_revision}; nodes [{middle(nodes, 60)}]; leaf {value.graph.leaf_node_id or 'none'}{rows}"

    def _fence(self, fence: records.Fence | None) -> str:
        if fence is None:
            return "no lease"
        held = (
            f"{_whose(fence.session_id)}{fence.owner_id} with {_forged(fence.lease_token, self._named('lease', fence.lease_token))}"
        )
        own = (brief(fence.lease_token), brief(fence.fencing_token)) in self._fences
        return held if own else f"{held} (fencing token {brief(fence.fencing_token)})"

    def _token(self, claim_id: Any, token: Any) -> str:
        """A claim's token, if it is not the one that came with the claim."""
        if (brief(claim_id), brief(token)) in self._tokens:
            return ""
        return f" with {_forged(token, 'the token ' + self.id('token', token))}"

    def _ids(self, kind: str, ids: Iterable[Any]) -> str:
        return f"[{', '.join(self.id(kind, one) for one in ids)}]"

    # -- what the model allows -------------------------------------------------------------------------------------------------

    def allowed(self, response: Response | None) -> str:
        """What the model allows."""
        match response:
            case None:
                return "reopens"
            case outcome.Refused(_, code):
                return f"refused: {code or 'any error'}"
            case outcome.Absent():
                return "null"
            case outcome.Done():
                return "ok"
            case outcome.Silent(why):
                return f"anything: {why}"
            case lease.Leased(_, lane):
                return self._lane(lane)
            case queue.Queued(_, batch):
                key = word.source_key(batch.source)
                known_batch = self.story.binding.batches.get(batch.batch)
                name = self._named("batch", known_batch.batch_id) if known_batch else "a fresh batch"
                return f"{name}, source key {quoted(key)}" if key else name
            case queue.Listed(_, batches):
                return f"[{', '.join(map(self._batch, batches))}]"
            case claim.Claimed(_, hold, _, batches):
                known = self.story.binding.claims.get(hold.claim)
                what = self._named("claim", known.claim_id) if known else "a fresh claim"
                fencing = f", fencing token {known.fencing_token}" if known else ""
                return f"{what} on [{', '.join(map(self._batch, batches))}]{fencing}, until {self.time(int(hold.expires_at))}"
            case commit.Committed(_, revision, ref):
                known_ref = self.story.binding.checkpoint_refs.get(ref)
                return f"revision {revision}, " + (self._named("checkpoint", known_ref) if known_ref else "a checkpoint")
            case graph.Loaded():
                return self._loaded(response)
            case graph.FoundNode(_, node):
                return _node(word.node(node))
            case graph.Vacuumed(_, at_most):
                return f"removed, {at_most} at most" if at_most else "removed 0"
            case attachment.Uncommitted(_, entries):
                rows = (f"{word.attachment(e.attachment)} of {word.session(e.session)} {_uri(word.uri(e.uri))}" for e in entries)
                return f"[{', '.join(rows)}]"
            case attachment.FoundMeta(_, meta):
                return f"meta of {word.meta(meta).session_name!r}"

    def _loaded(self, loaded: graph.Loaded) -> str:
        nodes = ", ".join(word.node_id(node.node) for node in loaded.nodes)
        shown = "any nodes" if loaded.path_open else f"nodes [{middle(nodes, 60)}]"
        leaf = word.node_id(loaded.leaf) if loaded.leaf else "none"
        rows = "".join(f"; {_usage(word.usage(row))}" for row in loaded.ledger)
        return f"revision {loaded.revision}; {shown}; leaf {leaf}{rows}"

    def _lane(self, lane: Lane) -> str:
        token = self.story.binding.tokens.get(lane.token)
        number = self.story.binding.fences.get(lane.session, {}).get(lane.fencing)
        what = self._named("lease", token) if token else "a fresh lease"
        owner = _whose(word.session(lane.session)) + word.owner(lane.owner)
        fencing = f", fencing token {number}" if number is not None and token else ""
        return f"{what} of {owner}{fencing}, until {self.time(int(lane.expires_at))}"

    def _batch(self, batch: Batch) -> str:
        known = self.story.binding.batches.get(batch.batch)
        return self.id("batch", known.batch_id) if known else "a fresh batch"


_RECORDS = (records.Lease, records.Claim, records.Batch, records.CommitResult, records.Read, records.GcReport, records.VacuumReport)


def first_line(text: str) -> str:
    """Text up to its first line's end."""
    return text.partition("\n")[0]


def quoted(text: Any) -> str:
    """Text that is somebody else's."""
    return f'"{text}"' if isinstance(text, str) else brief(text)


def answered(text: str) -> str:
    """An answer in few words, as it stands in a sentence."""
    if text == "null":
        return "null (nothing granted, or nothing there)"
    return f"a refusal ({text.removeprefix('refused: ')})" if text.startswith("refused: ") else text


def _forged(token: Any, name: str) -> str:
    return f"{FORGED} ({token})" if isinstance(token, str) and token.startswith("forged-") else name


def _is(members: list[str]) -> str:
    return "is" if len(members) == 1 else "are"


def middle(text: str, most: int = 24) -> str:
    """Text with its middle left out, if it is long."""
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[: most - 3 - half]}...{text[-half:]}"


def brief(value: Any) -> str:
    """A value as Python writes it, cut where it gets long."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a store may return anything
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= WHOLE else text[: WHOLE - 3] + "..."


def _whose(session: Any) -> str:
    return "" if session == word.session(1) else f"{session}/"


def _ttl(ttl: Any) -> str:
    return "ttl 2^63-1" if ttl == MAX_MS else f"ttl {ttl}"


def _merge(key: records.MergeKey) -> str:
    return key.group if isinstance(key, records.Group) else key


def _uri(uri: str) -> str:
    return re.sub(r":0{8,}", ":", uri)


def _node(node: records.Node) -> str:
    return f"{node.node_id} (parent {node.parent_node_id})" if node.parent_node_id else node.node_id


def _usage(row: records.UsageRow) -> str:
    return f"usage {row.source} {row.model} {'/'.join(map(str, _counts(row)))}"


def _counts(row: records.UsageRow) -> tuple[int, int, int, int]:
    return row.input_tokens, row.output_tokens, row.cached_input_tokens, row.reasoning_tokens

"""Writes the conformance vectors, specs/vectors, and their schema: runs with the answers that are right, for any language.

No store is run. The model says what is right; what a store mints for itself stands in the vectors as a name (specs/README.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import evolve

from leasehold import records
from leasehold.case import laid_out
from leasehold.oracle import vocabulary as word
from leasehold.oracle.binding import Binding, Unbound, operation, parts
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.moment import Moment
from leasehold.oracle.run import BOUND, Reopen, Run
from leasehold.store import OPERATIONS
from leasehold.wire.codec import encode_args, to_wire
from leasehold_model.attachment import FoundMeta, Uncommitted
from leasehold_model.claim import Claimed
from leasehold_model.commit import Committed
from leasehold_model.graph import FoundNode, Loaded, Vacuumed
from leasehold_model.ids import Millis
from leasehold_model.lease import Leased
from leasehold_model.machine import Command, Contract, Response, initial, step
from leasehold_model.outcome import Absent, Done, Refused, Silent
from leasehold_model.policy import POINTS, SEED, Policies, choose, option
from leasehold_model.queue import Listed, Queued
from leasehold_model.requirements import REQUIREMENTS
from leasehold_model.state import Batch, Checkpoint, Node, Usage
from tools import vector_schema
from tools.vector_runs import EXACT, Told, runs
from tools.vector_schema import FORMAT

Json = Any
VECTORS = Path(__file__).parents[1] / "specs" / "vectors"
SCHEMA = VECTORS.with_name("vectors.schema.json")
ANYTHING: Json = {"$any": True}

LEFT_OUT = {
    "LEASE-8": "two handles have to ask at the same instant",
    "LAW-12": "it is about concurrent calls and lost answers",
    "TIER-1": "it compares what the store reports of itself with what it declares, which is no operation",
}
"""Requirements that no run of one step after the other can show, and why."""


class Untellable(Exception):
    """The contract is silent on a step, so it cannot stand in a vector."""


class _Minted(Binding):
    """A binding in which a fencing token that was never granted is 0, which none is."""

    def fencing(self, session: int, number: int) -> int:
        """A lane's fencing token."""
        known = self.fences.get(session, {})
        if number != 0 and number not in known:
            raise Untellable(f"fencing token {number} was never granted")
        return known.get(number, 0)


class Teller:
    """Tells a run step by step, as a right store would answer it. The binding plays that store: its ids are the names."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.state = initial(contract, BOUND)
        self.binding = _Minted()
        self.coverage = Coverage()
        self.coverage.start_run()
        self.responses: list[Response | None] = []
        self.distinct: dict[str, list[str]] = {}
        self.rising: dict[str, list[str | int]] = {}
        self._numbers: dict[int, str] = {}
        self._names: dict[str, Iterator[int]] = {}
        self._claimed: dict[int, str] = {}

    def tell(self, action: Command | Reopen, at: int, handle: int) -> dict[str, Json]:
        """One step of the vector."""
        if isinstance(action, Reopen):
            self.coverage.reopened()
            self.responses.append(None)
            return {"at": at, "op": "reopen", "rule": "LAW-10"}
        after, response = step(self.state, action, Millis(at), self.contract)
        self.responses.append(response)
        if isinstance(response, Silent):
            raise Untellable(response.why)
        op, args = self.binding.call(action)
        told = {"at": at, "handle": handle, "op": op, "args": self._named(word.canonical(encode_args(op, args)))}
        told["rule"] = response.rule
        told["expect"] = self._expected(response)
        self.coverage.judged(Moment(op, action, at, self.state, after, response, self.contract))
        self.state = after
        return told

    def _named(self, value: Json) -> Json:
        """The arguments, with names for the numbers that a store minted."""
        if isinstance(value, dict):
            return {key: self._named(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self._named(member) for member in value]
        return self._numbers.get(value, value) if type(value) is int else value

    def _name(self, kind: str) -> str:
        return f"${kind}{next(self._names.setdefault(kind, itertools.count(1)))}"

    def _number(self, name: str) -> int:
        """A number that stands for the name until it is written."""
        number = 2**62 + len(self._numbers)
        self._numbers[number] = name
        return number

    # -- answers -------------------------------------------------------------------------------------------------------------

    def _expected(self, response: Response) -> dict[str, Json]:
        match response:
            case Refused(_, code):
                return {"err": {"code": code} if code else {}}
            case Loaded() if response.path_open:
                return {}
            case Absent():
                return {"ok": None}
            case Done():
                return {"ok": ANYTHING}
            case Vacuumed(_, at_most):
                return {"ok": {"removed_node_count": {"$between": [0, at_most]} if at_most else 0}}
            case Leased():
                return {"ok": self._lease(response)}
            case Queued():
                return {"ok": self._batch(response.batch)}
            case Claimed():
                return {"ok": self._claim(response)}
            case Listed():
                return {"ok": [self._batch(batch) for batch in response.batches]}
            case Committed():
                return {"ok": self._commit(response)}
            case Loaded():
                return {"ok": self._load(response)}
            case FoundNode():
                return {"ok": _node(response.node)}
            case Uncommitted():
                return {"ok": {"$unordered": [_entry(*one) for one in _rows(response)]}}
            case FoundMeta():
                return {"ok": to_wire(word.meta(response.meta))}
            case Silent():
                raise Untellable(response.why)

    def _lease(self, response: Leased) -> Json:
        lane, binding = response.lane, self.binding
        session = word.session(lane.session)
        if lane.token not in binding.tokens:
            name = self._name("token")
            binding.show_token(lane.session, lane.token, name)
            self.distinct.setdefault(f"token {session}", []).append(name)
            number = self._name("fence")
            binding.fences.setdefault(lane.session, {})[lane.fencing] = self._number(number)
            self.rising.setdefault(f"fence {session}", [0]).append(number)
        return {
            "session_id": session,
            "owner_id": word.owner(lane.owner),
            "lease_token": binding.tokens[lane.token],
            "fencing_token": self._numbers[binding.fences[lane.session][lane.fencing]],
            "claimed_at_epoch_ms": lane.claimed_at,
            "expires_at_epoch_ms": lane.expires_at,
        }

    def _batch(self, batch: Batch) -> Json:
        if batch.batch not in self.binding.batches:
            self._mint_batch(batch)
        return self._named(to_wire(self.binding.batches[batch.batch]))

    def _mint_batch(self, batch: Batch) -> None:
        name, number = self._name("batch"), self._name("seq")
        items = [records.Item(self._name("item"), payload) for payload in word.payloads(batch.payload, batch.source)]
        self.distinct.setdefault("batch", []).append(name)
        self.distinct[f"item {name}"] = [item.item_id for item in items]
        self.rising.setdefault("seq", []).append(number)
        self.binding.batch_of[name] = batch.batch
        self.binding.batches[batch.batch] = records.Batch(
            batch_id=name,
            session_id=word.session(batch.session),
            enqueue_seq=self._number(number),
            source_key=word.source_key(batch.source),
            delivery_policy="after_current_turn_commit" if batch.after_commit else "earliest_safe_boundary",
            slot_policy="exclusive" if batch.exclusive else "join",
            merge_key=word.merge_key(batch.merge),
            available_at_ms=batch.available_at,
            enqueued_at_ms=batch.enqueued_at,
            items=tuple(items),
        )

    def _claim(self, response: Claimed) -> Json:
        hold, binding = response.hold, self.binding
        name = int(hold.claim)
        if name not in binding.claims:
            claim, number = self._name("claim"), self._name("claim_fence")
            fenced = response.batches[:1] if self.contract.policies.claim_fence == "head" else response.batches
            for before in dict.fromkeys(self._claimed.get(batch.batch, 0) for batch in fenced):
                self.rising[f"{before} {number}"] = [before, number]
            self.distinct.setdefault("claim", []).append(claim)
            token, fencing = self._name("claim_token"), self._number(number)
            for batch in response.batches:
                self._claimed[batch.batch] = number
        else:
            known = binding.claims[name]
            claim, token, fencing = known.claim_id, known.lease_token, known.fencing_token
        binding.claims[name] = records.Claim(
            session_id=word.session(response.batches[0].session),
            claim_id=claim,
            owner_id=word.owner(hold.owner),
            lease_token=token,
            fencing_token=fencing,
            claimed_at_epoch_ms=hold.claimed_at,
            expires_at_epoch_ms=hold.expires_at,
            batches=tuple(binding.batches[batch.batch] for batch in response.batches),
        )
        return self._named(to_wire(binding.claims[name]))

    def _commit(self, response: Committed) -> Json:
        binding, checkpoint = self.binding, response.checkpoint
        if response.checkpoint_ref not in binding.checkpoint_refs:
            name = self._name("checkpoint")
            binding.checkpoint_refs[response.checkpoint_ref] = name
            if checkpoint not in binding.checkpoints.values():  # equal checkpoints may have one reference, or two
                self.distinct.setdefault("checkpoint", []).append(name)
            binding.checkpoints[name] = checkpoint
        refs: dict[str, Json] = {}
        for kind, part in parts(checkpoint):
            refs[f"{kind}_ref"] = None if part.body == 0 else self._name("ref")
            if part.body != 0 and response.rule != "COMMIT-4":  # a replay may show one that was collected since
                binding.ref_of[kind, part.body] = refs[f"{kind}_ref"]
        return {
            "head_revision": response.revision,
            "checkpoint_ref": binding.checkpoint_refs[response.checkpoint_ref],
            "manifest": {"turn_state": word.turn_state(checkpoint.turn_state), **_revision(checkpoint), **refs},
        }

    def _load(self, response: Loaded) -> Json:
        graph: dict[str, Json] = {"nodes": [_node(node) for node in response.nodes]}
        if not response.leaf_open:
            graph["leaf_node_id"] = word.node_id(response.leaf) if response.leaf else None
        ledger = [row for row in response.ledger if evolve(row, source=0, model=0) != Usage(0, 0, 0, 0, 0, 0)]  # type: ignore[arg-type]
        if len(ledger) != len(response.ledger):
            raise Untellable("LAW-8 leaves it open whether rows of zeros are shown")
        bodies = response.checkpoint
        state = word.execution_state(bodies.execution_state.body)
        return {
            "session_id": word.session(response.session),
            "head_revision": response.revision,
            "config": word.config(response.config),
            "agent_frames": list(word.agent_frames(response.agent_frames)),
            "current_agent_frame_id": word.current_frame(response.current_frame),
            "graph": graph,
            "checkpoint": {
                "turn_state": word.turn_state(bodies.turn_state),
                "tool_state": word.tool_state(bodies.tool_state.body),
                "plugin_snapshot": word.plugin_snapshot(bodies.plugin_snapshot.body),
                "execution_state": None if state is None else list(state),
                **_revision(bodies),
            },
            "token_ledger": [to_wire(word.usage(row)) for row in ledger],
        }


def _revision(checkpoint: Checkpoint) -> dict[str, Json]:
    shown = checkpoint.plugin_snapshot_revision
    return {"plugin_snapshot_revision": None if shown < 0 else shown}


def _node(node: Node) -> Json:
    return {"parent_node_id": None, "agent_frame_id": None, **to_wire(word.node(evolve(node, tombstoned=False)))}


def _rows(response: Uncommitted) -> list[tuple[str, str, str, int]]:
    return [(word.attachment(e.attachment), word.session(e.session), word.uri(e.uri), int(e.intent_at)) for e in response.entries]


def _entry(attachment: str, session: str, uri: str, intent_at: int) -> Json:
    return {
        "attachment_id": attachment,
        "session_id": session,
        "canonical_uri": uri,
        "intent_at_epoch_ms": intent_at,
        "committed_at_epoch_ms": None,
    }


# -- one vector -------------------------------------------------------------------------------------------------------------------


def told(run: Run, contract: Contract) -> tuple[Teller, list[dict[str, Json]]]:
    """The run as told. Raises `Untellable`."""
    teller = Teller(contract)
    return teller, [teller.tell(one.action, one.at, one.handle) for one in run]


def depends_on(run: Run, contract: Contract) -> list[str]:
    """The policy points whose recommended option the answers depend on, alone or two together."""
    usual = _heard(run, contract)
    other = [(point, taken) for point in POINTS for taken in point.options[1:]]
    alone = {point.id for point, taken in other if _heard(run, _with(contract, (point, taken))) != usual}
    rest = [(point, taken) for point, taken in other if point.id not in alone]
    for one, two in itertools.combinations(rest, 2):
        if one[0] != two[0] and _heard(run, _with(contract, one, two)) != usual:
            alone |= {one[0].id, two[0].id}
    return [point.id for point in POINTS if point.id in alone]


def _with(contract: Contract, *taken: tuple[Any, str]) -> Contract:
    policies: Policies = contract.policies
    for point, which in taken:
        policies = choose(policies, point, which)
    return evolve(contract, policies=policies)


def _heard(run: Run, contract: Contract) -> Json:
    """What a run's vector says under these policies: the responses, and how the claims' fencing tokens have to rise."""
    if contract.policies.claim_fence == SEED.recommended.claim_fence:
        return _answered(run, contract)
    try:
        teller, _ = told(run, contract)
    except (Untellable, Unbound) as error:
        return repr(error)
    usual, _ = told(run, evolve(contract, policies=evolve(contract.policies, claim_fence=SEED.recommended.claim_fence)))
    return tuple(teller.responses) if teller.rising == usual.rising else teller.rising


def _answered(run: Run, contract: Contract) -> Json:
    state, responses = initial(contract, BOUND), list[Response | None]()
    for one in run:
        if isinstance(one.action, Reopen):
            responses.append(None)
            continue
        state, response = step(state, one.action, Millis(one.at), contract)
        responses.append(response)
    return tuple(responses)


def _largest(value: Json) -> int:
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return max((_largest(member) for member in members), default=0)
    return value if type(value) is int else 0


def vector(one: Told) -> dict[str, Json]:
    """The vector of a run."""
    contract = Contract(persistent_manifest=one.manifest == "persistent")
    teller, steps = told(one.run, contract)
    ops = {operation(each.action) for each in one.run if not isinstance(each.action, Reopen)}
    largest = _largest(steps)
    asserted = teller.coverage.asserted
    return {
        "format": FORMAT,
        "edition": SEED.name,
        "title": one.title,
        "requirements": [each.id for each in REQUIREMENTS if asserted[each.id] and each.id not in LEFT_OUT],
        "policies": {name: _recommended(name) for name in depends_on(one.run, contract)},
        "needs": {
            "operations": [op for op in OPERATIONS if op in ops],
            "handles": 1 + max(each.handle for each in one.run),
            "reopen": any(isinstance(each.action, Reopen) for each in one.run),
            "manifest": one.manifest if {"record_intent", "list_uncommitted"} & ops else "any",
            "max_integer": max(EXACT, largest),
        },
        "session_id": word.session(BOUND),
        "distinct": [names for names in teller.distinct.values() if len(names) > 1],
        "rising": [chain for chain in teller.rising.values() if len(chain) > 1],
        "steps": steps,
    }


def _recommended(name: str) -> str:
    return next(option(SEED.recommended, point) for point in POINTS if point.id == name)


# -- all --------------------------------------------------------------------------------------------------------------------------


def index(vectors: dict[str, dict[str, Json]]) -> dict[str, Json]:
    """What there is, and what no vector shows."""
    covered = {name for one in vectors.values() for name in one["requirements"]}
    return {
        "format": FORMAT,
        "edition": SEED.name,
        "vectors": [{"file": file, "title": one["title"], "requirements": one["requirements"]} for file, one in vectors.items()],
        "not_covered": [
            {"requirement": each.id, "why": LEFT_OUT.get(each.id, "")} for each in REQUIREMENTS if each.id not in covered
        ],
    }


def pages(told_runs: Iterable[Told] | None = None) -> dict[str, str]:
    """Every file, by its name below specs/vectors."""
    vectors = {f"{one.name}.json": vector(one) for one in (told_runs or runs())}
    return {"index.json": laid_out(index(vectors)), **{file: laid_out(one) for file, one in vectors.items()}}


def main() -> None:
    """Write them, and remove what is none any more."""
    made = pages()
    VECTORS.mkdir(exist_ok=True)
    for path in VECTORS.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, page in made.items():
        (VECTORS / name).write_text(page, "utf-8")
    SCHEMA.write_text(vector_schema.page(), "utf-8")


if __name__ == "__main__":
    main()

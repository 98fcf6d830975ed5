"""Cases: a broken rule and the shortest run that shows it, saved as JSON, loaded, and run again.

A case keeps the run twice: as commands in the model's numbers, which is what runs again on any store, and beside each as the
operation, the arguments and the answer in the JSON of the adapter protocol, for people. Only the first is read back.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
from attrs import evolve, field, frozen

from leasehold import __version__
from leasehold.crash.power import unavailable
from leasehold.oracle.answers import AFTER, CHANGE, Answer, Door, Err, Hung, Misshapen, Ok, Skip, Unknown, by_the_clock
from leasehold.oracle.binding import Unbound, operation
from leasehold.oracle.check import smoke
from leasehold.oracle.concurrent import RaceFinding, Threads
from leasehold.oracle.findings import Finding, name_rule
from leasehold.oracle.fitting import fit
from leasehold.oracle.outages import Outages
from leasehold.oracle.probe import Probed, probe
from leasehold.oracle.provoke import Tally
from leasehold.oracle.races import Race
from leasehold.oracle.rerun import first_leases, rerun
from leasehold.oracle.run import Execution, Indefinite, Reopen, Run, Silence, Step, failure
from leasehold.oracle.schedule import Schedule
from leasehold.oracle.vocabulary import canonical
from leasehold.records import Json
from leasehold.report.race import Told, place, race_message, tell_race
from leasehold.report.story import Line, retold, tell
from leasehold.report.words import Words, brief
from leasehold.store import OPERATIONS, Capabilities
from leasehold.wire.codec import ShapeError, encode_args, encode_result
from leasehold_model.machine import Command, Contract
from leasehold_model.policy import POINTS, SEED, Policies, choose, option
from leasehold_model.requirements import STATEMENTS

FORMAT = 1
"""The form of a case file. A reader refuses a form that it does not know."""

DIRECTORY = "leasehold-cases"
"""Where cases are written, unless the user says otherwise."""

Kind = Literal["run", "race", "tier", "power"]
Verdict = Literal["conforms", "violates", "inconclusive"]


@frozen(kw_only=True)
class Turns:
    """The schedule of a race, as data: `leasehold.oracle.schedule.Schedule` has the meaning of its members."""

    order: tuple[int, ...]
    changes: tuple[int, ...]
    fine: bool = False

    def schedule(self) -> Schedule:
        """The schedule, to be run once."""
        return Schedule(self.order, self.changes, fine=self.fine)


@frozen(kw_only=True)
class Raced:
    """What clients did at once after a case's steps. ``turns`` None: free threads. ``stopped`` and ``calls`` are for people.

    ``kill``: the adapter was killed so many microseconds after the first calls were sent; 0: it was not.
    """

    name: str
    clients: tuple[tuple[Command, ...], ...]
    turns: Turns | None = None
    kill: int = 0
    stopped: tuple[str, ...] = ()
    calls: tuple[Mapping[str, Json], ...] = ()


class CaseError(Exception):
    """A case file that cannot be read. The message says what, where, and what to do."""


@frozen(kw_only=True)
class Case:
    """One saved finding. ``shown`` is the run for people: for each step the operation, its arguments and the answer, as JSON."""

    requirement: str
    also: tuple[str, ...] = ()
    message: str = ""
    kind: Kind = "run"
    leasehold: str = __version__
    target: str = ""
    capabilities: Mapping[str, Json] = field(factory=dict)
    policies: Policies = SEED.recommended
    manifest: Literal["persistent", "noop"] = "persistent"
    steps: Run = ()
    shown: tuple[Mapping[str, Json], ...] = ()
    mismatch: Mapping[str, Json] | None = None
    race: Raced | None = None

    @property
    def commands(self) -> int:
        """Store operations of the run, or those at once."""
        if self.race is not None:
            return sum(map(len, self.race.clients))
        return sum(not isinstance(one.action, Reopen) for one in self.steps)

    @property
    def killed(self) -> bool:
        """The process that holds the store is killed on the way."""
        return any(one.kill for one in self.steps)

    @property
    def lost(self) -> bool:
        """Answers got lost in the run, and had to."""
        answers = [one.get("answer") for one in self.shown if "fault" not in one]
        return any(isinstance(answer, dict) and "unknown" in answer for answer in answers)

    @property
    def contract(self) -> Contract:
        """What the store was held to when the case was made."""
        return Contract(policies=self.policies, persistent_manifest=self.manifest == "persistent")


# -- making and saving -----------------------------------------------------------------------------------------------------------


def case_of(finding: Finding | RaceFinding, target: str, capabilities: Capabilities, contract: Contract) -> Case:
    """The case of a finding."""
    common: dict[str, Any] = {
        "target": target,
        "capabilities": _capabilities(capabilities),
        "policies": contract.policies,
        "manifest": "persistent" if contract.persistent_manifest else "noop",
    }
    if isinstance(finding, RaceFinding):
        kind: Kind = "tier" if finding.requirement == "TIER-1" else "race" if finding.race is not None else "power"
        return Case(
            requirement=finding.requirement,
            also=finding.also,
            message=message(finding),
            kind=kind,
            **_raced(finding),
            **common,
        )
    wrong = finding.failure.mismatch
    return Case(
        requirement=finding.requirement,
        also=finding.also,
        message=message(finding),
        steps=finding.failure.steps,
        shown=tuple(_shown(line) for line in tell(finding.failure).lines),
        mismatch={
            "step": len(finding.failure.steps),
            "rule": wrong.rule,
            "where": wrong.where,
            "allowed": wrong.allowed,
            "given": wrong.given,
        },
        **common,
    )


def _raced(finding: RaceFinding) -> dict[str, Any]:
    """What there was before the clients started, and what they did."""
    race, history, schedule = finding.race, finding.history, finding.schedule
    if race is None:
        return {}
    steps, shown = race.before, tuple[dict[str, Json], ...]()
    if history is not None and history.steps:
        steps = history.steps
        shown = tuple(_shown(line) for line in retold(steps, history.answers, history.specification.contract).lines)
    story = tell_race(finding)
    raced = Raced(
        name=race.name,
        clients=race.clients,
        turns=Turns(order=schedule.order, changes=schedule.changes, fine=schedule.fine) if schedule else None,
        kill=finding.kill,
        stopped=tuple(f"client {one.client + 1} before {place(one)}" for one in schedule.stops) if schedule else (),
        calls=tuple(_call_shown(one) for one in story.calls) if story else (),
    )
    return {"steps": steps, "shown": shown, "race": raced}


def _call_shown(one: Told) -> dict[str, Json]:
    """A call of a race, for people: times count starts and returns."""
    told: dict[str, Json] = {"call": one.letter, "client": one.client, "start": one.start, "end": one.end, **_shown(one.line)}
    if one.unanswered:
        told["answer"] = {"unknown": "the answer was lost" if one.lost else "it had not returned yet"}
    wrong = one.refused
    refused: Json = None if wrong is None else {"rule": wrong.rule, "allowed": wrong.allowed, "given": wrong.given}
    return {**told, "explained": one.place or None, "refused": refused}


def message(finding: Finding | RaceFinding) -> str:
    """A finding in one sentence."""
    if isinstance(finding, RaceFinding):
        return race_message(finding)
    where, allowed, given = Words(tell(finding.failure), whole=True).wrong()
    return f"{where}: the contract allows {allowed}; the store answered {given}"


def _capabilities(capabilities: Capabilities) -> dict[str, Json]:
    declared = {name: value for name, value in attrs.asdict(capabilities, recurse=False).items() if name != "ops"}
    return {**declared, "not_offered": [op for op in OPERATIONS if op not in capabilities.ops]}


def _shown(line: Line) -> dict[str, Json]:
    fault = {"fault": line.fault} if line.kill else {}
    if not line.op:
        return {"op": "reopen", **fault}
    return {"op": line.op, "args": canonical(_args(line)), "answer": canonical(_answer(line.op, line.answer)), **fault}


def _args(line: Line) -> Json:
    if line.args is None:
        return None
    try:
        return encode_args(line.op, line.args)
    except ShapeError:
        return brief(line.args)


def _answer(op: str, answer: Answer | None) -> Json:
    match answer:
        case Ok(value):
            try:
                return {"ok": encode_result(op, value)}
            except ShapeError as error:
                return {"misshapen": brief(value), "because": str(error)}
        case Err(code, text, details, untyped):
            if untyped:
                return {"raised": text}
            return {"err": {"code": code, "message": text, **{name: _plain(value) for name, value in details.items()}}}
        case Misshapen(value, why):
            return {"misshapen": brief(value), "because": why}
        case Hung(seconds):
            return {"hung": seconds}
        case Skip(reason):
            return {"skip": reason}
        case Unknown(text):
            return {"unknown": text}
        case None:
            return None


def _plain(value: Any) -> Json:
    return value if isinstance(value, int | str | None) else brief(value)


def to_json(case: Case) -> dict[str, Json]:
    """The case as the value that its file holds."""
    steps = [
        {"at": one.at, "handle": one.handle, "command": _encode(one.action), **({"kill": one.kill} if one.kill else {}), **shown}
        for one, shown in zip(case.steps, case.shown or ({},) * len(case.steps), strict=True)
    ]
    return {
        "format": FORMAT,
        "leasehold": case.leasehold,
        "edition": SEED.name,
        "requirement": case.requirement,
        "statement": STATEMENTS.get(case.requirement, ""),
        "also": list(case.also),
        "message": case.message,
        "kind": case.kind,
        "target": case.target,
        "capabilities": dict(case.capabilities),
        "policies": {
            point.id: option(case.policies, point)
            for point in POINTS
            if option(case.policies, point) != option(SEED.recommended, point)
        },
        "manifest": case.manifest,
        "steps": steps,
        "mismatch": None if case.mismatch is None else dict(case.mismatch),
        **({} if case.race is None else {"race": _race_json(case.race)}),
    }


def _race_json(race: Raced) -> dict[str, Json]:
    return {
        "name": race.name,
        "clients": [[_encode(command) for command in client] for client in race.clients],
        "schedule": None if race.turns is None else _plain_record(race.turns),
        **({"kill": race.kill} if race.kill else {}),
        "stopped": list(race.stopped),
        "calls": [dict(one) for one in race.calls],
    }


def save(case: Case, directory: Path) -> Path:
    """Write the case below the directory; the name is the rule's and a few digits of the run's. The same run has the same name."""
    value: dict[str, Any] = to_json(case)
    run = [value["requirement"], value["policies"], [step["command"] for step in value["steps"]]]
    run += [[one.kill for one in case.steps]] if case.killed else []
    run += [[value["race"]["clients"], value["race"]["schedule"]]] if case.race is not None else []
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{case.requirement}-{digest[:4]}.json"
    path.write_text(laid_out(value), encoding="utf-8")
    return path


WIDTH = 120
"""Columns within which a value of a saved file stands on one line."""


SHORT = 50
"""Columns up to which a member that is no word or number may share a line with others."""


def laid_out(value: Json) -> str:
    """A value as JSON to be read: what fits on a line stands on one, words and numbers fill lines, the rest is indented."""
    return _laid_out(value, "", 0) + "\n"


def _laid_out(value: Json, indent: str, taken: int) -> str:
    plain = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + taken + len(plain) <= WIDTH:
        return plain
    inner = indent + " "
    members = value.items() if isinstance(value, dict) else (("", member) for member in value)
    lines: list[str] = []
    fills = False
    for name, member in members:
        named = json.dumps(name, ensure_ascii=False) + ": " if isinstance(value, dict) else ""
        text = named + _laid_out(member, inner, len(named) + 1)
        short = not isinstance(member, dict | list) or (isinstance(value, dict) and len(text) <= SHORT)
        if short and fills and len(inner) + len(lines[-1]) + len(text) + 3 <= WIDTH:
            lines[-1] += ", " + text
        else:
            lines.append(text)
        fills = short
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{closing}"


# -- loading ---------------------------------------------------------------------------------------------------------------------


def load(path: Path | str) -> Case:
    """Read a case file. Raises `CaseError`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CaseError(f"case {path}: {error.strerror or error}. Give the path of a file that `leasehold check` wrote.") from error
    except UnicodeDecodeError as error:
        raise CaseError(f"case {path}: it is not text in UTF-8, so it is no case file.") from error
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CaseError(f"case {path}: it is not JSON ({error}), so it is no case file, or a damaged one.") from error
    return from_json(value, f"case {path}")


def from_json(value: Json, name: str = "case") -> Case:
    """The case that a value of `to_json` holds. Raises `CaseError`, which begins with ``name``."""
    try:
        return _case(value)
    except ShapeError as error:
        raise CaseError(f"{name}: {error}") from error


def _case(value: Json) -> Case:
    if not isinstance(value, dict) or "format" not in value or "steps" not in value:
        raise ShapeError("", "it is no case: an object with the members format and steps was expected")
    if value["format"] != FORMAT:
        made = value.get("leasehold", "another version")
        raise ShapeError(
            "format", f"{value['format']!r} cannot be read: leasehold {__version__} reads {FORMAT}. Use leasehold {made}."
        )
    if value.get("edition", SEED.name) != SEED.name:
        raise ShapeError("edition", f"{value['edition']!r} is not known: leasehold {__version__} has the edition {SEED.name}")
    kind = value.get("kind", "run")
    if kind not in get_args(Kind):
        raise ShapeError("kind", f"one of {', '.join(get_args(Kind))} was expected, got {kind!r}")
    manifest = value.get("manifest", "persistent")
    if manifest not in ("persistent", "noop"):
        raise ShapeError("manifest", f"persistent or noop was expected, got {manifest!r}")
    steps = _member(value, "steps", list)
    return Case(
        requirement=_member(value, "requirement", str),
        also=tuple(str(one) for one in value.get("also", ())),
        message=str(value.get("message", "")),
        kind=kind,
        leasehold=str(value.get("leasehold", "")),
        target=str(value.get("target", "")),
        capabilities=value.get("capabilities", {}),
        policies=_policies(value.get("policies", {})),
        manifest=manifest,
        steps=tuple(_step(one, f"steps[{index}]") for index, one in enumerate(steps)),
        shown=tuple({name: one[name] for name in ("op", "args", "answer", "fault") if name in one} for one in steps),
        mismatch=value.get("mismatch"),
        race=_race(value["race"]) if value.get("race") is not None else None,
    )


def _race(value: Json) -> Raced:
    if not isinstance(value, dict):
        raise ShapeError("race", "an object was expected")
    try:
        clients, given = _member(value, "clients", list), value.get("schedule")
        turns = None if given is None else _decode(Turns, given, "schedule")
        kill = _member(value, "kill", int) if "kill" in value else 0
        if not clients or not all(isinstance(one, list) and one for one in clients):
            raise ShapeError("clients", "an array of arrays of commands was expected")
        if turns is not None and sorted(turns.order) != list(range(len(clients))):
            raise ShapeError("schedule.order", f"each of the clients 0 to {len(clients) - 1} was expected once")
        return Raced(
            name=_member(value, "name", str),
            clients=tuple(
                tuple(_command(one, f"clients[{number}][{index}]") for index, one in enumerate(client))
                for number, client in enumerate(clients)
            ),
            turns=turns,
            kill=kill,
            stopped=tuple(map(str, value.get("stopped", ()))),
            calls=tuple(one for one in value.get("calls", ()) if isinstance(one, dict)),
        )
    except ShapeError as error:
        raise error.below("race") from None


def _member(value: Mapping[str, Json], name: str, kind: type) -> Any:
    if name not in value:
        raise ShapeError(name, "this member is required and missing")
    if not isinstance(value[name], kind) or isinstance(value[name], bool):
        raise ShapeError(name, f"a value of type {kind.__name__} was expected, got {brief(value[name])}")
    return value[name]


def _policies(value: Json) -> Policies:
    policies, points = Policies(), {point.id: point for point in POINTS}
    if not isinstance(value, dict):
        raise ShapeError("policies", "an object was expected")
    for name, taken in value.items():
        if name not in points:
            raise ShapeError("policies", f"unknown policy {name!r}: this leasehold {__version__} does not know it")
        if taken not in points[name].options:
            raise ShapeError(f"policies.{name}", f"unknown option {taken!r}: there are {', '.join(points[name].options)}")
        policies = choose(policies, points[name], taken)
    return policies


def _step(value: Json, path: str) -> Step:
    if not isinstance(value, dict):
        raise ShapeError(path, "an object was expected")
    try:
        at, handle = _member(value, "at", int), _member(value, "handle", int)
        kill = _member(value, "kill", int) if "kill" in value else 0
        return Step(at, handle, _command(_member(value, "command", dict), "command"), kill)
    except ShapeError as error:
        raise error.below(path) from None


def _command(value: Json, path: str) -> Any:
    """A command, or a reopening."""
    if not isinstance(value, dict):
        raise ShapeError(path, f"an object was expected, got {brief(value)}")
    tag = value.get("type")
    if tag not in COMMANDS:
        raise ShapeError(f"{path}.type", f"unknown command {tag!r}: this leasehold {__version__} does not know it")
    return _decode(COMMANDS[tag], {name: one for name, one in value.items() if name != "type"}, path)


# -- commands as JSON: the members of the model's records, with the record's name as their type ----------------------------------

COMMANDS: dict[str, type] = {one.__name__: one for one in (*get_args(Command), Reopen)}
"""Type tag -> command."""


def _encode(command: Command | Reopen) -> dict[str, Json]:
    return {"type": type(command).__name__, **_plain_record(command)}


def _plain_record(value: Any) -> Any:
    if attrs.has(type(value)):
        return {one.name: _plain_record(getattr(value, one.name)) for one in attrs.fields(type(value))}
    return [_plain_record(one) for one in value] if isinstance(value, tuple) else value


def _decode(kind: Any, value: Json, path: str) -> Any:
    kind = getattr(kind, "__supertype__", kind)
    if attrs.has(kind):
        return _decode_record(kind, value, path)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ShapeError(path, f"an array was expected, got {brief(value)}")
        return tuple(_decode(get_args(kind)[0], one, f"{path}[{index}]") for index, one in enumerate(value))
    if type(value) is not kind:
        raise ShapeError(path, f"a value of type {kind.__name__} was expected, got {brief(value)}")
    return value


def _decode_record(kind: Any, value: Json, path: str) -> Any:
    if not isinstance(value, dict):
        raise ShapeError(path, f"an object was expected, got {brief(value)}")
    hints = _members(kind)
    for name in value:
        if name not in hints:
            raise ShapeError(f"{path}.{name}", f"unknown member of {kind.__name__}")
    for name in hints:
        if name not in value:
            raise ShapeError(f"{path}.{name}", "this member is required and missing")
    return kind(**{name: _decode(hint, value[name], f"{path}.{name}") for name, hint in hints.items()})


@cache
def _members(kind: Any) -> dict[str, Any]:
    """A record's members in order, with their types."""
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in attrs.fields(kind)}


# -- running again ---------------------------------------------------------------------------------------------------------------


MANY_TRIES = 500
"""How often a run in which answers have to get lost is tried: the right ones have to, and each rarely does."""

FEW_TRIES = 25
"""How often it is tried on a store that seems to lose none."""


@frozen(kw_only=True)
class Replayed:
    """What became of a case on a target. ``finding``: what it breaks now. ``notes``: which steps were not as they were, and why.

    ``differing``: where the target's policies or manifest are not those of the store that the case was made on.
    ``tries``: how often it was run, where what it shows is a matter of luck.
    """

    case: Case
    verdict: Verdict
    finding: Finding | RaceFinding | None = None
    notes: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    tries: int = 0

    @property
    def changed(self) -> bool:
        """The verdict is not the recorded one: another rule is broken now, or none."""
        return self.finding is None or self.finding.requirement != self.case.requirement

    @property
    def change(self) -> str:
        """What was recorded, what is seen here, and what may be the reason if it is not the same."""
        was = f"Was {self.case.requirement}, broken by {self.case.target or 'a store that is not named'}"
        if not self.changed:
            return f"{was}; the same rule is broken here"
        if self.verdict == "conforms":
            return f"{was}; conforms here" + (f" in {self.tries} tries" if self.tries > 1 else "")
        if self.finding is not None:
            return f"{was}; another rule is broken here, because {self.because}"
        return f"{was}; says nothing here, because {self.because}"

    @property
    def because(self) -> str:
        """Why the verdict is another one, where it is no better."""
        if not self.changed or self.verdict == "conforms":
            return ""
        reasons = [f"policies differ: {', '.join(self.differing)}"] if self.differing else []
        return "; ".join((*reasons, *self.notes) or self._judged_otherwise())

    def _judged_otherwise(self) -> tuple[str, ...]:
        step = (self.case.mismatch or {}).get("step")
        if isinstance(self.finding, Finding) and step not in (None, len(self.finding.failure.steps)):
            return (f"step {len(self.finding.failure.steps)} is answered wrongly here, not step {step}",)
        return ("the store answers otherwise",)


def prepare(door: Door) -> tuple[Contract, list[Probed]]:
    """What the store behind the door is held to, found out by probing. Raises `BrokenTarget`."""
    smoke(door)
    return probe(door, Contract(persistent_manifest=door.capabilities.manifest == "persistent"))


def replay(case: Case, door: Door, contract: Contract) -> Replayed:
    """Run the case again, judged by today's model under the contract."""
    differing = tuple(
        f"{point.id} is {option(contract.policies, point)} here and was {option(case.policies, point)}"
        for point in POINTS
        if option(contract.policies, point) != option(case.policies, point)
    )
    manifest = "persistent" if contract.persistent_manifest else "noop"
    if manifest != case.manifest:
        differing += (f"the manifest is {manifest} here and was {case.manifest}",)
    if case.kind == "tier":
        tier = _tier_again(door)
        return Replayed(case=case, verdict="violates" if tier else "conforms", finding=tier, differing=differing)
    finding: Finding | RaceFinding | None
    tries = 0
    if case.kind == "power":
        finding, notes = _power_again(door, contract)
    elif case.kind == "race":
        finding, notes, tries = _race_again(case, door, contract)
    elif case.killed:
        finding, notes, tries = _kill_again(case, door, contract)
    else:
        finding, notes, lost = _run_again(case, door, contract)
        for number in range(MANY_TRIES if case.lost else 0):  # the right answers have to get lost again, if any do
            if finding is not None or not (lost or number < FEW_TRIES):
                break
            finding, notes, lost_now = _run_again(case, door, contract)
            lost = lost or lost_now
    verdict: Verdict = "violates" if finding else "inconclusive" if notes else "conforms"
    return Replayed(case=case, verdict=verdict, finding=finding, notes=notes, differing=differing, tries=tries)


FEWEST = 20
"""A race of free threads, and a kill that is by the clock, says nothing with fewer tries."""


def _too_few(tries: int) -> tuple[str, ...]:
    return (f"it is a matter of time, and was not seen in {tries} tries",) if tries < FEWEST else ()


def _race_again(case: Case, door: Door, contract: Contract) -> tuple[Finding | RaceFinding | None, tuple[str, ...], int]:
    """What a race shows when it is run again. A case of kind race without one is of those for a lane that was never claimed."""
    able = door.capabilities
    if not able.concurrent or able.handles < 2:
        return None, ("the race was not run: the store does not declare several handles and concurrent calls",), 0
    notes: list[str] = []
    fitting = [fit(one, case.steps[0].at, able, "in a race") for one in case.steps]
    notes += [f"step {number} {unlike}" for number, (_, unlike) in enumerate(fitting, start=1) if unlike]
    races, turns = first_leases(able), case.race.turns if case.race else None
    if case.race is not None:
        races = [Race(case.race.name, tuple(one for one, _ in fitting if one is not None), case.race.clients)]
    for race in races:
        lacking = sorted({operation(command) for command in race.commands} - able.ops)
        if lacking or len(race.clients) > able.handles:
            wants = f"{', '.join(lacking)}" if lacking else f"{len(race.clients)} handles"
            return None, (f"the race was not run: it takes {wants}, which the store does not offer",), 0
        kill = case.race.kill if case.race is not None else 0
        if kill and door.not_killed:
            notes.append(f"{race.name}: killed nothing: {door.not_killed}")
            kill = 0
        again = rerun(Threads(door, contract), race, turns.schedule() if turns else None, kill=kill)
        if again.found is not None:
            return again.found, tuple(notes), 0
        if again.failure is not None:
            rule, also = name_rule(door, contract, again.failure)
            return Finding(rule, also, again.failure, confirmed=True), tuple(notes), 0
        notes += [] if again.judged else [f"{race.name}: {again.why}"]
        if case.race is not None and turns is None and again.judged:
            return None, (*notes, *_too_few(again.judged)), again.judged
    return None, tuple(notes), 0


OUTAGES = 12
"""In how many runs the power goes, where that was saved."""


def _power_again(door: Door, contract: Contract) -> tuple[RaceFinding | None, tuple[str, ...]]:
    """What a power loss leaves. The run that it was found in is not saved: others show it too."""
    opener, why = getattr(door, "at_place", None), unavailable()
    if opener is None or why:
        return None, (f"the power was not lost: {why or 'only our SQLite store is put through that'}",)
    outages = Outages(opener, contract, 1, Tally())
    return next((found for found in (outages.run() for _ in range(OUTAGES)) if found is not None), None), ()


NEAR = 5
"""How far from where it was a kill is tried too, in points: the store's code may have changed."""

KILLS, KILL_SECONDS = 60, 20.0
"""How often a kill that is by the clock is tried at about its time, and the seconds that this may take."""


def _kill_again(case: Case, door: Door, contract: Contract) -> tuple[Finding | None, tuple[str, ...], int]:
    """What a run shows in which the process that holds the store is killed: there, or nearby."""
    opened = door.crashing()
    killing: Door = opened or door
    try:
        finding, notes, _ = _run_again(case, killing, contract)
        tries = 1
        for moved in _moved(case.steps, opened.unit if opened is not None else ""):
            if finding is not None or notes or killing.not_killed:
                return finding, notes, 0
            finding, notes, _ = _run_again(evolve(case, steps=moved), killing, contract)
            tries += 1
        timed = opened is not None and any(_is_timed(one, opened.unit) for one in case.steps)
        return finding, notes or (_too_few(tries) if timed and finding is None else ()), tries if timed else 0
    finally:
        if opened is not None and opened is not door:
            opened.shut()


def _is_timed(one: Step, unit: str) -> bool:
    return one.kill < AFTER or (one.kill != 0 and by_the_clock(unit))


def _moved(steps: Run, unit: str) -> Iterator[Run]:
    """The same run, killed at other points: nearby; or, where points are times, at any time up to twice the one that it was."""
    if not any(_is_timed(one, unit) for one in steps):
        for off in [sign * by for by in range(1, NEAR + 1) for sign in (1, -1)]:
            moved = tuple(evolve(one, kill=max(1, one.kill + off)) if one.kill > 0 else one for one in steps)
            if moved != steps:
                yield moved
        return
    rng, ends = random.Random(len(steps)), time.monotonic() + KILL_SECONDS
    for _ in range(KILLS if any(one.kill not in {0, AFTER} for one in steps) else FEWEST):
        if time.monotonic() < ends:
            yield tuple(evolve(one, kill=rng.randint(1, 2 * one.kill)) if 0 < one.kill < CHANGE else one for one in steps)


def _run_again(case: Case, door: Door, contract: Contract) -> tuple[Finding | None, tuple[str, ...], bool]:
    """What the run breaks, what was not as in the case, and whether answers got lost."""
    execution = Execution(door, contract)
    notes = []
    for number, saved in enumerate(case.steps, start=1):
        one, unlike = fit(saved, case.steps[0].at, door.capabilities, door.not_killed)
        notes += [f"step {number} {unlike}"] if unlike else []
        if one is None:
            continue
        try:
            wrong = execution.do(one)
        except Unbound as unbound:
            notes.append(f"step {number} was not sent: it names {unbound}, which this store never showed")
            continue
        except Silence as silence:
            notes.append(f"step {number} was not sent: the contract is silent on it ({silence})")
            continue
        except Indefinite as indefinite:
            notes.append(f"step {number} was answered indefinitely: {indefinite}")
            break
        if wrong is not None:
            failed = failure(execution, wrong)
            rule, also = name_rule(door, contract, failed)
            return Finding(rule, also, failed, confirmed=True), tuple(notes), failed.lost
        answer = execution.answers[-1]
        if isinstance(answer, Skip):
            notes.append(f"step {number} is not offered: {answer.reason}")
        elif isinstance(answer, Unknown) and not one.kill:
            notes.append(f"step {number} was answered indefinitely: {answer.message}")
    return None, tuple(notes), any(isinstance(answer, Unknown) for answer in execution.answers)


def _tier_again(door: Door) -> RaceFinding | None:
    """Whether the store reports another tier than it declares."""
    reported = door.reported_tier()
    wrong = reported is not None and reported != door.capabilities.tier
    return RaceFinding("TIER-1", f"the store declares {door.capabilities.tier!r} and reports {reported!r}") if wrong else None


def replay_case(case: Path | str | Mapping[str, Json], door: Door) -> None:
    """Run a case, given as a path or as its file's value. Raises `AssertionError` with the report if the store breaks a rule."""
    __tracebackhide__ = True
    from leasehold.report.text import replayed_text  # noqa: PLC0415 - the report knows cases, so it is imported late

    loaded = load(case) if isinstance(case, Path | str) else from_json(case)
    contract, _ = prepare(door)
    again = replay(loaded, door, contract)
    if again.verdict != "conforms":
        raise AssertionError(replayed_text(again, door.name))


# -- as a test -------------------------------------------------------------------------------------------------------------------


def as_pytest(case: Case, path: Path | str | None = None) -> str:
    """A pytest function to paste, which replays the case: from its file if there is a path, else from the value itself.

    A store whose process is killed has to be opened by another process, so it is named as on the command line.
    """
    name = case.requirement.lower().replace("-", "_")
    if path is not None:
        name += "_" + Path(path).stem.rpartition("-")[2]
    given = json.dumps(str(path)) if path is not None else f"json.loads({json.dumps(json.dumps(to_json(case)))})"
    imports, factory, fixture = ([], json.dumps(case.target), "") if case.killed else _factory(case.target)
    lines = [
        *(["import json", ""] if path is None else []),
        *imports,
        "from leasehold.testing import replay_case",
        "",
        "",
        f"def test_{name}({fixture}) -> None:",
        f'    """{case.requirement}: {STATEMENTS.get(case.requirement, case.message)}"""',
        f"    replay_case({given}, {factory})",
    ]
    return "\n".join(lines)


def _factory(target: str) -> tuple[list[str], str, str]:
    """The imports, the expression and the fixtures that open the target's stores."""
    kind, _, rest = target.partition(":")
    if kind == "python" and ":" in rest:
        module, _, attribute = rest.partition(":")
        return [f"from {module} import {attribute.partition('.')[0]}"], attribute, ""
    if kind == "sqlite":
        imports = ["from itertools import count", "from pathlib import Path", "", "from leasehold.stores.sqlite import SqliteStore"]
        return imports, 'lambda clock, files=count(): SqliteStore(tmp_path / f"{next(files)}.db", clock=clock)', "tmp_path: Path"
    if kind == "memory":
        return ["from leasehold.stores.memory import MemoryStore"], "MemoryStore", ""
    return ["from my_store import factory  # yours: factory(clock) opens a fresh store"], "factory", ""

"""Cases: a broken rule and the shortest run that shows it, saved as JSON, loaded, and run again.

A case keeps the run twice: as commands in the model's numbers, which is what runs again on any store, and beside each as the
operation, the arguments and the answer in the JSON of the adapter protocol, for people. Only the first is read back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
from attrs import field, frozen

from leasehold import __version__
from leasehold.oracle.answers import Answer, Door, Err, Hung, Misshapen, Ok, Skip, Unknown
from leasehold.oracle.binding import Unbound
from leasehold.oracle.check import RACES, RaceFinding, race, smoke
from leasehold.oracle.findings import Finding, name_rule
from leasehold.oracle.fitting import fit
from leasehold.oracle.probe import Probed, probe
from leasehold.oracle.run import Execution, Indefinite, Reopen, Run, Silence, Step, failure
from leasehold.oracle.vocabulary import canonical
from leasehold.records import Json
from leasehold.report.story import Line, tell
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

Kind = Literal["run", "race", "tier"]
Verdict = Literal["conforms", "violates", "inconclusive"]


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

    @property
    def commands(self) -> int:
        """Store operations of the run."""
        return sum(not isinstance(one.action, Reopen) for one in self.steps)

    @property
    def lost(self) -> bool:
        """Answers got lost in the run, and had to."""
        answers = [one.get("answer") for one in self.shown]
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
        kind: Kind = "tier" if finding.requirement == "TIER-1" else "race"
        return Case(requirement=finding.requirement, message=finding.message, kind=kind, **common)
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


def message(finding: Finding) -> str:
    """A finding in one sentence."""
    where, allowed, given = Words(tell(finding.failure), whole=True).wrong()
    return f"{where}: the contract allows {allowed}; the store answered {given}"


def _capabilities(capabilities: Capabilities) -> dict[str, Json]:
    declared = {name: value for name, value in attrs.asdict(capabilities, recurse=False).items() if name != "ops"}
    return {**declared, "not_offered": [op for op in OPERATIONS if op not in capabilities.ops]}


def _shown(line: Line) -> dict[str, Json]:
    if not line.op:
        return {"op": "reopen"}
    return {"op": line.op, "args": canonical(_args(line)), "answer": canonical(_answer(line.op, line.answer))}


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
        {"at": one.at, "handle": one.handle, "command": _encode(one.action), **shown}
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
    }


def save(case: Case, directory: Path) -> Path:
    """Write the case below the directory; the name is the rule's and a few digits of the run's. The same run has the same name."""
    value = to_json(case)
    run = json.dumps([value["requirement"], value["policies"], [step["command"] for step in value["steps"]]], sort_keys=True)
    digest = hashlib.sha256(run.encode()).hexdigest()
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
        shown=tuple({name: one[name] for name in ("op", "args", "answer") if name in one} for one in steps),
        mismatch=value.get("mismatch"),
    )


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
        command = _member(value, "command", dict)
        tag = command.get("type")
        if tag not in COMMANDS:
            raise ShapeError("command.type", f"unknown command {tag!r}: this leasehold {__version__} does not know it")
        return Step(at, handle, _decode(COMMANDS[tag], {name: one for name, one in command.items() if name != "type"}, "command"))
    except ShapeError as error:
        raise error.below(path) from None


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
    """

    case: Case
    verdict: Verdict
    finding: Finding | RaceFinding | None = None
    notes: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()

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
            return f"{was}; conforms here"
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
    if case.kind == "race" and (door.capabilities.handles < 2 or not door.capabilities.concurrent):
        why = "the race was not run: the store does not declare several handles and concurrent calls, or has none through this door"
        return Replayed(case=case, verdict="inconclusive", notes=(why,), differing=differing)
    if case.kind != "run":
        found = _again(case, door)
        return Replayed(case=case, verdict="violates" if found else "conforms", finding=found, differing=differing)
    finding, notes, lost = _run_again(case, door, contract)
    for number in range(MANY_TRIES if case.lost else 0):  # the right answers have to get lost again, if any do
        if finding is not None or not (lost or number < FEW_TRIES):
            break
        finding, notes, lost_now = _run_again(case, door, contract)
        lost = lost or lost_now
    verdict: Verdict = "violates" if finding else "inconclusive" if notes else "conforms"
    return Replayed(case=case, verdict=verdict, finding=finding, notes=notes, differing=differing)


def _run_again(case: Case, door: Door, contract: Contract) -> tuple[Finding | None, tuple[str, ...], bool]:
    """What the run breaks, what was not as in the case, and whether answers got lost."""
    execution = Execution(door, contract)
    notes = []
    for number, saved in enumerate(case.steps, start=1):
        one, unlike = fit(saved, case.steps[0].at, door.capabilities)
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
        elif isinstance(answer, Unknown):
            notes.append(f"step {number} was answered indefinitely: {answer.message}")
    return None, tuple(notes), any(isinstance(answer, Unknown) for answer in execution.answers)


def _again(case: Case, door: Door) -> RaceFinding | None:
    """A finding without a run, looked for again."""
    if case.kind == "tier":
        reported = door.reported_tier()
        wrong = reported is not None and reported != door.capabilities.tier
        return RaceFinding("TIER-1", f"the store declares {door.capabilities.tier!r} and reports {reported!r}") if wrong else None
    found = (race(door, number) for number in range(4 * RACES))
    return next((one for one in found if one is not None), None)


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
    """A pytest function to paste, which replays the case: from its file if there is a path, else from the value itself."""
    name = case.requirement.lower().replace("-", "_")
    if path is not None:
        name += "_" + Path(path).stem.rpartition("-")[2]
    given = json.dumps(str(path)) if path is not None else f"json.loads({json.dumps(json.dumps(to_json(case)))})"
    imports, factory, fixture = _factory(case.target)
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

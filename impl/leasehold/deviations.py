"""The register of known deviations: what a store does otherwise, why that is so, and whether a check still sees exactly that.

A register is TOML, one table for each deviation:

    [[deviation]]
    requirement = "LEASE-3"
    message = "try_claim: null is due, the store gave a Lease"
    reason = "owners are told apart by host only, until the migration"
    link = "https://tracker.example/4711"

``message`` says what is seen in words that no seed, id or time changes: the operation, the place in its answer, what was due and
what came, in kind. `rewritten` keeps reasons, links and the comment at the top; other comments go: they belong into a reason.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import evolve, fields, frozen

from leasehold.oracle.answers import Answer, Err, Hung, Ok
from leasehold.oracle.check import UNDECIDED, Report, Verdict
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.coverage import NotChecked
from leasehold.oracle.findings import Finding
from leasehold.report.words import short_op
from leasehold_model.claim import Claimed
from leasehold_model.commit import Committed
from leasehold_model.graph import FoundNode, Loaded, Vacuumed
from leasehold_model.laws import SOMETIMES
from leasehold_model.lease import Leased
from leasehold_model.machine import Response
from leasehold_model.outcome import Absent, Refused
from leasehold_model.policy import POINTS
from leasehold_model.queue import Listed, Queued
from leasehold_model.requirements import REQUIREMENTS

TODO = "TODO: say why"
"""The reason that a new entry gets. It has to be replaced: until then the entry fails."""

NEVER = "never exercised"
"""The message of a requirement that no run reached, as may be where every way to it leads through what is broken."""

EXPLAINED = "known deviation: "
"""How it begins why a known deviation counts as not checked."""

KNOWN = (*(one.id for one in REQUIREMENTS), *(point.id for point in POINTS), *(f"sometimes: {what}" for what in SOMETIMES))
"""What an entry may be about, in the order in which a register is written."""

EVERYTHING = frozenset(KNOWN)

_POINTS = frozenset(point.id for point in POINTS)


class RegisterError(Exception):
    """A register that cannot be read. The message says what, where, and what to do."""


@frozen(kw_only=True)
class Deviation:
    """One known difference."""

    requirement: str
    message: str = ""
    reason: str = ""
    link: str = ""

    @property
    def why(self) -> str:
        """The reason, with its link."""
        return f"{self.reason} ({self.link})" if self.link else self.reason


@frozen
class Register:
    """A register as it was read. ``name``: its path, for messages. ``preface``: the comment at its top."""

    name: str
    entries: tuple[Deviation, ...] = ()
    preface: str = ""

    @property
    def requirements(self) -> frozenset[str]:
        """What a check need not stop for."""
        return frozenset(entry.requirement for entry in self.entries)


@frozen
class Seen:
    """What a check saw of one requirement. ``finding`` None: an option that is not the required one, or something never reached."""

    requirement: str
    message: str
    finding: Finding | RaceFinding | None = None


@frozen
class Problem(RaceFinding):
    """Why a register and a check do not agree. It is reported as a finding that has no run."""


@frozen(kw_only=True)
class Settled:
    """A check in the light of a register.

    ``report``: with what was expected moved to what was not checked, and what is wrong with the register among the findings.
    """

    report: Report
    known: tuple[tuple[Deviation, Seen], ...] = ()
    problems: tuple[Problem, ...] = ()


# -- the file ----------------------------------------------------------------------------------------------------------------------


def parse(text: str, name: str) -> Register:
    """The register that a file's text holds. Raises `RegisterError`."""
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegisterError(f"register {name}: it is not TOML: {error}. See `leasehold.deviations` for an example.") from error
    if unknown := [one for one in value if one != "deviation"]:
        raise RegisterError(f"register {name}: unknown member {unknown[0]!r}. It holds [[deviation]] tables and nothing else.")
    tables = value.get("deviation", [])
    if not isinstance(tables, list):
        raise RegisterError(f"register {name}: deviation is one table. Write [[deviation]], with two brackets.")
    entries = tuple(_entry(table, f"register {name}: deviation {number}") for number, table in enumerate(tables, start=1))
    preface = re.match(r"(?:[ \t]*(?:#[^\n]*)?\n)*", text)
    return Register(name, entries, preface[0].rstrip() if preface else "")


def _entry(table: Any, where: str) -> Deviation:
    names = [one.name for one in fields(Deviation)]
    if not isinstance(table, dict) or not table.get("requirement"):
        raise RegisterError(f'{where} names no requirement. Write requirement = "LEASE-3", say.')
    for name, value in table.items():
        if name not in names:
            raise RegisterError(f"{where} has an unknown member {name!r}. There are {', '.join(names)}.")
        if not isinstance(value, str):
            raise RegisterError(f"{where}: {name} is {value!r}, and has to be text in quotes.")
    return Deviation(**{name: value.strip() for name, value in table.items()})


def render(register: Register) -> str:
    """The text of a register's file."""
    tables = [[f"{name} = {_quoted(value)}" for name, value in _members(entry)] for entry in register.entries]
    parts = ["\n".join(["[[deviation]]", *lines]) for lines in tables]
    return "\n\n".join([*([register.preface] if register.preface else []), *parts]) + "\n"


def _members(entry: Deviation) -> Iterable[tuple[str, str]]:
    for one in fields(Deviation):
        value = getattr(entry, one.name)
        if value or one.name != "link":
            yield one.name, value


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # what JSON escapes, TOML reads; this it wants escaped


# -- a check and a register --------------------------------------------------------------------------------------------------------


def seen(report: Report, *, recommended: bool = False) -> list[Seen]:
    """What a check saw that a register may have. ``recommended``: the recommended options were required."""
    broken: list[Finding | RaceFinding] = [*report.races, *report.findings]
    found = [Seen(one.requirement, kind(one), one) for one in broken]
    taken = {one.point.id: one for one in report.policies}
    found += [Seen(name, f"takes {taken[name].option}") for name in report.loose if recommended]
    names = {one.requirement for one in found}
    return found + [Seen(one, NEVER) for one in report.starved if one not in names]


def settle(register: Register, report: Report, *, recommended: bool = False) -> Settled:
    """Take from a report what is known, and hold the register to it."""
    sights = seen(report, recommended=recommended)
    known, problems = [], []
    for entry in register.entries:
        same = [one for one in sights if one.requirement == entry.requirement]
        met = next((one for one in same if one.message == entry.message), None)
        if met is not None:
            known.append((entry, met))
        wrong = _problem(register, entry, same, met, report, recommended)
        if wrong:
            problems.append(Problem(entry.requirement, f"{register.name}: {wrong}"))
    expected = [one for _, one in known]
    names = {one.requirement for one in expected if one.finding is None}
    explained = [NotChecked(entry.requirement, EXPLAINED + entry.why) for entry, _ in known]
    rest = evolve(
        report,
        not_checked=(*(one for one in report.not_checked if one.what not in names), *explained),
        findings=tuple(one for one in report.findings if not any(one is other.finding for other in expected)),
        races=(*(one for one in report.races if not any(one is other.finding for other in expected)), *problems),
        loose=tuple(one for one in report.loose if one not in names),
        starved=tuple(one.requirement for one in sights if one.message == NEVER and one.requirement not in names),
    )
    return Settled(report=evolve(rest, verdict=_verdict(rest, recommended)), known=tuple(known), problems=tuple(problems))


def _problem(
    register: Register, entry: Deviation, same: Sequence[Seen], met: Seen | None, report: Report, recommended: bool
) -> str:
    """What is wrong with an entry. Where no option is required, one about an option is for another check."""
    name = entry.requirement
    if name in _POINTS and not recommended:
        return ""
    if name not in EVERYTHING:
        return f"{name} is no requirement, law or policy. `leasehold spec` has them all."
    if sum(one == entry or (one.requirement, one.message) == (name, entry.message) for one in register.entries) > 1:
        return f"{name} stands there twice. Leave one entry."
    if met is None and same:
        was = repr(entry.message) if entry.message else "nothing"
        return f"{name}: recorded is {was}, now it is {same[0].message!r}. If that is right, --fix-deviations records it."
    if met is None:
        why = next((f": {one.why}" for one in report.not_checked if one.what == name), "")
        did = f"was not checked{why}" if why else "no longer occurs"
        early = " This check ended early, for what else is broken." if report.findings or report.races else ""
        return f"{name} {did}. If it is mended, remove the entry, or let --fix-deviations do it.{early}"
    if entry.reason in ("", TODO):
        return f"{name} has no reason yet. Say why the store deviates, in reason."
    return ""


def _verdict(report: Report, recommended: bool) -> Verdict:
    if report.findings or report.races or (recommended and report.loose):
        return "violates"
    return "inconclusive" if report.starved or cut_short(report) or undecided(report) else "conforms"


def cut_short(report: Report) -> str:
    """Why the check did not get to its end; empty: it did."""
    return next((one.why for one in report.not_checked if one.what == "the rest of the run"), "")


def undecided(report: Report) -> str:
    """That too many histories stayed undecided to say that the store conforms; empty: not so many."""
    done = report.tally
    much = done.undecided > UNDECIDED * done.histories
    return f"{done.undecided} of {done.histories} histories of clients at once stayed undecided" if much else ""


def refusal(report: Report) -> str:
    """Why a register may not be rewritten from this check; empty: it may."""
    cut = cut_short(report)
    if cut:
        return f"the check did not get to its end: {cut}"
    if report.verdict == "inconclusive":
        return "the check is inconclusive, so an entry that it did not see may still be needed. Give it more time."
    return ""


def rewritten(register: Register, report: Report, *, recommended: bool = False) -> Register:
    """The register with what was seen now. Reasons and links stay with their requirement; what is new has yet to be explained."""
    old = {entry.requirement: entry for entry in register.entries}
    old_exactly = {(entry.requirement, entry.message): entry for entry in register.entries}
    entries = [entry for entry in register.entries if entry.requirement in _POINTS and not recommended]
    for one in dict.fromkeys((one.requirement, one.message) for one in seen(report, recommended=recommended)):
        before = old_exactly.get(one) or old.get(one[0]) or Deviation(requirement=one[0])
        entries.append(evolve(before, message=one[1], reason=before.reason or TODO))
    return evolve(register, entries=tuple(sorted(entries, key=lambda entry: (KNOWN.index(entry.requirement), entry.message))))


# -- what was seen, in kind --------------------------------------------------------------------------------------------------------

_DUE: dict[type[Response], str] = {
    Absent: "null",
    Leased: "a Lease",
    Queued: "a Batch",
    Claimed: "a Claim",
    Listed: "a list",
    Committed: "a CommitResult",
    Loaded: "a Read",
    FoundNode: "a Node",
    Vacuumed: "a VacuumReport",
}


def kind(finding: Finding | RaceFinding) -> str:
    """What is wrong, in words that stay when the same is found by another run."""
    if isinstance(finding, RaceFinding) and finding.race is not None:
        return f"clients at once: {'no order explains their answers' if finding.calls else 'not every one is answered in time'}"
    if isinstance(finding, RaceFinding):
        return re.sub(r"\d+(?:\.\d+)?", "n", finding.message)
    return ("after a kill, " if finding.failure.killed else "") + _of_run(finding)


def _of_run(finding: Finding) -> str:
    failure, wrong = finding.failure, finding.failure.mismatch
    op, where = failure.moment.op, re.sub(r"\[\d+\]", "[]", wrong.where)
    if where.startswith("err."):
        return f"{short_op(op)}, {where}: {wrong.allowed} is due, the store gave {wrong.given}"
    if where == op:
        return f"{short_op(op)}: {_due(failure.moment.response)} is due, the store gave {_given(failure.answers[-1])}"
    if "null" in (wrong.allowed, wrong.given):
        due, given = ("null" if one == "null" else "a value" for one in (wrong.allowed, wrong.given))
        return f"{short_op(op)}, {where}: {due} is due, the store gave {given}"
    return f"{short_op(op)}, {where}: the store gave another value than the one that is due"


def _due(response: Response) -> str:
    if isinstance(response, Refused):
        return f"refused: {response.code or 'any error'}"
    return _DUE.get(type(response), "success")


def _given(answer: Answer | None) -> str:
    match answer:
        case Ok(None):
            return "null"
        case Ok(list() | tuple()):
            return "a list"
        case Ok(value):
            return f"a {type(value).__name__}"
        case Err(_, message, _, True):
            raised = re.match(r"raised (\w+)", message)
            return raised[0] if raised else "an error without a code"
        case Err(code):
            return f"refused: {code}"
        case Hung():
            return "nothing in time"
        case _:
            return "no answer that can be read"

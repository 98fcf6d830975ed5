"""The reports for programs: exactly the shape that the command line promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from leasehold import __version__
from leasehold.case import Replayed, message
from leasehold.deviations import Deviation
from leasehold.oracle.check import Report
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.oracle.probe import Probed
from leasehold.records import Json
from leasehold.store import Capabilities

FORMAT = 1
"""The form of these reports."""


@frozen
class Violation:
    """A finding as it is reported: with the file of its case, if that could be written."""

    finding: Finding | RaceFinding
    case: Path | None


def check_json(report: Report, violations: Sequence[Violation], *, recommended: bool = False) -> dict[str, Json]:
    """What a check found. ``recommended``: the recommended options were required."""
    taken = {probed.point.id: probed for probed in report.policies}
    loose = [_loose(taken[name]) for name in report.loose] if recommended else []
    return {
        "format": FORMAT,
        "leasehold": __version__,
        "target": target_json(report.target, report.capabilities),
        "verdict": report.verdict,
        "seed": report.seed,
        "seconds": round(report.seconds, 3),
        "operations": report.operations,
        "runs": report.runs,
        "histories": report.tally.histories,
        "undecided": report.tally.undecided,
        "kills": report.tally.kills,
        "power_losses": report.tally.power_losses,
        "violations": [*map(_violation, violations), *loose],
        "policies": policies_json(report.policies),
        "requirements": {
            name: {"exercised": report.exercised[name], "asserted": report.asserted[name]}
            for name in sorted(report.exercised, key=_order)
        },
        "not_checked": [
            *({"what": one.what, "why": one.why} for one in report.not_checked),
            *({"what": one, "why": "not reached in this run"} for one in report.starved),
        ],
    }


def deviations_json(known: Sequence[Deviation]) -> list[Json]:
    """The known deviations that were seen."""
    return [attrs.asdict(one) for one in known]


def broken_json(target: str, why: str, seconds: float, seed: int | None) -> dict[str, Json]:
    """A check of which nothing came, for the set-up is broken."""
    return {
        "format": FORMAT,
        "leasehold": __version__,
        "target": {"name": target},
        "verdict": "broken",
        "seed": seed,
        "seconds": round(seconds, 3),
        "operations": 0,
        "runs": 0,
        "histories": 0,
        "undecided": 0,
        "kills": 0,
        "power_losses": 0,
        "violations": [],
        "policies": {},
        "requirements": {},
        "not_checked": [{"what": "everything", "why": why}],
    }


def probe_json(target: str, capabilities: Capabilities, policies: Sequence[Probed]) -> dict[str, Json]:
    """What probing found."""
    return {
        "format": FORMAT,
        "leasehold": __version__,
        "target": target_json(target, capabilities),
        "policies": policies_json(policies),
        "not_checked": [{"what": one.point.id, "why": one.why} for one in policies if one.option is None],
    }


def replay_json(target: str, capabilities: Capabilities, verdict: str, cases: Mapping[Path, Replayed]) -> dict[str, Json]:
    """What became of each case."""
    return {
        "format": FORMAT,
        "leasehold": __version__,
        "target": target_json(target, capabilities),
        "verdict": verdict,
        "cases": [
            {
                "case": str(path),
                "requirement": again.case.requirement,
                "changed": again.changed,
                "change": again.change,
                "verdict": again.verdict,
                "violation": None if again.finding is None else _violation(Violation(again.finding, path)),
                "notes": list(again.notes),
                "policies_differ": list(again.differing),
            }
            for path, again in cases.items()
        ],
    }


def target_json(name: str, capabilities: Capabilities) -> dict[str, Json]:
    """The store, by its name on the command line and by what it declares."""
    return {
        "name": name,
        "tier": capabilities.tier,
        "manifest": capabilities.manifest,
        "clock": capabilities.clock,
        "handles": capabilities.handles,
        "reopen": capabilities.reopen,
        "concurrent": capabilities.concurrent,
        "operations": sorted(capabilities.ops),
    }


def policies_json(policies: Sequence[Probed]) -> dict[str, Json]:
    """The options taken. A point that was not asked is left out; where no option fits, the option is null."""
    return {
        one.point.id: {"option": one.option, "recommended": one.option == one.point.options[0]}
        for one in policies
        if one.option is not None or one.failure is not None
    }


def _violation(violation: Violation) -> dict[str, Json]:
    finding = violation.finding
    raced = isinstance(finding, RaceFinding) and finding.race is not None
    return {
        "requirement": finding.requirement,
        "also": list(finding.also),
        "case": None if violation.case is None else str(violation.case),
        "commands": _commands(finding),
        "concurrent": raced,
        "message": message(finding),
    }


def _commands(finding: Finding | RaceFinding) -> int:
    """Store operations of the minimised run or history; where not every client was answered, what they were to ask."""
    race = finding.race if isinstance(finding, RaceFinding) else None
    return finding.commands or (sum(map(len, race.clients)) if race else 0)


def _loose(probed: Probed) -> dict[str, Any]:
    return {
        "requirement": probed.point.id,
        "also": [probed.point.refines],
        "case": None,
        "commands": 0,
        "concurrent": False,
        "message": f"the store takes {probed.option}; {probed.point.options[0]} is recommended, and that was required",
    }


def _order(identifier: str) -> tuple[str, int]:
    group, _, number = identifier.rpartition("-")
    return group, int(number)

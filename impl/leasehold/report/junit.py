"""The report as JUnit XML, for CI systems: one test case for each requirement, and none of them passes that was not tested."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rich.console import Console

from leasehold import __version__
from leasehold.case import message
from leasehold.oracle.check import Report
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.coverage import NotChecked
from leasehold.report.json import Violation
from leasehold.report.standing import printable, standings
from leasehold.report.text import Asked, block
from leasehold_model.requirements import STATEMENTS

Outcome = Literal["", "failure", "error", "skipped"]

CUT = "the rest of the run"
"""What a check names as not checked when it was cut short."""


def check_junit(report: Report, violations: Sequence[Violation], asked: Asked) -> str:
    """The report of a check."""
    suite = _Suite(report.target, report.seconds, _properties(report, asked))
    lacking: Outcome = "error" if report.verdict == "inconclusive" else "skipped"
    for one in standings(report):
        name = f"{one.id}: {one.statement}"
        if one.state == "broken":
            found = [violations[number - 1] for number in one.findings if violations[number - 1].finding.requirement == one.id]
            suite.add(_group(one.id), name, "failure", message(found[0].finding), "\n\n".join(map(_text, found)))
        elif one.state == "kept":
            suite.add(_group(one.id), name)
        else:
            suite.add(_group(one.id), name, lacking if one.state == "starved" else "skipped", f"{one.state}: {one.why}")
    for violation in violations:  # a register of known deviations may name what is no requirement
        if violation.finding.requirement not in STATEMENTS:
            suite.add("deviations", violation.finding.requirement, "failure", message(violation.finding))
    for what in report.starved:
        if what not in STATEMENTS:
            suite.add("sometimes", what.removeprefix("sometimes: "), lacking, "never happened in this check")
    for left in report.not_checked:
        if left.what not in STATEMENTS:
            suite.add("not checked", left.what, _of_left(left, lacking), left.why)
    for probed in report.policies if asked.recommended else ():
        if probed.point.id in report.loose:
            wanted = f"the store takes {probed.option}; {probed.point.options[0]} is recommended, and that was required"
            suite.add("policy", f"{probed.point.id}: {probed.point.question}", "failure", wanted)
    return suite.text()


def broken_junit(target: str, why: str, seconds: float, seed: int | None, command: str) -> str:
    """A check of which nothing came, for the set-up is broken."""
    suite = _Suite(target, seconds, {"verdict": "broken", "seed": str(seed), "command": command})
    suite.add("check", "the set-up", "error", why.partition("\n")[0], why)
    return suite.text()


class _Suite:
    def __init__(self, name: str, seconds: float, properties: Mapping[str, str]) -> None:
        self.root = Element("testsuites", name="leasehold")
        self.suite = SubElement(self.root, "testsuite", name=printable(name), time=f"{seconds:.3f}")
        self.totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        inside = SubElement(self.suite, "properties")
        for key, value in properties.items():
            SubElement(inside, "property", name=key, value=printable(value))

    def add(self, group: str, name: str, outcome: Outcome = "", why: str = "", text: str = "") -> None:
        case = SubElement(self.suite, "testcase", classname=f"leasehold.{group}", name=printable(name), time="0")
        self.totals["tests"] += 1
        if outcome:
            self.totals["skipped" if outcome == "skipped" else f"{outcome}s"] += 1
            inside = SubElement(case, outcome, message=printable(why))
            if outcome != "skipped":
                inside.set("type", group)
            inside.text = printable(text or why)

    def text(self) -> str:
        for element in (self.root, self.suite):
            for name, total in self.totals.items():
                element.set(name, str(total))
        indent(self.root)
        return tostring(self.root, encoding="unicode", xml_declaration=False).join(
            ('<?xml version="1.0" encoding="utf-8"?>\n', "\n")
        )


def _group(identifier: str) -> str:
    return identifier.rpartition("-")[0]


def _of_left(left: NotChecked, lacking: Outcome) -> Outcome:
    return lacking if left.what == CUT else "skipped"


def _properties(report: Report, asked: Asked) -> dict[str, str]:
    taken = {one.point.id: one.option or ("none fits" if one.failure else f"not asked: {one.why}") for one in report.policies}
    facts = {
        "leasehold": __version__,
        "verdict": report.verdict,
        "target": report.target,
        "seed": str(report.seed),
        "operations": str(report.operations),
        "runs": str(report.runs),
        "histories": str(report.tally.histories),
        "undecided": str(report.tally.undecided),
        "kills": str(report.tally.kills),
        "power_losses": str(report.tally.power_losses),
        "command": asked.command,
    }
    return facts | taken


def _text(violation: Violation) -> str:
    """The run as text, as it stands in the report for people."""
    finding = violation.finding
    if isinstance(finding, RaceFinding) and finding.race is None:
        return finding.message
    stream = io.StringIO()
    console = Console(file=stream, width=110, highlight=False, markup=False, emoji=False, color_system=None)
    for part in block(finding):
        console.print(part)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "\n".join([STATEMENTS.get(finding.requirement, ""), *lines, *([f"case: {violation.case}"] if violation.case else [])])

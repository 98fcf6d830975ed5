"""How a store stands to each requirement after a check. Kept is only what was compared and never wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from attrs import frozen

from leasehold.deviations import EXPLAINED
from leasehold.oracle.check import Report
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold_model.requirements import REQUIREMENTS

State = Literal["kept", "broken", "known", "in doubt", "starved", "not checked"]

SELDOM = 5
"""Below so many times a rule that was kept has hardly been exercised."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@frozen
class Standing:
    """One requirement: how often it came to bear, how often an answer could have shown it broken, and what is to be said of it."""

    id: str
    statement: str
    exercised: int
    asserted: int
    state: State
    why: str
    findings: tuple[int, ...] = ()


def standings(report: Report) -> list[Standing]:
    """Every requirement, in the order of the contract."""
    broken: dict[str, list[int]] = {}
    also: dict[str, list[int]] = {}
    findings: list[Finding | RaceFinding] = [*report.races, *report.findings]
    for number, finding in enumerate(findings, start=1):
        broken.setdefault(finding.requirement, []).append(number)
        for one in finding.also if isinstance(finding, RaceFinding) else _doubted(finding):
            also.setdefault(one, []).append(number)
    unchecked = {one.what: one.why for one in report.not_checked}
    found = []
    for rule in REQUIREMENTS:
        name = rule.id
        exercised, asserted = report.exercised.get(name, 0), report.asserted.get(name, 0)
        state: State = "kept"
        why, numbers = "", (*broken.get(name, ()), *also.get(name, ()))
        if name in broken:
            state, why = "broken", f"finding {', '.join(map(str, numbers))}"
        elif name in also:
            state, why = "in doubt", f"an answer was wrong by it: finding {', '.join(map(str, numbers))}"
            exercised, asserted = max(1, exercised), max(1, asserted)
        elif name in unchecked:
            why = unchecked[name]
            state = "known" if why.startswith(EXPLAINED) else "not checked"
        elif exercised == 0:
            state, why = "starved", "not reached in this run"
        elif asserted == 0:
            state, why = "starved", "reached, but no answer could have shown it broken"
        elif asserted < SELDOM and name != "TIER-1":  # which is asked once
            why = "seldom exercised"
        found.append(Standing(name, rule.statement, exercised, asserted, state, why, numbers))
    return found


def _doubted(finding: Finding) -> Iterable[str]:
    """The rules by which the wrong answer was wrong, beside the one that is to blame."""
    failure = finding.failure
    cited = getattr(failure.moment.response, "rule", "")
    return dict.fromkeys((*finding.also, failure.mismatch.rule, *failure.mismatch.also, *([cited] if cited else [])))


def printable(text: str) -> str:
    """Text without what neither XML nor a file in UTF-8 can hold: control characters, halves of surrogate pairs."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)

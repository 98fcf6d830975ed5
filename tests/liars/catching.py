"""How a store is put to the default check, and what came of it."""

from __future__ import annotations

import sys
import time

from attrs import frozen

from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.python_door import PythonDoor
from leasehold.wire.client import WireDoor
from tests.liars.liars import LIARS
from tests.liars.oddities import ODDITIES
from tests.liars.patching import Factory


@frozen
class Outcome:
    """What a check said of a store. ``commands`` is 0 where nothing was found or the finding is no run."""

    verdict: str
    rules: tuple[str, ...]
    seconds: float
    operations: int
    commands: int
    told: str

    def named(self, rules: tuple[str, ...]) -> bool:
        """The first finding is of one of these rules."""
        return bool(self.rules) and self.rules[0] in rules


def outcome(name: str, factory: Factory, budget: float, seed: int, max_findings: int = 1) -> Outcome:
    """Check a store until the first finding, shrunk, or to the end of the budget; without the corpus, which has its case."""
    return outcome_through(PythonDoor(factory, name), budget, seed, max_findings)


def outcome_through(door: PythonDoor, budget: float, seed: int, max_findings: int = 1) -> Outcome:
    """The same through a door that is open."""
    began = time.monotonic()
    try:
        with door.alarm():
            report = check(door, Options(budget=budget, seed=seed, max_findings=max_findings, corpus=False))
    finally:
        door.close()
    return _outcome(report, began)


def outcome_through_the_wire(name: str, budget: float, seed: int) -> Outcome:
    """The same for a liar or an oddity that is served as an adapter program, started anew."""
    began = time.monotonic()
    serve = [sys.executable, "-m", "leasehold", "serve", f"python:tests.liars.served:{name.replace('-', '_')}"]
    door = WireDoor(serve, name, deadline=5.0)
    with door.alarm():
        report = check(door, Options(budget=budget, seed=seed, max_findings=1, corpus=False))
    return _outcome(report, began)


def _outcome(report: Report, began: float) -> Outcome:
    rules = (*(race.requirement for race in report.races), *(finding.requirement for finding in report.findings))
    told = [race.message for race in report.races]
    for finding in report.findings:
        mismatch = finding.failure.mismatch
        told.append(
            f"{finding.requirement} (also {', '.join(finding.also) or 'none'}; judged {mismatch.rule} at {mismatch.where}: "
            f"allowed {mismatch.allowed}, given {mismatch.given})" + "".join(f"\n      {one}" for one in finding.failure.steps)
        )
    commands = report.findings[0].commands if report.findings else 0
    return Outcome(report.verdict, rules, time.monotonic() - began, report.operations, commands, "\n    ".join(told))


Task = tuple[str, int, float, bool]
"""A liar or an oddity by name, a seed, a budget, and whether it goes through the wire."""


def run(task: Task) -> Outcome | str:
    """One task, in whatever process; what went wrong with the task itself is told."""
    name, seed, budget, wire = task
    try:
        if wire:
            return outcome_through_the_wire(name, budget, seed)
        factories: dict[str, Factory] = {one.name: one.factory for one in ODDITIES}
        factories |= {one.name: one.factory() for one in LIARS if one.name == name}
        return outcome(name, factories[name], budget, seed)
    except Exception as error:  # noqa: BLE001 - one broken liar does not end the table
        return f"{type(error).__name__}: {error}"

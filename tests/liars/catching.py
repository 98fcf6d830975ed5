"""How a store is put to the default check, and what came of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from attrs import evolve, frozen

from leasehold.oracle.answers import Door
from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.concurrent import RaceFinding, Threads
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.crashes import Crashes
from leasehold.oracle.drive import seeded, walk
from leasehold.oracle.findings import investigate
from leasehold.oracle.provoke import Provoker, Tally
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.walker import FOCI
from leasehold.targets import open_target
from leasehold.wire.client import WireDoor
from leasehold_model.machine import Contract
from tests.liars.crowded import CROWDED
from tests.liars.interrupted import INTERRUPTED
from tests.liars.liars import LIARS, Liar
from tests.liars.oddities import ODDITIES, Oddity
from tests.liars.patching import Factory
from tests.liars.racing import RACING

EVERY: tuple[Liar, ...] = (*LIARS, *RACING, *INTERRUPTED)
"""All liars: the first need nothing but calls, one after the other."""

EVERY_ODDITY: tuple[Oddity, ...] = (*ODDITIES, *CROWDED)

_BOTH: tuple[Liar | Oddity, ...] = (*EVERY, *EVERY_ODDITY)
BY_NAME: dict[str, Liar | Oddity] = {one.name: one for one in _BOTH}


@contextlib.contextmanager
def opened(store: Liar | Oddity) -> Iterator[Door]:
    """The door to a store, by its name where another process has to open it."""
    if store.target:
        with open_target(store.target) as named:
            yield named
        return
    door = PythonDoor(store.factory() if isinstance(store, Liar) else store.factory, store.name)
    with contextlib.closing(door), door.alarm():
        yield door


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


def outcome_of(store: Liar | Oddity, budget: float, seed: int) -> Outcome:
    """The same for a liar or an oddity, however it is opened."""
    began = time.monotonic()
    with opened(store) as door:
        report = check(door, Options(budget=budget, seed=seed, max_findings=1, corpus=False))
    return _outcome(report, began)


def outcome_alone(store: Liar | Oddity, budget: float, seed: int) -> Outcome:
    """The same with one client, and nothing killed."""
    began = time.monotonic()
    with opened(store) as door:
        door.capabilities = evolve(door.capabilities, concurrent=False, kill=False)
        door.not_killed = "one client alone is looked at"
        vars(door)["killable"] = None
        report = check(door, Options(budget=budget, seed=seed, max_findings=1, corpus=False))
    return _outcome(report, began)


def walked(store: Liar | Oddity, runs: int) -> tuple[list[str], int]:
    """What so many drawn runs of one client, without a kill, say of a store: broken rules, and how many answers were judged."""
    coverage = Coverage()
    with opened(store) as door:
        found = [walk(door, Contract(), seeded(number), coverage, FOCI[number % len(FOCI)]) for number in range(runs)]
    return [one.mismatch.rule for one in found if one is not None], coverage.operations


def raced(store: Liar, seed: int, most: int) -> tuple[str, int]:
    """The rule that clients at once break first, within so many histories; and how many it took."""
    with opened(store) as door:
        tally = Tally()
        provoker = Provoker(Threads(door, Contract()), seed, tally)
        while tally.histories < most:
            found = provoker.run()
            if isinstance(found, RaceFinding):
                return found.requirement, tally.histories
            if found is not None:
                return investigate(door, Contract(), found, 1.0).requirement, tally.histories
    return "", most


def crashed(store: Liar, seed: int, most: int) -> tuple[str, int]:
    """The rule that a store breaks first if its process is killed, within so many kills; and how many it took."""
    with opened(store) as door:
        killing = door.crashing()
        assert killing is not None, f"{store.name} cannot be killed"
        tally = Tally()
        crashes = Crashes(killing, Contract(), seed, Coverage(), tally)
        try:
            while tally.kills < most:
                found = crashes.run()
                if isinstance(found, RaceFinding):
                    return found.requirement, tally.kills
                if found is not None:
                    return investigate(killing, Contract(), found, 1.0).requirement, tally.kills
        finally:
            killing.shut()
    return "", most


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
        return outcome_of(BY_NAME[name], budget, seed)
    except Exception as error:  # noqa: BLE001 - one broken liar does not end the table
        return f"{type(error).__name__}: {error}"

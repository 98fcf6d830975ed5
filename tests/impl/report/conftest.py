"""Checks whose reports are looked at: stores that are wrong in different ways, and what is no store at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import evolve, frozen

from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.oracle.python_door import PythonDoor
from leasehold.records import Batch, BatchDraft, VacuumReport
from leasehold.report.json import Violation
from leasehold.report.text import Asked
from leasehold.stores.memory import MemoryStore
from tests.impl.found import emptied, forgotten, half_done
from tests.impl.wrong import LiesAboutItsTier, TwoOwners, Unlocked
from tests.liars.liars import LIARS

NASTY = "<script>throw 1</script>|`x`</td><b onclick='y'>&amp; ![i](http://example.invalid/i) \x00\x1b end;"
"""What a store should not be able to do harm with."""


class NastyIds(MemoryStore):
    """QUEUE-3 or another: a batch's id says more than an id should, and a list has it in another spelling."""

    def enqueue_queued_work(self, batch: BatchDraft) -> Batch:
        kept = super().enqueue_queued_work(batch)
        return evolve(kept, source_key=NASTY if batch.source_key is None else kept.source_key)


class NastyWords(MemoryStore):
    """LAW-15: an exception with more in its message than words."""

    def vacuum(self) -> VacuumReport:
        raise RuntimeError(NASTY)


@frozen
class Checked:
    """A check and what its reports are made of."""

    report: Report
    violations: list[Violation]
    asked: Asked

    def but(self, **changes: Any) -> Checked:
        """The same with another report."""
        return evolve(self, report=evolve(self.report, **changes), violations=self.violations if "findings" not in changes else [])


Check: TypeAlias = Callable[[str], Checked]

STORES: dict[str, Any] = {one.__name__: one for one in (TwoOwners, LiesAboutItsTier, NastyIds, NastyWords, Unlocked)}

KILLED: dict[str, Callable[[], Finding]] = {"half_done": half_done, "forgotten": forgotten, "emptied": emptied}
"""Findings of runs in which the store's process is killed; the rest of their reports is another store's."""
NAMES = (
    "TwoOwners",  # leases
    "fence-without-expiry",  # a time far away
    "completion-counted",  # a commit with a claim
    "one-too-many",  # a claim that is allowed beside one that is not
    "full-shows-tombstoned",  # graph
    "usage-by-last-seen",  # ledger
    "steals-rows",  # manifest
    "reopen-frees-claims",  # closed and opened again
    "sql-limit-before-filter",  # a long run
    "loads-of-a-handle",  # several handles, much time
    "lost-and-unstamped",  # answers that got lost
    "attachments-of-refused",  # a refusal that changes something
    "NastyIds",
    "NastyWords",
    "LiesAboutItsTier",  # no run
    "Unlocked",  # a race
    *KILLED,
)


@pytest.fixture(scope="session")
def checked() -> Check:
    """The check of a store by name, made once."""
    done: dict[str, Checked] = {}

    def of(name: str) -> Checked:
        if name not in done:
            done[name] = _check(name)
        return done[name]

    return of


def _check(name: str) -> Checked:
    if name in KILLED:
        of, finding = _check("TwoOwners"), KILLED[name]()
        case = Path(f"leasehold-cases/{finding.requirement}-1f2e.json")
        return evolve(of, report=evolve(of.report, findings=(finding,), races=()), violations=[Violation(finding, case)])
    target = f"python:yourstore:{name.replace('-', '_')}"
    factory = STORES[name] if name in STORES else next(one for one in LIARS if one.name == name).factory()
    door = PythonDoor(factory, target)
    if name != "Unlocked":  # on a busy machine a race might be found first, and a run is wanted
        door.capabilities = evolve(door.capabilities, concurrent=False)
    with door.alarm():
        report = check(door, Options(budget=20, seed=1, max_findings=1))
    findings: list[Finding | RaceFinding] = [*report.races, *report.findings]
    violations = [Violation(one, Path(f"leasehold-cases/{one.requirement}-1f2e.json")) for one in findings]
    assert violations, f"{name} was not caught: nothing to report"
    command = f"leasehold check --seed 1 --budget 20s {target}"
    return Checked(report, violations, Asked(command=command, max_findings=1))

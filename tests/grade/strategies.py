"""The four strategies, and the result of one of them on one store."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from attrs import frozen

from leasehold.oracle.check import Options, check
from leasehold.oracle.python_door import PythonDoor
from leasehold.store import OPERATIONS, SystemClock
from tests.grade.manual import by_the_manual
from tests.grade.trial import Found, Trial, factory_of, told_contract
from tests.grade.uniform import uniform
from tests.liars.patching import Factory
from tests.seed.scenarios import Declared, run_suite


@frozen
class Task:
    """One run: a strategy on a store, with a seed and a limit in seconds."""

    store: str
    strategy: str
    seed: int
    limit: float


@frozen
class Result:
    """What came of a task. ``seconds`` and ``operations``: to the first failure, or in all. ``trouble``: why there is none."""

    store: str
    strategy: str
    seed: int
    limit: float
    rule: str = ""
    seconds: float = 0.0
    operations: int = 0
    size: int = 0
    trouble: str = ""

    @property
    def solved(self) -> bool:
        """A failure was found: right for a liar, a false alarm for any other store."""
        return bool(self.rule)

    @property
    def task(self) -> Task:
        """What was to be done."""
        return Task(self.store, self.strategy, self.seed, self.limit)


@frozen
class Strategy:
    """A way of testing a store. ``once``: it has no seed and no limit."""

    name: str
    title: str
    what: str
    run: Callable[[str, Factory, int, float], tuple[Found | None, float, int]]
    once: bool = False


def the_oracle(name: str, factory: Factory, seed: int, limit: float) -> tuple[Found | None, float, int]:
    """The default check until its first finding. It has failed when it begins to shrink."""
    trial = Trial(name, factory, limit)
    failed: list[tuple[float, int]] = []

    def progress(what: str, operations: int, share: float) -> None:  # noqa: ARG001
        if what == "shrinking":
            failed.append((trial.elapsed, trial.door.calls))

    with contextlib.closing(trial.door), trial.door.alarm():
        trial.begin()
        report = check(trial.door, Options(budget=limit, seed=seed, max_findings=1, corpus=False), progress)
        failed.append((trial.elapsed, trial.door.calls))
    seconds, operations = failed[0]
    if report.races:
        return Found(report.races[0].requirement, seconds, operations, 0), seconds, operations
    if not report.findings:
        return None, seconds, operations
    finding = report.findings[0]
    return Found(finding.requirement, seconds, operations, finding.commands), seconds, operations


def the_seed(name: str, factory: Factory, seed: int, limit: float) -> tuple[Found | None, float, int]:  # noqa: ARG001
    """The seed's scenarios, once, with the real clock as in the seed. The first that fails ends it."""
    door = PythonDoor(factory, name)
    capabilities = door.capabilities
    began, calls = time.process_time(), [0]
    marks: list[tuple[float, int]] = []

    with contextlib.closing(door), ExitStack() as opened:

        def make_store() -> Any:
            marks.append((time.process_time() - began, calls[0]))
            wanted: dict[str, Any] = {"session_id": "root"} if door._wants_session else {}  # P-BINDING at-create
            store = factory(SystemClock(), **wanted)
            opened.callback(_gone, store)
            return Counted(store, calls)

        declared = Declared(tier=capabilities.tier, manifest=capabilities.manifest, second_handle=capabilities.handles > 1)
        with door.alarm():
            outcomes = run_suite(make_store, declared)
        marks.append((time.process_time() - began, calls[0]))
    for number, (scenario, raised) in enumerate(outcomes.items(), start=1):
        if raised is not None:  # each scenario makes one store, so the next mark is where this one ended
            seconds, operations = marks[min(number, len(marks) - 1)]
            return Found(scenario, seconds, operations, operations - marks[number - 1][1]), seconds, operations
    return None, *marks[-1]


def _gone(store: Any) -> None:
    for how in ("close", "drop"):
        with contextlib.suppress(Exception):
            getattr(store, how, lambda: None)()


class Counted:
    """A store whose operations are counted."""

    def __init__(self, store: Any, calls: list[int]) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        if name in OPERATIONS:
            self._calls[0] += 1
        return getattr(self._store, name)

    def open_handle(self) -> Any:
        return Counted(self._store.open_handle(), self._calls)


Judged = Callable[[Trial, Any, int], Found | None]


def judged(search: Judged) -> Callable[[str, Factory, int, float], tuple[Found | None, float, int]]:
    """A search whose answers the model judges, told the store's policy options beforehand."""

    def run(name: str, factory: Factory, seed: int, limit: float) -> tuple[Found | None, float, int]:
        trial = Trial(name, factory, limit)
        with contextlib.closing(trial.door), trial.door.alarm():
            contract = told_contract(name, trial.door)
            trial.begin()
            found = search(trial, contract, seed)
            return found, trial.elapsed, trial.door.calls

    return run


STRATEGIES: dict[str, Strategy] = {
    one.name: one
    for one in (
        Strategy("oracle", "leasehold check", "the full oracle, to its first finding", the_oracle),
        Strategy("seed", "seed's scenarios", "the scenarios the contract was read off, alone, once", the_seed, once=True),
        Strategy("uniform", "uniform random", "any command, any argument from small pools, unguided", judged(uniform)),
        Strategy("hypothesis", "Hypothesis rules", "a RuleBasedStateMachine with bundles, as in its manual", judged(by_the_manual)),
    )
}  # fmt: skip


def run(task: Task) -> Result:
    """Do a task in this process; what goes wrong with the task itself is told."""
    given = (task.store, task.strategy, task.seed, task.limit)
    try:
        found, seconds, operations = STRATEGIES[task.strategy].run(task.store, factory_of(task.store), task.seed, task.limit)
    except Exception as error:  # noqa: BLE001 - one store that cannot be tested does not end the grading
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Result(*given, trouble=f"{type(error).__name__}: {error} ({where.name})".replace("\n", " "))
    if found is None:
        return Result(*given, seconds=seconds, operations=operations)
    return Result(*given, rule=found.rule, seconds=found.seconds, operations=found.operations, size=found.size)

"""Check your own store from your own tests: one function and a factory, no base class.

``factory(clock)`` opens a fresh, empty store each time it is called; `leasehold.store` says what a store is, and ``clock.now_ms()``
is its time. A factory whose store is bound to a session from the start takes ``session_id=`` too.

    from leasehold.testing import conformance_test, run_conformance_test
    from myapp.stores import open_store

    def test_store_conforms():
        run_conformance_test(open_store)            # seconds; the same as `leasehold check`

    test_store_by_hypothesis = conformance_test(open_store)

A store that breaks a rule fails with an `AssertionError` that shows the rule and the shortest run. A factory that raises, or
returns what is no store, is a `leasehold.oracle.answers.BrokenTarget`: that says nothing about the store.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.control import current_build_context
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from rich.console import RenderableType
from rich.text import Text

from leasehold import case as cases_
from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.drive import advance, end
from leasehold.oracle.findings import Finding, investigate
from leasehold.oracle.moment import Mismatch
from leasehold.oracle.python_door import Factory, PythonDoor
from leasehold.oracle.run import Execution, Failure, Indefinite, Step, failure
from leasehold.oracle.stepwise import SIZE, Number, walk_bytes
from leasehold.oracle.walker import Walker
from leasehold.records import Json
from leasehold.report.text import block, printer
from leasehold.targets import open_target
from leasehold_model.machine import Command, Contract
from leasehold_model.policy import POINTS
from leasehold_model.requirements import STATEMENTS
from leasehold_model.state import State

__all__ = ["Inconclusive", "LeaseholdMachine", "conformance_test", "replay_case", "run_conformance_test", "state_machine"]

WIDTH = 110
"""Columns of a failure's text."""

SHRINK_SECONDS = 3.0
"""How long a failing run of Hypothesis's is simplified further, in seconds."""

EXAMPLES = 400
"""How many runs a Hypothesis test makes, unless told otherwise."""

NUMBERS = st.integers(0, 2**16 - 1)


class Inconclusive(AssertionError):
    """No rule was broken, but something that the store offers was not exercised, so the check says too little to be green."""


def run_conformance_test(
    factory: Factory,
    *,
    budget: float = 10.0,
    seed: int | None = None,
    require_recommended: bool = False,
    cases: Path | str | None = None,
) -> None:
    """Check a store: does it keep the contract? Returns if it does.

    ``budget``: seconds to look; a right store takes them all. ``seed``: where the random runs start; None: a fresh one, which a
    failure shows. ``require_recommended``: a policy point at which the store does not take the recommended option fails too.
    ``cases``: a directory in which findings are saved for `replay_case`; None: nothing is written.

    Raises `AssertionError` with each broken rule and its shortest run, `Inconclusive` if something offered was not exercised (a
    longer budget may help), `leasehold.oracle.answers.BrokenTarget` if the factory or its stores don't work at all.
    """
    __tracebackhide__ = True
    options = Options(budget=budget, seed=seed, require_recommended=require_recommended)
    door = PythonDoor(factory, _name(factory))
    try:
        with door.alarm():
            report = check(door, options)
    finally:
        door.close()
    if report.verdict == "violates":
        raise AssertionError(_violations(report, options, None if cases is None else Path(cases)))
    if report.verdict == "inconclusive":
        raise Inconclusive(_inconclusive(report, options))


def conformance_test(factory: Factory, *, settings: settings | None = None) -> Callable[[], None]:
    """A Hypothesis test of the store, to be bound to a name that pytest collects. An example is one byte string: a run of 50 steps.

    A failure is shrunk by Hypothesis and kept in its example database, so the next session tries it first. Policies are probed
    once, when the test first runs. ``settings``: Hypothesis's; None: those of the active profile, but at least 400 examples (some
    seconds on a store in memory). The deadline is always None, since a run has no usual length.

    This looks for broken rules; it does not say whether everything was exercised. `run_conformance_test` does.
    """
    target = _Target(factory)

    def store_conforms(run: bytes) -> None:
        __tracebackhide__ = True
        with target.door.alarm():
            failed = walk_bytes(target.door, target.contract, run)
        if failed is not None:
            raise AssertionError(target.told(failed))

    store_conforms.__name__ = store_conforms.__qualname__ = _identifier(f"{_name(factory)} conforms")  # the database's key
    drawn = given(run=st.binary(min_size=SIZE, max_size=SIZE))
    return _settings(settings or _many_examples())(drawn(store_conforms))


def replay_case(case: Path | str | Mapping[str, Json], factory: Factory | str) -> None:
    """Run a saved case again: a path to its file, or the file's value. Returns if the store now does as it should.

    ``factory`` may be a target as on the command line, such as ``python:myapp.stores:open_store``: a case in which the process that
    holds the store is killed needs that, for another process has to open the store.

    Raises `AssertionError` with the run if it breaks a rule or cannot be made on this store, `leasehold.case.CaseError` if the case
    cannot be read, `leasehold.oracle.answers.BrokenTarget` if the factory or its stores don't work.
    """
    __tracebackhide__ = True
    if isinstance(factory, str):
        with open_target(factory) as opened:
            cases_.replay_case(case, opened)
        return
    door = PythonDoor(factory, _name(factory))
    try:
        with door.alarm():
            cases_.replay_case(case, door)
    finally:
        door.close()


# -- a state machine to extend ----------------------------------------------------------------------------------------------------

_FAMILIES = {
    "lease": ("try_claim", "renew", "release"),
    "queue": ("enqueue", "enqueue", "cancel", "list"),
    "claim": ("claim", "claim_ids", "renew_claim", "abandon"),
    "commit": ("commit", "commit", "commit", "replay"),
    "graph": ("load", "load_node", "tombstone", "vacuum", "gc"),
    "manifest": ("intent", "refs", "uncommitted", "forget", "meta", "load_meta"),
    "reopen": ("reopen",),
    "anything": (),
}
"""Rule -> the walker's commands; empty: all, by the walker's weights."""


def state_machine(factory: Factory) -> type[LeaseholdMachine]:
    """A `LeaseholdMachine` of the factory's stores, to run (``TestStore = state_machine(open_store).TestCase``) or to extend."""
    return type(_identifier(f"LeaseholdMachine of {_name(factory)}"), (LeaseholdMachine,), {"target": _Target(factory)})


class LeaseholdMachine(RuleBasedStateMachine):
    """Runs as rules, one for each family of operations; made by `state_machine`. A subclass adds rules and invariants of its own.

        class Machine(state_machine(open_store)):
            @invariant()
            def small_enough(self):
                assert self.store.size() < 1_000_000

            @rule()
            def ask_for_no_time(self):
                self.do(TryClaimLease(SessionId(1), OwnerId(1), Millis(0), self.walker.name()))

        TestStore = Machine.TestCase

    ``store`` is the store as the factory made it, for looking at; ``state`` is what the model holds. An operation of the contract
    goes through `do`, which has it judged; called on ``store`` directly it would happen behind the model's back.
    A rule step costs several steps of `conformance_test`: use that one unless you have something to add.
    """

    target: ClassVar[_Target]

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.TestCase.settings = _settings(cls.TestCase.settings)

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(self, "target"):
            raise TypeError("LeaseholdMachine has no store: make the class with state_machine(factory)")
        self._source = Number()
        self._over = False
        self.execution = Execution(self.target.door, self.target.contract)
        self.walker = Walker(self._source, self.target.contract, self.target.door.capabilities)

    @property
    def store(self) -> Any:
        """The store under test."""
        return self.target.door.store

    @property
    def state(self) -> State:
        """The model's state."""
        return self.execution.state

    def do(self, command: Command) -> None:
        """Execute a command of the model's (`leasehold_model.machine.Command`) on both, now; `AssertionError` if they differ."""
        with self.target.door.alarm():
            self._judge(self.execution.do(Step(self.walker.now, 0, command)))

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass before the next step."""
        self.walker.now += milliseconds

    def teardown(self) -> None:
        """Read everything back, unless the run has failed already."""
        if self._over:
            return
        self._source.load(0)
        try:
            with self.target.door.alarm():
                failed = end(self.execution, self.walker)
        except Indefinite:
            return
        if failed is not None:
            raise AssertionError(self.target.told(failed))

    def _offers(self, family: str) -> bool:
        return not self._over and (family == "anything" or bool(self.walker.offered(_FAMILIES[family])))

    def _step(self, family: str, number: int) -> None:
        self._source.load(number)
        try:
            with self.target.door.alarm():
                mismatch = advance(self.execution, self.walker, self.walker.offered(_FAMILIES[family]))
        except Indefinite:
            self._over = True
            return
        self._judge(mismatch)

    def _judge(self, mismatch: Mismatch | None) -> None:
        if mismatch is not None:
            self._over = True
            raise AssertionError(self.target.told(failure(self.execution, mismatch)))

    @precondition(lambda self: self._offers("lease"))
    @rule(number=NUMBERS)
    def lease(self, number: int) -> None:
        """Claim, renew or release a session's lease."""
        self._step("lease", number)

    @precondition(lambda self: self._offers("queue"))
    @rule(number=NUMBERS)
    def queue(self, number: int) -> None:
        """Enqueue, cancel or list work."""
        self._step("queue", number)

    @precondition(lambda self: self._offers("claim"))
    @rule(number=NUMBERS)
    def claim(self, number: int) -> None:
        """Claim work, renew or abandon a claim."""
        self._step("claim", number)

    @precondition(lambda self: self._offers("commit"))
    @rule(number=NUMBERS)
    def commit(self, number: int) -> None:
        """Commit, or commit again."""
        self._step("commit", number)

    @precondition(lambda self: self._offers("graph"))
    @rule(number=NUMBERS)
    def graph(self, number: int) -> None:
        """Load, tombstone, vacuum or collect."""
        self._step("graph", number)

    @precondition(lambda self: self._offers("manifest"))
    @rule(number=NUMBERS)
    def manifest(self, number: int) -> None:
        """Attachments and session metadata."""
        self._step("manifest", number)

    @precondition(lambda self: self._offers("reopen"))
    @rule(number=NUMBERS)
    def reopen(self, number: int) -> None:
        """Close the store and open it again."""
        self._step("reopen", number)

    @precondition(lambda self: self._offers("anything"))
    @rule(number=NUMBERS)
    def anything(self, number: int) -> None:
        """Whatever is most likely to find something."""
        self._step("anything", number)


# -- targets and texts -------------------------------------------------------------------------------------------------------------


class _Target:
    """A factory's stores and the contract they are held to; opened and probed when first needed, not when tests are collected."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory

    @cached_property
    def door(self) -> PythonDoor:
        return PythonDoor(self.factory, _name(self.factory))

    @cached_property
    def contract(self) -> Contract:
        with self.door.alarm():
            contract, _ = cases_.prepare(self.door)
        return contract

    def told(self, failed: Failure) -> str:
        """The failure's text. While Hypothesis is still shrinking nobody reads it, so it is short."""
        if not current_build_context().is_final:
            return failed.mismatch.rule
        with self.door.alarm():
            return _rendered(*_told(investigate(self.door, self.contract, failed, SHRINK_SECONDS)))


def _told(finding: Finding | RaceFinding) -> list[RenderableType]:
    also = f" (also {', '.join(finding.also)})" if finding.also else ""
    rule_ = Text(f"{finding.requirement} is broken{also}: {STATEMENTS.get(finding.requirement, '')}")
    return [rule_, *block(finding)]


def _violations(report: Report, options: Options, cases: Path | None) -> str:
    findings: list[Finding | RaceFinding] = [*report.races, *report.findings]
    parts: list[RenderableType] = [Text(f"{report.target} does not conform")]
    for finding in findings:
        parts += [Text(), *_told(finding)]
        if cases is not None:
            path = cases_.save(cases_.case_of(finding, report.target, report.capabilities, report.contract), cases)
            again = f'replay_case("{path}", factory)'
            parts += [Text("Saved. To keep it as a test:"), Text(again, no_wrap=True, overflow="ignore")]
    if options.require_recommended and report.loose:
        parts += [Text(), *map(Text, _loose(report))]
    parts += [Text(), Text(_again(report, options))]
    return _rendered(*parts)


def _loose(report: Report) -> list[str]:
    recommended = {point.id: point.options[0] for point in POINTS}
    taken = {probed.point.id: probed.option for probed in report.policies}
    return [f"{name}: the store takes {taken[name]!r}; recommended is {recommended[name]!r}" for name in report.loose]


def _inconclusive(report: Report, options: Options) -> str:
    lines = [f"{report.target} broke no rule, but this was never exercised in {report.operations} operations:"]
    lines += [f"  {one}  {STATEMENTS.get(one, '')}".rstrip() for one in report.starved]
    return "\n".join([*lines, "A longer budget may reach it.", _again(report, options)])


def _again(report: Report, options: Options) -> str:
    more = ", require_recommended=True" if options.require_recommended else ""
    return f"The same again: run_conformance_test(factory, seed={report.seed}, budget={options.budget:g}{more})"


def _rendered(*parts: RenderableType) -> str:
    stream = io.StringIO()
    console = printer(stream, WIDTH)
    for part in parts:
        console.print(part, crop=False, soft_wrap=isinstance(part, Text) and part.no_wrap is True)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _name(factory: Factory) -> str:
    module, name = getattr(factory, "__module__", ""), getattr(factory, "__qualname__", type(factory).__qualname__)
    return f"{module}.{name}" if module else str(name)


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text)


def _many_examples() -> settings:
    return settings(max_examples=max(EXAMPLES, settings().max_examples))


def _settings(basis: settings) -> settings:
    """What makes sense for runs: no deadline, and no phase that explains a failure by the oracle's own lines."""
    checks = {*basis.suppress_health_check, HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example}
    phases = [phase for phase in basis.phases if phase is not Phase.explain]
    return settings(basis, deadline=None, suppress_health_check=checks, phases=phases)

"""The pytest plugin: one test item for each requirement of the contract. docs/pytest.md shows how.

Every run of pytest where leasehold is installed imports this module, so all that is heavy is imported where it is needed.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from leasehold.items import Asked, Checked, Item

BUDGET = 30.0
"""Seconds that a check takes, unless the user says otherwise."""

CASES = "leasehold-cases"
"""Where the cases of findings are written, unless the user says otherwise."""

NODE = "leasehold"
"""How the ids of the items begin that a target on the command line gets, and the name of the marker."""

ARGUMENT = "leasehold_requirement"
"""The parameter that marked tests get."""

MARKER = (
    f"{NODE}(budget=30, seed=None, cases='{CASES}', deviations=None): the test returns a factory of stores, or a target; "
    "there is one item for each requirement of the contract, out of one check"
)


class Conformance:
    """One check and its items. It is run when the first of them is, and says what is broken about it in full only once."""

    def __init__(self, names: Iterable[str], *, fix: bool) -> None:
        self.names = frozenset(names)
        self.ran: set[str] = set()
        self.fix = fix
        self.asked: Asked | None = None
        self.checked: Checked | None = None
        self.broken = ""

    def run(self, asked: Asked) -> None:
        """Run the check, unless it was. Fails where nothing can be said about the store."""
        __tracebackhide__ = True
        from leasehold.deviations import RegisterError  # noqa: PLC0415 - heavy, as are all below
        from leasehold.items import run  # noqa: PLC0415
        from leasehold.oracle.answers import BrokenTarget  # noqa: PLC0415
        from leasehold.targets import TargetError  # noqa: PLC0415

        if self.broken:
            pytest.fail(f"{asked.name} could not be checked: the first of these errors says why", pytrace=False)
        if self.checked is not None:
            return
        self.asked = asked
        try:
            self.checked = run(asked)
        except (BrokenTarget, TargetError, RegisterError) as error:
            self.broken = str(error)
        if self.broken:
            pytest.fail(self.broken, pytrace=False)

    def show(self, name: str) -> None:
        """Let the item that is running end as its requirement did."""
        __tracebackhide__ = True
        if self.checked is None:
            raise RuntimeError("the check has not been run")
        self.ran.add(name)
        item: Item = self.checked.items[name]
        if item.outcome == "skipped":
            pytest.skip(item.text)
        if item.outcome == "known":
            pytest.xfail(item.text)  # with --runxfail this does nothing
        if item.outcome != "kept":
            pytest.fail(item.text, pytrace=False)

    def fixed(self) -> str:
        """Rewrite the register, or say why not."""
        from leasehold.deviations import RegisterError  # noqa: PLC0415
        from leasehold.items import write_register  # noqa: PLC0415

        if self.asked is None or self.asked.deviations is None:
            return ""
        refused = "the check did not get to its end" if self.checked is None else self.checked.refused
        if self.ran != self.names:
            left = len(self.names - self.ran)
            refused = f"{left} of {len(self.names)} items were not run. Run them all, without -k, -m, --lf, -x or node ids."
        if refused or self.checked is None:
            return f"{self.asked.deviations}: not rewritten: {refused}"
        try:
            return write_register(self.asked.deviations, self.checked.register)
        except RegisterError as error:
            return str(error)


class LeaseholdTarget(pytest.Collector):
    """The target of the command line."""

    conformance: Conformance

    def collect(self) -> Iterator[RequirementItem]:
        """An item for each requirement."""
        from leasehold.items import names  # noqa: PLC0415

        option = self.config.option
        self.conformance = _started(self.config, NODE, names(deviations=option.leasehold_deviations is not None))
        chosen = getattr(option, "leasehold_nodes", None)
        for name in names(deviations=option.leasehold_deviations is not None):
            if chosen is None or name in chosen:
                yield RequirementItem.from_parent(self, name=name, conformance=self.conformance)


class RequirementItem(pytest.Item):
    """One requirement of the target of the command line."""

    def __init__(self, *, conformance: Conformance, **more: Any) -> None:
        super().__init__(**more)
        self.conformance = conformance
        self.add_marker(NODE)

    def setup(self) -> None:
        """Run the check, if this is the first item."""
        option = self.config.option
        self.conformance.run(_asked(self.config, option.leasehold_target, option.leasehold_target, {}, Path.cwd()))

    def runtest(self) -> None:
        """End as the requirement did."""
        self.conformance.show(self.name)

    def reportinfo(self) -> tuple[Path, None, str]:
        """No file is theirs."""
        return self.config.rootpath / NODE, None, self.name


_CHECKS: pytest.StashKey[dict[object, Conformance]] = pytest.StashKey()


def _started(config: pytest.Config, key: object, names: Iterable[str]) -> Conformance:
    """The check of that key."""
    checks = config.stash.setdefault(_CHECKS, {})
    if key not in checks:
        checks[key] = Conformance(names, fix=config.option.leasehold_fix)
    return checks[key]


def _asked(config: pytest.Config, target: Any, name: str, marked: Mapping[str, Any], place: Path) -> Asked:
    """What is asked for: the command line first, then the marker; paths of a marker are relative to its file."""
    from leasehold.items import Asked  # noqa: PLC0415

    option = config.option
    deviations = option.leasehold_deviations if "deviations" not in marked else place / marked["deviations"]
    cases = option.leasehold_cases or (place / marked["cases"] if "cases" in marked else CASES)
    return Asked(
        target=target,
        name=name,
        budget=option.leasehold_budget or float(marked.get("budget", BUDGET)),
        seed=marked.get("seed", option.leasehold_seed),
        cases=Path(cases),
        deviations=None if deviations is None else Path(deviations),
        fix=option.leasehold_fix,
    )


# -- options -----------------------------------------------------------------------------------------------------------------------


def _budget(text: str) -> float:
    from argparse import ArgumentTypeError  # noqa: PLC0415

    from leasehold.duration import seconds  # noqa: PLC0415

    try:
        return seconds(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("leasehold", "conformance of a durable agent runtime store (leasehold)")
    group.addoption(
        "--leasehold-target", metavar="TARGET", help="Check this store, as `leasehold check` does: one item per requirement."
    )
    group.addoption("--leasehold-budget", metavar="TIME", type=_budget, help=f"How long to check: 20s, 5m. Default {BUDGET:g}s.")
    group.addoption("--leasehold-seed", metavar="N", type=int, help="Where the random runs start. Fresh by default.")
    group.addoption("--leasehold-cases", metavar="DIR", help=f"Where findings are written. Default {CASES}/.")
    group.addoption(
        "--deviations", dest="leasehold_deviations", metavar="FILE", help="Known deviations of the target, with their reasons."
    )
    group.addoption(
        "--fix-deviations", dest="leasehold_fix", action="store_true", help="Rewrite registers of known deviations to what is seen."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, take our node ids out of what pytest looks for in files."""
    config.addinivalue_line("markers", MARKER)
    option = config.option
    if option.leasehold_fix and getattr(option, "numprocesses", None):
        raise pytest.UsageError("--fix-deviations needs the whole check in one process: leave -n away")
    if option.leasehold_seed is None:
        option.leasehold_seed = int.from_bytes(os.urandom(4), "big")  # one for all of xdist's workers: they get these options
    if option.leasehold_target is None:
        if option.leasehold_deviations is not None:
            raise pytest.UsageError("--deviations is about a target: give --leasehold-target, or say deviations= in the marker")
        return
    if not hasattr(option, "leasehold_args"):
        ours = [one for one in config.args if _is_ours(one)]
        option.leasehold_args = [one for one in config.args if one not in ours]
        option.leasehold_nodes = _chosen(ours) if ours else None
    config.args[:] = option.leasehold_args


def _is_ours(argument: str) -> bool:
    return argument.startswith(f"{NODE}::") or (argument == NODE and not Path(argument).exists())


def _chosen(ours: list[str]) -> list[str] | None:
    from leasehold.items import DEVIATIONS, names  # noqa: PLC0415

    chosen = [one.removeprefix(f"{NODE}::") for one in ours]
    for one in chosen:
        if one not in (NODE, *names(deviations=True)):
            raise pytest.UsageError(f"{NODE}::{one} is no requirement: `leasehold spec` has them all, {DEVIATIONS} is the register")
    return None if NODE in chosen else chosen


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is checked, from which seed."""
    option = config.option
    if option.leasehold_target is None:
        return []
    return [f"leasehold: {option.leasehold_target}, {option.leasehold_budget or BUDGET:g} s, seed {option.leasehold_seed}"]


# -- collecting and running --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the target's items, before -k, -m and --lf choose."""
    if config.option.leasehold_target is not None:
        node = LeaseholdTarget.from_parent(session, name=config.option.leasehold_target, nodeid=NODE, path=config.rootpath / NODE)
        report = config.hook.pytest_make_collect_report(collector=node)
        config.hook.pytest_collectreport(report=report)
        items.extend(report.result)


def _marker(item: pytest.Item) -> pytest.Mark | None:
    """Our marker, on a test itself: one on a module or a class is not for every test in it."""
    return next((one for one in item.own_markers if one.name == NODE and isinstance(item, pytest.Function)), None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A marked test becomes one item for each requirement."""
    marker = next((one for one in metafunc.definition.own_markers if one.name == NODE), None)
    if marker is None:
        return
    unknown = [*map(repr, marker.args), *(set(marker.kwargs) - {"budget", "seed", "cases", "deviations"})]
    if unknown:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: the marker {NODE} takes no {unknown[0]}. It is {MARKER}")
    from leasehold.items import names  # noqa: PLC0415

    metafunc.fixturenames.append(ARGUMENT)
    metafunc.parametrize(ARGUMENT, names(deviations="deviations" in marker.kwargs))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """A marked test: ask it for its factory when the check has yet to be run, then end as the requirement did."""
    __tracebackhide__ = True
    marker = _marker(pyfuncitem)
    if marker is None:
        return None
    from leasehold.items import names  # noqa: PLC0415

    others = sorted((name, id(value)) for name, value in pyfuncitem.callspec.params.items() if name != ARGUMENT)
    key = (pyfuncitem.parent, pyfuncitem.originalname, *others)  # a check for each combination of the test's own parameters
    conformance = _started(pyfuncitem.config, key, names(deviations="deviations" in marker.kwargs))
    target: Any = None
    if conformance.checked is None and not conformance.broken:
        wanted = inspect.signature(pyfuncitem.obj).parameters
        target = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted})
        if not (callable(target) or isinstance(target, str)):
            pytest.fail(f"it returned {target!r}, and has to return a factory of stores, or a target", pytrace=False)
    conformance.run(_asked(pyfuncitem.config, target, pyfuncitem.originalname, marker.kwargs, pyfuncitem.path.parent))
    conformance.show(str(pyfuncitem.callspec.params[ARGUMENT]))
    return True


# -- the end -----------------------------------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Rewrite registers, if that was asked for, and say so."""
    if not config.option.leasehold_fix:
        return
    told = [one.fixed() for one in config.stash.get(_CHECKS, {}).values() if one.fix]
    terminalreporter.section("known deviations")
    for line in [one for one in told if one] or ["no register was rewritten: no check with one was run"]:
        terminalreporter.line(line)

"""One check as one outcome for each requirement: what a test runner shows item by item.

Here a check always goes on to the end of its budget, whatever it finds, so that every requirement gets an outcome of its own.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attrs import field, frozen
from rich.console import RenderableType
from rich.text import Text

from leasehold.case import case_of, save
from leasehold.deviations import (
    EVERYTHING,
    Problem,
    Register,
    RegisterError,
    Settled,
    cut_short,
    parse,
    refusal,
    render,
    rewritten,
    settle,
    undecided,
)
from leasehold.oracle.answers import Door
from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.oracle.python_door import Factory, PythonDoor
from leasehold.report.standing import Standing, standings
from leasehold.report.text import block, printer
from leasehold.targets import open_target
from leasehold_model.requirements import REQUIREMENTS, STATEMENTS

COVERAGE = "coverage"
"""The item that fails where the check as a whole says too little."""

DEVIATIONS = "deviations"
"""The item that fails for what is wrong with the register and is about no requirement."""

WIDTH = 110
"""Columns of a text."""


@frozen(kw_only=True)
class Asked:
    """What to check and how. ``target``: as on the command line, or a factory. ``cases`` None: no case is written."""

    target: str | Factory
    name: str
    budget: float
    seed: int | None = None
    cases: Path | None = None
    deviations: Path | None = None
    fix: bool = False


@frozen
class Item:
    """The outcome of one requirement. ``broken`` and ``inconclusive`` fail, ``known`` is an expected failure."""

    outcome: Literal["kept", "broken", "inconclusive", "known", "skipped"]
    text: str = ""


@frozen
class Checked:
    """One check, item by item, and the register that it would write."""

    items: dict[str, Item]
    refused: str = ""
    register: Register = field(default=Register(""))


def names(*, deviations: bool = False) -> list[str]:
    """The items that there will be."""
    return [*(one.id for one in REQUIREMENTS), COVERAGE, *([DEVIATIONS] if deviations else [])]


def run(asked: Asked) -> Checked:
    """Check. Raises `TargetError`, `BrokenTarget`, `RegisterError`."""
    register = None if asked.deviations is None else read_register(asked.deviations, missing_is_empty=asked.fix)
    with _door(asked) as door:
        report = check(door, Options(budget=asked.budget, seed=asked.seed, known=EVERYTHING))
    if report.interrupted:
        raise KeyboardInterrupt
    settled = settle(register or Register(""), report)
    return Checked(
        _items(asked, report, settled, with_register=register is not None),
        refusal(report),
        rewritten(register or Register(""), report),
    )


def read_register(path: Path, *, missing_is_empty: bool = False) -> Register:
    """The register in a file. Raises `RegisterError`."""
    if missing_is_empty and not path.exists():
        return Register(str(path))
    try:
        return parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RegisterError(f"register {path}: {error}. Give a TOML file, or let --fix-deviations make one.") from error


def write_register(path: Path, register: Register) -> str:
    """Write the register to its file, and say so."""
    try:
        path.write_text(render(register), "utf-8")
    except OSError as error:
        raise RegisterError(f"register {path} cannot be written: {error}.") from error
    count = len(register.entries)
    return f"{path}: rewritten, with {count} known deviation{'' if count == 1 else 's'}"


@contextlib.contextmanager
def _door(asked: Asked) -> Iterator[Door]:
    if isinstance(asked.target, str):
        with open_target(asked.target) as door:
            yield door
        return
    python = PythonDoor(asked.target, asked.name)
    try:
        with python.alarm():
            yield python
    finally:
        python.close()


def _items(asked: Asked, report: Report, settled: Settled, *, with_register: bool) -> dict[str, Item]:
    never = [one for one in settled.report.starved if one not in STATEMENTS]
    never = [*never, *([f"the rest of the run: {cut_short(report)}"] if cut_short(report) else [])]
    never += [undecided(report)] if undecided(report) else []
    items = {one.id: _item(one, asked, report, settled) for one in standings(settled.report)}
    items[COVERAGE] = _failing("inconclusive", ["The check says too little, for this was never reached:", *never] if never else [])
    if with_register:
        others = [one.message for one in settled.problems if one.requirement not in STATEMENTS]
        items[DEVIATIONS] = _failing("broken", others)
    return items


def _failing(outcome: Literal["broken", "inconclusive"], texts: list[str]) -> Item:
    return Item(outcome, "\n".join(texts)) if texts else Item("kept")


def _item(standing: Standing, asked: Asked, report: Report, settled: Settled) -> Item:
    name = standing.id
    found: list[Finding | RaceFinding] = [*settled.report.races, *settled.report.findings]
    texts = [told(asked, report, one) for one in found if one.requirement == name]
    if texts:
        return Item("broken", "\n\n".join(texts))
    known = [entry for entry, _ in settled.known if entry.requirement == name]
    if known:
        return Item("known", "; ".join(f"{entry.why} [{entry.message}]" for entry in known))
    if name in settled.report.starved:
        longer = "The store offers it, but no run got there: a longer budget may."
        return Item("inconclusive", f"{name} was never exercised: {standing.statement}\n{longer}")
    if standing.state == "kept":
        return Item("kept")
    in_doubt = standing.state == "in doubt"
    return Item("skipped", "in doubt: an answer broke this rule too, beside another" if in_doubt else standing.why)


def told(asked: Asked, report: Report, finding: Finding | RaceFinding) -> str:
    """A finding as the text report shows it, its case, and how to replay it."""
    if isinstance(finding, Problem):
        return finding.message
    also = f" (also {', '.join(finding.also)})" if finding.also else ""
    parts: list[RenderableType] = [Text(f"{finding.requirement} is broken{also}: {STATEMENTS.get(finding.requirement, '')}")]
    parts += block(finding)
    parts.append(Text(f"Seed {report.seed}, budget {asked.budget:g} s."))
    if asked.cases is not None:
        path = str(save(case_of(finding, report.target, report.capabilities, report.contract), asked.cases))
        in_python = f"leasehold.testing.replay_case({path!r}, factory)"
        again = shlex.join(["leasehold", "replay", path, asked.target]) if isinstance(asked.target, str) else in_python
        parts.append(Text(f"Run it again: {again}", no_wrap=True, overflow="ignore"))
    stream = io.StringIO()
    console = printer(stream, WIDTH)
    for part in parts:
        console.print(part, crop=False, soft_wrap=isinstance(part, Text) and part.no_wrap is True)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())

"""Several stores side by side: each is checked in turn, then requirements and policies are laid out by store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from attrs import frozen

from leasehold.deviations import EVERYTHING
from leasehold.oracle.answers import BrokenTarget
from leasehold.oracle.check import Options, Progress, Report, check
from leasehold.report.standing import Standing, standings
from leasehold.targets import open_target
from leasehold_model.policy import POINTS
from leasehold_model.requirements import REQUIREMENTS

Worth = Literal["good", "bad", "open"]
"""Of a cell: kept or recommended; broken or not recommended; nothing to be said."""

WORTH: dict[str, Worth] = {"kept": "good", "broken": "bad"}
WORST = ("broken", "violates", "inconclusive", "conforms")
"""Verdicts, worst first: where a set-up is broken, nothing is known."""


@frozen
class Cell:
    """What one store does at one requirement or policy."""

    word: str
    worth: Worth = "open"
    why: str = ""


@frozen
class Row:
    """One requirement or policy, store by store."""

    id: str
    about: str
    cells: tuple[Cell, ...]
    recommended: str = ""

    @property
    def differs(self) -> bool:
        """Not all stores do the same. A store of which nothing is known does not count."""
        return len({cell.word for cell in self.cells if cell.word}) > 1


@frozen
class Column:
    """One store. ``report`` None: its set-up is broken, for the reason in ``why``."""

    target: str
    report: Report | None
    why: str = ""

    @property
    def verdict(self) -> str:
        """What is to be said of the store."""
        return "broken" if self.report is None else self.report.verdict


@frozen
class Matrix:
    """The stores, and what each does."""

    columns: tuple[Column, ...]
    requirements: tuple[Row, ...]
    policies: tuple[Row, ...]

    @property
    def verdict(self) -> str:
        """The worst of all."""
        return next(one for one in WORST if any(column.verdict == one for column in self.columns))

    @property
    def interrupted(self) -> bool:
        """The user wanted no more."""
        return any(column.report is not None and column.report.interrupted for column in self.columns)


def compare(
    targets: Sequence[str],
    *,
    budget: float,
    seed: int,
    deadline: float | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> Matrix:
    """Check the stores, ``budget`` seconds each, all with the same runs. A broken one does not end the others.

    Each check goes on to the end whatever it finds, so that a store that breaks a rule is compared in all the others.
    Raises `TargetError`.
    """
    columns = []
    for target in targets:
        options = Options(budget=budget, seed=seed, known=EVERYTHING)
        try:
            with open_target(target, deadline) as door:
                column = Column(target, check(door, options, progress(target) if progress else None))
        except BrokenTarget as broken:
            column = Column(target, None, str(broken))
        columns.append(column)
        if column.report is not None and column.report.interrupted:
            break
    return lay_out(columns)


def lay_out(columns: Sequence[Column]) -> Matrix:
    """The matrix of what is known of the stores."""
    standing = [{} if one.report is None else {each.id: each for each in standings(one.report)} for one in columns]
    rules = [Row(one.id, one.statement, tuple(_kept(each.get(one.id)) for each in standing)) for one in REQUIREMENTS]
    points = [
        Row(point.id, point.question, tuple(_option(one.report, point.id) for one in columns), point.options[0]) for point in POINTS
    ]
    return Matrix(tuple(columns), tuple(rules), tuple(points))


def _kept(standing: Standing | None) -> Cell:
    if standing is None:
        return Cell("")
    word = "not exercised" if standing.state == "starved" else standing.state
    return Cell(word, WORTH.get(word, "open"), standing.why if standing.state == "not checked" else "")


def _option(report: Report | None, point: str) -> Cell:
    probed = next((one for one in report.policies if one.point.id == point), None) if report is not None else None
    if probed is None:
        return Cell("")
    if probed.option is None:
        return Cell("none fits", "bad") if probed.failure else Cell("not asked", "open", probed.why)
    return Cell(probed.option, "good" if probed.option == probed.point.options[0] else "bad")

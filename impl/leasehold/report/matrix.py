"""Stores side by side, for people and for programs. What differs comes first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from leasehold import __version__
from leasehold.matrix import Cell, Matrix, Row
from leasehold.records import Json
from leasehold.report.html import SIGNS
from leasehold.report.json import FORMAT, target_json
from leasehold.report.template import render
from leasehold.report.text import survived

COLOURS = {"good": "green", "bad": "red", "open": "yellow"}
VERDICTS = {"conforms": "green", "violates": "red", "inconclusive": "yellow", "broken": "magenta"}
CSS = {"good": "kept", "bad": "broken", "open": "unchecked"}
MARKS = {"kept": "\u2713", "broken": "\u2717", "in doubt": "?", "not exercised": "!", "not checked": "\u2013"}
"""Word of a cell -> sign, so that nothing is said by colour alone."""


def show_matrix(console: Console, matrix: Matrix) -> None:
    """Print the stores, what differs between them, and what does not."""
    differing = _differing(matrix)
    for number, column in enumerate(matrix.columns, start=1):
        verdict = (column.verdict, f"bold {VERDICTS[column.verdict]}")
        console.print(Text.assemble((f"{number} ", "bold"), f"{column.target}: ", verdict, _facts(matrix, number)))
        if column.why:
            console.print(Text("  " + column.why.partition("\n")[0], "magenta"))
    console.print(Rule(Text("What differs", "bold"), style="dim", align="left"))
    console.print(_table(matrix, differing) if differing else Text("  Nothing, in what was checked of all."))
    if any(row.recommended for row in differing):
        console.print(Text("  * not the option that is recommended", "dim"))
    for title, rows in (("Requirements", matrix.requirements), ("Policies", matrix.policies)):
        console.print(Rule(Text(f"{title}: the same in every store", "bold"), style="dim", align="left"))
        for word, names in _alike(rows).items():
            console.print(Text.assemble((f"  {word}: ", "bold"), ", ".join(names)))


def _differing(matrix: Matrix) -> list[Row]:
    """What is broken somewhere, or not as recommended, comes first; what was only not exercised somewhere, last."""
    rows = [row for row in (*matrix.requirements, *matrix.policies) if row.differs]
    return sorted(rows, key=_urgency)


def _urgency(row: Row) -> tuple[bool, bool]:
    return all(cell.worth != "bad" for cell in row.cells), any(cell.word == "not exercised" for cell in row.cells)


def _alike(rows: Sequence[Row]) -> dict[str, list[str]]:
    """What all do -> where."""
    found: dict[str, list[str]] = {}
    for row in rows:
        known = [cell for cell in row.cells if cell.word]
        if known and not row.differs:
            loose = row.recommended and known[0].worth == "bad"
            text = f"{row.id} {known[0].word}{'*' if loose else ''}" if row.recommended else row.id
            found.setdefault("options" if row.recommended else known[0].word, []).append(text)
    return found


def _facts(matrix: Matrix, number: int) -> str:
    report = matrix.columns[number - 1].report
    if report is None:
        return ""
    more = survived(report.tally)
    return f", {report.operations:,} operations in {report.seconds:.1f} s, seed {report.seed}{'; ' if more else ''}{more}"


def _table(matrix: Matrix, rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("", no_wrap=True)
    for number in range(1, len(matrix.columns) + 1):
        table.add_column(str(number), overflow="fold")  # the names stand above, and may be long
    for row in rows:
        table.add_row(Text(row.id, "bold"), *(Text(_word(row, cell), COLOURS[cell.worth]) for cell in row.cells))
    return table


def _word(row: Row, cell: Cell) -> str:
    if row.recommended:
        return f"{cell.word} *" if cell.worth == "bad" else cell.word
    return f"{MARKS[cell.word]} {cell.word}" if cell.word else ""


def matrix_json(matrix: Matrix) -> dict[str, Json]:
    """The matrix for programs."""
    return {
        "format": FORMAT,
        "leasehold": __version__,
        "verdict": matrix.verdict,
        "stores": [
            {
                "target": {"name": one.target} if one.report is None else target_json(one.target, one.report.capabilities),
                "verdict": one.verdict,
                "why": one.why,
                "seed": None if one.report is None else one.report.seed,
                "seconds": 0.0 if one.report is None else round(one.report.seconds, 3),
                "operations": 0 if one.report is None else one.report.operations,
                "histories": 0 if one.report is None else one.report.tally.histories,
                "undecided": 0 if one.report is None else one.report.tally.undecided,
                "kills": 0 if one.report is None else one.report.tally.kills,
                "power_losses": 0 if one.report is None else one.report.tally.power_losses,
            }
            for one in matrix.columns
        ],
        "requirements": {row.id: [cell.word or None for cell in row.cells] for row in matrix.requirements},
        "policies": {row.id: [cell.word or None for cell in row.cells] for row in matrix.policies},
        "recommended": {row.id: row.recommended for row in matrix.policies},
        "differing": [row.id for row in (*matrix.requirements, *matrix.policies) if row.differs],
    }


def matrix_html(matrix: Matrix) -> str:
    """The matrix as one HTML page."""
    return render(
        "matrix.html",
        stores=[(one, _facts(matrix, number).lstrip(", ")) for number, one in enumerate(matrix.columns, start=1)],
        verdict=matrix.verdict,
        signs=SIGNS,
        differing=_differing(matrix),
        requirements=matrix.requirements,
        policies=matrix.policies,
        word=_word,
        css_of=CSS,
    )

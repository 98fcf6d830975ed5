"""Draws the finding that the README shows: docs/finding.svg, from a real check of a store that is wrong on purpose."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from leasehold.oracle.check import Options, check
from leasehold.oracle.python_door import PythonDoor
from leasehold.report.text import run_block
from tests.liars.liars import LIARS

NAME = "fence-without-expiry"


def main() -> None:
    """Check the liar with a fixed seed, and draw its first finding."""
    liar = next(one for one in LIARS if one.name == NAME)
    door = PythonDoor(liar.factory(), "python:yourstore:factory")
    with door.alarm():
        report = check(door, Options(budget=20, seed=1, max_findings=1, corpus=False))
    finding = report.findings[0]
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
    console.print(
        f"[bold white on red] VIOLATES [/] python:yourstore:factory breaks [bold]{finding.requirement}[/]\n", highlight=False
    )
    for block in run_block(finding):
        console.print(block)
    drawn = console.export_svg(title="leasehold check python:yourstore:factory")
    drawn = re.sub(r"<!--.*?-->", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # no fonts from elsewhere
    Path("docs/finding.svg").write_text(drawn, "utf-8")


if __name__ == "__main__":
    main()

"""Draws docs/report.png: the first screen of the HTML report on a store that is wrong on purpose."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from attrs import evolve

from leasehold.oracle.check import Options, check
from leasehold.oracle.python_door import PythonDoor
from leasehold.report.html import check_html
from leasehold.report.json import Violation
from leasehold.report.text import Asked
from tests.liars.liars import LIARS
from tools import browser

NAME = "completions-one-by-one"
TARGET = "python:yourstore:factory"
TO = Path("docs/report.png")


def page() -> str:
    """The report on the liar with a fixed seed. How long it took is no part of the picture."""
    liar = next(one for one in LIARS if one.name == NAME)
    door = PythonDoor(liar.factory(), TARGET)
    with door.alarm():
        report = check(door, Options(budget=20, seed=1, max_findings=1, corpus=False))
    violations = [Violation(one, Path(f"leasehold-cases/{one.requirement}-1f2e.json")) for one in report.findings]
    asked = Asked(command=f"leasehold check --seed 1 --budget 20s {TARGET}")
    return check_html(evolve(report, seconds=0.1), violations, asked)


def main() -> None:
    """Draw it, if there is a browser."""
    program = browser.find_or_install()
    if program is None:
        sys.exit("There is no Chromium, and it could not be installed. Install chromium, then run this again.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(page(), "utf-8")
        browser.picture(program, file, TO, 1200, 1362)


if __name__ == "__main__":
    main()

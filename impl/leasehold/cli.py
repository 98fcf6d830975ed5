"""The command line. Exit codes: 0 conforms, 1 violates, 2 inconclusive, 3 broken set-up, 64 wrong usage, 130 interrupted."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from leasehold.oracle.answers import BrokenTarget
from leasehold.oracle.check import Options, check
from leasehold.report.progress import Progress
from leasehold.report.text import show
from leasehold.targets import open_target


@click.group()
def main() -> None:
    """Leasehold."""


@main.command("check")
@click.argument("target")
@click.option("--budget", default="60s")
@click.option("--seed", type=int)
def check_command(target: str, budget: str, seed: int | None) -> None:
    """Check."""
    seconds = float(budget.rstrip("s"))
    try:
        with open_target(target) as door, Progress(sys.stderr, seconds) as progress:
            report = check(door, Options(budget=seconds, seed=seed), progress)
    except BrokenTarget as broken:
        click.echo(f"BROKEN {broken}")
        sys.exit(3)
    show(Console(), report)
    sys.exit({"conforms": 0, "violates": 1, "inconclusive": 2}[report.verdict])

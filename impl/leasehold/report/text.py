"""The report on the terminal."""

from __future__ import annotations

from rich.console import Console

from leasehold.oracle.check import Report


def show(console: Console, report: Report) -> None:
    """Print it."""
    console.print(report.verdict.upper(), report.target)
    for finding in report.findings:
        console.print(finding.requirement, finding.also, finding.failure.mismatch)
    console.print(report.not_checked, report.starved)

"""Writes the regression corpus, specs/cases, and its schema: for each liar the run that shows it, minimised by a check.

``python -m tools.corpus`` adds what is missing; with ``--anew`` all is made anew; liars may be named.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from leasehold.case import Case, case_of, laid_out, replay, to_json
from leasehold.oracle.check import Options, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.oracle.python_door import PythonDoor
from tests.liars.liars import LIARS, Liar
from tools.case_schema import page

CASES = Path(__file__).parents[1] / "specs" / "cases"
SCHEMA = CASES.with_name("case.schema.json")
PREFIX = "liar:"
SEEDS = (1, 2, 3, 4, 5)
BUDGET = 20.0
AGAIN = 3
"""How often a case has to show its liar again before it is kept."""

SHORT = 6
"""Operations up to which a run needs no second try with another seed."""


def of(liar: str) -> list[Path]:
    """The files of a liar's case: one, or none yet."""
    return [path for path in sorted(CASES.glob("*.json")) if path.stem.split("-", maxsplit=2)[2] == liar]


def cases_of(liar: Liar, seed: int) -> list[Case]:
    """What a check finds in the liar, where it is the rule that the liar breaks. The corpus itself has no say in it."""
    door = PythonDoor(liar.factory(), PREFIX + liar.name)
    try:
        with door.alarm():
            report = check(door, Options(budget=BUDGET, seed=seed, max_findings=1, corpus=False))
    finally:
        door.close()
    findings: list[Finding | RaceFinding] = [*report.findings, *report.races]
    cases = [case_of(one, report.target, report.capabilities, report.contract) for one in findings]
    return [case for case in cases if case.requirement in liar.rules and shows(case, liar)]


def shows(case: Case, liar: Liar) -> bool:
    """The case shows the same again, also where answers have to get lost for that."""
    door = PythonDoor(liar.factory(), PREFIX + liar.name, deadline=1.0)
    try:
        with door.alarm():
            return not any(replay(case, door, case.contract).changed for _ in range(AGAIN))
    finally:
        door.close()


def smallest(name: str) -> Case | None:
    """The liar's shortest case; with more seeds, as long as none is short. A run is better than a race."""
    liar = next(one for one in LIARS if one.name == name)
    best: Case | None = None
    for seed in SEEDS:
        for case in cases_of(liar, seed):
            if best is None or (case.kind != "run", len(case.steps)) < (best.kind != "run", len(best.steps)):
                best = case
        if best is not None and best.commands <= SHORT:
            break
    return best


def main(arguments: list[str]) -> int:
    """Write the files; the exit code is 1 if some liar was not caught."""
    parser = argparse.ArgumentParser(prog="python -m tools.corpus", description=__doc__)
    parser.add_argument("--anew", action="store_true", help="also those that are there")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("names", nargs="*", help="liars; all, if none is named")
    options = parser.parse_args(arguments)
    names = [liar.name for liar in LIARS if liar.name in (options.names or [one.name for one in LIARS])]
    names = [name for name in names if options.anew or not of(name)]
    SCHEMA.write_text(page(), "utf-8")
    free = []
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name, case in zip(names, pool.map(smallest, names), strict=True):
            if case is None:
                free.append(name)
                continue
            for path in of(name):
                path.unlink()
            CASES.mkdir(exist_ok=True)
            (CASES / f"{case.requirement}-{name}.json").write_text(laid_out(to_json(case)), "utf-8")
    if free:
        print(f"no case of the right rule: {', '.join(free)}", file=sys.stderr)
    return min(1, len(free))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

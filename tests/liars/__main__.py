"""``python -m tests.liars``: every liar and oddity against the default check, over several seeds, as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

from tests.liars.catching import EVERY, EVERY_ODDITY, Outcome, run
from tests.liars.liars import Liar
from tests.liars.oddities import Oddity

SOON = 5.0
"""Seconds within which nearly every liar has to be caught."""

SOON_THROUGH_THE_WIRE = 10.0
"""The same, with the start of a process and its exchanges."""


def main(arguments: list[str]) -> int:
    """Run them all; the exit code is 1 if a liar went free, was named wrongly, or an oddity was accused."""
    parser = argparse.ArgumentParser(prog="python -m tests.liars", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds each (3)")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--names", nargs="*", default=[], help="only these")
    parser.add_argument(
        "--needs", choices=("nothing", "race", "kill", "lost", "clock"), help="only liars that need this to be caught"
    )
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of one check of a liar (20)")
    parser.add_argument("--odd-budget", type=float, default=5.0, help="seconds of one check of an oddity (5)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--tell", action="store_true", help="show what was found")
    parser.add_argument("--wire", action="store_true", help="each store is an adapter program")
    options = parser.parse_args(arguments)
    liars = [liar for liar in EVERY if not options.names or liar.name in options.names]
    if options.needs:
        liars = [liar for liar in liars if (liar.needs or "nothing") == options.needs]
    oddities = [one for one in EVERY_ODDITY if not options.needs and (not options.names or one.name in options.names)]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    tasks = [(liar.name, seed, options.budget, options.wire) for liar in liars for seed in seeds]
    tasks += [(one.name, seed, options.odd_budget, options.wire) for one in oddities for seed in seeds]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        results = iter(pool.map(run, tasks))
        bad = _liars(
            liars, ([next(results) for _ in seeds] for _ in liars), options.tell, SOON_THROUGH_THE_WIRE if options.wire else SOON
        )
        bad += _oddities(oddities, ([next(results) for _ in seeds] for _ in oddities))
    return min(1, bad)


def _liars(liars: list[Liar], results: Iterable[list[Outcome | str]], tell: bool, within: float) -> int:
    print(f"{'liar':32} {'caught':>7} {'seconds':>8} {'slowest':>8} {'operations':>10} {'commands':>8}  named")
    soon, sizes, wrong, free, total = 0, [], [], [], 0
    for liar, result in zip(liars, results, strict=True):
        outcomes = [one for one in result if isinstance(one, Outcome)]
        broken = [one for one in result if isinstance(one, str)]
        caught = [one for one in outcomes if one.rules]
        total += len(result)
        soon += sum(one.seconds <= within for one in caught)
        sizes += [one.commands for one in caught if one.commands]
        named = sorted({one.rules[0] for one in caught})
        misnamed = [one for one in caught if not one.named(liar.rules)]
        wrong += [liar.name] if misnamed else []
        free += [liar.name] if len(caught) < len(result) else []
        seconds = [one.seconds for one in caught] or [float("nan")]
        counts = [one.commands for one in caught] or [0]
        print(
            f"{liar.name:32} {len(caught)} of {len(result)} {median(seconds):8.2f} {max(seconds):8.2f}"
            f" {median([one.operations for one in caught] or [0]):10.0f} {max(counts):8}  {' '.join(named)}"
            + (f"  WRONG, expected {' '.join(liar.rules)}" if misnamed else "")
            + "".join(f"\n    {line}" for line in broken[:1]),
            flush=True,
        )
        shown = caught[:1] if tell else [one for one in caught if one.commands > 8][:1] or misnamed[:1]
        for one in shown:
            print(f"    {one.told}")
    if total:
        print(f"\ncaught within {within:g} s: {soon} of {total} ({100 * soon / total:.1f} %)")
        print(f"commands of the minimised run: median {median(sizes or [0])}, most {max(sizes or [0])}")
        print(f"named by another rule: {', '.join(wrong) or 'none'}\nnot caught with every seed: {', '.join(free) or 'none'}\n")
    return len(wrong) + len(free)


def _oddities(oddities: list[Oddity], results: Iterable[list[Outcome | str]]) -> int:
    accused = []
    for one, results_of_one in zip(oddities, results, strict=True):
        outcomes = [result for result in results_of_one if isinstance(result, Outcome)]
        broken = [result for result in results_of_one if isinstance(result, str)]
        verdicts = sorted({result.verdict for result in outcomes})
        print(f"{one.name:32} {' '.join(verdicts)}  {sum(result.seconds for result in outcomes):.1f} s {' '.join(broken[:1])}")
        if broken or "violates" in verdicts:
            accused.append(one.name)
            print(*[f"    {result.told}" for result in outcomes if result.rules][:1], sep="\n", flush=True)
    if oddities:
        print(f"\nfalse alarms: {', '.join(accused) or 'none'}")
    return len(accused)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

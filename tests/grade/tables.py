"""docs/grading.md, from results."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from attrs import frozen

from tests.grade.strategies import Result, Strategy
from tests.liars.liars import Liar


@frozen(kw_only=True)
class Grading:
    """What was graded, and how."""

    liars: Sequence[Liar]
    right: Sequence[str]
    strategies: Sequence[Strategy]
    seeds: int
    limit: float
    budget: float
    results: Sequence[Result]

    def of(self, strategy: Strategy, names: Iterable[str]) -> list[Result]:
        """The results of a strategy on these stores."""
        wanted = set(names)
        return [one for one in self.results if one.strategy == strategy.name and one.store in wanted]


def group_of(liar: Liar) -> str:
    """The requirement group of the first rule a liar breaks."""
    return re.sub(r"-\d+$", "", liar.rules[0])


def missing(text: str, names: Iterable[str]) -> list[str]:
    """Names that a page does not have, as code."""
    return [name for name in names if f"`{name}`" not in text]


def page(grading: Grading, command: str) -> str:
    """The whole of docs/grading.md."""
    parts = [_head(grading, command), _totals(grading), _groups(grading), _unnoticed(grading), _alarms(grading)]
    return "\n\n".join([*parts, *_trouble(grading), _everything(grading)]) + "\n"


_HEAD = """\
# Power, measured

```
{command}
```

makes this page and the picture. {liars} liars, stores that are wrong on purpose (`tests/liars`), are put to each strategy with
{seeds}, in the manner of [ETNA](https://doi.org/10.1145/3607860): a run is *solved* when the strategy finds something
wrong within its time. Measured on {cores} cores with Python {python}. Times are processor time, so that other work on the machine
hardly counts, and leave out the start of a process; they vary all the same.

{strategies}

`oracle` has {budget:g} s a run, by the clock; `uniform` and `hypothesis` have {limit:g} s; `seed` is deterministic but for its
race of two threads, and runs once, to its end. `oracle` has to find out the store's policy options within its time. `uniform` and
`hypothesis` are told them, and the model judges every answer they get, just as the oracle's. What they lack is guidance: `uniform`
draws any command and any argument alike, from two sessions, two owners, a handful of times and everything that the store
returned; `hypothesis` has rules, a bundle each for leases, batches, claims and commits, and plain strategies for values.

![Share of runs solved over time](grading.svg)

A curve ends where the strategy's time does. More time would raise those of `uniform` and `hypothesis`: see `--limit`."""

_UNDER_TOTALS = """\
Time, operations and size are medians over solved runs: seconds and operations of the store up to the first failure, and the
operations of the failing run: shrunk for `oracle`, as far as Hypothesis shrinks in a second for `hypothesis`, as found for
`uniform`; for `seed`, those of the scenario up to its end. Operations a second are over all runs, up to the first failure."""

_UNDER_SEED = """\
No reproach: the seed is a suite of examples. These are the mistakes that a store can make and still pass it."""

_UNDER_ALARMS = """\
Each right store once, with seed 1 and {limit:g} s; what stands here was said against a store that keeps the contract. The seed's
scenarios call methods and read records, so they fail where a store leaves operations out, binds at its creation, answers with
the wire's JSON, loses answers, or asks for a call to be repeated. They never said they would not; the other three learn from a
store's declaration and its policies what to expect."""

_UNDER_EVERYTHING = """\
Solved runs of all, and the median time of those; for `seed`, whether a scenario failed."""


def _head(grading: Grading, command: str) -> str:
    return _HEAD.format(
        command=command,
        liars=len(grading.liars),
        seeds="one seed" if grading.seeds == 1 else f"{grading.seeds} seeds each",
        cores=os.cpu_count() or 1,
        python=".".join(map(str, sys.version_info[:2])),
        strategies="\n".join(f"- `{one.name}`, *{one.title}*: {one.what}" for one in grading.strategies),
        budget=grading.budget,
        limit=grading.limit,
    )


def _totals(grading: Grading) -> str:
    names = [liar.name for liar in grading.liars]
    head = "strategy | runs solved | liars: every seed | some | never | median time | operations | size | operations/s"
    head += " | right stores accused"
    rows = []
    for strategy in grading.strategies:
        results = grading.of(strategy, names)
        solved = [one for one in results if one.solved]
        shares = [_share(grading.of(strategy, [name])) for name in names]
        sizes = [one.size for one in solved if one.size]
        accused = {one.store for one in grading.of(strategy, grading.right) if one.solved}
        rows.append(
            f"`{strategy.name}` | {_percent(len(solved), len(results))} | {sum(s == 1 for s in shares)} |"
            f" {sum(0 < s < 1 for s in shares)} | {sum(s == 0 for s in shares)} | {_seconds(solved)} |"
            f" {_number(median([one.operations for one in solved] or [0]))} | {_number(median(sizes or [0]))} |"
            f" {_number(sum(one.operations for one in results) / max(sum(one.seconds for one in results), 0.001))} |"
            f" {len(accused)} of {len(grading.right)}"
        )
    return _table("Totals", head, rows, _UNDER_TOTALS)


def _groups(grading: Grading) -> str:
    groups: dict[str, list[str]] = defaultdict(list)
    for liar in grading.liars:
        groups[group_of(liar)].append(liar.name)
    head = "broken rule | liars | " + " | ".join(f"`{one.name}`" for one in grading.strategies)
    rows = [
        f"{group} | {len(names)} | " + " | ".join(_percent(*_count(grading.of(one, names))) for one in grading.strategies)
        for group, names in groups.items()
    ]
    return _table("By group of requirements", head, rows, "Runs solved; a liar counts where the first of its rules belongs.")


def _unnoticed(grading: Grading) -> str:
    seed = next((one for one in grading.strategies if one.name == "seed"), None)
    if seed is None:
        return "## What the seed's scenarios miss\n\nNot graded."
    graded = {one.store: one for one in grading.of(seed, [liar.name for liar in grading.liars])}
    free = [liar for liar in grading.liars if liar.name in graded and not graded[liar.name].solved]
    rows = [f"`{liar.name}` | {', '.join(liar.rules)} | {liar.why}" for liar in free]
    title = f"What the seed's scenarios miss: {len(free)} of {len(graded)} liars"
    return _table(title, "liar | breaks | how", rows, _UNDER_SEED)


def _alarms(grading: Grading) -> str:
    head = "right store | " + " | ".join(f"`{one.name}`" for one in grading.strategies)
    rows = []
    for name in grading.right:
        said = [next((one.rule for one in grading.of(strategy, [name]) if one.solved), "-") for strategy in grading.strategies]
        rows.append(f"`{name}` | " + " | ".join(said))
    return _table("False alarms", head, rows, _UNDER_ALARMS.format(limit=grading.limit))


def _trouble(grading: Grading) -> list[str]:
    rows = [f"`{one.store}` | `{one.strategy}` | {one.seed} | {one.trouble}" for one in grading.results if one.trouble]
    return [_table("Runs that could not be made", "store | strategy | seed | why", rows)] if rows else []


def _everything(grading: Grading) -> str:
    head = "liar | breaks | " + " | ".join(f"`{one.name}`" for one in grading.strategies)
    rows = []
    for liar in grading.liars:
        cells = [_cell(grading.of(strategy, [liar.name]), strategy) for strategy in grading.strategies]
        rows.append(f"`{liar.name}` | {' '.join(liar.rules)} | " + " | ".join(cells))
    return _table("Every liar", head, rows, _UNDER_EVERYTHING)


def _cell(results: list[Result], strategy: Strategy) -> str:
    solved, runs = _count(results)
    if not solved:
        return "-"
    return "yes" if strategy.once else f"{solved}/{runs} {_seconds([one for one in results if one.solved])}"


def _table(title: str, head: str, rows: list[str], under: str = "") -> str:
    line = "|".join(["---"] * (head.count("|") + 1))
    lines = [f"## {title}", "", f"| {head} |", f"|{line}|", *[f"| {row} |" for row in rows]]
    return "\n".join([*lines, "", under] if under else lines)


def _count(results: list[Result]) -> tuple[int, int]:
    return sum(one.solved for one in results), len(results)


def _share(results: list[Result]) -> float:
    solved, runs = _count(results)
    return solved / runs if runs else 0.0


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "not graded"


def _seconds(solved: list[Result]) -> str:
    if not solved:
        return "-"
    seconds = median(one.seconds for one in solved)
    return f"{seconds:.3f} s" if seconds < 0.1 else f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value else "-"

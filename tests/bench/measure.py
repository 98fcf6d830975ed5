"""Interleaved measuring: every contender in every round, each round beginning with another, so that they share the machine's moods.

What counts is the ratio within a round. The rates themselves are of this machine at this moment.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from attrs import frozen
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

Work: TypeAlias = Callable[[int], int]
"""Does a round's work, given its number, and returns how many units that was."""

Rates: TypeAlias = dict[str, list[float]]
"""Contender -> units per second, round by round."""


@frozen
class Spread:
    """A median, and the first and third quartile: half of the rounds lie between."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def interleaved(contenders: Mapping[str, Work], rounds: int) -> Rates:
    """Measure all contenders in all rounds."""
    names = list(contenders)
    rates: Rates = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            units = contenders[name](number)
            rates[name].append(units / (time.perf_counter() - began))
    return rates


def ratios(rates: Rates, name: str, to: str) -> Spread:
    """One contender against another, round by round."""
    return spread([one / other for one, other in zip(rates[name], rates[to], strict=True)])


@frozen
class Aim:
    """What a ratio should at least be."""

    name: str
    to: str
    least: float


def show_rates(console: Console, title: str, unit: str, rates: Rates, base: str, aims: Sequence[Aim]) -> None:
    """A table of rates and ratios, with the aims and whether they hold."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for heading in ("", f"{unit}/s, median", "quartiles", f"ratio to {base}, median", "quartiles"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in rates:
        rate, ratio = spread(rates[name]), ratios(rates, name, base)
        table.add_row(
            name,
            f"{rate.median:,.0f}",
            f"{rate.low:,.0f} .. {rate.high:,.0f}",
            f"{ratio.median:.2f}",
            f"{ratio.low:.2f} .. {ratio.high:.2f}",
        )
    console.print(table)
    for aim in aims:
        found = ratios(rates, aim.name, aim.to).median
        show_aim(console, f"{aim.name} at least {aim.least:g} x {aim.to}", f"{found:.2f}", found >= aim.least)
    console.print()


def show_aim(console: Console, aim: str, found: str, holds: bool) -> None:
    """An aim, and whether it holds."""
    console.print(
        Text.assemble("  aim: ", aim, "; found ", found, ": ", ("holds" if holds else "missed", "green" if holds else "red"))
    )

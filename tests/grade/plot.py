"""docs/grading.svg: the share of runs that each strategy solved, over time."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from xml.sax.saxutils import escape

from attrs import frozen

from tests.grade.tables import Grading

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 176, 44, 52
FIRST = 0.001
"""Seconds at the left edge."""

LIGHT = ("#0072b2", "#b34700", "#00785a", "#8f3f71", "#555555")
DARK = ("#56b4e9", "#f0904d", "#2fc79a", "#e39ac6", "#bbbbbb")
DASHES = ("", "7 4", "2 3", "10 3 2 3", "4 4")
LOOK = 'role="img" aria-labelledby="title" font-family="system-ui, sans-serif" font-size="13"'
LINE = 17
"""Pixels between two labels at least."""


@frozen
class Curve:
    """When the solved runs of a strategy were solved, of how many runs, and how long it was given (0: it ran to its end)."""

    title: str
    seconds: tuple[float, ...]
    runs: int
    limit: float = 0.0

    def share(self, at: float) -> float:
        """The share of runs solved by then."""
        return sum(one <= at for one in self.seconds) / self.runs if self.runs else 0.0


def curves(grading: Grading) -> list[Curve]:
    """One for each strategy."""
    names = [liar.name for liar in grading.liars]
    found = []
    for strategy in grading.strategies:
        results = grading.of(strategy, names)
        limit = 0.0 if strategy.once else max((one.limit for one in results), default=0.0)
        found.append(Curve(strategy.title, tuple(sorted(one.seconds for one in results if one.solved)), len(results), limit))
    return found


def picture(drawn: Sequence[Curve], last: float) -> str:
    """The plot as SVG, from a millisecond to ``last`` seconds."""
    ticks = [(at, text) for at, text in ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s")) if at <= last]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    colours = "".join(f".c{n}{{stroke:{one}}}.t{n}{{fill:{one}}}" for n, one in enumerate(LIGHT))
    dark = "".join(f".c{n}{{stroke:{one}}}.t{n}{{fill:{one}}}" for n, one in enumerate(DARK))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {LOOK}>',
        f'<title id="title">{escape("Share of runs solved over time: " + "; ".join(map(_told, drawn)))}</title>',
        "<style>.page{fill:#ffffff}.ink{fill:#222222}.grid{stroke:#d5d5d5}.curve{fill:none;stroke-width:2.5}" + colours,
        f"@media (prefers-color-scheme: dark){{.page{{fill:#0d1117}}.ink{{fill:#e6e6e6}}.grid{{stroke:#3a3f46}}{dark}}}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="ink" x="{LEFT}" y="24" font-weight="600">Share of runs solved within a time</text>',
    ]
    for share in (0, 25, 50, 75, 100):
        y = _y(share / 100)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        lines.append(f'<text class="ink" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{share} %</text>')
    for at, text in ticks:
        x = _x(at, last)
        lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
        lines.append(f'<text class="ink" x="{x}" y="{bottom + 20}" text-anchor="middle">{text}</text>')
    lines.append(f'<text class="ink" x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" text-anchor="middle">time to failure</text>')
    for number, (curve, y) in enumerate(zip(drawn, _places([curve.share(last) for curve in drawn]), strict=True)):
        look = number % len(LIGHT)
        dash = f' stroke-dasharray="{DASHES[look]}"' if DASHES[look] else ""
        end, height = _end(curve, last), _y(curve.share(last))
        lines.append(f'<path class="curve c{look}"{dash} d="{_path(curve, last)}"/>')
        if end < last:
            lines.append(f'<line class="c{look}" x1="{_x(end, last)}" x2="{right}" y1="{height}" y2="{height}" opacity="0.3"/>')
        lines.append(f'<circle class="t{look}" cx="{_x(end, last)}" cy="{height}" r="4"/>')
        lines.append(f'<text class="t{look}" x="{right + 8}" y="{y + 4}" font-weight="600">{escape(_told(curve))}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _told(curve: Curve) -> str:
    return f"{curve.title} {100 * len(curve.seconds) / max(1, curve.runs):.0f} %"


def _x(seconds: float, last: float) -> float:
    share = log10(min(max(seconds, FIRST), last) / FIRST) / log10(last / FIRST)
    return round(LEFT + share * (WIDTH - RIGHT - LEFT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _path(curve: Curve, last: float) -> str:
    path = f"M{_x(FIRST, last)} {_y(0)}"
    for solved, seconds in enumerate(curve.seconds, start=1):
        path += f"H{_x(seconds, last)}V{_y(solved / curve.runs)}"
    return path + f"H{_x(_end(curve, last), last)}"


def _end(curve: Curve, last: float) -> float:
    """Where a curve ends: where the strategy's time did, or its last run."""
    return min(last, max((curve.limit, *curve.seconds, FIRST)))


def _places(shares: Sequence[float]) -> list[float]:
    """Where the labels go: at their curves' ends, but apart."""
    places = [0.0] * len(shares)
    above = 0.0
    for number in sorted(range(len(shares)), key=lambda number: -shares[number]):
        places[number] = above = max(_y(shares[number]), above + LINE)
    return places

"""A race as a drawing: a lane for each client, on it its calls from call to return, in order and not to scale.

A call that the model can explain has its place in the order on it, one that cannot come next is red, with the reason below.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import wrap

from leasehold.report import race
from leasehold.report.race import RaceStory, Told
from leasehold.report.standing import printable
from leasehold.report.template import style
from leasehold.report.timeline import entities
from leasehold.report.words import short_op

WIDTH, GUTTER, LEAST, WIDEST, TAIL = 1090, 96, 96, 260, 140
"""Of the drawing, of the names at its left, of the room between a start or return and the next, and of that after the last."""

HEAD, BAR, LINE, PAD = 30, 26, 14, 14
LETTER, BOLD = 6.6, 7.6
"""How wide a letter is, at most."""


def svg(story: RaceStory, rule: str, ident: str, *, alone: bool = False) -> str:
    """The drawing. ``ident``: what its element ids begin with. ``alone``: a file of its own, with style."""
    return _Drawing(story, rule, ident, alone).text()


class _Drawing:
    def __init__(self, story: RaceStory, rule: str, ident: str, alone: bool) -> None:
        self.story = story
        self.rule = rule
        self.ident = ident
        self.alone = alone
        self.step = max(LEAST, min(WIDEST, (WIDTH - GUTTER - TAIL) // story.moments))
        self.width = GUTTER + story.moments * self.step + TAIL
        self.parts: list[str] = []

    def text(self) -> str:
        """All of it."""
        y = float(HEAD)
        self._axis()
        for client in self.story.used:
            calls = [one for one in self.story.calls if one.client == client]
            lines = [self._below(one) for one in calls]
            height = PAD + BAR + LINE * max(map(len, lines)) + PAD
            self.parts.append(f'<line class="tl-rule" x1="0" y1="{y:g}" x2="{self.width:g}" y2="{y:g}"/>')
            self._text("tl-lane", 6, y + PAD + 17, self.story.clients[client])
            for one, below in zip(calls, lines, strict=True):
                self._call(one, y + PAD, below)
            y += height
        name = f"The calls of clients at once that break {self.rule}"
        told = f"{race.lead(self.story)} {'; '.join(map(self._told, self.story.calls))}. {race.explained(self.story)}"
        told += "".join(f" {race.refusal(one)}" for one in self.story.refused)
        size = f'viewBox="0 0 {self.width:g} {y:g}" width="{self.width:g}" height="{y:g}"'
        labelled = f'role="img" aria-labelledby="{self.ident}-title {self.ident}-desc"'
        opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" {size} {labelled}>'
        described = f'<title id="{self.ident}-title">{_safe(name)}</title><desc id="{self.ident}-desc">{_safe(told)}</desc>'
        sheet = f"<style>{style('colours.css', 'timeline.css')}</style>" if self.alone else ""
        ground = f'<rect class="tl-ground" width="{self.width:g}" height="{y:g}"/>' if self.alone else ""
        return printable("\n".join([opening, described, sheet, ground, *self.parts, "</svg>"]))

    def _told(self, one: Told) -> str:
        return f"{one.letter}: {self.story.clients[one.client]} {one.call}, answered {one.answer}"

    def _axis(self) -> None:
        """Time goes to the right."""
        self._text("tl-dim", GUTTER, 18, "time, not to scale \u2192")

    def _x(self, moment: float) -> float:
        return GUTTER + (moment + 0.2) * self.step

    def _ends(self, one: Told) -> float:
        return self._x(one.end) if one.end is not None else self.width - 6

    def _room(self, one: Told) -> int:
        """Letters that fit below a call: up to the next one of its client."""
        later = [other.start for other in self.story.calls if other.client == one.client and other.start > one.start]
        right = self._x(min(later)) - 8 if later else float(self.width)
        return max(8, int((right - self._x(one.start)) / (BOLD if one.refused else LETTER)))

    def _below(self, one: Told) -> list[tuple[str, str]]:
        """What stands below a call: its answer, and why it is wrong."""
        room = self._room(one)
        told = [(f"tl-{'bad-text' if one.refused else 'answer'}", line) for line in _lines(f"= {one.answer}", room, 4)]
        if one.refused is not None:
            told += [("tl-bad-text", line) for line in _lines(f"WRONG by {one.refused.rule}: {one.refused.fact}", room, 6)]
        return told

    def _call(self, one: Told, y: float, below: Sequence[tuple[str, str]]) -> None:
        left, right = self._x(one.start), self._ends(one)
        kind = "rc-wrong" if one.refused else "rc-kept" if one.place else "rc-open"
        cut = " rc-cut" if one.end is None else ""
        self.parts.append(f"<g><title>{_safe(self._told(one))}</title>")
        self.parts.append(
            f'<rect class="rc-call {kind}{cut}" x="{left:g}" y="{y:g}" width="{right - left:g}" height="{BAR - 4}" rx="4"/>'
        )
        place = f"{one.place}." if one.place else "\u2717" if one.refused else ""
        if place:
            self.parts.append(f'<circle class="rc-place {kind}" cx="{left:g}" cy="{y + 11:g}" r="11"/>')
            self._text("tl-strong", left, y + 15.5, place, "middle")
        name, room = f"{one.letter} {short_op(one.line.op)}", int((right - left - 18) / 7.2)
        self._text("tl-op-text", left + 15, y + 15, name if len(name) <= room else one.letter)
        for index, (css, line) in enumerate(below):
            self._text(css, left, y + BAR + 9 + LINE * index, line)
        self.parts.append("</g>")

    def _text(self, kind: str, x: float, y: float, text: str, anchor: str = "") -> None:
        where = f' text-anchor="{anchor}"' if anchor else ""
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}"{where}>{_safe(text)}</text>')


def _lines(text: str, room: int, most: int) -> list[str]:
    """Text in lines that fit; what is too much is left out."""
    lines = wrap(text, room)
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][: room - 1] + "\u2026"]


def _safe(text: str) -> str:
    return escape(text, quote=True)


def mermaid(story: RaceStory, rule: str) -> str:
    """The race as a sequence diagram in Mermaid's words."""
    lines = ["sequenceDiagram"]
    used = story.used
    lines += [f"    participant c{client} as {entities(story.clients[client])}" for client in used]
    lines.append("    participant s as store")
    for at, one in story.events:
        if at == one.start:
            lines.append(f"    c{one.client}->>s: {one.letter}. {entities(one.call)}")
            continue
        wrong = one.refused
        if wrong is None:
            lines.append(f"    s-->>c{one.client}: {one.letter}. {entities(one.answer)}")
            continue
        lines.append("    rect rgba(255, 99, 99, 0.25)")
        lines.append(f"        s--xc{one.client}: {one.letter}. {entities(one.answer)}")
        lines.append(f"        Note over c{used[0]},s: WRONG, {entities(rule)}. {entities(wrong.fact)}")
        lines.append("    end")
    lines.append(f"    Note over c{used[0]},s: {entities(race.explained(story))}")
    return printable("\n".join(lines)) + "\n"

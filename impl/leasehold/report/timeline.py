"""A finding as a time line: who called what, which leases and claims were held meanwhile, and where the answer was wrong.

The axis is the order of the steps, not the time: a lease may run for an hour between two calls in one millisecond. The instants are
written above the steps. Leases and claims are those that the model holds, numbered as the store numbered them; what a wrong
answer says beyond that is drawn apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from textwrap import wrap
from typing import Any, Literal

from attrs import evolve, frozen

from leasehold import records
from leasehold.oracle import vocabulary as word
from leasehold.oracle.answers import Answer, Err, Hung, Misshapen, Ok, Skip, Unknown
from leasehold.oracle.findings import Finding
from leasehold.oracle.run import BOUND
from leasehold.report.cause import both, lead, notes, undecided
from leasehold.report.standing import printable
from leasehold.report.story import Line, Story, client, tell
from leasehold.report.template import style
from leasehold.report.words import FORGED, Words, short_op
from leasehold_model.decisions import MAX_MS
from leasehold_model.outcome import Absent, Done
from leasehold_model.state import State

STORE = "store"
"""The lane of the store."""

ALIKE = 4
"""So many calls in a row that differ in nothing drawn are drawn as one."""

EDGE = 0.04
"""How far from the edge of its column a bar stands that belongs to one step."""

TONES = 6
"""How many colours there are for fencing tokens. The number is always written on, so a repeated colour hides nothing."""


@frozen
class Instant:
    """A step, or several alike, and when it was made."""

    number: str
    time: str
    later: str


@frozen(kw_only=True)
class Mark:
    """One call on its client's lane, with its answer. ``times``: as many in a row that are alike are drawn as one, the last.

    ``revision``: what an accepted commit made of the head. ``noted``: what the step is marked as, beside the wrong one.
    ``failing``: what was made to fail in it, in a word or two.
    """

    column: int
    lane: int
    op: str
    call: str
    answer: str
    sign: Literal["ok", "none", "refused", "lost", "wrong", "reopen"]
    full: str
    allowed: str
    revision: str = ""
    handle: int = 0
    times: int = 1
    noted: str = ""
    failing: str = ""


@frozen(kw_only=True)
class Bar:
    """What an owner holds, from one point of the axis to another. ``labels``: from long to short; the first that fits is shown."""

    lane: int
    kind: Literal["lease", "claim", "wrong", "expected"]
    first: float
    last: float
    end: Literal["", "expired", "ended"]
    labels: tuple[str, ...]
    tone: int
    row: int = 0


@frozen(kw_only=True)
class Timeline:
    """A finding as a drawing would show it. Lanes are the clients and, last, the store."""

    rule: str
    lanes: tuple[str, ...]
    instants: tuple[Instant, ...]
    marks: tuple[Mark, ...]
    bars: tuple[Bar, ...]
    where: str
    part: str
    allowed: str
    given: str
    lead: str
    timed: bool

    @property
    def summary(self) -> str:
        """The drawing in words, for those who do not see it."""
        told = "; ".join(
            f"step {when.number}: {self.lanes[one.lane]} {one.call}, answered {one.full}"
            for when, one in zip(self.instants, self.marks, strict=True)
        )
        return f"{self.lead} {told}. {self.where} is wrong: the contract allows {self.allowed}; the store answered {self.given}."


# -- from a finding --------------------------------------------------------------------------------------------------------------


def timeline(finding: Finding) -> Timeline:
    """The time line of a finding."""
    story = tell(finding.failure)
    words = Words(story)
    clients = [client(line, story) for line in story.lines]
    lanes = (*dict.fromkeys(clients), STORE)
    where, allowed, given = words.wrong()
    if undecided(finding):
        allowed = both(finding, words, story.lines[-1])[0][1] if len(finding.failure.possible) > 1 else allowed
    handles = len({line.handle for line in story.lines}) > 1
    states, noted = story.states, notes(finding, story)
    folds = _folds(story, clients, states, noted)
    marks, instants = [], []
    for column, (index, upto) in enumerate(folds):
        line, earlier = story.lines[upto - 1], story.lines[index - 1].at if index else story.start
        before, after = states[index], states[upto]
        number = f"{line.number}" if upto - index == 1 else f"{index + 1}\u2013{upto}"
        number += f", {noted[line.number]}" if line.number in noted else ""
        instants.append(Instant(number, words.time(line.at), span(line.at - earlier)))
        marks.append(
            Mark(
                column=column,
                lane=lanes.index(clients[index]),
                op=short_op(line.op) if line.op else "reopen",
                call=words.call(line),
                answer=_brief(line, words),
                sign=_sign(line),
                full=words.answer(line),
                allowed=words.allowed(line.response),
                revision=f"r{after.head.revision}" if after.head.revision > before.head.revision and not line.broken else "",
                handle=line.handle + 1 if handles else 0,
                times=upto - index,
                noted=noted.get(line.number, ""),
                failing=line.failing,
            )
        )
    columns = {step: column for column, (index, upto) in enumerate(folds) for step in range(index, upto)}
    columns[len(story.lines)] = len(folds)
    bars = (*_held(story, words, lanes, states), *_wrong(story, words, lanes, len(story.lines) - 1))
    return Timeline(
        rule=finding.requirement,
        lanes=lanes,
        instants=tuple(instants),
        marks=tuple(marks),
        bars=_stacked([evolve(bar, first=_column(bar.first, columns), last=_column(bar.last, columns)) for bar in bars]),
        where=where,
        part=words.mistake().part,
        lead=lead(finding, story, words),
        allowed=allowed,
        given=given,
        timed=story.lines[-1].at != story.start,
    )


def _folds(story: Story, clients: list[str], states: tuple[State, ...], noted: Mapping[int, str]) -> list[tuple[int, int]]:
    """The columns, each as the steps from one to before another: long rows of calls that differ in nothing drawn are one."""
    folds: list[tuple[int, int]] = []
    held = [_holds(state) for state in states]
    for index, line in enumerate(story.lines):
        before = story.lines[index - 1] if folds else line
        alike = (line.op, line.at, line.handle, clients[index]) == (before.op, before.at, before.handle, clients[index - 1])
        still = held[index] == held[index + 1] and states[index].head == states[index + 1].head
        plain = not line.broken and line.number not in noted and before.number not in noted
        if folds and alike and still and plain and _sign(line) == _sign(before):
            folds[-1] = (folds[-1][0], index + 1)
        else:
            folds.append((index, index + 1))
    return [
        one
        for index, upto in folds
        for one in ([(index, upto)] if upto - index >= ALIKE else [(step, step + 1) for step in range(index, upto)])
    ]


def _column(at: float, columns: dict[int, int]) -> float:
    """A point between steps as a point between columns."""
    return columns[int(at)] + at - int(at)


def _holds(state: State) -> dict[tuple[str, int, int], tuple[str, int, Any]]:
    """What is held, live or not: key -> owner, expiry, and the record."""
    held: dict[tuple[str, int, int], tuple[str, int, Any]] = {}
    for lane in state.lanes:
        if lane.token:
            held["lease", lane.session, lane.token] = (word.owner(lane.owner), int(lane.expires_at), lane)
    for batch in state.queue:
        hold = batch.hold
        if hold.claim:
            _, _, batches = held.get(("claim", hold.claim, hold.token), ("", 0, []))
            held["claim", hold.claim, hold.token] = (word.owner(hold.owner), int(hold.expires_at), [*batches, batch])
    return held


def _held(story: Story, words: Words, lanes: tuple[str, ...], states: tuple[State, ...]) -> Iterator[Bar]:
    """Leases and claims as the model holds them, from grant to expiry or release."""
    tones: dict[str, int] = {}
    held = [_holds(state) for state in states]
    count = len(story.lines)
    for key in dict.fromkeys(key for one in held for key in one):
        index = 0
        while index < count:
            if key not in held[index + 1]:
                index += 1
                continue
            first, (owner, expires, record) = index, held[index + 1][key]
            if index and key in held[index] and expires <= story.lines[index].at:  # it had expired before this step
                index += 1
                continue
            last = float(count)
            end: Literal["", "expired", "ended"] = ""
            for later in range(index + 1, count + 1):
                at = story.lines[later].at if later < count else None
                if at is not None and expires <= at:
                    last, end, index = (later + 0.34 if expires == at else float(later)), "expired", later
                    break
                if later < count and key not in held[later + 1]:
                    last, end, index = later + 0.5, "ended", later
                    break
                if later < count:
                    owner, expires, record = held[later + 1][key]
                else:
                    index = count
            if expires <= story.lines[first].at:
                last, end = first + 0.62, "expired"
            kind: Any = "expected" if first == count - 1 else key[0]
            start = first + (EDGE if kind == "expected" else 0.5)
            last = count - EDGE if kind == "expected" else last
            number = _number(key, record, story)
            tone = tones.setdefault(f"{key[0]} {number}", len(tones) % TONES)
            lane = lanes.index(owner) if owner in lanes else len(lanes) - 1
            labels = _labels(key[0], number, record, words, expires)
            labels = _matter("allowed", key[0], words, labels) if kind == "expected" else labels
            yield Bar(lane=lane, kind=kind, first=start, last=last, end=end, labels=labels, tone=tone)
            index = max(index, first + 1)


def _number(key: tuple[str, int, int], record: Any, story: Story) -> str:
    """The fencing token that the store gave."""
    if key[0] == "claim":
        known = story.binding.claims.get(record[0].hold.claim)
        return "" if known is None else str(known.fencing_token)
    number = story.binding.fences.get(record.session, {}).get(record.fencing)
    return "" if number is None else str(number)


def _labels(kind: str, number: str, record: Any, words: Words, expires: int) -> tuple[str, ...]:
    binding = words.story.binding
    if kind == "lease":
        token = binding.tokens.get(record.token)
        name = words.id(kind, token) if token else kind
        on = "" if record.session == BOUND else f" of {word.session(record.session)}"
    else:
        claim = binding.claims.get(record[0].hold.claim)
        name = words.id(kind, claim.claim_id) if claim else kind
        known = [binding.batches.get(batch.batch) for batch in record]
        on = " on " + ", ".join("?" if one is None else words.id("batch", one.batch_id) for one in known)
    name += f" #{number}" if number else ""
    return f"{name}{on} until {words.time(expires)}", name + on, name, f"#{number}" if number else kind[0]


def _matter(side: Literal["allowed", "answered"], kind: str, words: Words, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of what is allowed and of what was answered instead: they differ in what is wrong."""
    mistake = words.mistake()
    if not mistake.part:
        return tuple(f"{side}: {label}" for label in labels[:-1])
    fact = mistake.allowed if side == "allowed" else mistake.given
    name = mistake.part.partition(" of ")[0]
    if name == "fencing token":
        fact = fact.replace("more than ", "> #") if side == "allowed" and not fact.isdecimal() else f"#{fact}"
        return f"{side}: {kind} {fact}", f"{side}: {fact}"
    return f"{side}: {kind}, {name} {fact}", f"{side}: {name} {fact}", f"{side}: {fact}"


def _wrong(story: Story, words: Words, lanes: tuple[str, ...], at: int) -> Iterator[Bar]:
    """What the wrong answer hands out."""
    line = story.lines[-1]
    value = line.answer.value if isinstance(line.answer, Ok) else None
    if not isinstance(value, records.Lease | records.Claim):
        return
    kind = "lease" if isinstance(value, records.Lease) else "claim"
    owner = value.owner_id if isinstance(value.owner_id, str) else ""
    lane = lanes.index(owner) if owner in lanes else len(lanes) - 1
    own = words.id("lease", value.lease_token) if isinstance(value, records.Lease) else words.id("claim", value.claim_id)
    name = f"{own} #{words.text(str(value.fencing_token))}"
    on = f" on {', '.join(words.id('batch', one) for one in ids)}" if (ids := _ids(value)) else ""
    labels = (f"{name}{on} until {words.time(value.expires_at_epoch_ms)}", name + on, name, "")
    yield Bar(
        lane=lane,
        kind="wrong",
        first=at + EDGE,
        last=at + 1 - EDGE,
        end="",
        labels=_matter("answered", kind, words, labels),
        tone=0,
    )


def _ids(value: Any) -> list[Any]:
    batches = getattr(value, "batches", ())
    return [getattr(one, "batch_id", "?") for one in batches] if isinstance(batches, list | tuple) else []


def _stacked(bars: list[Bar]) -> tuple[Bar, ...]:
    """Bars of one lane that meet stand below each other."""
    placed: list[Bar] = []
    for bar in bars:
        met = [one for one in placed if one.lane == bar.lane and one.first < bar.last]
        taken = {one.row for one in met if bar.first < one.last + (0.5 if one.end else 0)}  # how it ended is written behind it
        placed.append(evolve(bar, row=next(row for row in range(len(placed) + 1) if row not in taken)))
    return tuple(placed)


def _sign(line: Line) -> Literal["ok", "none", "refused", "lost", "wrong", "reopen"]:
    if line.broken:
        return "wrong"
    if not line.op:
        return "reopen"
    if isinstance(line.answer, Unknown):
        return "lost"
    if isinstance(line.response, Absent):
        return "none"
    return "ok" if isinstance(line.answer, Ok) else "refused"


def _brief(line: Line, words: Words) -> str:
    """The answer in a word or two."""
    answer: Answer | None = line.answer
    mistake = words.mistake() if line.broken else None
    if mistake is not None and mistake.members:
        return mistake.given
    match answer:
        case None:
            return "reopened"
        case Err(_, _, _, untyped):
            return "an exception" if untyped else "refused"
        case Misshapen():
            return "out of shape"
        case Hung():
            return "no answer"
        case Skip():
            return "not offered"
        case Unknown():
            return "no answer"
        case Ok(records.Lease(lease_token=token, fencing_token=number)):
            return f"{words.id('lease', token)} #{words.text(str(number))}"
        case Ok(records.Claim(claim_id=claim, fencing_token=number)):
            return f"{words.id('claim', claim)} #{words.text(str(number))}"
        case Ok(records.Batch(batch_id=batch)):
            return words.id("batch", batch)
        case Ok(records.CommitResult(head_revision=revision)):
            return f"revision {words.text(str(revision))}"
        case Ok(records.Read(head_revision=revision, graph=graph)):
            count = len(graph.nodes) if isinstance(graph, records.Graph) else 0
            return f"revision {words.text(str(revision))}, {count} node{'' if count == 1 else 's'}"
        case Ok(None):
            return "ok" if isinstance(line.response, Done) else "null"
        case Ok():
            return words.answer(line)


_UNITS = ((86_400_000, 2, "d"), (3_600_000, 2, "h"), (60_000, 10, "min"), (1000, 1, "s"))


def span(ms: int) -> str:
    """How much later a step is, for people."""
    if ms == 0:
        return ""
    if abs(ms) >= MAX_MS // 2:
        return "ages later"
    for unit, least, name in _UNITS:
        if abs(ms) >= least * unit:
            return f"{ms / unit:.5g} {name} later" if abs(ms) < 10_000 * unit else "ages later"
    return f"{ms} ms later"


# -- as SVG ----------------------------------------------------------------------------------------------------------------------

WIDTH, GUTTER, WIDEST, ACROSS = 1090, 96, 330, 8
HEAD, CALL, BAR, PAD, FOOT = 46, 34, 24, 10, 62
_GLYPHS = {"ok": "\u2713", "none": "\u2205", "refused": "\u2298", "lost": "?", "wrong": "\u2717", "reopen": "\u21bb"}


def svg(drawn: Timeline, ident: str, *, alone: bool = False) -> str:
    """The time line as SVG. ``ident``: what its element ids begin with. ``alone``: a file of its own, with style and verdict."""
    return _Drawing(drawn, ident, alone).text()


class _Drawing:
    def __init__(self, drawn: Timeline, ident: str, alone: bool) -> None:
        self.drawn = drawn
        self.ident = ident
        self.alone = alone
        count = len(drawn.instants)
        rows = -(-count // ACROSS)
        self.across = -(-count // rows)
        self.step = min(WIDEST, (WIDTH - GUTTER) // self.across)
        self.width = GUTTER + self.across * self.step + 4
        self.parts: list[str] = []
        self.y = 0.0

    def text(self) -> str:
        """All of it."""
        count = len(self.drawn.instants)
        for first in range(0, count, self.across):
            self._stretch(first, min(count, first + self.across))
        if self.alone:
            self._verdict()
        name = f"Time line of the run that breaks {self.drawn.rule}"
        size = f'viewBox="0 0 {self.width} {self.y:g}" width="{self.width}" height="{self.y:g}"'
        labelled = f'role="img" aria-labelledby="{self.ident}-title {self.ident}-desc"'
        opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" {size} {labelled}>'
        described = (
            f'<title id="{self.ident}-title">{_safe(name)}</title><desc id="{self.ident}-desc">{_safe(self.drawn.summary)}</desc>'
        )
        sheet = f"<style>{style('colours.css', 'timeline.css')}</style>" if self.alone else ""
        ground = f'<rect class="tl-ground" width="{self.width}" height="{self.y:g}"/>' if self.alone else ""
        return printable("\n".join([opening, described, sheet, ground, *self.parts, "</svg>"]))

    def _stretch(self, first: int, end: int) -> None:
        """The steps that stand beside each other."""
        drawn, top = self.drawn, self.y
        bars = [bar for bar in drawn.bars if bar.first < end and bar.last > first]
        lanes = [lane for lane in range(len(drawn.lanes) - 1) if self._used(lane, first, end, bars)]
        tops, y = dict[int, float](), top + HEAD
        for lane in lanes:
            tops[lane] = y
            y += CALL + BAR * (1 + max((bar.row for bar in bars if bar.lane == lane), default=-1)) + PAD
        strays = [bar for bar in bars if bar.lane == len(drawn.lanes) - 1]
        store, bottom = y, y + FOOT + (BAR * (1 + max((bar.row for bar in strays), default=-1)) if strays else 0)
        right = GUTTER + (end - first) * self.step
        self._rect("tl-store", 0, store - 3, right, bottom - store - 2, 4)
        for mark in drawn.marks[first:end]:
            if mark.sign == "wrong" or mark.noted:
                kind = "tl-wrong-column" if mark.sign == "wrong" else "tl-cause-column"
                self._rect(kind, self._x(mark.column, first) + 2, top + 2, self.step - 4, bottom - top - 4, 6)
        for lane in lanes:
            self._line("tl-rule", 0, tops[lane] - 3, right, tops[lane] - 3)
            self._label(drawn.lanes[lane], tops[lane] + 20)
        self._label(STORE, store + 20)
        for column in range(first, end):
            self._instant(drawn.instants[column], column, first, top)
            if "killed" in drawn.marks[column].failing:
                self._line("tl-restart", self._x(column + 1, first), top + 2, self._x(column + 1, first), bottom - 2)
        places = [store + FOOT - 4 if bar.lane == len(drawn.lanes) - 1 else tops[bar.lane] + CALL for bar in bars]
        for bar, base in zip(bars, places, strict=True):
            if bar.kind in {"lease", "claim"}:
                self._bar(bar, first, end, base + BAR * bar.row)
        for mark in drawn.marks[first:end]:
            self._mark(mark, first, tops[mark.lane], store)
        for bar, base in zip(bars, places, strict=True):  # over the line of the call that they are about
            if bar.kind in {"wrong", "expected"}:
                self._bar(bar, first, end, base + BAR * bar.row)
        self.y = bottom + PAD

    def _used(self, lane: int, first: int, end: int, bars: list[Bar]) -> bool:
        return any(mark.lane == lane for mark in self.drawn.marks[first:end]) or any(bar.lane == lane for bar in bars)

    def _x(self, at: float, first: int) -> float:
        return GUTTER + (at - first) * self.step

    def _instant(self, instant: Instant, column: int, first: int, top: float) -> None:
        x = self._x(column + 0.5, first)
        half = 7 + 4 * len(instant.number)
        noted = not instant.number[-1].isdigit()
        self._rect("tl-number tl-caused" if noted else "tl-number", x - half, top + 3, 2 * half, 22, 11)
        self._text("tl-strong tl-caused-text" if noted else "tl-strong", x, top + 18.5, instant.number, "middle")
        if self.drawn.timed:
            self._text("tl-dim", x, top + 38, f"{instant.time} ms", "middle")
            room = (self.step / 2 - half - 6) / 5.9
            later = next((one for one in (instant.later, instant.later.removesuffix(" later")) if len(one) <= room), "")
            if later and column > first:
                self._text("tl-dim tl-small", x - self.step / 2 - 4, top + 18.5, later, "end")

    def _bar(self, bar: Bar, first: int, end: int, y: float) -> None:
        left, right = max(bar.first, float(first)), min(bar.last, float(end))
        x, width = self._x(left, first), max((right - left) * self.step, 12)
        tone = f" tone-{bar.tone}" if bar.kind in {"lease", "claim"} else ""
        cut = not bar.end or bar.last > end
        self.parts.append(f"<g><title>{_safe(bar.labels[0])}</title>")
        self._rect(f"tl-bar tl-{bar.kind}{tone}", x, y, width, BAR - 5, 3)
        room = int(width / 6.6) - 1
        label = next((one for one in bar.labels if len(one) <= room), "")
        if not label and bar.kind in {"wrong", "expected"}:
            label = bar.labels[-1][: room - 1] + "\u2026"
        if label:
            self._text("tl-bar-text", x + 6, y + 13.5, label + (" \u2192" if cut and tone and len(label) < room - 2 else ""))
        if bar.end and bar.last <= end and end * self.step - (right - first) * self.step > 60:
            self._text("tl-dim tl-small", x + width + 4, y + 13.5, bar.end)
        self.parts.append("</g>")

    def _mark(self, mark: Mark, first: int, lane: float, store: float) -> None:
        x = self._x(mark.column + 0.5, first)
        bad = mark.sign == "wrong"
        kind = " tl-bad" if bad else " tl-caused" if mark.noted else ""
        self._line("tl-call tl-bad" if bad else "tl-call", x, lane + 26, x, store + 8)
        via = (f" h{mark.handle}" if mark.handle else "") + (f" \u00d7{mark.times}" if mark.times > 1 else "")
        width = min(self.step - 8, 7.3 * len(mark.op + via) + 16)
        self.parts.append(f"<g><title>{_safe(mark.call)}: {_safe(mark.full)}</title>")
        self._rect(f"tl-op{kind}", x - width / 2, lane + 4, width, 22, 11)
        self._text("tl-op-text", x, lane + 19, mark.op + via, "middle")
        room = int(self.step / 6.9)
        lines = wrap(f"{_GLYPHS[mark.sign]} {mark.answer}", room)[:2] or [""]
        if mark.failing:
            again = ["\u21bb started again"] if "killed" in mark.failing else []
            lines = [*(lines[:1] if mark.sign != "lost" else []), f"\u2716 {mark.failing}", *again]
        elif mark.revision:
            self._text("tl-revision", x, store + 50, f"\u25c6 head is now {mark.revision}"[: room + 2], "middle")
        elif FORGED in mark.call and not bad:
            self._text("tl-caused-text", x, store + 50, "forged token", "middle")
        if bad:
            part = f"WRONG: {self.drawn.part}"
            lines = [*lines, part if self.drawn.part and 7.6 * len(part) < self.step else "WRONG"]
        if mark.failing:
            for way in (-6, 6):
                self._line("tl-kill", x - way, store, x + way, store + 11)
        else:
            self.parts.append(f'<circle class="{"tl-dot tl-bad" if bad else "tl-dot"}" cx="{x:g}" cy="{store + 8:g}" r="3.5"/>')
        for index, line in enumerate(lines):
            shown = line if len(line) <= room else line[: room - 1] + "\u2026"
            self._text("tl-answer tl-bad-text" if bad else "tl-answer", x, store + 24 + 14 * index, shown, "middle")
        self.parts.append("</g>")

    def _verdict(self) -> None:
        room = int((self.width - 24) / 6.8)
        allowed, given = f"The contract allows: {self.drawn.allowed}", f"The store answered: {self.drawn.given}"
        for kind, text in (("good", allowed), ("bad", given)):
            for line in wrap(text, room)[:4]:
                self.y += 17
                self._text(f"tl-{kind}-text", 8, self.y, line)
            self.y += 6
        self.y += 8

    # -- pieces ------------------------------------------------------------------------------------------------------------

    def _rect(self, kind: str, x: float, y: float, width: float, height: float, radius: float) -> None:
        self.parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"/>')

    def _line(self, kind: str, x: float, y: float, to_x: float, to_y: float) -> None:
        self.parts.append(f'<line class="{kind}" x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}"/>')

    def _label(self, text: str, y: float) -> None:
        shown = text if len(text) <= 12 else text[:11] + "\u2026"
        self.parts.append(f"<g><title>{_safe(text)}</title>")
        self._text("tl-lane", 6, y, shown)
        self.parts.append("</g>")

    def _text(self, kind: str, x: float, y: float, text: str, anchor: str = "") -> None:
        where = f' text-anchor="{anchor}"' if anchor else ""
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}"{where}>{_safe(text)}</text>')


def _safe(text: str) -> str:
    return escape(text, quote=True)


# -- as Mermaid ------------------------------------------------------------------------------------------------------------------

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _.,+=/()'-")


def mermaid(drawn: Timeline) -> str:
    """The time line as a sequence diagram in Mermaid's words."""
    lines = ["sequenceDiagram"]
    lines += [f"    participant c{index} as {entities(name)}" for index, name in enumerate(drawn.lanes[:-1])]
    lines.append(f"    participant s as {STORE}")
    for mark, instant in zip(drawn.marks, drawn.instants, strict=True):
        if drawn.timed and (instant.later or instant.number == "1"):
            lines.append(f"    Note over c0,s: {entities(instant.time)} ms")
        bad = mark.sign == "wrong"
        inner, more = "        " if bad else "    ", f", {mark.times} times" if mark.times > 1 else ""
        inner = "        " if bad or mark.noted else inner
        if bad or mark.noted:
            lines.append("    rect rgba(255, 99, 99, 0.25)" if bad else "    rect rgba(255, 193, 7, 0.25)")
        lines.append(f"{inner}c{mark.lane}->>s: {entities(instant.number)}. {entities(mark.call)}{more}")
        lines.append(f"{inner}s-{'-x' if bad else '->>'}c{mark.lane}: {entities(mark.full)}")
        if bad:
            lines.append(f"{inner}Note over c0,s: WRONG, {entities(drawn.rule)}. The contract allows {entities(drawn.allowed)}")
            lines.append("    end")
        elif mark.noted:
            lines.append(f"{inner}Note over c0,s: {entities(mark.noted)}")
            lines.append("    end")
        if mark.revision:
            lines.append(f"    Note right of s: head revision {mark.revision[1:]}")
    return printable("\n".join(lines)) + "\n"


def entities(text: str) -> str:
    """Text in which nothing means anything to Mermaid, or to the Markdown around it; cut where it would fill the screen."""
    text = " ".join(text.split())
    text = text if len(text) <= 160 else text[:157] + "..."
    safe = "".join(one if one in _PLAIN else f"#{ord(one)};" for one in text)
    return safe.replace("end", "#101;nd")

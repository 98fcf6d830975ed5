"""Is a recorded history linearizable? Reads a log, splits it into what can be judged alone, and judges that within time and nodes.

At a gap nothing is known of the object, so what comes after it is judged from an unknown state, on its own. A call that touches a
gap may have taken effect within it; so on either side it is one that may have taken effect there, with its answer, or not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import define, evolve, field, frozen

from leasehold.logs import jepsen, jsonl
from leasehold.logs.lines import Line, Log, LogError, shown
from leasehold.logs.models import MODELS, guessed
from leasehold.logs.objects import AnyCall, LineError, Model
from leasehold_model.history import Call, parts
from leasehold_model.linearize import Result, Search

Tell: TypeAlias = Callable[[str, int, float], None]
"""What is being done, configurations visited so far, share of the time."""

FORMS: dict[str, Callable[[Path, str], Log]] = {jsonl.FORM: jsonl.read_jsonl, jepsen.FORM: jepsen.read_jepsen}

NODES = 1_000_000
"""Configurations that are visited at most: each is remembered, in about half a kilobyte."""

SLICE = 10_000
"""Of them, how many before the clock is looked at. A part that needs more waits until the others had as many."""

SHRINKING = 5.0
"""Seconds for leaving calls out of a wrong history."""


@frozen(kw_only=True)
class Part:
    """Calls that can be judged alone, each with its line, from a state on."""

    lines: list[Line]
    calls: list[AnyCall]
    start: Any
    key: str
    after_gap: tuple[int, int] | None


@frozen(kw_only=True)
class Wrong:
    """A part that is not linearizable, cut to what shows it.

    ``order``: the longest explainable order that was found, with the state after each call (None: several are possible).
    ``next``: the calls that could come next: why their answers are wrong there; or where they lead, if they are not.
    """

    part: Part
    calls: int
    kept: int
    order: list[tuple[Line, AnyCall, str | None]]
    state: str
    next: list[tuple[Line, AnyCall, str, bool]]


@frozen(kw_only=True)
class Verified:
    """A judged log."""

    log: Log
    model: str
    verdict: Literal["linearizable", "not linearizable", "unknown"]
    calls: int
    clients: int
    lost: int
    without_effect: int
    parts: int
    judged: int
    nodes: int
    seconds: float
    ended: Literal["", "time", "nodes", "interrupted"] = ""
    wrong: Wrong | None = None


# -- reading -----------------------------------------------------------------------------------------------------------------------


def read(path: Path, form: str = "auto") -> Log:
    """Read a log. Raises `LogError`."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise LogError(
            path, path.read_bytes()[: error.start].count(b"\n") + 1, "no UTF-8. Is it packed? Unpack it first."
        ) from None
    log = FORMS[_form(path, text) if form == "auto" else form](path, text)
    if not log.lines:
        raise LogError(path, 1, "there is no call in it. Name its form with --format, if it is another than it looks like.")
    return log


def _form(path: Path, text: str) -> str:
    first = text.lstrip()[:2].replace(" ", "")
    if first.startswith('{"') or (first == "{" and text.lstrip()[1:].lstrip().startswith('"')):
        return jsonl.FORM
    if jepsen.looks_like(islice(iter(text.splitlines()), 2000)):
        return jepsen.FORM
    raise LogError(path, 1, "neither JSON lines (docs/verify.md) nor a Jepsen history. Name its form with --format.")


def _named(log: Log, model: str) -> str:
    """The model's name: as asked for, as declared, or as the operations say."""
    name = model if model != "auto" else log.model or guessed(log)
    if name in MODELS:
        return name
    known = f"There are {', '.join(MODELS)}."
    if name:
        raise LogError(log.path, 1, f"there is no model {name!r}. {known}")
    ops = ", ".join(sorted({line.op for line in log.lines})[:8])
    raise LogError(log.path, log.lines[0].number, f"no model has the operations {ops}. Say which with --model. {known}")


def _of(log: Log, model: Model) -> Model:
    """The model, made for this log if it has to be. Raises `LogError`."""
    try:
        return model if model.of is None else model.of(log)
    except LineError as error:
        raise LogError(log.path, error.number, str(error)) from None


def _calls(log: Log, model: Model) -> tuple[list[Line], list[AnyCall]]:
    """The lines that say something, and their calls."""
    clients: dict[str, int] = {}
    lines, calls = list[Line](), list[AnyCall]()
    for line in log.lines:
        try:
            told = model.call(line)
        except LineError as error:
            raise LogError(log.path, line.number, str(error)) from None
        if told is not None:
            client = clients.setdefault(line.client, len(clients))
            lines.append(line)
            calls.append(Call(client, line.start, line.end, *told, line.outcome != "unknown"))
    return lines, calls


# -- splitting ---------------------------------------------------------------------------------------------------------------------


def split(log: Log, model: Model) -> list[Part]:
    """What can be judged alone: between two gaps, objects side by side. Raises `LogError`."""
    if log.gaps and model.unknown is None:
        raise LogError(log.path, 1, "this model cannot be judged over gaps: it has no state of which nothing is known.")
    lines, calls = _calls(log, model)
    edges = [(-inf, -inf), *log.gaps, (inf, inf)]
    found = []
    for before, after in pairwise(edges):
        here = _between(calls, before[1], after[0])
        start, gap = (model.initial(log), None) if before[0] == -inf else (model.unknown, (int(before[0]), int(before[1])))
        for group in parts([one for _, one in here], model.footprint):
            chosen = [here[index] for index in group]
            key = _keys(model, [one for _, one in chosen])
            found.append(
                Part(lines=[lines[at] for at, _ in chosen], calls=[one for _, one in chosen], start=start, key=key, after_gap=gap)
            )
    return found


def _keys(model: Model, calls: Sequence[AnyCall]) -> str:
    """What the calls are about, in short; empty if there is only one object."""
    keys = dict.fromkeys(key for call in calls for key in model.footprint(call) if key is not None)
    return ", ".join(map(shown, islice(keys, 3))) + (", ..." if len(keys) > 3 else "")


def _between(calls: Sequence[AnyCall], last: float, first: float) -> list[tuple[int, AnyCall]]:
    """The calls that may have taken effect between the end of a gap and the next one, by index."""
    found = []
    for index, call in enumerate(calls):
        end = inf if call.end is None else call.end
        if last < call.start and end < first:
            found.append((index, call))
        elif call.start < first and last < end:
            found.append((index, evolve(call, end=None)))
    return found


# -- judging -----------------------------------------------------------------------------------------------------------------------


@define
class _Clock:
    """Counts what was visited, and says when it is enough."""

    budget: float
    nodes: int
    tell: Tell
    visited: int = 0
    began: float = field(factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the judging began."""
        return time.monotonic() - self.began

    def ended(self) -> Literal["", "time", "nodes"]:
        """What there is no more of."""
        return "nodes" if self.visited >= self.nodes else "time" if self.seconds >= self.budget else ""


def verify(log: Log, model: str, budget: float, nodes: int, tell: Tell = lambda *_: None) -> Verified:
    """Judge a log. Raises `LogError`."""
    name = _named(log, model)
    kind = _of(log, MODELS[name])
    found = split(log, kind)
    calls = {line.number: line for part in found for line in part.lines}
    clock = _Clock(budget, nodes, tell)
    judged, wrong, ended = _judge(found, kind, clock)
    return Verified(
        log=log,
        model=name,
        verdict="not linearizable" if wrong else "linearizable" if judged == len(found) else "unknown",
        calls=len(log.lines),
        clients=len({line.client for line in log.lines}),
        lost=sum(line.outcome == "unknown" for line in log.lines),
        without_effect=len(log.lines) - len(calls),
        parts=len(found),
        judged=judged,
        nodes=clock.visited,
        seconds=clock.seconds,
        ended="" if wrong else ended,
        wrong=wrong,
    )


def _search(calls: Sequence[AnyCall], model: Model, start: Any) -> Search[Any]:
    """Of a part. Where nothing is known of the object, a call without effect may still show what its state is."""
    known = model.unknown is None or start is not model.unknown
    return Search(calls, model.specification(start), model.alike, model.idle if known else None)


def _judge(
    found: Sequence[Part], model: Model, clock: _Clock
) -> tuple[int, Wrong | None, Literal["", "time", "nodes", "interrupted"]]:
    """How many parts have a verdict, the first that is wrong, and what ended it."""
    waiting: deque[tuple[Part, Search[Any] | None]] = deque((part, None) for part in found)
    try:
        while waiting and not clock.ended():
            part, search = waiting.popleft()
            search = search or _search(part.calls, model, part.start)
            before = search.visited
            result = search.run(before + min(SLICE, clock.nodes - clock.visited))
            clock.visited += search.visited - before
            clock.tell(f"{len(found) - len(waiting) - 1} of {len(found)} parts judged", clock.visited, clock.seconds / clock.budget)
            if result.verdict == "not linearizable":
                return len(found) - len(waiting), _wrong(part, result, model), ""
            if result.verdict == "undecided":
                waiting.append((part, search))
    except KeyboardInterrupt:
        return len(found) - len(waiting) - 1, None, "interrupted"
    return len(found) - len(waiting), None, clock.ended() if waiting else ""


# -- what is wrong -----------------------------------------------------------------------------------------------------------------


def _wrong(part: Part, result: Result[Any], model: Model) -> Wrong:
    """Cut a wrong part to what was called up to the return that has no explanation, and leave out what has no effect."""
    kept = shrunk(part.calls, up_to(part.calls, result.stuck), model, part.start, result.visited)
    calls, lines = [part.calls[at] for at in kept], [part.lines[at] for at in kept]
    specification = model.specification(part.start)
    result = _search(calls, model, part.start).run()
    order, states = [], [specification.initial()]
    for at in result.order:
        states = list(dict.fromkeys(after for state in states for after in specification.next(state, calls[at])))
        order.append((lines[at], calls[at], model.state(states[0]) if len(states) == 1 else None))
    following = []
    for at in up_to(calls, result.stuck):
        if at not in result.order:
            after = specification.next(result.state, calls[at])
            why = (
                f"it could be, leaving {model.state(after[0])}, but that leads nowhere"
                if after
                else model.why_not(result.state, calls[at])
            )
            following.append((lines[at], calls[at], why, bool(after)))
    following.sort(key=lambda one: (one[1].end is None, one[3]))
    return Wrong(part=part, calls=len(part.calls), kept=len(kept), order=order, state=model.state(result.state), next=following)


def up_to(calls: Sequence[AnyCall], stuck: int | None) -> list[int]:
    """The calls that had begun when this one returned."""
    end = calls[stuck].end if stuck is not None else None
    return [at for at, call in enumerate(calls) if end is None or call.start <= end]


def shrunk(calls: Sequence[AnyCall], kept: list[int], model: Model, start: Any, visited: int) -> list[int]:
    """Leave out calls without effect, half of them at once, then a quarter and so on, for as long as the rest is wrong."""
    until = time.monotonic() + SHRINKING
    budget = 4 * visited + 1000
    size = sum(model.effectless(calls[at]) for at in kept)
    while size:
        idle = [at for at in kept if model.effectless(calls[at])]
        for first in range(0, len(idle), size):
            if time.monotonic() > until:
                return kept
            without = set(idle[first : first + size])
            rest = [at for at in kept if at not in without]
            if _search([calls[at] for at in rest], model, start).run(budget).verdict == "not linearizable":
                kept = rest
        size //= 2
    return kept

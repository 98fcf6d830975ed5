"""A race told again: each client's calls, the order that the model can explain as far as one goes, and why no other call fits next.

Calls have letters, by their start, so that they are not taken for places in an order.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from leasehold.oracle.answers import Unknown
from leasehold.oracle.concurrent import History, Next, RaceFinding
from leasehold.oracle.explain import Asking, Possible, StoreSpecification, instants
from leasehold.oracle.schedule import STUCK, Schedule, Stop
from leasehold.oracle.worlds import translated
from leasehold.report.story import NOTHING_WRONG, Line, Story, called, retold
from leasehold.report.words import Words, answered, short_op
from leasehold_model.ids import Millis
from leasehold_model.machine import Response, step
from leasehold_model.requirements import STATEMENTS

AFTERWARDS = "afterwards"
"""Who reads everything back when the clients are done."""

SHORT_PATH = 2
"""Parts of a path that are shown."""


@frozen
class Refusal:
    """Why a call cannot come next. ``fact``: what is wrong with its answer, as a clause."""

    rule: str
    fact: str
    allowed: str
    given: str


@frozen(kw_only=True)
class Told:
    """One call. ``start`` and ``end``: places among all starts and returns; ``end`` None: it had not returned when this ends.

    ``place``: in the order that the model can explain, from 1; 0: it is not in it. ``refused``: why it cannot come next.
    """

    letter: str
    client: int
    line: Line
    start: int
    end: int | None
    lost: bool
    place: int = 0
    refused: Refusal | None = None
    call: str = ""
    answer: str = ""

    @property
    def unanswered(self) -> str:
        """Why there is no answer; empty: there is one."""
        return "" if self.end is not None else "? no answer" if self.lost else "not yet answered"


@frozen(kw_only=True)
class RaceStory:
    """A race as it is told. ``clients``: the names of those that call. ``moments``: how many starts and returns there are.

    ``reopened``: the letter of the first call after the store was closed and opened again; empty: there is none. ``closed``: the
    other handles were closed before what came afterwards.
    """

    name: str
    clients: tuple[str, ...]
    before: Story | None
    words: Words
    calls: tuple[Told, ...]
    moments: int
    reopened: str = ""
    closed: bool = False

    @property
    def order(self) -> tuple[Told, ...]:
        """The calls that can be explained, in their order."""
        return tuple(sorted((one for one in self.calls if one.place), key=lambda one: one.place))

    @property
    def refused(self) -> tuple[Told, ...]:
        """The calls that could come next, and cannot."""
        return tuple(one for one in self.calls if one.refused is not None)

    @property
    def used(self) -> tuple[int, ...]:
        """The clients that have calls here."""
        return tuple(sorted({one.client for one in self.calls}))

    @property
    def events(self) -> tuple[tuple[int, Told], ...]:
        """Starts and returns, in their order."""
        found = [(at, one) for one in self.calls for at in (one.start, one.end) if at is not None]
        return tuple(sorted(found, key=lambda event: event[0]))

    def texts(self) -> Iterator[str]:
        """All that is told of calls."""
        for one in self.calls:
            yield one.call
            yield one.answer
            yield one.refused.fact if one.refused else ""
        for line in self.before.lines if self.before else ():
            yield self.words.call(line)
            yield self.words.answer(line)


def tell_race(finding: RaceFinding, *, whole: bool = False) -> RaceStory | None:
    """The story of a race; None where there was none, or nothing is known of its calls. ``whole``: no short names."""
    history = finding.history
    if history is None or not finding.calls:
        return None
    before = retold(history.steps, history.answers, history.specification.contract) if history.steps else None
    states = _explained(finding, history.specification)
    lines = [_line(number, call, history, states) for number, call in enumerate(finding.calls, start=1)]
    earlier = before.lines if before else ()
    view = history.specification.view
    start = before.start if before else finding.calls[0].action.first
    story = Story((*earlier, *lines), NOTHING_WRONG, view, start, finding.calls[0].action.first != finding.calls[0].action.last, ())
    words = Words(story, whole=whole)
    refusals = {one.call.start: _refusal(one, words, story, states[-1], history) for one in finding.refused}
    moments = sorted({at for call in finding.calls for at in (call.start, call.end) if at is not None})
    places = {index: place for place, index in enumerate(finding.explained, start=1)}
    clients = len(finding.race.clients) if finding.race is not None else max(call.client for call in finding.calls) + 1
    told = [
        Told(
            letter=letter(index),
            client=call.client,
            line=line,
            start=moments.index(call.start),
            end=None if call.end is None else moments.index(call.end),
            lost=isinstance(call.answer, Unknown),
            place=places.get(index, 0),
            refused=refusals.get(call.start),
            call=words.call(line),
            answer=words.answer(line),
        )
        for index, (call, line) in enumerate(zip(finding.calls, lines, strict=True))
    ]
    told = [evolve(one, answer=one.unanswered) if one.unanswered else one for one in told]
    used = {one.client for one in told}
    names = [f"client {number + 1}" for number in range(clients)] + ([AFTERWARDS] if max(used) >= clients else [])
    return RaceStory(
        name=finding.race.name if finding.race is not None else "",
        clients=tuple(names),
        before=before,
        words=words,
        calls=tuple(told),
        moments=len(moments),
        reopened=next((one.letter for one, call in zip(told, finding.calls, strict=True) if 0 < history.reopened < call.start), ""),
        closed=history.closed and max(used) >= clients,
    )


def letter(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    first, second = divmod(index, len(string.ascii_uppercase))
    return (string.ascii_uppercase[first - 1] if first else "") + string.ascii_uppercase[second]


# -- in sentences ------------------------------------------------------------------------------------------------------------------


def lead(story: RaceStory) -> str:
    """What happened."""
    clients = len({one.client for one in story.calls if story.clients[one.client] != AFTERWARDS})
    who = f"{clients} clients at once" if clients > 1 else "one client"
    calls = f"{len(story.calls)} call{'' if len(story.calls) == 1 else 's'} of {who}"
    named = f" ({story.name})" if story.name not in {"", "drawn"} else ""
    again = " All handles but that of client 1 were closed before what came afterwards." if story.closed else ""
    again += f" Before {story.reopened} the store was closed and opened again." if story.reopened else ""
    return f"No order of these {calls}{named}, each between its start and its return, explains all the answers.{again}"


def race_message(finding: RaceFinding) -> str:
    """The finding in one line; that of anything else beside a run is its own."""
    story = tell_race(finding, whole=True)
    if story is None:
        return finding.message
    after = f" after {', '.join(one.letter for one in story.order)}" if story.order else ""
    calls = "; ".join(f"{one.letter} ({story.clients[one.client]}): {one.call}" for one in story.calls)
    facts = "; ".join(f"{one.letter} cannot come next{after}: {one.refused.fact}" for one in story.refused if one.refused)
    return f"{lead(story)} {calls}. {facts}".rstrip()


def explained(story: RaceStory) -> str:
    """The order that the model can explain, as far as one goes."""
    if not story.order:
        return f"The model can explain none of them as the first.{_unanswered(story)}"
    told = ", then ".join(f"{one.letter} ({short_op(one.line.op)})" for one in story.order)
    return f"In this order the model can explain: {told}.{_unanswered(story)}"


def _unanswered(story: RaceStory) -> str:
    """The calls without an answer, that nobody takes them for forgotten."""
    left = [one.letter for one in story.calls if one.unanswered and not one.place]
    which = "which has no answer" if len(left) == 1 else "which have no answers"
    return f" {' and '.join(left)}, {which}, may have taken effect or not." if left else ""


def refusal(one: Told) -> str:
    """Why a call cannot come next."""
    if one.refused is None:
        return ""
    return f"{one.letter} ({short_op(one.line.op)}) cannot come next: {one.refused.fact}. {one.refused.rule}: " + STATEMENTS.get(
        one.refused.rule, ""
    )


def traces(finding: RaceFinding) -> list[str]:
    """Where exceptions came from that are no answers."""
    return [one for one in dict.fromkeys(refused.mismatch.given.partition("\n")[2] for refused in finding.refused) if one]


def should(story: RaceStory) -> str:
    """What should have happened, for each call that cannot come next."""
    after = f"after {', '.join(one.letter for one in story.order)}" if story.order else "as the first"
    told = [f"{one.letter} to be answered with {answered(one.refused.allowed)}" for one in story.refused if one.refused]
    return f"{after[:1].upper()}{after[1:]} the contract wants {', or '.join(told)}." if told else ""


def seen_again(finding: RaceFinding) -> str:
    """How surely it comes back, and under which schedule."""
    if finding.race is None:
        return ""
    how = "under the same schedule" if finding.schedule is not None else "with the calls at once"
    if finding.kill:
        killed = f"The adapter was killed {finding.kill} microseconds after the first calls were sent, and started again"
        return f"{killed}. Seen again in {finding.again} of {finding.tries} reruns with a kill at about that time."
    again = f"Seen again in {finding.again} of {finding.tries} reruns {how}" if finding.tries else ""
    turns = in_words(finding.schedule)
    return f"{again}: {turns}." if again and turns else f"{again or turns[:1].upper() + turns[1:]}." if again or turns else ""


def in_words(schedule: Schedule | None) -> str:
    """A schedule: who ran first, and where who was stopped."""
    if schedule is None:
        return ""
    first = f"client {schedule.order[0] + 1}"
    if not schedule.changes:
        return f"one client after the other, {first} first"
    if not schedule.stops:
        unit = "opcode" if schedule.fine else "line"
        return f"{first} first, and the next at {unit} {', '.join(map(str, schedule.changes))} of the store's code"
    stops = [f"client {one.client + 1} was stopped before {place(one)}" for one in schedule.stops]
    left = f", and those that waited were left to wait for {1000 * schedule.patience:.0f} ms" if schedule.patience > STUCK else ""
    if schedule.stops[0].client == schedule.order[0]:
        stops[0] = stops[0].replace("was stopped", "went first and was stopped", 1)
    return "; ".join([*stops, f"then the next went on{left}" if len(stops) == 1 else f"each time the next went on{left}"])


def place(stop: Stop) -> str:
    """A line of code, for people."""
    code = f": {stop.code}" if stop.code else ""
    file = "/".join(stop.file.replace("\\", "/").rsplit("/", SHORT_PATH)[-SHORT_PATH:])
    return f"line {stop.line} of {file} (in {stop.function}{code})"


# -- pieces ------------------------------------------------------------------------------------------------------------------------


def _explained(finding: RaceFinding, specification: StoreSpecification) -> list[Possible]:
    """The states that the explained calls lead through, the first included."""
    path = _path([finding.calls[index] for index in finding.explained], [specification.initial()], specification)
    return path or [specification.initial()]


def _path(calls: Sequence[Asking], states: list[Possible], specification: StoreSpecification) -> list[Possible]:
    if not calls:
        return states
    unchanged = [] if calls[0].definite else states[-1:]  # it has no answer yet, and whatever that will be, it changes nothing
    for after in (*specification.next(states[-1], calls[0]), *unchanged):
        found = _path(calls[1:], [*states, after], specification)
        if found:
            return found
    return []


def _line(number: int, call: Asking, history: History, states: Sequence[Possible]) -> Line:
    """A call as a line of a story. What the model says is of the last state: here only its kind is asked for."""
    asked, specification = call.action, history.specification
    op, args = called(specification.view, asked.command)
    response = _response(call, states[-1], specification)
    return Line(number, asked.first, call.client, asked.command, op, args, response, call.answer, False, asked.repeats)


def _response(call: Asking, state: Possible, specification: StoreSpecification) -> Response:
    command = translated(call.action.command, specification.view, state.binding)
    _, response = step(state.state, command, Millis(instants(state.state, call, specification.loose)[0]), specification.contract)
    return response


def _refusal(one: Next, words: Words, story: Story, state: Possible, history: History) -> Refusal:
    line = evolve(_line(0, one.call, history, [state]), broken=True)
    of_it = words.about(evolve(story, lines=(*story.lines, line), mismatch=one.mismatch, binding=state.binding))
    _, allowed, given = of_it.wrong()
    mistake = of_it.mistake()
    return Refusal(one.mismatch.rule, mistake.fact, f"{mistake.part} {allowed}" if mistake.part else allowed, given)

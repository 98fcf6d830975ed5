"""A failing run told again, step by step: the call, what the model allowed, what the store answered.

Nothing is sent to a store: the recorded answers are bound anew, so that every step can be shown in the store's own words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from leasehold.oracle.answers import AFTER, CONNECTION, SERVER, Answer, BrokenTarget, Err, Skip, Unknown, fault
from leasehold.oracle.binding import Binding, Unbound
from leasehold.oracle.judge import judge
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.oracle.rejudge import EVER
from leasehold.oracle.run import BOUND, Failure, Reopen, Run, Step
from leasehold.oracle.worlds import Took
from leasehold_model.ids import Millis
from leasehold_model.machine import Command, Contract, Response, initial, step
from leasehold_model.state import State

SOMEONE = "a client"
"""Who makes a call that names no owner, where there is one handle."""

NOTHING_WRONG = Mismatch("", "", "", "")
"""The mismatch of a run of which no answer was wrong."""


@frozen
class Line:
    """One step. ``op`` empty: the store was closed and opened again. ``args`` None: the call could not be told.

    ``kill``: as in the run's step; ``fault``: that in words.
    """

    number: int
    at: int
    handle: int
    action: Command | Reopen
    op: str
    args: tuple[Any, ...] | None
    response: Response | None
    answer: Answer | None
    broken: bool
    repeats: int = 0
    kill: int = 0
    fault: str = ""

    @property
    def failing(self) -> str:
        """What was made to fail, in a word or two: empty, killed, server killed, cut off."""
        if self.kill == 0:
            return ""
        return "killed" if self.kill >= AFTER else "cut off" if -self.kill >= CONNECTION else "server killed"


@frozen
class Story:
    """A failing run. ``start``: its first step's time, from which the others are counted.

    ``states``: what the model holds before the run and after each step.
    """

    lines: tuple[Line, ...]
    mismatch: Mismatch
    binding: Binding
    start: int
    real: bool
    states: tuple[State, ...]


def tell(failure: Failure) -> Story:
    """The story of a failure."""
    moment = failure.moment
    real = moment.span is not None
    story = retold(
        failure.steps, failure.answers, moment.contract, failure.took, moment, real=real, unit=failure.unit, repeats=failure.repeats
    )
    return evolve(story, mismatch=failure.mismatch)


def retold(
    steps: Run,
    answers: Sequence[Answer | None],
    contract: Contract,
    took: Sequence[Took] = (),
    wrong: Moment | None = None,
    *,
    real: bool = False,
    unit: str = "",
    repeats: Mapping[int, int] | None = None,
) -> Story:
    """The story of a run. ``wrong``: the moment of its last step, which was answered wrongly; None: nothing was."""
    binding, state = Binding(), initial(contract, BOUND)
    states, lines = [state], []
    for number, (one, answer) in enumerate(zip(steps, answers, strict=True), start=1):
        for effect in took:
            if effect.before == number - 1:
                state, _ = step(state, effect.lost.command, Millis(effect.at), contract)
        if isinstance(one.action, Reopen):
            what = fault(one.kill, unit, "the opening")
            lines.append(Line(number, one.at, one.handle, one.action, "", (), None, answer, False, 0, one.kill, what))
            states.append(state)
            continue
        after, response = step(state, one.action, Millis(one.at), contract)
        op, args = called(binding, one.action)
        broken = wrong is not None and number == len(steps)
        if wrong is not None and broken:
            op, response, shown = wrong.op, wrong.response, wrong.after
        elif -one.kill >= SERVER and isinstance(answer, Err) and answer.code in {"backend", "contended"}:
            shown = state  # as it was judged: nothing happened
        elif answer is not None and not isinstance(answer, Skip | Unknown):
            moment = Moment(op, one.action, one.at, state, after, response, contract, EVER if real else None)
            with contextlib.suppress(BrokenTarget):
                judge(binding, moment, answer)
            state = shown = after
        else:
            shown = state
        states.append(shown)
        again, what = (repeats or {}).get(number - 1, 0), _fault(one, answer, unit)
        lines.append(Line(number, one.at, one.handle, one.action, op, args, response, answer, broken, again, one.kill, what))
    return Story(tuple(lines), NOTHING_WRONG, binding, steps[0].at, real, tuple(states))


def _fault(one: Step, answer: Answer | None, unit: str) -> str:
    """What was made to fail in a step. A process that was to be killed later than the call took was killed after its answer."""
    if isinstance(answer, Unknown):
        return fault(one.kill, unit, place=answer.place)
    return fault(AFTER if one.kill > 0 else one.kill, unit)


def called(binding: Binding, command: Command) -> tuple[str, tuple[Any, ...] | None]:
    """The operation and its arguments; None for these where the command names what was never shown."""
    try:
        return binding.call(command)
    except Unbound:
        return type(command).__name__, None


def client(line: Line, story: Story) -> str:
    """Who calls: the owner that the call names; else the handle it comes through, where there are several."""
    args = line.args or ()
    owner: Any = None
    if line.op.startswith("try_claim") and len(args) > 1:
        owner = args[1]
    elif line.op.startswith("claim_ready") and len(args) > 2:
        owner = args[2]
    elif line.op == "commit_runtime_state" and args:
        owner = getattr(args[0].session_execution_lease, "owner_id", None)
    elif args:
        owner = getattr(args[0], "owner_id", None)
    if isinstance(owner, str):
        return owner
    several = len({one.handle for one in story.lines}) > 1
    return f"handle {line.handle + 1}" if several and line.op else SOMEONE

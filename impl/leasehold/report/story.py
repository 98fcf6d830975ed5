"""A failing run told again, step by step: the call, what the model allowed, what the store answered.

Nothing is sent to a store: the recorded answers are bound anew, so that every step can be shown in the store's own words.
"""

from __future__ import annotations

import contextlib
from typing import Any

from attrs import frozen

from leasehold.oracle.answers import Answer, BrokenTarget, Skip, Unknown
from leasehold.oracle.binding import Binding, Unbound
from leasehold.oracle.judge import judge
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.oracle.rejudge import EVER
from leasehold.oracle.run import BOUND, Failure, Reopen
from leasehold_model.ids import Millis
from leasehold_model.machine import Command, Response, initial, step
from leasehold_model.state import State

SOMEONE = "a client"
"""Who makes a call that names no owner, where there is one handle."""


@frozen
class Line:
    """One step. ``op`` empty: the store was closed and opened again. ``args`` None: the call could not be told."""

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
    contract, binding = failure.moment.contract, Binding()
    real = failure.moment.span is not None
    state = initial(contract, BOUND)
    states, lines = [state], []
    last = len(failure.steps)
    for number, (one, answer) in enumerate(zip(failure.steps, failure.answers, strict=True), start=1):
        for took in failure.took:
            if took.before == number - 1:
                state, _ = step(state, took.lost.command, Millis(took.at), contract)
        if isinstance(one.action, Reopen):
            lines.append(Line(number, one.at, one.handle, one.action, "", (), None, answer, False))
            states.append(state)
            continue
        after, response = step(state, one.action, Millis(one.at), contract)
        op, args = _call(binding, one.action)
        broken = number == last
        if broken:
            response = failure.moment.response
        elif answer is not None and not isinstance(answer, Skip | Unknown):
            moment = Moment(op, one.action, one.at, state, after, response, contract, EVER if real else None)
            with contextlib.suppress(BrokenTarget):
                judge(binding, moment, answer)
            state = after
        op = failure.moment.op if broken else op
        states.append(failure.moment.after if broken else state)
        repeats = failure.repeats.get(number - 1, 0)
        lines.append(Line(number, one.at, one.handle, one.action, op, args, response, answer, broken, repeats))
    return Story(tuple(lines), failure.mismatch, binding, failure.steps[0].at, real, tuple(states))


def _call(binding: Binding, command: Command) -> tuple[str, tuple[Any, ...] | None]:
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
